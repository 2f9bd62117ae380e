//! `systemctl enable`, `disable`, `mask`...: which links under /etc/systemd/system change, and changing them.
//!
//! The plan is a list of changes; nothing is touched before all units of the command are understood. PID 1 is not
//! needed: these verbs work on a root that is not running (`--root`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrite_control::Enablement;
use ferrite_unit::UnitName;

/// Units that one command may reach through `Also=`.
const UNITS_MAX: usize = 256;
/// Bytes of a unit file that are read.
const FILE_MAX: u64 = ferrite_unit::file::FILE_MAX as u64;

/// A change of a link; paths are without the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Remove this link.
    Remove(String),
    /// Make this link.
    Link { path: String, target: String },
}

/// What the [Install] section of a unit file says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Install {
    links: Vec<(&'static str, String)>,
    aliases: Vec<String>,
    also: Vec<String>,
    default_instance: Option<String>,
}

/// The unit files of a root.
#[derive(Debug)]
pub struct UnitTree {
    root: PathBuf,
    runtime: bool,
}

impl UnitTree {
    /// The unit files under a root (`/` for the running system); links go to /run with `runtime`.
    pub fn new(root: &str, runtime: bool) -> Self {
        Self { root: PathBuf::from(root), runtime }
    }

    /// Where links are made. /run/systemd/system must not exist: programs would take PID 1 for systemd.
    fn config(&self) -> &'static str {
        if self.runtime { RUNTIME } else { "/etc/systemd/system" }
    }

    fn real(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read_link(&self, path: &str) -> Option<String> {
        fs::read_link(self.real(path)).ok()?.into_os_string().into_string().ok()
    }

    fn names_in(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.real(folder)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The unit file: the first real file in the search path, following links by name. Masks are not followed.
    fn fragment(&self, unit: &UnitName) -> Option<String> {
        let template = unit.template();
        let mut names: Vec<&str> = vec![unit.as_str()];
        names.extend(template.as_ref().map(UnitName::as_str));
        for name in names {
            for folder in ["/etc/systemd/system", RUNTIME, "/usr/local/lib/systemd/system", VENDOR] {
                let path = format!("{folder}/{name}");
                match self.read_link(&path) {
                    None if self.real(&path).is_file() => return Some(path),
                    None => {}
                    Some(target) if target == "/dev/null" => return Some(target),
                    Some(target) if self.real(&absolute(folder, &target)).is_file() => {
                        return Some(absolute(folder, &target));
                    }
                    Some(_) => {}
                }
            }
        }
        None
    }

    fn install(&self, path: &str, unit: &UnitName) -> Result<Install> {
        let real = self.real(path);
        let length = fs::metadata(&real).with_context(|| format!("reading '{}'", real.display()))?.len();
        if length > FILE_MAX {
            bail!("unit file '{path}' is longer than {FILE_MAX} bytes");
        }
        let bytes = fs::read(&real).with_context(|| format!("reading '{}'", real.display()))?;
        parse_install(path, &bytes, unit)
    }

    /// The changes of `enable`. Units without an [Install] section are given back by name.
    pub fn enable(&self, units: &[UnitName]) -> Result<(Vec<Change>, Vec<String>)> {
        let mut changes = Vec::new();
        let mut without = Vec::new();
        for (unit, path) in self.with_also(units)? {
            let install = self.install(&path, &unit)?;
            if install.links.is_empty() && install.aliases.is_empty() && install.also.is_empty() {
                without.push(unit.as_str().to_owned());
            }
            let unit = match (&install.default_instance, unit.is_template()) {
                (Some(instance), true) => unit.with_instance(instance)?,
                (None, true) => bail!("unit {unit} is a template: name an instance"),
                (_, false) => unit,
            };
            let config = self.config();
            for alias in &install.aliases {
                changes.push(Change::Link { path: format!("{config}/{alias}"), target: path.clone() });
            }
            for (kind, wanting) in &install.links {
                changes.push(Change::Link { path: format!("{config}/{wanting}.{kind}/{unit}"), target: path.clone() });
            }
        }
        changes.retain(|change| match change {
            Change::Link { path, target } => self.read_link(path).as_deref() != Some(target),
            Change::Remove(_) => true,
        });
        Ok((changes, without))
    }

    /// The named units and those of their `Also=`, each with its file.
    fn with_also(&self, units: &[UnitName]) -> Result<Vec<(UnitName, String)>> {
        let mut queue: Vec<UnitName> = units.iter().rev().cloned().collect();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        while let Some(unit) = queue.pop() {
            if !seen.insert(unit.clone()) {
                continue;
            }
            if seen.len() > UNITS_MAX {
                bail!("more than {UNITS_MAX} units are named by Also=");
            }
            let Some(path) = self.fragment(&unit) else {
                bail!(NoSuchUnit(unit.to_string()));
            };
            if path == "/dev/null" {
                bail!("Unit {unit} is masked");
            }
            for also in self.install(&path, &unit)?.also.iter().rev() {
                queue.push(UnitName::parse(also)?);
            }
            found.push((unit, path));
        }
        Ok(found)
    }

    /// The changes of `disable`: every link to the units and to those of their `Also=`.
    pub fn disable(&self, units: &[UnitName]) -> Result<Vec<Change>> {
        let units: Vec<UnitName> = match self.with_also(units) {
            Ok(found) => found.into_iter().map(|(unit, _)| unit).collect(),
            Err(error) if !units.iter().any(|unit| self.has_links(unit)) => return Err(error),
            // The file is gone, its links are not: they can still be removed.
            Err(_) => units.to_vec(),
        };
        let links = self.links();
        let concerns = |path: &str, target: &str| {
            let own = path.rsplit('/').next().unwrap_or_default();
            let its = target.rsplit('/').next().unwrap_or_default();
            units.iter().any(|unit| own == unit.as_str() || its == unit.as_str() && target != "/dev/null")
        };
        let is_mask = |path: &str, target: &str| target == "/dev/null" && path.matches('/').count() == 4;
        let chosen = links.iter().filter(|(path, target)| concerns(path, target) && !is_mask(path, target));
        Ok(chosen.map(|(path, _)| Change::Remove(path.clone())).collect())
    }

    fn has_links(&self, unit: &UnitName) -> bool {
        self.links().iter().any(|(path, _)| path.ends_with(&format!("/{unit}")))
    }

    /// All links of the configuration folder and of its `.wants`, `.requires`, `.upholds`.
    fn links(&self) -> Vec<(String, String)> {
        let config = self.config();
        let mut paths = Vec::new();
        for name in self.names_in(config) {
            let path = format!("{config}/{name}");
            if is_dependency_folder(&name) {
                paths.extend(self.names_in(&path).iter().map(|inner| format!("{path}/{inner}")));
            } else {
                paths.push(path);
            }
        }
        paths.into_iter().filter_map(|path| self.read_link(&path).map(|target| (path, target))).collect()
    }

    /// The changes of `mask`.
    pub fn mask(&self, units: &[UnitName]) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for unit in units {
            let path = format!("{}/{unit}", self.config());
            match self.read_link(&path) {
                Some(target) if target == "/dev/null" => {}
                Some(_) => {
                    changes.push(Change::Remove(path.clone()));
                    changes.push(Change::Link { path, target: "/dev/null".into() });
                }
                None if self.real(&path).exists() => bail!("File '{path}' already exists"),
                None => changes.push(Change::Link { path, target: "/dev/null".into() }),
            }
        }
        Ok(changes)
    }

    /// The changes of `unmask`.
    pub fn unmask(&self, units: &[UnitName]) -> Vec<Change> {
        let paths = units.iter().map(|unit| format!("{}/{unit}", self.config()));
        paths.filter(|path| self.read_link(path).as_deref() == Some("/dev/null")).map(Change::Remove).collect()
    }

    /// The changes of `set-default`.
    pub fn set_default(&self, target: &UnitName) -> Result<Vec<Change>> {
        let Some(path) = self.fragment(target).filter(|path| path != "/dev/null") else {
            bail!(NoSuchUnit(target.to_string()));
        };
        let link = format!("{}/default.target", self.config());
        let old = self.read_link(&link).map(|_| Change::Remove(link.clone()));
        Ok(old.into_iter().chain([Change::Link { path: link.clone(), target: path }]).collect())
    }

    /// The default target of this root.
    pub fn default_target(&self) -> Option<String> {
        ["/etc/systemd/system", RUNTIME, VENDOR]
            .iter()
            .find_map(|folder| self.read_link(&format!("{folder}/default.target")))
            .and_then(|target| target.rsplit('/').next().map(str::to_owned))
    }

    /// Whether a unit starts at boot.
    pub fn enablement(&self, unit: &UnitName) -> Enablement {
        let Some(path) = self.fragment(unit) else { return Enablement::NotFound };
        if path == "/dev/null" {
            let is_runtime = self.read_link(&format!("/etc/systemd/system/{unit}")).is_none();
            return if is_runtime { Enablement::MaskedRuntime } else { Enablement::Masked };
        }
        for (folder, word) in [(false, Enablement::Enabled), (true, Enablement::EnabledRuntime)] {
            let tree = UnitTree { root: self.root.clone(), runtime: folder };
            let wanted = |(link, target): &(String, String)| {
                let in_folder = link.matches('/').count() > 4;
                let names_it = link.ends_with(&format!("/{unit}"));
                let aliases_it = target.ends_with(&format!("/{unit}")) && !names_it;
                in_folder && names_it || !in_folder && aliases_it
            };
            if tree.links().iter().any(wanted) {
                return word;
            }
        }
        if !path.ends_with(&format!("/{unit}")) && unit.template().is_none() {
            return Enablement::Alias;
        }
        match self.install(&path, unit) {
            Err(_) => Enablement::Bad,
            Ok(install) if !install.links.is_empty() || !install.aliases.is_empty() => Enablement::Disabled,
            Ok(install) if !install.also.is_empty() => Enablement::Indirect,
            Ok(_) => Enablement::Static,
        }
    }

    /// Makes the changes and says each on stderr.
    pub fn apply(&self, changes: &[Change], quiet: bool, force: bool) -> Result<()> {
        for change in changes {
            let text = match change {
                Change::Remove(path) => {
                    fs::remove_file(self.real(path)).with_context(|| format!("removing '{path}'"))?;
                    format!("Removed '{path}'.")
                }
                Change::Link { path, target } => {
                    self.link(path, target, force).with_context(|| format!("making the link '{path}'"))?;
                    format!("Created symlink '{path}' → '{target}'.")
                }
            };
            if !quiet {
                eprintln!("{text}");
            }
        }
        Ok(())
    }

    fn link(&self, path: &str, target: &str, force: bool) -> io::Result<()> {
        let real = self.real(path);
        let folder = real.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        if force && fs::symlink_metadata(&real).is_ok_and(|metadata| metadata.is_symlink()) {
            fs::remove_file(&real)?;
        }
        std::os::unix::fs::symlink(target, &real)?;
        fs::File::open(folder)?.sync_all()
    }
}

const RUNTIME: &str = "/run/ferrite/system";
const VENDOR: &str = "/usr/lib/systemd/system";

/// A unit without a file; the exit code differs from other failures.
#[derive(Debug, thiserror::Error)]
#[error("Unit {0} does not exist")]
pub struct NoSuchUnit(pub String);

fn is_dependency_folder(name: &str) -> bool {
    [".wants", ".requires", ".upholds"].iter().any(|end| name.ends_with(end))
}

fn absolute(folder: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { format!("{folder}/{target}") }
}

fn parse_install(path: &str, bytes: &[u8], unit: &UnitName) -> Result<Install> {
    let mut install = Install::default();
    for entry in ferrite_unit::file::parse(path, bytes).entries {
        if &*entry.section != "Install" {
            continue;
        }
        let kind = match entry.key.as_str() {
            "WantedBy" => Some("wants"),
            "RequiredBy" => Some("requires"),
            "UpheldBy" => Some("upholds"),
            _ => None,
        };
        let mut words = Vec::new();
        for word in entry.value.split_whitespace() {
            words.push(expand(word, unit).with_context(|| format!("{path}:{}", entry.line))?);
        }
        match (kind, entry.key.as_str()) {
            (Some(kind), _) if words.is_empty() => install.links.retain(|(other, _)| *other != kind),
            (Some(kind), _) => install.links.extend(words.into_iter().map(|word| (kind, word))),
            (None, "Alias") if words.is_empty() => install.aliases.clear(),
            (None, "Alias") => install.aliases.extend(words),
            (None, "Also") if words.is_empty() => install.also.clear(),
            (None, "Also") => install.also.extend(words),
            (None, "DefaultInstance") => install.default_instance = words.pop(),
            (None, _) => {}
        }
    }
    let names = install.links.iter().map(|(_, name)| name).chain(&install.aliases);
    for name in names {
        UnitName::parse(name).with_context(|| format!("{path}: in [Install]"))?;
    }
    Ok(install)
}

/// The specifiers that [Install] sections use: the parts of the unit's own name.
fn expand(word: &str, unit: &UnitName) -> Result<String> {
    let mut out = String::new();
    let mut characters = word.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('%') => out.push('%'),
            Some('n') => out.push_str(unit.as_str()),
            Some('N') => out.push_str(unit.stem()),
            Some('p') => out.push_str(unit.prefix()),
            Some('i') => out.push_str(unit.instance().unwrap_or_default()),
            Some(other) => bail!("specifier %{other} in [Install] is not supported by this version"),
            None => bail!("'%' at the end of '{word}'"),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, UnitTree) {
        let directory = tempfile::tempdir().expect("a directory");
        let vendor = directory.path().join("usr/lib/systemd/system");
        fs::create_dir_all(&vendor).expect("made");
        fs::create_dir_all(directory.path().join("etc/systemd/system")).expect("made");
        for (name, text) in [
            ("a.service", "[Install]\nWantedBy=multi-user.target\nAlias=alpha.service\nAlso=a.socket\n"),
            ("a.socket", "[Install]\nWantedBy=sockets.target\n"),
            ("plain.service", "[Service]\nExecStart=/bin/true\n"),
            ("t@.service", "[Install]\nDefaultInstance=tty1\nRequiredBy=x-%i.target\n"),
            ("multi-user.target", ""),
            ("bad.service", "[Install]\nWantedBy=%H.target\n"),
        ] {
            fs::write(vendor.join(name), text).expect("written");
        }
        let tree = UnitTree::new(directory.path().to_str().expect("a text path"), false);
        (directory, tree)
    }

    fn names(words: &[&str]) -> Vec<UnitName> {
        words.iter().map(|word| UnitName::parse(word).expect("a unit name")).collect()
    }

    #[test]
    fn enabling_and_disabling_is_there_and_back() {
        let (_directory, tree) = tree();
        let (changes, without) = tree.enable(&names(&["a.service"])).expect("a plan");
        let link = |path: &str, target: &str| Change::Link {
            path: format!("/etc/systemd/system/{path}"),
            target: format!("/usr/lib/systemd/system/{target}"),
        };
        let expected = [
            link("alpha.service", "a.service"),
            link("multi-user.target.wants/a.service", "a.service"),
            link("sockets.target.wants/a.socket", "a.socket"),
        ];
        assert_eq!(changes, expected);
        assert!(without.is_empty());
        assert_eq!(tree.enablement(&names(&["a.service"])[0]), Enablement::Disabled);
        tree.apply(&changes, true, false).expect("applied");
        assert_eq!(tree.enablement(&names(&["a.service"])[0]), Enablement::Enabled);
        assert_eq!(tree.enablement(&names(&["alpha.service"])[0]), Enablement::Alias);
        assert_eq!(tree.enable(&names(&["a.service"])).expect("a plan").0, []);
        let removed = tree.disable(&names(&["a.service"])).expect("a plan");
        assert_eq!(removed.len(), 3);
        tree.apply(&removed, true, false).expect("applied");
        assert_eq!(tree.enablement(&names(&["a.service"])[0]), Enablement::Disabled);
    }

    #[test]
    fn templates_take_their_default_instance() {
        let (_directory, tree) = tree();
        let (changes, _) = tree.enable(&names(&["t@.service"])).expect("a plan");
        let expected = Change::Link {
            path: "/etc/systemd/system/x-.target.requires/t@tty1.service".into(),
            target: "/usr/lib/systemd/system/t@.service".into(),
        };
        assert_eq!(changes, [expected]);
        let (changes, _) = tree.enable(&names(&["t@b.service"])).expect("a plan");
        assert!(matches!(&changes[0], Change::Link { path, .. } if path.ends_with("x-b.target.requires/t@b.service")));
    }

    #[test]
    fn masks_are_made_kept_and_removed() {
        let (_directory, tree) = tree();
        let unit = names(&["plain.service"]);
        assert_eq!(tree.enablement(&unit[0]), Enablement::Static);
        assert_eq!(tree.enable(&unit).expect("a plan"), (vec![], vec!["plain.service".to_owned()]));
        let changes = tree.mask(&unit).expect("a plan");
        tree.apply(&changes, true, false).expect("applied");
        assert_eq!(tree.enablement(&unit[0]), Enablement::Masked);
        assert_eq!(tree.mask(&unit).expect("a plan"), []);
        assert_eq!(tree.enable(&unit).expect_err("masked").to_string(), "Unit plain.service is masked");
        tree.apply(&tree.unmask(&unit), true, false).expect("applied");
        assert_eq!(tree.enablement(&unit[0]), Enablement::Static);
    }

    #[test]
    fn nothing_changes_when_one_unit_is_wrong() {
        let (_directory, tree) = tree();
        let error = tree.enable(&names(&["a.service", "gone.service"])).expect_err("no such unit");
        assert!(error.downcast_ref::<NoSuchUnit>().is_some());
        let error = tree.enable(&names(&["bad.service"])).expect_err("unknown specifier");
        assert!(format!("{error:#}").contains("bad.service:2: specifier %H"), "{error:#}");
        assert_eq!(tree.links(), []);
        assert_eq!(tree.enablement(&names(&["gone.service"])[0]), Enablement::NotFound);
    }

    #[test]
    fn the_default_target_is_one_link() {
        let (_directory, tree) = tree();
        assert_eq!(tree.default_target(), None);
        let changes = tree.set_default(&names(&["multi-user.target"])[0]).expect("a plan");
        tree.apply(&changes, true, false).expect("applied");
        assert_eq!(tree.default_target().as_deref(), Some("multi-user.target"));
        assert_eq!(tree.set_default(&names(&["multi-user.target"])[0]).expect("a plan").len(), 2);
    }
}
