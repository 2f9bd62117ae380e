//! Answers the questions of `Condition*=` by looking at the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ferrite_unit::condition::{Facts, Subject, command_line_says, equals_boolean};
use ferrite_unit::escape::is_below;

use crate::mount_table;
use crate::pressure::{Resource, at_most};

/// The machine.
pub struct MachineFacts<'a> {
    /// The kernel command line.
    pub command_line: &'a str,
    /// The host name.
    pub host_name: &'a str,
    /// The machine id.
    pub machine_id: &'a str,
    /// The kernel release.
    pub kernel_release: &'a str,
    /// May this path be looked at?
    pub answers: &'a dyn Fn(&str) -> bool,
}

impl Facts for MachineFacts<'_> {
    fn holds(&self, subject: Subject, argument: &str) -> Option<bool> {
        let there = !is_path(subject) || (self.answers)(argument);
        there.then(|| self.look(subject, argument)).flatten()
    }
}

impl MachineFacts<'_> {
    fn look(&self, subject: Subject, argument: &str) -> Option<bool> {
        let path = Path::new(argument);
        Some(match subject {
            Subject::PathExists => path.exists(),
            Subject::PathExistsGlob => crate::glob::first(argument).is_some(),
            Subject::PathIsDirectory => path.is_dir(),
            Subject::PathIsSymbolicLink => path.is_symlink(),
            Subject::PathIsMountPoint => is_mount_point(argument),
            Subject::PathIsReadWrite => {
                let flags = rustix::fs::statvfs(argument).ok()?.f_flag;
                !flags.contains(rustix::fs::StatVfsMountFlags::RDONLY)
            }
            Subject::DirectoryNotEmpty => fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()),
            Subject::FileNotEmpty => fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() > 0),
            Subject::FileIsExecutable => {
                fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
            }
            Subject::KernelCommandLine => command_line_says(self.command_line, argument),
            Subject::Virtualization => crate::virtualization::is(argument),
            Subject::Architecture => argument == crate::host::architecture() || argument == "native",
            Subject::Host => self.is_host(argument),
            Subject::FirstBoot => equals_boolean(argument, first_boot())?,
            Subject::AcPower => equals_boolean(argument, on_ac_power())?,
            Subject::User => matches!(argument, "root" | "0" | "@system"),
            Subject::Group => matches!(argument, "root" | "0"),
            Subject::ControlGroupController => {
                argument == "v2"
                    || argument.split_whitespace().all(|wanted| {
                        fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
                            .is_ok_and(|have| have.split_whitespace().any(|c| c == wanted))
                    })
            }
            Subject::Firmware => match argument {
                "uefi" => Path::new("/sys/firmware/efi").exists(),
                "device-tree" => Path::new("/sys/firmware/devicetree").exists(),
                _ => return None,
            },
            Subject::KernelModuleLoaded => Path::new(&format!("/sys/module/{}", argument.replace('-', "_"))).exists(),
            Subject::Capability => has_capability(argument)?,
            Subject::Security => match argument {
                "uefi-secureboot" => secure_boot(),
                "tpm2" => Path::new("/sys/class/tpmrm/tpmrm0").exists(),
                "ima" => Path::new("/sys/kernel/security/ima").exists(),
                "apparmor" => {
                    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with('Y'))
                }
                "audit" | "selinux" | "smack" | "tomoyo" | "cvm" => false,
                _ => return None,
            },
            Subject::KernelVersion => version(self.kernel_release, argument)?,
            Subject::Cpus => {
                let count = std::thread::available_parallelism().map_or(1, usize::from);
                compare_number(u64::try_from(count).ok()?, argument)?
            }
            Subject::Memory => compare_number(total_memory()?, argument)?,
            Subject::NeedsUpdate | Subject::PathIsEncrypted | Subject::Credential => false,
            Subject::MemoryPressure => at_most(Resource::Memory, argument)?,
            Subject::CpuPressure => at_most(Resource::Cpu, argument)?,
            Subject::IoPressure => at_most(Resource::Io, argument)?,
            Subject::CpuFeature => {
                let text = fs::read_to_string("/proc/cpuinfo").ok()?;
                has_feature(&text, &argument.to_ascii_lowercase())
            }
            Subject::OsRelease => {
                let text = crate::disk::read_text("/etc/os-release");
                os_release(&ferrite_unit::environment::parse_file(&text), argument)?
            }
            Subject::Environment => return None,
        })
    }
}

/// Does the argument name files?
fn is_path(subject: Subject) -> bool {
    use Subject::{
        DirectoryNotEmpty, FileIsExecutable, FileNotEmpty, PathExists, PathExistsGlob, PathIsDirectory,
        PathIsMountPoint, PathIsReadWrite, PathIsSymbolicLink,
    };
    let paths = [PathExists, PathExistsGlob, PathIsDirectory, PathIsSymbolicLink, PathIsMountPoint, PathIsReadWrite];
    paths.contains(&subject) || [DirectoryNotEmpty, FileNotEmpty, FileIsExecutable].contains(&subject)
}

impl MachineFacts<'_> {
    /// Is this the machine's id, or a pattern of its name?
    fn is_host(&self, argument: &str) -> bool {
        let (pattern, name) = (argument.to_ascii_lowercase(), self.host_name.to_ascii_lowercase());
        matches(pattern.as_bytes(), name.as_bytes()) || argument.replace('-', "") == self.machine_id
    }
}

/// Is something mounted exactly there?
pub fn is_mount_point(path: &str) -> bool {
    let plain = if path == "/" { path } else { path.trim_end_matches('/') };
    mount_table::lines(&mount_table::text()).any(|line| line.place == plain)
}

/// Is something mounted there or below? It must not be removed with its directory.
pub fn has_mounts_below(path: &str) -> bool {
    mount_table::lines(&mount_table::text()).any(|line| is_below(&line.place, path))
}

/// Undoes the `\040` of mountinfo.
pub fn unoctal(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or("");
            }
            None => {
                out.push(b'\\');
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Does a name match a pattern with `*` and `?`? One point of return for the last `*`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == b'?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    p = after;
                    t = from + 1;
                    star = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == b'*')
}

fn first_boot() -> bool {
    fs::read_to_string("/run/ferrite/boot").is_ok_and(|text| text.lines().any(|line| line == "first-boot=yes"))
}

fn on_ac_power() -> bool {
    let supplies: Vec<_> = fs::read_dir("/sys/class/power_supply").into_iter().flatten().flatten().collect();
    let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap_or_default().trim().to_owned();
    let mains: Vec<_> = supplies.iter().map(|s| s.path()).filter(|path| read(path, "type") == "Mains").collect();
    mains.is_empty() || mains.iter().any(|path| read(path, "online") == "1")
}

fn has_capability(name: &str) -> Option<bool> {
    let bit = ferrite_unit::capability::number(name)?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?.trim();
    Some(u64::from_str_radix(mask, 16).ok()? >> bit & 1 == 1)
}

fn secure_boot() -> bool {
    let path = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    fs::read(path).is_ok_and(|bytes| bytes.get(4) == Some(&1))
}

fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn operator(argument: &str) -> (&str, &str) {
    for operator in [">=", "<=", "!=", "=", ">", "<"] {
        if let Some(rest) = argument.strip_prefix(operator) {
            return (operator, rest.trim());
        }
    }
    ("", argument.trim())
}

fn accepts(operator: &str, ordering: std::cmp::Ordering) -> bool {
    match operator {
        "" | "=" => ordering.is_eq(),
        "!=" => ordering.is_ne(),
        ">" => ordering.is_gt(),
        "<" => ordering.is_lt(),
        ">=" => ordering.is_ge(),
        _ => ordering.is_le(),
    }
}

fn compare_number(fact: u64, argument: &str) -> Option<bool> {
    let (operator, text) = operator(argument);
    let wanted = ferrite_unit::value::size(text).ok()??;
    Some(accepts(if operator.is_empty() { ">=" } else { operator }, fact.cmp(&wanted)))
}

fn version(release: &str, argument: &str) -> Option<bool> {
    let (operator, text) = operator(argument);
    if operator.is_empty() {
        return Some(matches(text.as_bytes(), release.as_bytes()));
    }
    Some(accepts(operator, ferrite_unit::version::compare(release, text)))
}

fn has_feature(cpuinfo: &str, feature: &str) -> bool {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let flags = lines.filter(|(key, _)| matches!(key.trim(), "flags" | "Features"));
    flags.flat_map(|(_, words)| words.split_whitespace()).any(|word| word == feature)
}

/// Words such as `ID=debian` and `VERSION_ID>=12`, all of which must hold.
fn os_release(pairs: &[(String, String)], argument: &str) -> Option<bool> {
    let words = ferrite_unit::words::split(argument, ferrite_unit::words::Escapes::C).ok()?;
    for word in words {
        let end = word.find(|c: char| "<>=!$".contains(c))?;
        let (key, condition) = word.split_at(end);
        let value = pairs.iter().rev().find(|(have, _)| have == key).map_or("", |(_, value)| value);
        let holds = if let Some(pattern) = condition.strip_prefix("!$=") {
            !matches(pattern.as_bytes(), value.as_bytes())
        } else if let Some(pattern) = condition.strip_prefix("$=") {
            matches(pattern.as_bytes(), value.as_bytes())
        } else if let Some(text) = condition.strip_prefix("!=") {
            value != text
        } else if let Some(text) = condition.strip_prefix('=').filter(|text| !text.starts_with('=')) {
            value == text
        } else {
            version(value, condition)?
        };
        if !holds {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_by_its_id_or_a_pattern() {
        let id = "0123456789abcdef0123456789abcdef";
        let facts = MachineFacts {
            command_line: "",
            host_name: "Web-1",
            machine_id: id,
            kernel_release: "",
            answers: &|_| true,
        };
        for (argument, holds) in [("web-*", true), ("WEB-?", true), ("web", false), (id, true)] {
            assert_eq!(facts.holds(Subject::Host, argument), Some(holds), "{argument}");
        }
        assert_eq!(facts.holds(Subject::Capability, "CAP_NOPE"), None);
        assert!(facts.holds(Subject::Capability, "cap_setfcap").is_some());
    }

    #[test]
    fn patterns_match_names() {
        assert!(matches(b"a*c?", b"abbcd") && matches(b"*", b"") && !matches(b"a*c", b"ab"));
    }

    #[test]
    fn releases_are_asked_by_text_pattern_and_number() {
        let pairs = [("ID".to_owned(), "debian".to_owned()), ("VERSION_ID".to_owned(), "13".to_owned())];
        for (argument, holds) in [
            ("ID=debian", Some(true)),
            ("ID=fedora", Some(false)),
            ("ID!=fedora VERSION_ID>=12", Some(true)),
            ("ID=debian VERSION_ID<13", Some(false)),
            ("ID$=deb*", Some(true)),
            ("VARIANT=", Some(true)),
            ("nonsense", None),
        ] {
            assert_eq!(os_release(&pairs, argument), holds, "{argument}");
        }
    }

    #[test]
    fn features_of_the_processor_are_whole_words() {
        let text = "processor : 0\nflags\t\t: fpu sse4_2 avx\n";
        assert!(has_feature(text, "avx") && !has_feature(text, "sse4"));
    }

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("6.12.1", ">=6.2"), Some(true));
        assert_eq!(version("6.12.1", "<6.2"), Some(false));
        assert_eq!(version("6.12.1", "6.*"), Some(true));
        assert_eq!(version("6.12.0-rc1-amd64", "<6.12"), Some(false));
        assert_eq!(version("6.12~rc1", "<6.12"), Some(true));
    }

    #[test]
    fn mount_points_with_blanks_are_read() {
        assert_eq!(unoctal("/a\\040b\\134"), "/a b\\");
    }
}
