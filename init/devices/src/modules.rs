//! Loading modules in the planned order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_modules::plan::Need;
use ferrite_modules::{Catalog, ModuleName};

use crate::command;
use crate::modprobe::{self, Rules};

/// What a load needs: the index of this kernel's modules and the rules of the administrator.
#[derive(Debug)]
pub(crate) struct Loader {
    folder: PathBuf,
    catalog: Catalog,
    rules: Rules,
    tried: BTreeSet<ModuleName>,
}

/// What is known about the name of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It can be loaded or is built in.
    Known,
    /// The administrator forbids it.
    DenyListed,
    /// There is none for this kernel.
    Unknown,
}

/// Loads modules by name or modalias.
pub fn load(root: &Path, wanted: &[String]) -> anyhow::Result<()> {
    let mut loader = Loader::open(root)?;
    loader.load(wanted.iter().map(String::as_str));
    Ok(())
}

/// What the kernel calls to get a module (`modprobe -q -- ALIAS`): an unknown name is an error here.
pub fn modprobe(root: &Path, wanted: &[String]) -> anyhow::Result<()> {
    let mut loader = Loader::open(root)?;
    for name in wanted {
        let is_known = loader.catalog.is_builtin(&ModuleName::new(name)) || !loader.catalog.resolve(name).is_empty();
        if !is_known {
            bail!("there is no module '{name}' for this kernel");
        }
    }
    loader.load(wanted.iter().map(String::as_str));
    Ok(())
}

impl Loader {
    /// Reads the index of the running kernel. A kernel without modules has an empty one.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        let release = rustix::system::uname();
        let release = release.release().to_str().context("reading the kernel's release")?.to_string();
        let folder = root.join("usr/lib/modules").join(release);
        let mut catalog = if folder.join("modules.dep").exists() {
            Catalog::read(&folder).with_context(|| format!("reading the index of '{}'", folder.display()))?
        } else {
            Catalog::default()
        };
        let rules = modprobe::read(root);
        for warning in &rules.warnings {
            eprintln!("warning: {warning}");
        }
        catalog.add_rules(rules.lines.iter().map(String::as_str));
        Ok(Self { folder, catalog, rules, tried: loaded(root) })
    }

    /// What is known about a name.
    pub(crate) fn answer(&self, name: &str) -> Answer {
        let own_name = ModuleName::new(name);
        if self.rules.blacklist.contains(&own_name) {
            return Answer::DenyListed;
        }
        let is_known = self.catalog.is_builtin(&own_name) || !self.catalog.resolve(name).is_empty();
        if is_known { Answer::Known } else { Answer::Unknown }
    }

    /// Loads what the names and aliases stand for; returns how many modules are new.
    pub(crate) fn load<'a>(&mut self, wanted: impl Iterator<Item = &'a str>) -> usize {
        let names = allowed(&self.catalog, &self.rules, wanted);
        // A command cares for what its module needs.
        let (by_command, names): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| self.rules.commands.contains_key(name));
        let mut count = by_command.iter().filter(|name| self.tried.insert((*name).clone()) && self.run(name)).count();
        let plan = self.catalog.plan_all(names.iter().map(ModuleName::as_str), &self.tried);
        for step in plan {
            self.tried.insert(step.name.clone());
            if self.rules.commands.contains_key(&step.name) {
                count += usize::from(self.run(&step.name));
                continue;
            }
            let options = self.rules.options_of(&step.name);
            match ferrite_sys::module::load(&self.folder.join(&step.path), &options) {
                Ok(()) => count += 1,
                // The driver found no hardware of its kind: nothing is wrong.
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) => {}
                Err(error) => match step.need {
                    Need::Required => eprintln!("warning: loading module {}: {error}, going on without it", step.name),
                    Need::Wished => {}
                },
            }
        }
        count
    }

    /// Runs the command that stands for a module.
    fn run(&self, module: &ModuleName) -> bool {
        let Some(command) = self.rules.commands.get(module) else { return false };
        let command = command.replace("$CMDLINE_OPTS", &self.rules.options_of(module));
        match command::run(&command) {
            Ok(()) => true,
            Err(error) => {
                eprintln!("warning: `{command}` for module {module}: {error:#}, going on without it");
                false
            }
        }
    }
}

/// The modules behind names and aliases; a blacklisted module is loaded by its own name only, as modprobe has it.
fn allowed<'a>(catalog: &Catalog, rules: &Rules, wanted: impl Iterator<Item = &'a str>) -> Vec<ModuleName> {
    let mut names = Vec::new();
    for text in wanted {
        let own_name = ModuleName::new(text);
        for module in catalog.resolve(text) {
            if module == own_name || !rules.blacklist.contains(&module) {
                names.push(module);
            }
        }
    }
    names
}

/// What is loaded or built in.
fn loaded(root: &Path) -> BTreeSet<ModuleName> {
    // Without /sys nothing is known to be loaded; the kernel refuses a second load by itself.
    let Ok(entries) = std::fs::read_dir(root.join("sys/module")) else {
        return BTreeSet::new();
    };
    entries.flatten().map(|entry| ModuleName::new(&entry.file_name().to_string_lossy())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_modules::catalog::IndexFiles;

    #[test]
    fn a_command_is_run_instead_of_loading_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let catalog = Catalog::parse(&IndexFiles { dep: "kernel/a.ko:\n", alias: "", softdep: "", builtin: "" });
        let name = ModuleName::new("a");
        let rules = Rules {
            commands: [(name.clone(), format!("echo \"$CMDLINE_OPTS\" >>{}", mark.display()))].into(),
            options: [(name, "x=1".to_string())].into(),
            ..Rules::default()
        };
        let mut loader = Loader { folder: folder.path().into(), catalog, rules, tried: BTreeSet::new() };
        assert_eq!((loader.load(["a"].into_iter()), loader.load(["a"].into_iter())), (1, 0));
        assert_eq!(std::fs::read_to_string(mark).unwrap(), "x=1\n");
        assert!(command::run("exit 3").is_err());
    }

    #[test]
    fn a_blacklisted_module_is_loaded_by_name_but_not_by_alias() {
        let dep = "kernel/a.ko:\nkernel/b.ko: kernel/a.ko\n";
        let alias = "alias pci:v1* a\nalias pci:v1* b\n";
        let catalog = Catalog::parse(&IndexFiles { dep, alias, softdep: "", builtin: "" });
        let rules = Rules { blacklist: [ModuleName::new("a")].into(), ..Rules::default() };
        let names = |wanted: &str| -> Vec<String> {
            allowed(&catalog, &rules, [wanted].into_iter()).iter().map(ToString::to_string).collect()
        };
        assert_eq!(names("pci:v1d2"), ["b"]);
        assert_eq!(names("a"), ["a"]);
        assert_eq!(names("unknown"), Vec::<String>::new());
    }
}
