//! Who has which link below /dev: what devices ask for, which link leads where (pure), and making it so.
//!
//! When several devices ask for one link, the highest priority has it; among equals the first that came keeps it until
//! it goes, and then the next inherits it. So a stick with a copied label takes nothing away from a disk that is there.

use std::collections::BTreeMap;
use std::path::Path;

use crate::coldplug::entries;

/// The folders below /dev whose links are all ours.
const FOLDERS: [&str; 9] = [
    "block",
    "disk/by-diskseq",
    "disk/by-id",
    "disk/by-label",
    "disk/by-partlabel",
    "disk/by-partuuid",
    "disk/by-path",
    "disk/by-uuid",
    "virtio-ports",
];
/// The links in /dev itself that are ours.
const NAMES: [&str; 4] = ["cdrom", "ptp_hyperv", "ptp_kvm", "rtc"];

/// What one device asks for: links below /dev with the priority of each.
pub(crate) type Claim = BTreeMap<String, i32>;

/// Where links lead: `disk/by-label/state` -> `../../vda9`.
pub(crate) type Links = BTreeMap<String, String>;

/// One change below /dev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Make or replace a link.
    Set { link: String, target: String },
    /// Remove a link.
    Remove { link: String },
}

/// All devices that ask for links, by the names of their nodes.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    devices: BTreeMap<String, (u64, Claim)>,
    arrivals: u64,
}

impl Claims {
    /// A device asks for these links; returns whether that is new. One that was there keeps its place in the row.
    pub(crate) fn set(&mut self, node: &str, claim: Claim) -> bool {
        if claim.is_empty() {
            return self.remove(node);
        }
        if let Some((_, known)) = self.devices.get_mut(node) {
            let is_new = *known != claim;
            *known = claim;
            return is_new;
        }
        self.arrivals += 1;
        self.devices.insert(node.to_string(), (self.arrivals, claim));
        true
    }

    /// A device went; returns whether it had asked for something.
    pub(crate) fn remove(&mut self, node: &str) -> bool {
        self.devices.remove(node).is_some()
    }

    /// Forgets the devices that are not among these.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.devices.retain(|node, _| is_there(node));
    }

    /// The links there should be, when these are there. Pure.
    pub(crate) fn wanted(&self, current: &Links) -> Links {
        let mut best: BTreeMap<&str, (i32, bool, u64, String)> = BTreeMap::new();
        for (node, (arrival, claim)) in &self.devices {
            for (link, priority) in claim {
                let target = target(link, node);
                let holds_it = current.get(link) == Some(&target);
                let rank = (*priority, holds_it, u64::MAX - arrival);
                match best.get(link.as_str()) {
                    Some((priority, holds_it, age, _)) if rank <= (*priority, *holds_it, *age) => {}
                    Some(_) | None => drop(best.insert(link, (rank.0, rank.1, rank.2, target))),
                }
            }
        }
        best.into_iter().map(|(link, (.., target))| (link.to_string(), target)).collect()
    }

    /// Makes /dev agree with what devices ask for.
    pub(crate) fn apply(&self, dev: &Path) {
        let current = current(dev);
        for change in plan(&current, &self.wanted(&current)) {
            if let Err(error) = apply(dev, &change) {
                eprintln!("warning: {change:?}: {error}, going on");
            }
        }
    }
}

/// From the folder of a link to a node.
fn target(link: &str, node: &str) -> String {
    format!("{}{node}", "../".repeat(link.matches('/').count()))
}

/// What must change to get from the links that are to those that should be. What goes is removed last, so that whoever
/// waits for a link finds its successor. Pure.
pub(crate) fn plan(current: &Links, wanted: &Links) -> Vec<Change> {
    let differs = |(link, target): &(&String, &String)| current.get(*link) != Some(*target);
    let set = wanted.iter().filter(differs);
    let set = set.map(|(link, target)| Change::Set { link: link.clone(), target: target.clone() });
    let stale = current.keys().filter(|link| !wanted.contains_key(*link));
    set.chain(stale.map(|link| Change::Remove { link: link.clone() })).collect()
}

/// The links that are there.
pub(crate) fn current(dev: &Path) -> Links {
    let mut links = Links::new();
    let mut look = |link: String| {
        if let Ok(target) = std::fs::read_link(dev.join(&link)) {
            links.insert(link, target.to_string_lossy().into_owned());
        }
    };
    for folder in FOLDERS {
        let names = entries(&dev.join(folder)).into_iter();
        let names = names.filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        names.for_each(|name| look(format!("{folder}/{name}")));
    }
    NAMES.into_iter().for_each(|name| look(name.to_string()));
    links
}

/// Makes one change; a link is replaced by renaming, so it is never missing.
fn apply(dev: &Path, change: &Change) -> std::io::Result<()> {
    let gone = |removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    };
    match change {
        Change::Remove { link } => gone(std::fs::remove_file(dev.join(link))),
        Change::Set { link, target } => {
            let path = dev.join(link);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let temporary = dev.join(".new-link");
            gone(std::fs::remove_file(&temporary))?;
            std::os::unix::fs::symlink(target, &temporary)?;
            std::fs::rename(&temporary, &path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(links: &[(&str, i32)]) -> Claim {
        links.iter().map(|(link, priority)| (link.to_string(), *priority)).collect()
    }

    fn links(links: &[(&str, &str)]) -> Links {
        links.iter().map(|(link, target)| (link.to_string(), target.to_string())).collect()
    }

    #[test]
    fn the_first_of_two_claims_stays_until_it_goes_and_the_second_inherits() {
        let mut claims = Claims::default();
        claims.set("sdb1", claim(&[("disk/by-label/x", 0)]));
        let first = claims.wanted(&Links::new());
        assert_eq!(first, links(&[("disk/by-label/x", "../../sdb1")]));
        // The name that sorts first comes second.
        claims.set("sda1", claim(&[("disk/by-label/x", 0), ("disk/by-uuid/1", 0)]));
        let both = claims.wanted(&first);
        assert_eq!(both, links(&[("disk/by-label/x", "../../sdb1"), ("disk/by-uuid/1", "../../sda1")]));
        assert!(!claims.set("sdb1", claim(&[("disk/by-label/x", 0)])));
        assert_eq!(claims.wanted(&Links::new()), both);
        assert!(claims.remove("sdb1") && !claims.remove("sdb1"));
        let changes = plan(&both, &claims.wanted(&both));
        assert_eq!(changes, [Change::Set { link: "disk/by-label/x".into(), target: "../../sda1".into() }]);
    }

    #[test]
    fn a_daemon_that_starts_again_leaves_a_link_with_the_device_that_has_it() {
        let mut claims = Claims::default();
        claims.set("sda1", claim(&[("disk/by-label/x", 0)]));
        claims.set("sdb1", claim(&[("disk/by-label/x", 0)]));
        let there = links(&[("disk/by-label/x", "../../sdb1")]);
        assert_eq!(claims.wanted(&there), there);
        let stale = links(&[("disk/by-label/x", "../../sdz1")]);
        assert_eq!(claims.wanted(&stale), links(&[("disk/by-label/x", "../../sda1")]));
    }

    #[test]
    fn a_higher_priority_takes_over_and_gives_back() {
        let mut claims = Claims::default();
        claims.set("sda1", claim(&[("disk/by-uuid/1", 0)]));
        let before = claims.wanted(&Links::new());
        claims.set("md0", claim(&[("disk/by-uuid/1", 100)]));
        let during = claims.wanted(&before);
        assert_eq!(during, links(&[("disk/by-uuid/1", "../../md0")]));
        claims.set("sr0", claim(&[("disk/by-uuid/1", -100), ("cdrom", -100)]));
        assert_eq!(claims.wanted(&during)["disk/by-uuid/1"], "../../md0");
        assert_eq!(claims.wanted(&during)["cdrom"], "sr0");
        claims.keep(|node| node != "md0");
        assert_eq!(claims.wanted(&during)["disk/by-uuid/1"], "../../sda1");
    }

    #[test]
    fn links_are_made_replaced_and_removed_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("mine");
        std::os::unix::fs::symlink("null", &foreign).unwrap();
        let mut claims = Claims::default();
        claims.set("vda9", claim(&[("disk/by-label/state", 0), ("block/253:9", 0)]));
        claims.set("rtc0", claim(&[("rtc", 0)]));
        for _twice in 0..2 {
            claims.apply(folder.path());
            assert_eq!(current(folder.path()), claims.wanted(&Links::new()));
        }
        assert_eq!(std::fs::read_link(folder.path().join("rtc")).unwrap(), Path::new("rtc0"));
        claims.keep(|_| false);
        claims.apply(folder.path());
        assert_eq!(current(folder.path()), Links::new());
        assert!(foreign.is_symlink());
    }

    proptest! {
        /// Whatever comes and goes: a link leads to one that asks for it, of the highest priority, and moves only when it
        /// must.
        #[test]
        fn a_link_moves_only_when_it_must(steps in proptest::collection::vec((0..6_u8, 0..4_u8, 0..3_i32), 1..60)) {
            let mut claims = Claims::default();
            let mut there = Links::new();
            let mut asked: BTreeMap<String, Claim> = BTreeMap::new();
            for (device, kind, priority) in steps {
                let node = format!("sd{device}");
                if kind == 0 {
                    claims.remove(&node);
                    asked.remove(&node);
                } else {
                    let one: Claim = (0..kind).map(|link| (format!("disk/by-label/{link}"), priority)).collect();
                    claims.set(&node, one.clone());
                    asked.insert(node, one);
                }
                let after = claims.wanted(&there);
                for (link, target) in &after {
                    let best = asked.values().filter_map(|claim| claim.get(link)).max().unwrap();
                    let has = |target: &str| asked.get(&target[6..]).and_then(|claim| claim.get(link));
                    prop_assert_eq!(has(target), Some(best));
                    if let Some(before) = there.get(link).filter(|before| has(before) == Some(best)) {
                        prop_assert_eq!(before, target);
                    }
                }
                let all: usize = asked.values().flat_map(Claim::keys).collect::<std::collections::BTreeSet<_>>().len();
                prop_assert_eq!(after.len(), all);
                there = after;
            }
        }
    }
}
