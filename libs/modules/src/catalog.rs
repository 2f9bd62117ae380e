//! Everything that is known of one kernel's modules. Pure but `read`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::alias::AliasIndex;
use crate::index::{self, Module};
use crate::name::ModuleName;

/// Limit of one index file; the largest of a generic kernel has 1.4 MB.
const FILE_BYTES: u64 = 16 << 20;

/// The modules of one kernel and how they hang together.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    modules: BTreeMap<ModuleName, Entry>,
    aliases: AliasIndex,
    softdeps: BTreeMap<ModuleName, Softdeps>,
    builtin: BTreeSet<ModuleName>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) dependencies: Vec<ModuleName>,
}

/// Names or aliases wished for before and after a module; nothing depends on their success.
#[derive(Clone, Debug, Default)]
pub(crate) struct Softdeps {
    pub(crate) pre: Vec<String>,
    pub(crate) post: Vec<String>,
}

/// The texts of the index files.
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexFiles<'a> {
    /// modules.dep
    pub dep: &'a str,
    /// modules.alias
    pub alias: &'a str,
    /// modules.softdep
    pub softdep: &'a str,
    /// modules.builtin
    pub builtin: &'a str,
}

impl Catalog {
    /// Reads the index files of a folder like /lib/modules/6.12.1; only modules.dep must exist.
    pub fn read(folder: &Path) -> io::Result<Catalog> {
        let optional = |name: &str| match read_text(&folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        let dep = read_text(&folder.join("modules.dep"))?;
        let (alias, softdep) = (optional("modules.alias")?, optional("modules.softdep")?);
        let builtin = optional("modules.builtin")?;
        Ok(Catalog::parse(&IndexFiles { dep: &dep, alias: &alias, softdep: &softdep, builtin: &builtin }))
    }

    /// Reads the texts of index files. A line that is not understood is passed over, as kmod does.
    pub fn parse(files: &IndexFiles) -> Catalog {
        let mut catalog = Catalog::default();
        files.dep.lines().for_each(|line| catalog.add_dependencies(line));
        files.alias.lines().for_each(|line| catalog.add_alias(line));
        files.softdep.lines().for_each(|line| catalog.add_softdep(line));
        catalog.builtin = files.builtin.lines().map(|line| ModuleName::of_path(line.trim())).collect();
        catalog.aliases.finish();
        catalog
    }

    /// The catalogue of modules whose files were just read, for the builder of an image.
    pub fn of_modules(modules: &[Module], builtin: &str) -> Catalog {
        Catalog::parse(&IndexFiles {
            dep: &index::render_dep(modules),
            alias: &index::render_alias(modules),
            softdep: &index::render_softdep(modules),
            builtin,
        })
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Whether there is no module at all.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }

    /// Path of a module below the folder.
    pub fn path(&self, module: &ModuleName) -> Option<&str> {
        self.modules.get(module).map(|entry| entry.path.as_str())
    }

    /// Whether the kernel contains the module.
    pub fn is_builtin(&self, module: &ModuleName) -> bool {
        self.builtin.contains(module)
    }

    /// The modules that a name, an alias or a modalias stands for; none if nothing is known of it.
    pub fn resolve(&self, wanted: &str) -> Vec<ModuleName> {
        let name = ModuleName::new(wanted);
        if self.modules.contains_key(&name) || self.builtin.contains(&name) {
            return vec![name];
        }
        self.aliases.find(wanted).into_iter().map(ModuleName::new).collect()
    }

    pub(crate) fn entry(&self, module: &ModuleName) -> Option<&Entry> {
        self.modules.get(module)
    }

    pub(crate) fn softdeps(&self, module: &ModuleName) -> Option<&Softdeps> {
        self.softdeps.get(module)
    }

    fn add_dependencies(&mut self, line: &str) {
        let Some((path, dependencies)) = line.split_once(':') else { return };
        let entry = Entry {
            path: path.trim().to_owned(),
            dependencies: dependencies.split_whitespace().map(ModuleName::of_path).collect(),
        };
        self.modules.insert(ModuleName::of_path(path.trim()), entry);
    }

    fn add_alias(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        if let (Some("alias"), Some(pattern), Some(module)) = (words.next(), words.next(), words.next()) {
            self.aliases.push(pattern, module);
        }
    }

    fn add_softdep(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some("softdep"), Some(module)) = (words.next(), words.next()) else { return };
        let softdeps = self.softdeps.entry(ModuleName::new(module)).or_default();
        let mut list = None;
        for word in words {
            match (word, &mut list) {
                ("pre:", _) => list = Some(&mut softdeps.pre),
                ("post:", _) => list = Some(&mut softdeps.post),
                (name, Some(list)) => list.push(name.to_owned()),
                (_, None) => {}
            }
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("'{}' is too large", path.display())));
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: IndexFiles = IndexFiles {
        dep: "k/virtio_blk.ko: k/virtio.ko\nk/virtio.ko:\ngarbage\n",
        alias: "# comment\nalias virtio:d00000002v* virtio_blk\nalias short\n",
        softdep: "softdep virtio-blk pre: a b post: c\nsoftdep x stray\n",
        builtin: "kernel/fs/ext4/ext4.ko\n",
    };

    #[test]
    fn a_name_a_modalias_and_a_built_in_module_are_found() {
        let catalog = Catalog::parse(&FILES);
        assert_eq!(catalog.len(), 2);
        assert_eq!(catalog.resolve("virtio-blk"), [ModuleName::new("virtio_blk")]);
        assert_eq!(catalog.resolve("virtio:d00000002v00001AF4"), [ModuleName::new("virtio_blk")]);
        assert_eq!(catalog.resolve("ext4"), [ModuleName::new("ext4")]);
        assert!(catalog.is_builtin(&ModuleName::new("ext4")));
        assert!(catalog.resolve("unknown").is_empty());
        assert_eq!(catalog.path(&ModuleName::new("virtio")), Some("k/virtio.ko"));
    }

    #[test]
    fn soft_dependencies_before_any_key_are_passed_over() {
        let catalog = Catalog::parse(&FILES);
        let softdeps = catalog.softdeps(&ModuleName::new("virtio_blk")).unwrap();
        assert_eq!((softdeps.pre.len(), softdeps.post.len()), (2, 1));
        assert!(catalog.softdeps(&ModuleName::new("x")).unwrap().pre.is_empty());
    }

    #[test]
    fn a_folder_needs_only_modules_dep() {
        let folder = std::env::temp_dir().join(format!("ferrite-modules-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(Catalog::read(&folder).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(folder.join("modules.dep"), FILES.dep).unwrap();
        assert_eq!(Catalog::read(&folder).unwrap().len(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
