//! Kernel modules of early boot: those that the image lists, and those that the devices ask for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_modules::{Catalog, ModuleName, Need, Step, parameters};

use crate::report::Reporter;
use crate::stage::Stage;

const MODULES: &str = "/lib/modules";
const LIST: &str = "/etc/modules.load";

/// The modules that this initrd carries and those that were loaded.
#[derive(Debug)]
pub struct Drivers {
    folder: PathBuf,
    catalog: Catalog,
    tried: BTreeSet<ModuleName>,
    loaded: usize,
    seen_aliases: BTreeSet<String>,
}

impl Drivers {
    /// Reads the index of the running kernel's modules.
    pub fn open() -> anyhow::Result<Drivers> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let folder = Path::new(MODULES).join(&release);
        let catalog = Catalog::read(&folder).with_context(|| {
            format!("reading the module index of '{}': is this initrd for another kernel?", folder.display())
        })?;
        Ok(Drivers { folder, catalog, tried: BTreeSet::new(), loaded: 0, seen_aliases: BTreeSet::new() })
    }

    /// Number of modules that were loaded.
    pub fn loaded(&self) -> usize {
        self.loaded
    }

    /// Loads the modules of /etc/modules.load; one that cannot be loaded is a warning.
    pub fn load_list(&mut self, words: &[String], report: &mut Reporter) {
        let text = match std::fs::read_to_string(LIST) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return report.warn(Stage::Drivers, &format!("reading '{LIST}': {error}")),
        };
        for name in listed(&text) {
            if self.catalog.resolve(name).is_empty() {
                report.warn(Stage::Drivers, &format!("module {name} of '{LIST}' is not in this initrd"));
            }
            for failure in self.load(name, words) {
                report.warn(Stage::Drivers, &failure);
            }
        }
    }

    /// Loads what one name or modalias stands for. Returns what failed; a device may well do without.
    pub fn load(&mut self, wanted: &str, words: &[String]) -> Vec<String> {
        let steps = self.catalog.plan(wanted, &self.tried);
        steps.iter().filter_map(|step| self.load_step(step, words).err()).collect()
    }

    /// Loads what the devices that are there now ask for.
    pub fn coldplug(&mut self, words: &[String], report: &Reporter) {
        for modalias in modaliases() {
            self.load_for(&modalias, words, report);
        }
    }

    /// Loads what a device asks for.
    pub fn load_for(&mut self, modalias: &str, words: &[String], report: &Reporter) {
        if self.seen_aliases.insert(modalias.to_owned()) {
            for failure in self.load(modalias, words) {
                report.debug(Stage::Drivers, &format!("{failure} (wanted by {modalias})"));
            }
        }
    }

    /// Whether this initrd can load a module or has it in its kernel.
    pub fn knows(&self, name: &str) -> bool {
        !self.catalog.resolve(name).is_empty()
    }

    fn load_step(&mut self, step: &Step, words: &[String]) -> Result<(), String> {
        // Tried once is enough: a module that found no device or lacks a symbol would only fail again.
        self.tried.insert(step.name.clone());
        let parameters = parameters::for_module(words.iter().map(String::as_str), &step.name);
        match ferrite_sys::module::load(&self.folder.join(&step.path), &parameters) {
            Ok(()) => {
                self.loaded += 1;
                Ok(())
            }
            Err(error) => match step.need {
                Need::Required => Err(format!("loading module {}: {error}", step.name)),
                Need::Wished => Ok(()),
            },
        }
    }
}

/// One name a line; `#` begins a comment.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.split('#').next()).map(str::trim).filter(|name| !name.is_empty())
}

/// The modalias of every device on every bus, sorted.
fn modaliases() -> BTreeSet<String> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    let buses = folders(Path::new("/sys/bus"));
    let devices = buses.iter().flat_map(|bus| folders(&bus.join("devices")));
    devices
        .filter_map(|device| std::fs::read_to_string(device.join("modalias")).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_one_name_a_line_and_comments() {
        let names: Vec<&str> = listed("# early\n dm-verity # root\n\nerofs\n").collect();
        assert_eq!(names, ["dm-verity", "erofs"]);
    }
}
