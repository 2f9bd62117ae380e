//! The index files of /lib/modules/VERSION: what one module says, and the text of each file. Pure.
//!
//! depmod writes every transitive dependency into modules.dep; so do we, in the order in which
//! kmod expects them (what must be loaded first stands last). The reader needs only direct ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::name::ModuleName;

/// What a module file says of itself (section .modinfo), and where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module {
    /// Path below /lib/modules/VERSION, such as `kernel/fs/erofs/erofs.ko`.
    pub path: String,
    /// `depends=`, split at commas.
    pub dependencies: Vec<String>,
    /// Each `alias=`.
    pub aliases: Vec<String>,
    /// Each `softdep=`, as written: `pre: a b post: c`.
    pub softdeps: Vec<String>,
}

impl Module {
    /// The module's name.
    pub fn name(&self) -> ModuleName {
        ModuleName::of_path(&self.path)
    }

    /// Reads the `key=value` strings of a .modinfo section, which zero bytes separate.
    pub fn parse(path: &str, modinfo: &[u8]) -> Module {
        let mut module = Module { path: path.to_owned(), ..Module::default() };
        for field in modinfo.split(|&byte| byte == 0) {
            let text = String::from_utf8_lossy(field);
            match text.split_once('=') {
                Some(("depends", names)) => {
                    module.dependencies.extend(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
                }
                Some(("alias", alias)) => module.aliases.push(alias.to_owned()),
                Some(("softdep", softdep)) => module.softdeps.push(softdep.to_owned()),
                _ => {}
            }
        }
        module
    }
}

/// Text of modules.dep: every module with all it needs, nearest first.
pub fn render_dep(modules: &[Module]) -> String {
    let by_name: BTreeMap<ModuleName, &Module> = modules.iter().map(|module| (module.name(), module)).collect();
    let mut sorted: Vec<&Module> = modules.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut text = String::new();
    for module in sorted {
        text.push_str(&module.path);
        text.push(':');
        for dependency in closure(module, &by_name).iter().rev() {
            text.push(' ');
            text.push_str(&dependency.path);
        }
        text.push('\n');
    }
    text
}

/// Text of modules.alias, sorted, so that two builds agree and the reader need not sort.
pub fn render_alias(modules: &[Module]) -> String {
    let lines: BTreeSet<(&str, ModuleName)> =
        modules.iter().flat_map(|module| module.aliases.iter().map(|alias| (alias.as_str(), module.name()))).collect();
    let mut text = String::from("# Aliases extracted from modules themselves.\n");
    for (alias, module) in lines {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "alias {alias} {module}");
    }
    text
}

/// Text of modules.softdep.
pub fn render_softdep(modules: &[Module]) -> String {
    let mut sorted: Vec<&Module> = modules.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut text = String::from("# Soft dependencies extracted from modules themselves.\n");
    for module in sorted {
        for softdep in &module.softdeps {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "softdep {} {softdep}", module.name());
        }
    }
    text
}

/// Everything a module needs, each before its users; the module itself is left out.
fn closure<'a>(module: &'a Module, by_name: &BTreeMap<ModuleName, &'a Module>) -> Vec<&'a Module> {
    let mut order: Vec<&Module> = Vec::new();
    let mut seen = BTreeSet::from([module.name()]);
    let mut stack = vec![(module, module.dependencies.iter())];
    while let Some((current, rest)) = stack.last_mut() {
        match rest.next() {
            Some(dependency) => {
                let name = ModuleName::new(dependency);
                if let Some(&next) = by_name.get(&name)
                    && seen.insert(name)
                {
                    stack.push((next, next.dependencies.iter()));
                }
            }
            None => {
                order.push(current);
                stack.pop();
            }
        }
    }
    order.pop();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, dependencies: &[&str]) -> Module {
        Module {
            path: path.to_owned(),
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
            ..Module::default()
        }
    }

    #[test]
    fn a_modinfo_section_gives_dependencies_aliases_and_softdeps() {
        let text = b"license=GPL\0softdep=pre: crc32c\0alias=fs-ext4\0alias=ext3\0depends=mbcache,jbd2\0depends=\0\0";
        let module = Module::parse("kernel/fs/ext4/ext4.ko", text);
        assert_eq!(module.name().as_str(), "ext4");
        assert_eq!(module.dependencies, ["mbcache", "jbd2"]);
        assert_eq!(module.aliases, ["fs-ext4", "ext3"]);
        assert_eq!(module.softdeps, ["pre: crc32c"]);
    }

    #[test]
    fn dependencies_are_written_whole_and_what_comes_first_stands_last() {
        let modules = [
            module("k/dm-verity.ko", &["dm-bufio", "dm-mod"]),
            module("k/dm-mod.ko", &[]),
            module("k/dm-bufio.ko", &["dm-mod"]),
        ];
        let text = "k/dm-bufio.ko: k/dm-mod.ko\nk/dm-mod.ko:\nk/dm-verity.ko: k/dm-bufio.ko k/dm-mod.ko\n";
        assert_eq!(render_dep(&modules), text);
    }

    #[test]
    fn a_circle_of_dependencies_is_written_and_ends() {
        let modules = [module("a.ko", &["b"]), module("b.ko", &["a", "absent"])];
        assert_eq!(render_dep(&modules), "a.ko: b.ko\nb.ko: a.ko\n");
    }

    #[test]
    fn aliases_are_sorted_and_each_stands_once() {
        let mut erofs = module("erofs.ko", &[]);
        erofs.aliases = vec!["fs-erofs".into(), "fs-erofs".into()];
        erofs.softdeps = vec!["pre: crc32c".into()];
        let mut block = module("virtio-blk.ko", &[]);
        block.aliases = vec!["virtio:d00000002v*".into()];
        let modules = [block, erofs];
        let lines: Vec<String> = render_alias(&modules).lines().skip(1).map(str::to_owned).collect();
        assert_eq!(lines, ["alias fs-erofs erofs", "alias virtio:d00000002v* virtio_blk"]);
        assert_eq!(render_softdep(&modules).lines().last(), Some("softdep erofs pre: crc32c"));
    }
}
