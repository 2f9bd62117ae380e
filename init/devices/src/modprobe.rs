//! modprobe.d and the kernel command line: what not to load by alias, under which names, with which options, or which
//! command to run instead. Parsing is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ferrite_modules::{ModuleName, parameters};

const FOLDERS: [&str; 4] = ["usr/lib", "usr/local/lib", "run", "etc"];
const MAX_FILES: usize = 512;
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the files and the command line say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Modules that no alias loads.
    pub blacklist: BTreeSet<ModuleName>,
    /// Options by module, ready for the kernel.
    pub options: BTreeMap<ModuleName, String>,
    /// Commands that are run instead of loading a module.
    pub commands: BTreeMap<ModuleName, String>,
    /// Lines with aliases and soft dependencies, for the catalogue.
    pub lines: Vec<String>,
    /// Lines that were not followed, with file and line.
    pub warnings: Vec<String>,
    /// The words of the kernel command line.
    pub words: Vec<String>,
}

impl Rules {
    /// The options of a module: those of the files, then those of the kernel command line.
    pub(crate) fn options_of(&self, module: &ModuleName) -> String {
        let files = self.options.get(module).cloned().unwrap_or_default();
        let line = parameters::for_module(self.words.iter().map(String::as_str), module);
        [files, line].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Reads all files below `root`, a file of /etc hides one of the same name below; and the kernel command line.
pub(crate) fn read(root: &Path) -> Rules {
    let mut rules = Rules::default();
    for path in files(root, "modprobe.d") {
        parse_modprobe(&text(&path), &path.display().to_string(), &mut rules);
    }
    // Without /proc there is no command line to follow.
    parse_command_line(&std::fs::read_to_string(root.join("proc/cmdline")).unwrap_or_default(), &mut rules);
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

fn parse_command_line(line: &str, rules: &mut Rules) {
    for word in line.split_ascii_whitespace() {
        if let Some(list) = word.strip_prefix("modprobe.blacklist=") {
            rules.blacklist.extend(list.split(',').filter(|name| !name.is_empty()).map(ModuleName::new));
        }
        rules.words.push(word.to_string());
    }
}

fn parse_modprobe(text: &str, file: &str, rules: &mut Rules) {
    // A line that ends with a backslash goes on in the next.
    let mut whole = String::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(begun) = line.strip_suffix('\\') {
            whole.push_str(begun);
            whole.push(' ');
            continue;
        }
        whole.push_str(line);
        if let Some(word) = follow(whole.trim(), rules) {
            rules.warnings.push(format!("{file}:{}: '{word}' is not supported, ignoring", number + 1));
        }
        whole.clear();
    }
}

/// Follows one line; returns its first word when it is not understood.
fn follow(line: &str, rules: &mut Rules) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let split = |text: &'_ str| match text.split_once(|letter: char| letter.is_ascii_whitespace()) {
        Some((word, rest)) => (word.to_string(), rest.trim_start().to_string()),
        None => (text.to_string(), String::new()),
    };
    let (first, rest) = split(line);
    let (module, rest) = split(&rest);
    if first.is_empty() {
        return None;
    }
    match (first.as_str(), module.is_empty(), rest.is_empty()) {
        ("blacklist", false, _) => drop(rules.blacklist.insert(ModuleName::new(&module))),
        ("options", false, _) => {
            let known = rules.options.entry(ModuleName::new(&module)).or_default();
            let words = rest.split_ascii_whitespace();
            let all: Vec<&str> = known.split(' ').filter(|word| !word.is_empty()).chain(words).collect();
            *known = all.join(" ");
        }
        ("install", false, false) => drop(rules.commands.insert(ModuleName::new(&module), rest)),
        ("alias" | "softdep", false, false) => rules.lines.push(line.to_string()),
        // Nothing here removes modules, and what is only better with another module goes without it.
        ("remove" | "weakdep", ..) => {}
        _ => return Some(first),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blacklists_and_options_are_read_and_the_rest_is_named() {
        let mut rules = Rules::default();
        let text = "# comment\nblacklist pc-speaker\noptions kvm a=1 b=2\n options  kvm c\n\ninstall usb /bin/true; x\n\
                    alias net-pf-10 off\nsoftdep a \\\npre: b\nblacklist\nconfig x y\nremove x y\n";
        parse_modprobe(text, "x.conf", &mut rules);
        assert!(rules.blacklist.contains(&ModuleName::new("pc_speaker")));
        assert_eq!(rules.options.get(&ModuleName::new("kvm")).map(String::as_str), Some("a=1 b=2 c"));
        assert_eq!(rules.commands.get(&ModuleName::new("usb")).map(String::as_str), Some("/bin/true; x"));
        assert_eq!(rules.lines, ["alias net-pf-10 off", "softdep a  pre: b"]);
        let ignored = |line: u32, word: &str| format!("x.conf:{line}: '{word}' is not supported, ignoring");
        assert_eq!(rules.warnings, [ignored(10, "blacklist"), ignored(11, "config")]);
    }

    #[test]
    fn the_command_line_adds_options_and_names_that_are_not_loaded() {
        let mut rules = Rules::default();
        parse_modprobe("options softdog soft_margin=5\n", "x.conf", &mut rules);
        parse_command_line("quiet modprobe.blacklist=floppy,pc-speaker softdog.soft_panic=1", &mut rules);
        assert!(rules.blacklist.contains(&ModuleName::new("pc_speaker")));
        assert_eq!(rules.options_of(&ModuleName::new("softdog")), "soft_margin=5 soft_panic=1");
        assert_eq!(rules.options_of(&ModuleName::new("floppy")), "");
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
