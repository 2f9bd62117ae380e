//! Open files that outlive the daemon: PID 1 keeps them (`FDSTORE=1`) and hands them to the next start.
//!
//! Without PID 1 nothing is kept, and a restart begins with new sockets.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};

use ferrite_notify::Notifier;
use ferrite_sys::inherit::Inherited;

/// Number of the first file that PID 1 hands over.
const FIRST: i32 = 3;

/// What PID 1 says in the environment; only `main` reads it.
#[derive(Debug, Default)]
pub struct Handed {
    /// `LISTEN_PID`
    pub pid: Option<OsString>,
    /// `LISTEN_FDS`
    pub count: Option<OsString>,
    /// `LISTEN_FDNAMES`
    pub names: Option<OsString>,
}

/// The files that were kept, and the way to keep others.
#[derive(Debug, Default)]
pub struct FileStore {
    kept: BTreeMap<String, OwnedFd>,
    notifier: Notifier,
}

impl FileStore {
    /// Takes what PID 1 handed over. To be called before any file is opened.
    pub fn take_over(handed: &Handed, notifier: Notifier) -> Self {
        let number = |value: &Option<OsString>| value.as_ref()?.to_str()?.parse::<i32>().ok();
        let own = i32::try_from(std::process::id()).ok();
        let mut kept = BTreeMap::new();
        if let Some(count) = number(&handed.count).filter(|_| number(&handed.pid) == own) {
            let names = handed.names.as_ref().map(|names| names.to_string_lossy().into_owned()).unwrap_or_default();
            let mut inherited = Inherited::find();
            for (number, name) in (FIRST..FIRST.saturating_add(count)).zip(names.split(':')) {
                if let Some(file) = inherited.take(number, None) {
                    kept.insert(name.to_owned(), file);
                }
            }
        }
        Self { kept, notifier }
    }

    /// The kept file of this name.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        self.kept.remove(name)
    }

    /// All kept files whose name begins so.
    pub fn take_all(&mut self, prefix: &str) -> Vec<(String, OwnedFd)> {
        let names: Vec<String> = self.kept.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        names.into_iter().filter_map(|name| self.kept.remove(&name).map(|file| (name, file))).collect()
    }

    /// Asks PID 1 to keep a file. If it does not, the file is lost with the daemon.
    pub fn keep(&self, name: &str, file: impl AsFd) {
        if let Err(error) = self.notifier.store(name, file) {
            eprintln!("storing '{name}' with PID 1: {error}, going on without");
        }
    }

    /// Tells PID 1 that a file is of no use any more.
    pub fn forget(&self, name: &str) {
        // PID 1 sees the other side hang up by itself, too.
        let _ = self.notifier.unstore(name);
    }

    /// The way to PID 1.
    pub fn notifier(&self) -> &Notifier {
        &self.notifier
    }
}
