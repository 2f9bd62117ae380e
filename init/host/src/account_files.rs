//! Reading and replacing /etc/passwd, group, shadow and gshadow, under the lock that everybody takes for it.
//!
//! Each file is replaced at once and its predecessor kept with a dash behind its name. Groups come
//! before users: a cut in between leaves no user without a group.

use std::fs::File;

use ferrite_files::{Attributes, Root};
use ferrite_hostconf::sysusers::{Rendered, Texts};
use rustix::fs::{FlockOperation, Mode, OFlags, ResolveFlags};

use crate::configuration::chain;
use crate::facts::ACCOUNT_FILE_MAX;

/// The files as they are.
#[derive(Debug)]
pub(crate) struct AccountFiles {
    /// Their texts.
    pub texts: Texts,
}

/// The lock of /etc/.pwd.lock; it ends with the value.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock.
    pub(crate) fn take(root: &Root) -> Result<Self, String> {
        let fail = |error: rustix::io::Errno| format!("Failed to take /etc/passwd lock: {error}");
        let folder = rustix::fs::open(root.path(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file =
            folder.and_then(|folder| rustix::fs::openat2(folder, "etc/.pwd.lock", flags, mode, ResolveFlags::IN_ROOT));
        let file = File::from(file.map_err(fail)?);
        rustix::fs::fcntl_lock(&file, FlockOperation::LockExclusive).map_err(fail)?;
        Ok(Self { _file: file })
    }
}

impl AccountFiles {
    /// Reads all four.
    pub(crate) fn read(root: &Root) -> Result<Self, String> {
        let text = |path: &str| match root.read(path, ACCOUNT_FILE_MAX) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(format!("{path} is not UTF-8: put it right before accounts can be added")),
            },
            Err(error) => Err(chain(&error)),
        };
        let texts = Texts {
            passwd: text("/etc/passwd")?,
            group: text("/etc/group")?,
            shadow: text("/etc/shadow")?,
            gshadow: text("/etc/gshadow")?,
        };
        Ok(Self { texts })
    }

    /// Writes what changed.
    pub(crate) fn write(&self, root: &Root, new: &Rendered, is_dry_run: bool) -> Result<(), String> {
        let files = [
            ("/etc/group", &self.texts.group, &new.group, 0o644),
            ("/etc/gshadow", &self.texts.gshadow, &new.gshadow, 0),
            ("/etc/passwd", &self.texts.passwd, &new.passwd, 0o644),
            ("/etc/shadow", &self.texts.shadow, &new.shadow, 0),
        ];
        for (path, old, new, mode) in files {
            let Some(new) = new else { continue };
            if is_dry_run {
                eprintln!("Would write {path}\u{2026}");
                continue;
            }
            let entry = root.entry(path).map_err(|error| chain(&error))?;
            let attributes = entry.map_or(Attributes { mode, owner: None }, |entry| Attributes {
                mode: entry.mode,
                owner: Some(entry.owner),
            });
            let replace = |path: &str, text: &str| {
                root.replace(path, text.as_bytes(), &attributes).map_err(|error| chain(&error))
            };
            if let Some(old) = old {
                replace(&format!("{path}-"), old)?;
            }
            replace(path, new)?;
        }
        Ok(())
    }
}
