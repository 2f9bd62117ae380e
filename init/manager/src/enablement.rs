//! Whether a unit starts at boot: by the links in the search path; and what the preset files say.

use std::fs;

use ferrite_control::Enablement;
use ferrite_unit::specifier::Host;
use ferrite_unit::unit::{LoadState, Unit};
use ferrite_unit::{Files, LoadPath, Loaded, Loader, UnitName};

use crate::disk::Disk;

/// Lines of preset files that are read.
const LINES_MAX: usize = 10_000;

/// The state of a unit file.
pub fn of(name: &UnitName, path: &LoadPath, disk: &Disk, host: &Host) -> Enablement {
    let loader = Loader { path, files: disk, host, devices: ferrite_unit::load::DeviceUnits::Absent };
    let unit = match loader.load(name) {
        Loaded::Alias(_) => return Enablement::Alias,
        Loaded::Unit(unit) => unit,
    };
    match &unit.load {
        LoadState::NotFound => return Enablement::NotFound,
        LoadState::Masked => {
            let runtime = unit.fragment.as_deref().is_some_and(|path| path.starts_with("/run/"));
            return if runtime { Enablement::MaskedRuntime } else { Enablement::Masked };
        }
        LoadState::Error(_) => return Enablement::Bad,
        LoadState::Loaded | LoadState::BadSetting(_) => {}
    }
    if let Some(runtime) = linked(&unit, path, disk) {
        return if runtime { Enablement::EnabledRuntime } else { Enablement::Enabled };
    }
    match (unit.install.is_empty(), unit.install.also.is_empty()) {
        (false, _) => Enablement::Disabled,
        (true, false) => Enablement::Indirect,
        (true, true) if unit.fragment.as_deref().is_some_and(|p| p.contains("/generator/")) => Enablement::Generated,
        (true, true) => Enablement::Static,
    }
}

/// Does a link in /etc or /run make something want the unit, or give it another name? `true`: only in /run.
fn linked(unit: &Unit, path: &LoadPath, disk: &Disk) -> Option<bool> {
    let mut names = vec![unit.name.as_str().to_owned()];
    names.extend(unit.name.template().map(|template| template.to_string()));
    let mut only_runtime = None;
    for directory in path.0.iter().filter(|dir| dir.starts_with("/etc/") || dir.starts_with("/run/")) {
        let runtime = directory.starts_with("/run/");
        for entry in disk.list(directory) {
            let place = format!("{directory}/{entry}");
            let found = if entry.ends_with(".wants") || entry.ends_with(".requires") || entry.ends_with(".upholds") {
                let inside = disk.list(&place);
                names.iter().any(|name| inside.iter().any(|have| have == name))
            } else {
                let alias = unit.install.alias.contains(&entry);
                alias
                    && disk.link(&place).is_some_and(|target| names.iter().any(|name| target.ends_with(name.as_str())))
            };
            if found && !runtime {
                return Some(false);
            }
            if found {
                only_runtime = Some(true);
            }
        }
    }
    only_runtime
}

/// The rules of the preset files.
#[derive(Debug, Default)]
pub struct Presets {
    rules: Vec<(bool, String)>,
}

impl Presets {
    /// Reads them in the order of their names; an earlier directory hides a file of the same name in a later one.
    pub fn read() -> Presets {
        let mut files: Vec<(String, String)> = Vec::new();
        for directory in ["/etc/systemd/system-preset", "/run/systemd/system-preset", "/usr/lib/systemd/system-preset"]
        {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".preset") && !files.iter().any(|(have, _)| *have == name) {
                    files.push((name.clone(), format!("{directory}/{name}")));
                }
            }
        }
        files.sort();
        let mut rules = Vec::new();
        for (_, path) in files {
            let text = fs::read_to_string(path).unwrap_or_default();
            for line in text.lines().map(str::trim).take(LINES_MAX) {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("enable"), Some(pattern)) => rules.push((true, pattern.to_owned())),
                    (Some("disable"), Some(pattern)) => rules.push((false, pattern.to_owned())),
                    _ => {}
                }
            }
        }
        Presets { rules }
    }

    /// `enabled`, `disabled`, or nothing where there are no rules at all.
    pub fn word(&self, name: &UnitName) -> &'static str {
        if self.rules.is_empty() {
            return "";
        }
        let rule =
            self.rules.iter().find(|(_, pattern)| crate::facts::matches(pattern.as_bytes(), name.as_str().as_bytes()));
        match rule {
            Some((false, _)) => "disabled",
            Some((true, _)) | None => "enabled",
        }
    }
}
