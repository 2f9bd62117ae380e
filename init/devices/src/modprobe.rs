//! modprobe.d: what not to load by alias, and with which options the rest. Parsing is pure.
//!
//! `blacklist` and `options` are understood; `install`, `remove` and `alias` run programs or need depmod and are
//! reported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ferrite_modules::ModuleName;

const FOLDERS: [&str; 3] = ["usr/lib", "run", "etc"];
const MAX_FILES: usize = 512;
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the files say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Modules that no alias loads.
    pub blacklist: BTreeSet<ModuleName>,
    /// Options by module, ready for the kernel.
    pub options: BTreeMap<ModuleName, String>,
    /// Lines that were not followed, with file and line.
    pub warnings: Vec<String>,
}

/// Reads all files below `root`; a file of /etc hides one of the same name below.
pub(crate) fn read(root: &Path) -> Rules {
    let mut rules = Rules::default();
    for path in files(root, "modprobe.d") {
        parse_modprobe(&text(&path), &path.display().to_string(), &mut rules);
    }
    rules
}

fn files(root: &Path, kind: &str) -> Vec<PathBuf> {
    let mut by_name = BTreeMap::new();
    for folder in FOLDERS {
        let Ok(entries) = std::fs::read_dir(root.join(folder).join(kind)) else {
            continue;
        };
        for entry in entries.flatten().take(MAX_FILES) {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                by_name.insert(entry.file_name(), path);
            }
        }
    }
    by_name.into_values().collect()
}

/// The text of a file; one that cannot be read (a link to /dev/null masks a file) says nothing.
fn text(path: &Path) -> String {
    let is_small = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_FILE_BYTES);
    if is_small { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() }
}

fn parse_modprobe(text: &str, file: &str, rules: &mut Rules) {
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (None, _) => {}
            (Some(first), _) if first.starts_with('#') => {}
            (Some("blacklist"), Some(module)) => {
                rules.blacklist.insert(ModuleName::new(module));
            }
            (Some("options"), Some(module)) => {
                let values: Vec<&str> = words.collect();
                let known = rules.options.entry(ModuleName::new(module)).or_default();
                if !known.is_empty() {
                    known.push(' ');
                }
                known.push_str(&values.join(" "));
            }
            // The order of modules comes from the kernel's own modules.softdep.
            (Some("softdep" | "weakdep"), _) => {}
            (Some(word), _) => {
                rules.warnings.push(format!("{file}:{}: '{word}' is not supported, ignoring", number + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blacklists_and_options_are_read_and_the_rest_is_named() {
        let mut rules = Rules::default();
        let text = "# comment\nblacklist pc-speaker\noptions kvm a=1 b=2\noptions kvm c\n\ninstall usb /bin/true\n";
        parse_modprobe(text, "x.conf", &mut rules);
        assert!(rules.blacklist.contains(&ModuleName::new("pc_speaker")));
        assert_eq!(rules.options.get(&ModuleName::new("kvm")).map(String::as_str), Some("a=1 b=2 c"));
        assert_eq!(rules.warnings, ["x.conf:6: 'install' is not supported, ignoring"]);
    }

    #[test]
    fn a_file_in_etc_hides_the_one_of_the_image() {
        let root = tempfile::tempdir().unwrap();
        for (folder, content) in [("usr/lib", "blacklist one\n"), ("etc", "# none\n")] {
            let folder = root.path().join(folder).join("modprobe.d");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("a.conf"), content).unwrap();
            std::fs::write(folder.join("ignored.txt"), "blacklist two\n").unwrap();
        }
        assert_eq!(read(root.path()), Rules::default());
    }
}
