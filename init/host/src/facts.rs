//! What the machine, or another root, says about specifiers, users and credentials. Read when it is asked for.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use ferrite_files::Root;
use ferrite_hostconf::specifier::Answer;
use ferrite_hostconf::sysusers::Accounts;

/// Bytes of a small file such as /etc/machine-id.
const SMALL_FILE_MAX: usize = 64 << 10;
/// Bytes of /etc/passwd and its like.
pub(crate) const ACCOUNT_FILE_MAX: usize = 16 << 20;

/// The machine as the commands see it.
#[derive(Debug)]
pub(crate) struct Here<'a> {
    root: &'a Root,
    credentials: Option<PathBuf>,
    accounts: OnceCell<Accounts>,
    os_release: OnceCell<String>,
}

impl<'a> Here<'a> {
    /// Nothing is read yet.
    pub(crate) fn new(root: &'a Root, credentials: Option<&Path>) -> Self {
        let credentials = credentials.map(Path::to_path_buf);
        Self { root, credentials, accounts: OnceCell::new(), os_release: OnceCell::new() }
    }

    /// All users and groups of the root.
    pub(crate) fn accounts(&self) -> &Accounts {
        self.accounts.get_or_init(|| {
            let text = |path: &str| {
                let bytes = self.root.read(path, ACCOUNT_FILE_MAX).ok().flatten().unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            Accounts::read(&text("/etc/passwd"), &text("/etc/group"))
        })
    }

    /// The bytes of a credential.
    pub(crate) fn credential(&self, name: &str) -> Option<Vec<u8>> {
        let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        let folder = self.credentials.as_ref().filter(|_| is_name)?;
        std::fs::read(folder.join(name)).ok()
    }

    /// The value of a specifier.
    pub(crate) fn specifier(&self, letter: char) -> Answer {
        let value = match letter {
            'a' => Some(architecture().to_string()),
            'A' => self.os("IMAGE_VERSION"),
            'b' => small("/proc/sys/kernel/random/boot_id").map(|id| id.replace('-', "")),
            'B' => self.os("BUILD_ID"),
            'H' => Some(host_name()),
            'l' => Some(host_name().split('.').next().unwrap_or_default().to_string()),
            'm' => return self.machine_id(),
            'M' => self.os("IMAGE_ID"),
            'o' => self.os("ID"),
            'v' => Some(rustix::system::uname().release().to_string_lossy().into_owned()),
            'w' => self.os("VERSION_ID"),
            'W' => self.os("VARIANT_ID"),
            'T' => Some("/tmp".into()),
            'V' => Some("/var/tmp".into()),
            _ => return Answer::Unknown,
        };
        value.map_or(Answer::Unresolvable, Answer::Value)
    }

    /// The value of a specifier that only tmpfiles.d knows.
    pub(crate) fn folder_specifier(&self, letter: char) -> Answer {
        let value = match letter {
            'C' => "/var/cache",
            'L' => "/var/log",
            'S' => "/var/lib",
            't' => "/run",
            'h' => "/root",
            'u' | 'g' => "root",
            'U' | 'G' => "0",
            letter => return self.specifier(letter),
        };
        Answer::Value(value.into())
    }

    fn machine_id(&self) -> Answer {
        let bytes = self.root.read("/etc/machine-id", SMALL_FILE_MAX).ok().flatten().unwrap_or_default();
        let id = String::from_utf8_lossy(&bytes).trim().to_string();
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { Answer::Value(id) } else { Answer::Unresolvable }
    }

    /// A value of os-release: an empty one when the file lacks it, none when there is no file.
    fn os(&self, key: &str) -> Option<String> {
        let text = self.os_release.get_or_init(|| {
            let read = |path: &str| self.root.read(path, SMALL_FILE_MAX).ok().flatten();
            let bytes = read("/etc/os-release").or_else(|| read("/usr/lib/os-release")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        if text.is_empty() {
            return None;
        }
        let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
        let value = value.unwrap_or_default();
        let words = ferrite_unit::words::split(value, ferrite_unit::words::Escapes::Relaxed);
        Some(words.unwrap_or_default().join(" "))
    }
}

impl ferrite_hostconf::specifier::Facts for Here<'_> {
    fn specifier(&self, letter: char) -> Answer {
        Here::specifier(self, letter)
    }
}

impl ferrite_hostconf::sysusers::Machine for Here<'_> {
    fn owner(&self, path: &str) -> Option<(u32, u32)> {
        self.root.entry(path).ok().flatten().map(|entry| entry.owner)
    }

    fn credential(&self, name: &str) -> Option<String> {
        let bytes = Here::credential(self, name)?;
        let text = String::from_utf8(bytes).ok()?;
        let text = text.trim_end_matches('\n');
        // What would break the file it goes into is no password and no shell.
        (!text.is_empty() && !text.contains([':', '\n', '\0'])).then(|| text.to_string())
    }
}

fn small(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_string()).filter(|text| !text.is_empty())
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        "riscv64" => "riscv64",
        other => other,
    }
}
