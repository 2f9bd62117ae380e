//! sysctl.d: kernel variables and their values. Pure.
//!
//! A line is `key = value`; the key has dots or slashes, patterns stand for many, a `-` before it takes a failure as it
//! is. A line of `-key` alone keeps patterns away from the key. What a line names by itself, no pattern sets.

use crate::fault::{Fault, Place};
use crate::field::is_below;
use ferrite_pattern::{is_pattern, matches_file};

/// Most variables that one pattern stands for.
const MATCHES_MAX: usize = 10_000;
/// Most lines of all files.
const LINES_MAX: usize = 100_000;

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value; `None`: patterns leave the variable alone.
    pub value: Option<String>,
    /// A failure is none.
    pub is_optional: bool,
}

/// All lines, each key once, in the order of its last line.
#[derive(Debug, Default)]
pub struct Settings {
    list: Vec<(String, Setting)>,
    lines: usize,
    /// Lines that say nothing.
    pub faults: Vec<Fault>,
}

impl Settings {
    /// Reads the text of one file. `prefixes`: only keys below these; none: all.
    pub fn read(&mut self, file: &str, text: &str, prefixes: &[String]) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let place = Place { file: file.to_string(), line: number + 1 };
            self.lines += 1;
            if self.lines > LINES_MAX {
                self.faults.push(Fault::invalid(&place, format!("More than {LINES_MAX} lines, ignoring the rest.")));
                break;
            }
            let (is_optional, rest) = line.strip_prefix('-').map_or((false, line), |rest| (true, rest));
            let (key, value) = match rest.split_once('=') {
                Some((key, value)) => (key.trim(), Some(value.trim().to_string())),
                None if is_optional => (rest.trim(), None),
                None => {
                    let message = format!("Line is not an assignment, ignoring: {line}");
                    self.faults.push(Fault::invalid(&place, message));
                    continue;
                }
            };
            let key = path_of(key);
            if prefixes.is_empty() || prefixes.iter().any(|prefix| has_prefix(&key, prefix)) {
                self.list.retain(|(known, _)| *known != key);
                self.list.push((key, Setting { value, is_optional }));
            }
        }
    }

    /// Whether nothing is to be set.
    pub fn is_empty(&self) -> bool {
        self.list.iter().all(|(_, setting)| setting.value.is_none())
    }

    /// Every variable with its value, in order. `names`: what lies in a folder below /proc/sys.
    pub fn values(&self, names: &dyn Fn(&str) -> Vec<String>) -> Vec<(String, Setting)> {
        let mut all = Vec::new();
        for (key, setting) in self.list.iter().filter(|(_, setting)| setting.value.is_some()) {
            if !is_pattern(key) {
                all.push((key.clone(), setting.clone()));
                continue;
            }
            let found = matching(key, names).into_iter().filter(|found| !self.names(found));
            all.extend(found.map(|found| (found, setting.clone())));
        }
        all
    }

    fn names(&self, key: &str) -> bool {
        self.list.iter().any(|(known, _)| known == key)
    }
}

/// `net.ipv4.ip_forward` and `net/ipv4/ip_forward` are one: the first separator tells which character it is, the other
/// one is part of a name (`net.ipv4.conf.eth0/5.forwarding`).
pub fn path_of(key: &str) -> String {
    let is_dotted = key.chars().find(|c| matches!(c, '.' | '/')) == Some('.');
    let swap = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if is_dotted { key.chars().map(swap).collect() } else { key.to_string() };
    path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn has_prefix(key: &str, prefix: &str) -> bool {
    let prefix = path_of(prefix);
    let prefix = prefix.strip_prefix("proc/sys/").unwrap_or(&prefix);
    is_below(&format!("/{key}"), &format!("/{prefix}"))
}

/// The variables that a pattern stands for, sorted.
fn matching(pattern: &str, names: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.split('/') {
        let join = |above: &str, name: &str| match above {
            "" => name.to_string(),
            above => format!("{above}/{name}"),
        };
        let mut next = Vec::new();
        for above in &found {
            let below = names(above);
            let is_wanted = |name: &&String| if is_pattern(part) { matches_file(part, name) } else { *name == part };
            next.extend(below.iter().filter(is_wanted).map(|name| join(above, name)).take(MATCHES_MAX));
        }
        next.truncate(MATCHES_MAX);
        found = next;
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::default();
        settings.read("x.conf", text, &[]);
        settings
    }

    fn names(folder: &str) -> Vec<String> {
        let names: &[&str] = match folder {
            "" => &["net", "kernel"],
            "net" => &["conf"],
            "net/conf" => &["all", "default", "eth0", "lo"],
            "net/conf/all" | "net/conf/default" | "net/conf/eth0" | "net/conf/lo" => &["filter"],
            _ => &[],
        };
        names.iter().map(|name| (*name).to_string()).collect()
    }

    #[test]
    fn keys_have_dots_or_slashes() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.5/forwarding", "net/ipv4/conf/eth0.5/forwarding"),
            ("net.ipv4.conf.eth0/5.forwarding", "net/ipv4/conf/eth0.5/forwarding"),
            ("kernel..domainname", "kernel/domainname"),
            ("/kernel/domainname", "kernel/domainname"),
            ("", ""),
        ] {
            assert_eq!(path_of(key), path, "{key}");
        }
    }

    #[test]
    fn faults_are_named_with_file_and_line_and_the_last_value_counts() {
        let settings = settings("# c\na.b = 1\n; c\n-a.c = x y \na.b=2\nnonsense\n-a.d\n- a/e = 5\n");
        let values: Vec<String> = settings
            .values(&names)
            .into_iter()
            .map(|(key, setting)| {
                format!("{key}={}{}", setting.value.unwrap(), if setting.is_optional { "?" } else { "" })
            })
            .collect();
        assert_eq!(values, ["a/c=x y?", "a/b=2", "a/e=5?"]);
        let faults: Vec<String> = settings.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["x.conf:6: Line is not an assignment, ignoring: nonsense"]);
    }

    #[test]
    fn a_pattern_sets_what_no_line_names() {
        let values = settings("net.conf.*.filter = 2\nnet.conf.lo.filter = 1\n-net.conf.all.filter\nnet.none.* = 3\n");
        let values: Vec<(String, String)> =
            values.values(&names).into_iter().map(|(key, setting)| (key, setting.value.unwrap())).collect();
        let want = [("net/conf/default/filter", "2"), ("net/conf/eth0/filter", "2"), ("net/conf/lo/filter", "1")];
        assert_eq!(values, want.map(|(key, value)| (key.to_string(), value.to_string())));
    }

    #[test]
    fn prefixes_leave_other_keys_out() {
        for (prefix, counts) in [
            ("kernel", true),
            ("/net", false),
            ("/kernel/domain", false),
            ("/proc/sys/kernel", true),
            ("kernel.domainname", true),
        ] {
            let mut settings = Settings::default();
            settings.read("x", "kernel.domainname = a\n", &[prefix.to_string()]);
            assert_eq!(!settings.is_empty(), counts, "{prefix}");
        }
    }
}
