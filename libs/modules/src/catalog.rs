//! Everything that is known of one kernel's modules. Pure but `read`.
//!
//! A folder with the binary indexes is not read through: a look-up walks down a trie. Early boot carries the texts of
//! a few modules instead.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::alias::AliasIndex;
use crate::index::{self, Module};
use crate::name::ModuleName;
use crate::trie::Trie;

/// Limit of one index file; the largest of a generic kernel has 1.4 MB.
const FILE_BYTES: u64 = 16 << 20;

/// The modules of one kernel and how they hang together.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    binary: Option<Binary>,
    modules: BTreeMap<ModuleName, Entry>,
    aliases: AliasIndex,
    rules: AliasIndex,
    softdeps: BTreeMap<ModuleName, Softdeps>,
    builtin: BTreeSet<ModuleName>,
}

/// The binary indexes, which stand for the texts of the same names.
#[derive(Clone, Debug)]
struct Binary {
    dep: Trie,
    alias: Trie,
    builtin: Trie,
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
    /// Reads the index files of a folder like /lib/modules/6.12.1; only modules.dep must exist, as text or binary.
    pub fn read(folder: &Path) -> io::Result<Catalog> {
        let optional = |name: &str| match read_text(&folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other,
        };
        let softdep = optional("modules.softdep")?;
        if let Some(binary) = Binary::read(folder) {
            let mut catalog = Catalog { binary: Some(binary), ..Catalog::default() };
            softdep.lines().for_each(|line| catalog.add_softdep(line));
            return Ok(catalog);
        }
        let dep = read_text(&folder.join("modules.dep"))?;
        let (alias, builtin) = (optional("modules.alias")?, optional("modules.builtin")?);
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

    /// Adds the `alias` and `softdep` lines of modprobe.d; such an alias comes before names, and `off` is no module.
    pub fn add_rules<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        for line in lines {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["alias", pattern, module, ..] => self.rules.push(pattern, module),
                ["softdep", ..] => self.add_softdep(line),
                _ => {}
            }
        }
        self.rules.finish();
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

    /// Path of a module below the folder.
    pub fn path(&self, module: &ModuleName) -> Option<String> {
        self.entry(module).map(|entry| entry.path)
    }

    /// Whether the kernel contains the module.
    pub fn is_builtin(&self, module: &ModuleName) -> bool {
        match &self.binary {
            Some(binary) => binary.builtin.get(module.as_str()).is_some(),
            None => self.builtin.contains(module),
        }
    }

    /// The modules that a name, an alias or a modalias stands for; none if nothing is known of it.
    pub fn resolve(&self, wanted: &str) -> Vec<ModuleName> {
        let ruled = self.rules.find(wanted);
        if !ruled.is_empty() {
            return ruled.into_iter().filter(|module| *module != "off").map(ModuleName::new).collect();
        }
        let name = ModuleName::new(wanted);
        if self.entry(&name).is_some() || self.is_builtin(&name) {
            return vec![name];
        }
        let found = match &self.binary {
            Some(binary) => binary.alias.find(wanted),
            None => self.aliases.find(wanted),
        };
        found.into_iter().map(ModuleName::new).collect()
    }

    pub(crate) fn entry(&self, module: &ModuleName) -> Option<Entry> {
        match &self.binary {
            Some(binary) => binary.dep.get(module.as_str()).and_then(Entry::parse),
            None => self.modules.get(module).cloned(),
        }
    }

    pub(crate) fn softdeps(&self, module: &ModuleName) -> Option<&Softdeps> {
        self.softdeps.get(module)
    }

    fn add_dependencies(&mut self, line: &str) {
        if let Some(entry) = Entry::parse(line) {
            self.modules.insert(ModuleName::of_path(&entry.path), entry);
        }
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

impl Entry {
    /// Reads a line of modules.dep.
    fn parse(line: &str) -> Option<Entry> {
        let (path, dependencies) = line.split_once(':')?;
        let dependencies = dependencies.split_whitespace().map(ModuleName::of_path).collect();
        Some(Entry { path: path.trim().to_owned(), dependencies })
    }
}

impl Binary {
    /// `None` when one of the files is not there or has another format: then the texts are read.
    fn read(folder: &Path) -> Option<Binary> {
        let trie = |name: &str| Trie::parse(read_bytes(&folder.join(name)).ok()?);
        Some(Binary {
            dep: trie("modules.dep.bin")?,
            alias: trie("modules.alias.bin")?,
            builtin: trie("modules.builtin.bin")?,
        })
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&read_bytes(path)?).into_owned())
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("'{}' is too large", path.display())));
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmod_index;

    const FILES: IndexFiles = IndexFiles {
        dep: "k/virtio_blk.ko: k/virtio.ko\nk/virtio.ko:\ngarbage\n",
        alias: "# comment\nalias virtio:d00000002v* virtio_blk\nalias short\n",
        softdep: "softdep virtio-blk pre: a b post: c\nsoftdep x stray\n",
        builtin: "kernel/fs/ext4/ext4.ko\n",
    };

    #[test]
    fn a_name_a_modalias_and_a_built_in_module_are_found() {
        let catalog = Catalog::parse(&FILES);
        assert_eq!(catalog.resolve("virtio-blk"), [ModuleName::new("virtio_blk")]);
        assert_eq!(catalog.resolve("virtio:d00000002v00001AF4"), [ModuleName::new("virtio_blk")]);
        assert_eq!(catalog.resolve("ext4"), [ModuleName::new("ext4")]);
        assert!(catalog.is_builtin(&ModuleName::new("ext4")));
        assert!(catalog.resolve("unknown").is_empty());
        assert_eq!(catalog.path(&ModuleName::new("virtio")), Some("k/virtio.ko".to_owned()));
    }

    #[test]
    fn rules_of_the_administrator_come_before_names_and_indexes() {
        let mut catalog = Catalog::parse(&FILES);
        catalog.add_rules(["alias virtio:d00000002v* virtio", "alias ext4 off", "alias my-disk virtio-blk"]);
        catalog.add_rules(["softdep virtio pre: mine", "alias short"]);
        assert_eq!(catalog.resolve("virtio:d00000002v1"), [ModuleName::new("virtio")]);
        assert_eq!(catalog.resolve("my_disk"), [ModuleName::new("virtio_blk")]);
        assert!(catalog.resolve("ext4").is_empty());
        assert_eq!(catalog.softdeps(&ModuleName::new("virtio")).unwrap().pre, ["mine"]);
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
        assert!(Catalog::read(&folder).unwrap().path(&ModuleName::new("virtio")).is_some());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn binary_indexes_say_what_the_texts_say() {
        let folder = std::env::temp_dir().join(format!("ferrite-modules-binary-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let module = |path: &str, aliases: &[&str]| Module {
            path: path.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            ..Module::default()
        };
        let modules = [module("k/virtio_blk.ko", &["virtio:d00000002v*"]), module("k/virtio.ko", &[])];
        for (name, bytes) in [
            ("modules.dep.bin", kmod_index::dependencies(FILES.dep)),
            ("modules.alias.bin", kmod_index::aliases(&modules)),
            ("modules.builtin.bin", kmod_index::builtin(FILES.builtin)),
            ("modules.softdep", FILES.softdep.as_bytes().to_vec()),
        ] {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let catalog = Catalog::read(&folder).unwrap();
        assert!(catalog.binary.is_some());
        for wanted in ["virtio-blk", "virtio:d00000002v00001AF4", "ext4", "unknown", "virtio"] {
            assert_eq!(catalog.resolve(wanted), Catalog::parse(&FILES).resolve(wanted), "{wanted}");
        }
        assert_eq!(
            catalog.plan("virtio-blk", &BTreeSet::new()),
            Catalog::parse(&FILES).plan("virtio-blk", &BTreeSet::new())
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
