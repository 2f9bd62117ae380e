//! Control groups (version 2): one a unit, watched for the end of its last process.
//!
//! Without a writable hierarchy everything works but the tracking of processes that a service left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use ferrite_sys::bpf::{self, Counters, Instruction, Place};
use ferrite_unit::UnitName;
use ferrite_unit::resources::Controllers;
use rustix::fs::inotify;
use rustix::fs::{Mode, OFlags};

use crate::jobs::UnitId;
use crate::sandbox::network::{self, Rules};

/// Process ids of one group that are looked at.
const PROCESSES_MAX: usize = 10_000;
/// Groups below a unit's group that are looked at.
const SUBGROUPS_MAX: usize = 1_000;

/// Groups of units that are looked at.
const UNIT_GROUPS_MAX: usize = 20_000;

/// The controllers that are handed down to the groups of units.
const CONTROLLERS: [&str; 5] = ["memory", "pids", "cpu", "io", "cpuset"];

/// Units whose groups changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// A first process came, or the last one ended.
    pub population: Vec<UnitId>,
    /// Memory ran short.
    pub memory: Vec<UnitId>,
}

/// The hierarchy below our root.
#[derive(Debug)]
pub struct Groups {
    root: Option<String>,
    inotify: Option<OwnedFd>,
    watches: BTreeMap<i32, UnitId>,
    paths: BTreeMap<UnitId, i32>,
    /// The same for what the kernel tells of their memory.
    memory: BTreeMap<i32, UnitId>,
    memory_paths: BTreeMap<UnitId, i32>,
    /// Groups whose controllers were handed down to the groups below them.
    prepared: BTreeSet<String>,
    /// Groups whose devices are limited.
    guarded: BTreeSet<String>,
    /// The rules of groups for packets and ports.
    networks: BTreeMap<String, Rules>,
    /// The controllers of the hierarchy.
    controllers: String,
    /// Files that no group has here, and of which it was told.
    missing: BTreeSet<String>,
}

impl Groups {
    /// Takes this directory of a cgroup2 file system as the root of all groups; `None`: there is none.
    pub fn new(root: Option<String>) -> Groups {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let controllers = root.as_ref().and_then(|root| fs::read_to_string(format!("{root}/cgroup.controllers")).ok());
        let controllers = controllers.unwrap_or_default();
        let inotify = root.as_ref().and_then(|_| inotify::init(flags).ok());
        Groups {
            root,
            inotify,
            watches: BTreeMap::new(),
            paths: BTreeMap::new(),
            memory: BTreeMap::new(),
            memory_paths: BTreeMap::new(),
            prepared: BTreeSet::new(),
            guarded: BTreeSet::new(),
            networks: BTreeMap::new(),
            controllers,
            missing: BTreeSet::new(),
        }
    }

    /// Is there a controller of this name anywhere? Without it no group has its files.
    fn has_controller(&self, name: &str) -> bool {
        self.controllers.split_whitespace().any(|have| have == name)
    }

    /// The file that becomes readable when a group changes.
    pub fn file(&self) -> Option<&OwnedFd> {
        self.inotify.as_ref()
    }

    /// Where the hierarchy begins.
    pub fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }

    /// The path of a unit's group below the root, such as `/system.slice/ssh.service`.
    pub fn path(slice: Option<&UnitName>, unit: &UnitName) -> String {
        format!("{}/{unit}", slice.map(ferrite_unit::slice::group).unwrap_or_default())
    }

    fn absolute(&self, group: &str) -> Option<String> {
        self.root.as_ref().map(|root| format!("{root}{group}"))
    }

    /// Makes the group of a unit and watches it.
    ///
    /// `disabled` says which controllers a unit keeps from the groups below it (`DisableControllers=`).
    pub fn make(&mut self, id: UnitId, group: &str, disabled: impl Fn(&str) -> Controllers) -> io::Result<()> {
        let Some(root) = self.root.clone() else { return Ok(()) };
        // The groups above are mostly there already.
        let above = group.rsplit_once('/').map(|(above, _)| format!("{root}{above}"));
        if above.is_none_or(|above| !self.prepared.contains(&above))
            || fs::create_dir(format!("{root}{group}")).is_err()
        {
            self.make_from(root, group, disabled)?;
        }
        self.watch(id, group)
    }

    /// Makes a group and those above it, as far as they are not there.
    fn make_from(&mut self, root: String, group: &str, disabled: impl Fn(&str) -> Controllers) -> io::Result<()> {
        let mut place = root;
        let mut kept = Controllers::default();
        for part in group.split('/').filter(|part| !part.is_empty()) {
            // Which controllers exist differs between machines: each is wished for by itself.
            if self.prepared.insert(place.clone()) {
                for controller in CONTROLLERS {
                    let sign = if kept.names().any(|name| name == controller) { '-' } else { '+' };
                    let _ = fs::write(format!("{place}/cgroup.subtree_control"), format!("{sign}{controller}"));
                }
            }
            kept = Controllers(kept.0 | disabled(part).0);
            place = format!("{place}/{part}");
            match fs::create_dir(&place) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Watches a group that is there.
    pub fn watch(&mut self, id: UnitId, group: &str) -> io::Result<()> {
        let Some(place) = self.absolute(group) else { return Ok(()) };
        if let Some(inotify) = &self.inotify
            && !self.paths.contains_key(&id)
        {
            let events = format!("{place}/cgroup.events");
            let watch = inotify::add_watch(inotify, events, inotify::WatchFlags::MODIFY)?;
            self.watches.insert(watch, id);
            self.paths.insert(id, watch);
        }
        self.watch_memory(id, group);
        Ok(())
    }

    /// Watches what the kernel tells of a group's memory; that of slices is told by the groups in them.
    fn watch_memory(&mut self, id: UnitId, group: &str) {
        if group.ends_with(".slice") || !self.has_controller("memory") || self.memory_paths.contains_key(&id) {
            return;
        }
        let Some((place, inotify)) = self.absolute(group).zip(self.inotify.as_ref()) else { return };
        // Without the controller of memory there is no such file, and nobody is killed for the sake of a group.
        if let Ok(watch) = inotify::add_watch(inotify, format!("{place}/memory.events"), inotify::WatchFlags::MODIFY) {
            self.memory.insert(watch, id);
            self.memory_paths.insert(id, watch);
        }
    }

    /// How many processes of a group the kernel has killed for want of memory; `None`: it does not count them.
    pub fn memory_kills(&self, id: UnitId, group: &str) -> Option<u64> {
        self.memory_paths.get(&id)?;
        let text = self.text(group, "memory.events")?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
    }

    /// The directory of a group, to start processes in.
    pub fn open(&self, group: &str) -> Option<OwnedFd> {
        let path = self.absolute(group)?;
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// Does a living process belong to the group or one below?
    pub fn populated(&self, group: &str) -> bool {
        let Some(path) = self.absolute(group) else { return false };
        fs::read_to_string(format!("{path}/cgroup.events")).is_ok_and(|text| text.lines().any(|l| l == "populated 1"))
    }

    /// Takes the units whose groups changed.
    pub fn changed(&mut self) -> Changes {
        let mut changes = Changes::default();
        let Some(inotify) = &self.inotify else { return changes };
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify, &mut space);
        while let Ok(event) = reader.next() {
            if event.events().contains(inotify::ReadFlags::IGNORED) {
                continue;
            }
            for (watches, units) in [(&self.watches, &mut changes.population), (&self.memory, &mut changes.memory)] {
                if let Some(id) = watches.get(&event.wd())
                    && !units.contains(id)
                {
                    units.push(*id);
                }
            }
        }
        changes
    }

    /// The processes of a group and of those below it, with the group of each relative to it.
    pub fn processes(&self, group: &str) -> Vec<(i32, String)> {
        let Some(path) = self.absolute(group) else { return Vec::new() };
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        let mut seen = 0;
        while let Some(below) = open.pop() {
            seen += 1;
            if seen > SUBGROUPS_MAX || found.len() > PROCESSES_MAX {
                break;
            }
            let text = fs::read_to_string(format!("{path}{below}/cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| Some((line.parse().ok()?, below.clone()))));
            for entry in fs::read_dir(format!("{path}{below}")).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(format!("{below}/{}", entry.file_name().to_string_lossy()));
                }
            }
        }
        found
    }

    /// All units whose groups hold processes, with these groups. What units make for themselves is not looked at.
    pub fn populated_units(&self) -> Vec<(UnitName, String)> {
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        while let (Some(group), true) = (open.pop(), found.len() < UNIT_GROUPS_MAX) {
            let Some(path) = self.absolute(&group) else { return found };
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let below = format!("{group}/{}", entry.file_name().to_string_lossy());
                match crate::recovery::unit_of_group(&below) {
                    Some(name) if self.populated(&below) => found.push((name, below)),
                    Some(_) => {}
                    None => open.push(below),
                }
            }
        }
        found
    }

    /// Sends SIGKILL to everything in a group, at once.
    pub fn kill(&self, group: &str) {
        let Some(path) = self.absolute(group) else { return };
        if fs::write(format!("{path}/cgroup.kill"), "1").is_err() {
            for (pid, _) in self.processes(group) {
                // A process that is gone already is what we want.
                let _ = ferrite_sys::signal::send(pid, 9);
            }
        }
    }

    /// A number in a file of the group; `None` also for `max`.
    pub fn number(&self, group: &str, file: &str) -> Option<u64> {
        self.text(group, file)?.trim().parse().ok()
    }

    /// A file of the group.
    pub fn text(&self, group: &str, file: &str) -> Option<String> {
        fs::read_to_string(format!("{}/{file}", self.absolute(group)?)).ok()
    }

    /// Writes a setting of a group.
    pub fn set(&self, group: &str, file: &str, value: &str) -> io::Result<()> {
        let controller = file.split_once('.').map_or(file, |(controller, _)| controller);
        match self.absolute(group) {
            // To find no file costs as much as to find one.
            Some(_) if CONTROLLERS.contains(&controller) && !self.has_controller(controller) => {
                Err(io::ErrorKind::NotFound.into())
            }
            Some(path) => fs::write(format!("{path}/{file}"), value),
            None => Ok(()),
        }
    }

    /// Attaches a program that limits devices to a group, once.
    pub fn guard(&mut self, group: &str, program: &[Instruction]) -> io::Result<()> {
        if self.guarded.contains(group) {
            return Ok(());
        }
        bpf::guard(self.folder(group)?.as_fd(), Place::Device, program)?;
        self.guarded.insert(group.to_owned());
        Ok(())
    }

    fn folder(&self, group: &str) -> io::Result<OwnedFd> {
        let path = self.absolute(group).ok_or_else(|| io::Error::other("there are no control groups"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    }

    /// Attaches the programs that look at packets and ports to a group, unless those of the same rules are there.
    pub fn guard_network(&mut self, group: &str, rules: Rules) -> io::Result<()> {
        if self.networks.get(group).unwrap_or(&Rules::default()) == &rules {
            return Ok(());
        }
        let folder = self.folder(group)?;
        let counters = match Counters::of(folder.as_fd(), Place::Egress).filter(|_| rules.count) {
            None if rules.count => Some(Counters::new(network::COUNTERS)?),
            there => there,
        };
        for place in [Place::Ingress, Place::Egress] {
            if rules.concern_packets() {
                let program = network::packets(&rules, place, counters.as_ref().map(Counters::number));
                bpf::guard(folder.as_fd(), place, &program)?;
            } else {
                bpf::unguard(folder.as_fd(), place)?;
            }
        }
        for place in [Place::Bind4, Place::Bind6] {
            if rules.concern_ports() {
                bpf::guard(folder.as_fd(), place, &network::ports(&rules, place))?;
            } else {
                bpf::unguard(folder.as_fd(), place)?;
            }
        }
        self.networks.insert(group.to_owned(), rules);
        Ok(())
    }

    /// Bytes and packets that came to a group, then those that it sent, if they are counted.
    pub fn traffic(&self, group: &str) -> Option<[u64; 4]> {
        let counters = Counters::of(self.folder(group).ok()?.as_fd(), Place::Egress)?;
        let one = |key| counters.read(key).ok();
        Some([one(0)?, one(1)?, one(2)?, one(3)?])
    }

    /// Was it not told yet that no group has such a file?
    pub fn tell_missing(&mut self, file: &str) -> bool {
        self.missing.insert(file.to_owned())
    }

    /// Removes an empty group and the empty ones below it.
    pub fn remove(&mut self, id: UnitId, group: &str) {
        self.guarded.remove(group);
        self.networks.remove(group);
        let Some(path) = self.absolute(group) else { return };
        let mut below: Vec<String> = vec![path];
        let mut all = Vec::new();
        while let Some(directory) = below.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten().take(SUBGROUPS_MAX) {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    below.push(entry.path().to_string_lossy().into_owned());
                }
            }
            all.push(directory);
        }
        // Deepest last in the list: removed first. One that is not empty stays, and so do its parents.
        for directory in all.iter().rev() {
            if fs::remove_dir(directory).is_ok() {
                self.prepared.remove(directory);
            }
        }
        let watches = [self.paths.remove(&id), self.memory_paths.remove(&id)];
        for watch in watches.into_iter().flatten() {
            self.watches.remove(&watch);
            self.memory.remove(&watch);
            if let Some(inotify) = &self.inotify {
                // The kernel has removed the watch together with the file.
                let _ = inotify::remove_watch(inotify, watch);
            }
        }
    }
}

/// Finds where our groups begin: the whole hierarchy in a boot, a group of our own inside a namespace.
pub fn find_root(real_boot: bool) -> Option<String> {
    let is_cgroup2 = |path: &str| rustix::fs::statfs(path).is_ok_and(|s| s.f_type == 0x6367_7270);
    let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().find(|path| is_cgroup2(path))?;
    if real_boot {
        return Some(mount.to_owned());
    }
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/');
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let digits: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    let root = format!("{mount}{own}/ferrite-{digits}");
    match fs::create_dir(&root) {
        Ok(()) => Some(root),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(root),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_unit_lies_below_its_slices() {
        let slice = UnitName::parse("system-getty.slice").unwrap();
        let unit = UnitName::parse("getty@tty1.service").unwrap();
        assert_eq!(Groups::path(Some(&slice), &unit), "/system.slice/system-getty.slice/getty@tty1.service");
        assert_eq!(Groups::path(None, &unit), "/getty@tty1.service");
    }

    #[test]
    fn controllers_are_kept_from_the_groups_below() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::create_dir_all(place("a.slice/a-b.slice/x.service")).unwrap();
        fs::write(place("a.slice/a-b.slice/x.service/cgroup.events"), "").unwrap();
        let mut groups = Groups::new(Some(directory.path().to_str().unwrap().to_owned()));
        let disabled =
            |part: &str| if part == "a.slice" { Controllers::named("cpuset").unwrap() } else { Controllers::default() };
        groups.make(UnitId(1), "/a.slice/a-b.slice/x.service", disabled).unwrap();
        // In a plain folder the last wish is what the file holds.
        let wish = |name: &str| fs::read_to_string(place(name).join("cgroup.subtree_control")).unwrap();
        assert_eq!([wish(""), wish("a.slice"), wish("a.slice/a-b.slice")], ["+cpuset", "-cpuset", "-cpuset"]);
    }

    #[test]
    fn controllers_are_handed_down_again_in_a_slice_that_was_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let wish = directory.path().join("a.slice/cgroup.subtree_control");
        let mut groups = Groups::new(Some(directory.path().to_str().unwrap().to_owned()));
        for _ in 0..2 {
            // In a plain folder there is nothing to watch.
            assert!(groups.make(UnitId(1), "/a.slice/x.service", |_| Controllers::default()).is_err());
            fs::remove_file(&wish).unwrap();
            groups.remove(UnitId(2), "/a.slice");
            assert!(!directory.path().join("a.slice").exists());
        }
    }

    #[test]
    fn what_the_kernel_tells_of_memory_reaches_the_unit() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("a.service");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("cgroup.events"), "populated 1\n").unwrap();
        fs::write(directory.path().join("cgroup.controllers"), "cpu memory\n").unwrap();
        let events = place.join("memory.events");
        fs::write(&events, "low 0\noom 0\noom_kill 0\n").unwrap();
        let mut groups = Groups::new(Some(directory.path().to_str().unwrap().to_owned()));
        groups.watch(UnitId(3), "/a.service").unwrap();
        assert_eq!((groups.changed(), groups.memory_kills(UnitId(3), "/a.service")), (Changes::default(), Some(0)));
        fs::write(&events, "low 0\noom 2\noom_kill 2\n").unwrap();
        assert_eq!(groups.changed(), Changes { population: Vec::new(), memory: vec![UnitId(3)] });
        assert_eq!(groups.memory_kills(UnitId(3), "/a.service"), Some(2));
        groups.remove(UnitId(3), "/a.service");
        assert_eq!(groups.memory_kills(UnitId(3), "/a.service"), None);
    }
}
