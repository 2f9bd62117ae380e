//! Kernel variables of sysctl.d: which are set to what, and setting them. Parsing is pure.
//!
//! A line is `key = value`; the key has dots or slashes, `*` stands for any name, a `-` before it takes failures as
//! they are. Without a value such a line keeps a pattern away from the key. What is set by name, no pattern sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ferrite_modules::alias::matches;

const FOLDERS: [&str; 4] = ["usr/lib", "usr/local/lib", "run", "etc"];
const MAX_FILES: usize = 512;
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most variables that one pattern stands for.
const MAX_MATCHES: usize = 10_000;

/// One variable or pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    /// `None`: no pattern sets it.
    value: Option<String>,
    is_optional: bool,
}

/// Keys as paths below /proc/sys, in the order of their last mention.
#[derive(Debug, Default)]
struct Settings {
    list: Vec<(String, Setting)>,
    warnings: Vec<String>,
}

/// Sets what the files say; what cannot be set is a warning.
pub(crate) fn apply_all(root: &Path) {
    let mut settings = Settings::default();
    for path in files(root) {
        let is_small = std::fs::metadata(&path).is_ok_and(|data| data.is_file() && data.len() <= MAX_FILE_BYTES);
        let text = if is_small { std::fs::read_to_string(&path).unwrap_or_default() } else { String::new() };
        settings.parse(&text, &path.display().to_string());
    }
    settings.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let sys = root.join("proc/sys");
    for (key, setting) in settings.expand(&sys) {
        let Some(value) = &setting.value else { continue };
        let written = std::fs::write(sys.join(&key), format!("{value}\n"));
        if let Err(error) = written
            && !setting.is_optional
        {
            eprintln!("warning: setting kernel variable {key} to '{value}': {error}, leaving it as it is");
        }
    }
}

/// All files by name; one of /etc hides one of the same name below. /etc/sysctl.conf comes last.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut by_name = BTreeMap::new();
    for folder in FOLDERS {
        let Ok(entries) = std::fs::read_dir(root.join(folder).join("sysctl.d")) else { continue };
        for entry in entries.flatten().take(MAX_FILES) {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                by_name.insert(entry.file_name(), path);
            }
        }
    }
    by_name.into_values().chain([root.join("etc/sysctl.conf")]).collect()
}

impl Settings {
    fn parse(&mut self, text: &str, file: &str) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key.trim(), Some(value.trim().to_string())),
                None => (line, None),
            };
            let is_optional = key.starts_with('-');
            match path_of(key.trim_start_matches('-')) {
                Some(key) if value.is_some() || is_optional => self.set(key, Setting { value, is_optional }),
                _ => self.warnings.push(format!("{file}:{}: '{line}' is no 'key = value', ignoring", number + 1)),
            }
        }
    }

    fn set(&mut self, key: String, setting: Setting) {
        self.list.retain(|(known, _)| *known != key);
        self.list.push((key, setting));
    }

    /// Every variable once: those that patterns stand for, and those that have their own line.
    fn expand(&self, sys: &Path) -> Vec<(String, Setting)> {
        let mut all: Vec<(String, Setting)> = Vec::new();
        for (key, setting) in &self.list {
            if !is_pattern(key) {
                all.push((key.clone(), setting.clone()));
                continue;
            }
            for found in matching(sys, key) {
                if !self.list.iter().any(|(known, _)| *known == found) {
                    all.retain(|(known, _)| *known != found);
                    all.push((found, setting.clone()));
                }
            }
        }
        all
    }
}

/// `net.ipv4.ip_forward` and `net/ipv4/ip_forward` are one; the first separator tells which character it is, the other
/// one is part of a name (`net.ipv4.conf.eth0/5.forwarding`). `None`: the key leads elsewhere.
fn path_of(key: &str) -> Option<String> {
    let dotted = key.find(['.', '/']).is_some_and(|at| key[at..].starts_with('.'));
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if dotted { key.chars().map(swap).collect() } else { key.to_string() };
    path.split('/').all(|name| !matches!(name, "" | "." | "..")).then_some(path)
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The variables below `sys` that a pattern stands for, sorted.
fn matching(sys: &Path, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('/') {
        let join =
            |above: &str, name: &str| if above.is_empty() { name.to_string() } else { format!("{above}/{name}") };
        let mut next = Vec::new();
        for above in &found {
            if !is_pattern(part) {
                next.push(join(above, part));
                continue;
            }
            let Ok(entries) = std::fs::read_dir(sys.join(above)) else { continue };
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            next.extend(names.filter(|name| matches(part, name)).map(|name| join(above, &name)).take(MAX_MATCHES));
        }
        found = next;
    }
    found.retain(|key| sys.join(key).exists());
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::default();
        settings.parse(text, "x.conf");
        settings
    }

    #[test]
    fn keys_have_dots_or_slashes() {
        for (key, path) in [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/conf/eth0.5/forwarding", Some("net/ipv4/conf/eth0.5/forwarding")),
            ("net.ipv4.conf.eth0/5.forwarding", Some("net/ipv4/conf/eth0.5/forwarding")),
            ("kernel/../../etc/passwd", None),
            ("kernel..x", None),
            ("", None),
        ] {
            assert_eq!(path_of(key).as_deref(), path, "{key}");
        }
    }

    #[test]
    fn faults_are_named_with_file_and_line_and_the_last_value_counts() {
        let settings = settings("# c\na.b = 1\n; c\n-a.c = x y \na.b=2\nnonsense\n-a.d\n= 3\n");
        let setting = |value: Option<&str>, is_optional| Setting { value: value.map(String::from), is_optional };
        let expected =
            [("a/c", setting(Some("x y"), true)), ("a/b", setting(Some("2"), false)), ("a/d", setting(None, true))];
        assert_eq!(settings.list, expected.map(|(key, setting)| (key.to_string(), setting)));
        assert_eq!(
            settings.warnings,
            ["x.conf:6: 'nonsense' is no 'key = value', ignoring", "x.conf:8: '= 3' is no 'key = value', ignoring"]
        );
    }

    #[test]
    fn a_pattern_sets_what_no_line_names() {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path().join("proc/sys/net/conf");
        for name in ["all", "default", "eth0", "lo"] {
            std::fs::create_dir_all(sys.join(name)).unwrap();
            std::fs::write(sys.join(name).join("filter"), "0\n").unwrap();
        }
        let etc = root.path().join("etc/sysctl.d");
        let usr = root.path().join("usr/lib/sysctl.d");
        [&etc, &usr].into_iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        std::fs::write(usr.join("10-a.conf"), "net.conf.*.filter = 2\nnet.conf.lo.filter = 1\n-net.conf.all.filter\n")
            .unwrap();
        std::fs::write(usr.join("20-b.conf"), "net.conf.eth0.filter = 9\n").unwrap();
        std::fs::write(etc.join("20-b.conf"), "-net.conf.eth1.filter = 9\n").unwrap();
        apply_all(root.path());
        let value = |name: &str| std::fs::read_to_string(sys.join(name).join("filter")).unwrap();
        assert_eq!(["all", "default", "eth0", "lo"].map(value), ["0\n", "2\n", "2\n", "1\n"]);
    }
}
