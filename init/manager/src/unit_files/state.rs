//! Whether a unit file starts its unit at boot, in systemd's words; and which unit files there are.

use std::collections::BTreeMap;

use ferrite_control::{Enablement, UnitFile};
use ferrite_unit::specifier::Host;
use ferrite_unit::{LoadPath, UnitName};

use super::change::Fault;
use super::lookup::{Cause, ConfigLinks, Form, Info, Reading, Units};
use super::preset::Presets;
use super::{CONFIG, Entry, Tree, directory_of, is_dependency_directory, name_of};

/// What the links of a directory say of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Nothing,
    /// A link makes something want it, or gives it another name.
    Link,
    /// A link of its own name leads to a file elsewhere.
    SameName,
}

/// Which names of links count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Those that enabling would make.
    Known,
    Any,
}

/// The state of a unit file; `Err` says why there is none.
pub fn state(tree: &Tree, name: &UnitName) -> Result<Enablement, Fault> {
    let mut units = Units::default();
    let index = units.add(name.clone(), None, false);
    let found = units.traverse(tree, index, Reading::Load, ConfigLinks::Followed);
    let found = found.map_err(|cause: Cause| cause.fault(name.as_str()))?;
    let Some(info) = units.get(found) else { return Ok(Enablement::NotFound) };
    let path = info.path.clone().unwrap_or_default();
    Ok(match info.form {
        Some(Form::Masked) if Tree::is_runtime(directory_of(&path)) => Enablement::MaskedRuntime,
        Some(Form::Masked) => Enablement::Masked,
        Some(Form::Regular) => state_of_file(tree, name, info, &path),
        Some(Form::Alias | Form::Linked) | None => Enablement::Bad,
    })
}

fn state_of_file(tree: &Tree, name: &UnitName, info: &Info, path: &str) -> Enablement {
    if name.as_str() != name_of(path) && info.name.instance().is_none() {
        return Enablement::Alias;
    }
    if Tree::is_generated(path) {
        return Enablement::Generated;
    }
    if Tree::is_transient(path) {
        return Enablement::Transient;
    }
    if let Some(state) = links_in_scope(tree, info, path, Names::Known) {
        return state;
    }
    match links_in_scope(tree, info, path, Names::Any) {
        Some(_) => Enablement::Indirect,
        None if info.section.has_rules() => Enablement::Disabled,
        None if !info.section.also.is_empty() => Enablement::Indirect,
        None => Enablement::Static,
    }
}

fn links_in_scope(tree: &Tree, info: &Info, path: &str, names: Names) -> Option<Enablement> {
    let mut below_unit = false;
    let (mut in_runtime, mut anywhere) = (false, false);
    let mut same_name = None;
    for directory in &tree.path {
        let is_runtime = Tree::is_runtime(directory);
        match seen_in(tree, info, directory, names, below_unit) {
            Seen::Link if directory == CONFIG => return Some(Enablement::Enabled),
            Seen::Link if is_runtime => in_runtime = true,
            Seen::Link => anywhere = true,
            Seen::SameName if directory == CONFIG => same_name = Some(Enablement::Linked),
            Seen::SameName if is_runtime => same_name = same_name.or(Some(Enablement::LinkedRuntime)),
            Seen::SameName | Seen::Nothing => {}
        }
        // What has the unit's own name further down is hidden by the unit itself.
        below_unit |= path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'));
    }
    if in_runtime {
        return Some(Enablement::EnabledRuntime);
    }
    // A link that a vendor made for an instance is more than another name.
    if anywhere && info.name.instance().is_some() {
        return Some(Enablement::Static);
    }
    same_name
}

fn seen_in(tree: &Tree, info: &Info, directory: &str, names: Names, below_unit: bool) -> Seen {
    let counts = |link: &str| names == Names::Any || is_known(info, link);
    let entries = tree.names(directory);
    for folder in entries.iter().filter(|name| is_dependency_directory(name)) {
        let folder = format!("{directory}/{folder}");
        for link in tree.names(&folder) {
            let template = || UnitName::parse(&link).ok().and_then(|name| name.template());
            let is_instance = || info.name.is_template() && template().is_some_and(|template| template == info.name);
            let is_link = || tree.link(&format!("{folder}/{link}")).is_some();
            if (link == info.name.as_str() || is_instance()) && is_link() && counts(&link) {
                return Seen::Link;
            }
        }
    }
    let mut same_name = Seen::Nothing;
    for link in &entries {
        let Some(target) = tree.link(&format!("{directory}/{link}")) else { continue };
        let leads_here = name_of(&target) == info.name.as_str();
        let has_name = !below_unit && link == info.name.as_str();
        if leads_here && has_name {
            same_name = Seen::SameName;
        } else if (leads_here || has_name) && counts(link) {
            return Seen::Link;
        }
    }
    same_name
}

/// Is this a name that enabling the unit would make a link of?
fn is_known(info: &Info, link: &str) -> bool {
    let default = info.section.default_instance.as_ref().filter(|_| info.name.is_template());
    let instance = default.and_then(|instance| info.name.with_instance(instance).ok());
    link == info.name.as_str()
        || info.section.aliases.iter().any(|alias| alias == link)
        || instance.is_some_and(|name| name.as_str() == link)
}

/// All unit files with their state and what the presets say.
pub fn list(tree: &Tree) -> Vec<UnitFile> {
    let presets = Presets::read(tree);
    let mut files = BTreeMap::new();
    for directory in &tree.path {
        for name in tree.names(directory) {
            let is_file = !matches!(tree.entry(&format!("{directory}/{name}")), Entry::Directory | Entry::Missing);
            let Ok(unit) = UnitName::parse(&name) else { continue };
            if is_file && !files.contains_key(&name) {
                let enablement = state(tree, &unit).unwrap_or(Enablement::Bad);
                let preset = preset_word(&presets, &unit, enablement);
                files.insert(name.clone(), UnitFile { name, enablement, preset });
            }
        }
    }
    files.into_values().collect()
}

/// The unit files and presets of the running system as they are now: read once, asked for many units.
#[derive(Debug)]
pub struct Installed {
    tree: Tree,
    presets: Presets,
}

impl Installed {
    /// Reads them.
    pub fn read(path: &LoadPath, host: Host) -> Installed {
        let tree = Tree::running(path, host);
        let presets = Presets::read(&tree);
        Installed { tree, presets }
    }

    /// The state of one unit file, and what the presets say of it.
    pub fn state_and_preset(&self, name: &UnitName) -> (Enablement, String) {
        let enablement = match state(&self.tree, name) {
            Ok(enablement) => enablement,
            Err(fault) if fault.is_missing() => Enablement::NotFound,
            Err(_) => Enablement::Bad,
        };
        (enablement, preset_word(&self.presets, name, enablement))
    }

    /// What the presets say of a unit, whether they are asked for it or not.
    pub fn preset_of(&self, name: &UnitName) -> &'static str {
        self.presets.action(name).as_str()
    }
}

/// Presets say nothing of what cannot be enabled.
fn preset_word(presets: &Presets, name: &UnitName, enablement: Enablement) -> String {
    match enablement {
        Enablement::Alias
        | Enablement::Static
        | Enablement::Generated
        | Enablement::Transient
        | Enablement::NotFound => String::new(),
        Enablement::Enabled
        | Enablement::EnabledRuntime
        | Enablement::Linked
        | Enablement::LinkedRuntime
        | Enablement::Masked
        | Enablement::MaskedRuntime
        | Enablement::Indirect
        | Enablement::Disabled
        | Enablement::Bad => presets.action(name).as_str().to_owned(),
    }
}
