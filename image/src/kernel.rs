//! The kernel package: its image, its modules, and what each module says of itself.
//!
//! Reading a thousand module files takes longer than everything else of a small change, so what they say is kept in the
//! cache, named by the package's hash. The index appears whole or not at all, so builds may run side by side.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use ferrite_boards::Glob;
use ferrite_modules::index::{self, Module};
use ferrite_modules::kmod_index;
use serde::{Deserialize, Serialize};

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
pub fn open(files: Tree, origin: Origin, cache: &Path, key: &str) -> anyhow::Result<Kernel> {
    let images: Vec<&str> = files.iter().filter_map(|(path, _)| path.strip_prefix("/boot/vmlinuz-")).collect();
    let [release] = images[..] else {
        bail!("package {origin} has {} kernel images in /boot, not 1", images.len());
    };
    let release = release.to_string();
    let index = cache.join("kernels").join(format!("{key}.json"));
    let modules = match fs::read(&index) {
        Ok(text) => parse(&text).with_context(|| format!("reading '{}'", index.display()))?,
        Err(_) => {
            let modules = read_modules(&files, &release)?;
            keep(&modules, &index).with_context(|| format!("writing '{}'", index.display()))?;
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

    /// All modules but those that match one of the patterns.
    pub fn modules(&self, exclude: &[Glob]) -> Vec<Module> {
        let excluded = |module: &Module| exclude.iter().any(|glob| glob.matches(&format!("/{}", module.path)));
        self.modules.iter().filter(|module| !excluded(module)).cloned().collect()
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

fn keep(modules: &[Module], index: &Path) -> anyhow::Result<()> {
    let entry = |Module { path, dependencies, aliases, softdeps }| Entry { path, dependencies, aliases, softdeps };
    let entries: Vec<Entry> = modules.iter().cloned().map(entry).collect();
    let folder = index.parent().context("the index has no folder")?;
    fs::create_dir_all(folder)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(&serde_json::to_vec(&entries)?)?;
    temporary.persist(index)?;
    Ok(())
}

fn content(files: &Tree, path: &str) -> anyhow::Result<Vec<u8>> {
    let content = files.read(path).with_context(|| format!("the kernel package has no {path}"))?;
    content.with_context(|| format!("reading {path} of the kernel package"))
}
