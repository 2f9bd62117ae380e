//! The kernel package: its image, its modules, and what each module says of itself.
//!
//! Reading a thousand module files takes longer than everything else of a small change, so what they say is kept in the
//! cache, named by the package's hash. The index appears whole or not at all, so builds may run side by side.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, bail};
use ferrite_boards::Glob;
use ferrite_modules::index::{self, Module};
use ferrite_modules::{ModuleName, kmod_index};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::depmod;
use crate::tree::{Node, Origin, Tree};

const MODULES: &str = "/usr/lib/modules";

/// A kernel package that was read.
pub struct Kernel {
    /// Release, as `uname -r` says it.
    pub release: String,
    /// Text of modules.builtin.
    pub builtin: String,
    /// Names the package in the cache.
    pub key: String,
    origin: Origin,
    modules: Vec<Module>,
    files: Tree,
}

/// A module as the cache keeps it.
#[derive(Serialize, Deserialize)]
struct Entry {
    path: String,
    dependencies: Vec<String>,
    aliases: Vec<String>,
    softdeps: Vec<String>,
}

/// Reads the files of a kernel package; `key` names it in the cache.
pub fn open(files: Tree, origin: Origin, cache: &Cache, key: &str) -> anyhow::Result<Kernel> {
    let images: Vec<&str> = files.iter().filter_map(|(path, _)| path.strip_prefix("/boot/vmlinuz-")).collect();
    let [release] = images[..] else {
        bail!("package {origin} has {} kernel images in /boot, not 1", images.len());
    };
    let release = release.to_string();
    let index = cache.entry("kernels", &format!("{key}.json"));
    let modules = match fs::read(&index) {
        Ok(text) => parse(&text).with_context(|| format!("reading '{}'", index.display()))?,
        Err(_) => {
            let modules = read_modules(&files, &release)?;
            cache.write(&index, &serde_json::to_vec(&entries(&modules))?)?;
            modules
        }
    };
    let builtin = String::from_utf8(content(&files, &format!("{MODULES}/{release}/modules.builtin"))?)?;
    Ok(Kernel { release, builtin, key: key.to_string(), origin, modules, files })
}

impl Kernel {
    /// The compressed kernel image.
    pub fn image(&self) -> anyhow::Result<Vec<u8>> {
        content(&self.files, &format!("/boot/vmlinuz-{}", self.release))
    }

    /// All modules but those that match one of the patterns. A module that stays and needs one that goes is an error:
    /// it could not be loaded, and nobody would see it before a machine does.
    pub fn modules(&self, exclude: &[Glob]) -> anyhow::Result<Vec<Module>> {
        let excluded = |module: &Module| exclude.iter().any(|glob| glob.matches(&format!("/{}", module.path)));
        let (gone, left): (Vec<Module>, Vec<Module>) = self.modules.iter().cloned().partition(excluded);
        match broken(&left, &gone).as_slice() {
            [] => Ok(left),
            faults => {
                let pairs: Vec<String> = faults.iter().map(|(user, needed)| format!("{user} needs {needed}")).collect();
                bail!("exclude-modules takes out modules that others need: {}", pairs.join("; "))
            }
        }
    }

    /// The files of some modules, by path below /usr/lib/modules/RELEASE.
    pub fn read<'a>(&self, paths: impl IntoIterator<Item = &'a String>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let below = format!("{MODULES}/{}", self.release);
        paths.into_iter().map(|path| Ok((path.clone(), content(&self.files, &format!("{below}/{path}"))?))).collect()
    }

    /// Puts modules and their index files into the image.
    pub fn add_to(&self, tree: &mut Tree, modules: &[Module]) -> anyhow::Result<()> {
        let below = format!("{MODULES}/{}", self.release);
        for module in modules {
            let path = format!("{below}/{}", module.path);
            let node = self.files.get(&path).with_context(|| format!("package {} has no {path}", self.origin))?;
            tree.insert(&path, node.clone())?;
        }
        let dependencies = index::render_dep(modules);
        let text = |text: &str| text.as_bytes().to_vec();
        let builtin_modinfo = content(&self.files, &format!("{below}/modules.builtin.modinfo"))?;
        let files = [
            ("modules.alias", text(&index::render_alias(modules))),
            ("modules.alias.bin", kmod_index::aliases(modules)),
            ("modules.builtin", text(&self.builtin)),
            ("modules.builtin.alias.bin", kmod_index::builtin_aliases(&builtin_modinfo)),
            ("modules.builtin.bin", kmod_index::builtin(&self.builtin)),
            ("modules.dep", text(&dependencies)),
            ("modules.dep.bin", kmod_index::dependencies(&dependencies)),
            ("modules.softdep", text(&index::render_softdep(modules))),
        ];
        for (name, bytes) in files {
            tree.insert(&format!("{below}/{name}"), Node::file(0o644, bytes, &self.origin))?;
        }
        Ok(())
    }
}

/// Modules that stay, each with a path of one that goes and that it cannot be loaded without.
fn broken<'a>(left: &'a [Module], gone: &'a [Module]) -> Vec<(&'a str, &'a str)> {
    let gone: BTreeMap<ModuleName, &str> = gone.iter().map(|module| (module.name(), module.path.as_str())).collect();
    let needs = |module: &'a Module| {
        let gone = &gone;
        let needed = module.dependencies.iter().filter_map(move |name| gone.get(&ModuleName::new(name)).copied());
        needed.map(|path| (module.path.as_str(), path))
    };
    left.iter().flat_map(needs).collect()
}

fn read_modules(files: &Tree, release: &str) -> anyhow::Result<Vec<Module>> {
    let below = format!("{MODULES}/{release}");
    let mut modules = Vec::new();
    for (path, node) in files.below(&below).filter(|(path, _)| path.ends_with(".ko")) {
        let bytes = node.content().with_context(|| format!("{path} is no file"))?.read()?;
        modules.push(depmod::read(&path[below.len() + 1..], &bytes)?);
    }
    Ok(modules)
}

fn parse(text: &[u8]) -> anyhow::Result<Vec<Module>> {
    let entries: Vec<Entry> = serde_json::from_slice(text)?;
    let module = |Entry { path, dependencies, aliases, softdeps }| Module { path, dependencies, aliases, softdeps };
    Ok(entries.into_iter().map(module).collect())
}

fn entries(modules: &[Module]) -> Vec<Entry> {
    let entry = |Module { path, dependencies, aliases, softdeps }| Entry { path, dependencies, aliases, softdeps };
    modules.iter().cloned().map(entry).collect()
}

fn content(files: &Tree, path: &str) -> anyhow::Result<Vec<u8>> {
    let content = files.read(path).with_context(|| format!("the kernel package has no {path}"))?;
    content.with_context(|| format!("reading {path} of the kernel package"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, dependencies: &[&str]) -> Module {
        let dependencies = dependencies.iter().map(|name| name.to_string()).collect();
        Module { path: path.into(), dependencies, aliases: Vec::new(), softdeps: Vec::new() }
    }

    fn kernel() -> Kernel {
        let modules = vec![
            module("kernel/net/bridge/bridge.ko", &["stp", "llc"]),
            module("kernel/net/llc/llc.ko", &[]),
            module("kernel/net/802/stp.ko", &["llc"]),
            module("kernel/sound/snd-pcm.ko", &["snd_timer"]),
            module("kernel/sound/snd-timer.ko", &[]),
        ];
        let (release, builtin, key) = ("6.12".into(), String::new(), String::new());
        Kernel { release, builtin, key, origin: "linux".into(), modules, files: Tree::new() }
    }

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| Glob::parse(pattern).unwrap()).collect()
    }

    #[test]
    fn modules_that_nothing_needs_go() {
        let left = kernel().modules(&globs(&["/kernel/sound/**", "/kernel/net/bridge/**"])).unwrap();
        let paths: Vec<&str> = left.iter().map(|module| module.path.as_str()).collect();
        assert_eq!(paths, ["kernel/net/llc/llc.ko", "kernel/net/802/stp.ko"]);
    }

    #[test]
    fn a_module_that_stays_and_needs_one_that_goes_is_named_with_it() {
        let error = kernel().modules(&globs(&["/kernel/net/llc/**", "/kernel/sound/snd-timer.ko"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "exclude-modules takes out modules that others need: \
             kernel/net/bridge/bridge.ko needs kernel/net/llc/llc.ko; \
             kernel/net/802/stp.ko needs kernel/net/llc/llc.ko; \
             kernel/sound/snd-pcm.ko needs kernel/sound/snd-timer.ko"
        );
    }
}
