//! Kernel settings of a start under test: what an ordinary machine survives limping ends such a start, so that its
//! tries run out. Early boot raises them and leaves a note; who marks the slot good takes them back.
//!
//! The kernel is more patient than usual before it calls a processor or a task stuck: a host that is busy is no fault
//! of a release.

use std::fs;
use std::io;
use std::path::Path;

/// Where the note is.
pub const SEVERITY_PATH: &str = "/run/ferrite/severity";

/// Below /proc/sys/kernel, in the order in which they are raised: patience before panic.
const SETTINGS: [(&str, &str); 6] = [
    ("panic_on_oops", "1"),
    ("watchdog_thresh", "60"),
    ("softlockup_panic", "1"),
    ("hardlockup_panic", "1"),
    ("hung_task_timeout_secs", "240"),
    ("hung_task_panic", "1"),
];

/// What was raised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Severity {
    changes: Vec<Change>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    name: String,
    before: String,
    raised: String,
}

impl Severity {
    /// Raises what this kernel has; what cannot be raised is told and left.
    pub fn raise(kernel: &Path) -> (Severity, Vec<String>) {
        let (mut changes, mut faults) = (Vec::new(), Vec::new());
        for (name, raised) in SETTINGS {
            let path = kernel.join(name);
            let before = match fs::read_to_string(&path) {
                Ok(text) => text.trim().to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    faults.push(format!("reading kernel.{name}: {error}"));
                    continue;
                }
            };
            if before == raised {
                continue;
            }
            match fs::write(&path, raised) {
                Ok(()) => changes.push(Change { name: name.to_owned(), before, raised: raised.to_owned() }),
                Err(error) => faults.push(format!("setting kernel.{name}: {error}")),
            }
        }
        (Severity { changes }, faults)
    }

    /// Takes back what still is as it was raised.
    pub fn lower(&self, kernel: &Path) -> Vec<String> {
        let mut faults = Vec::new();
        for change in self.changes.iter().rev() {
            let path = kernel.join(&change.name);
            let lowered = match fs::read_to_string(&path) {
                Ok(text) if text.trim() == change.raised => fs::write(&path, &change.before),
                // Somebody decided otherwise.
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = lowered {
                faults.push(format!("setting kernel.{}: {error}", change.name));
            }
        }
        faults
    }

    /// Whether anything was raised.
    pub fn is_raised(&self) -> bool {
        !self.changes.is_empty()
    }

    /// The note: a setting a line, its old value and the one it has.
    pub fn render(&self) -> String {
        self.changes.iter().map(|change| format!("{} {} {}\n", change.name, change.before, change.raised)).collect()
    }

    /// Reads the note; a line that is none is left out.
    pub fn parse(text: &str) -> Severity {
        let change = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let (name, before, raised) = (words.next()?, words.next()?, words.next()?);
            let known = SETTINGS.iter().any(|(setting, _)| *setting == name);
            known.then_some(Change { name, before, raised })
        };
        Severity { changes: text.lines().filter_map(change).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_raised_noted_and_taken_back_but_for_those_that_somebody_changed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let value = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a setting");
        let set = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a setting");
        // This kernel has no detector of hard lockups, and oopses end it already.
        for (name, text) in [("panic_on_oops", "1\n"), ("watchdog_thresh", "10\n"), ("softlockup_panic", "0\n")] {
            set(name, text);
        }
        set("hung_task_timeout_secs", "120\n");
        set("hung_task_panic", "0\n");
        let (raised, faults) = Severity::raise(folder.path());
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!((value("softlockup_panic"), value("watchdog_thresh")), ("1".into(), "60".into()));
        let note = raised.render();
        assert_eq!(
            note,
            "watchdog_thresh 10 60\nsoftlockup_panic 0 1\nhung_task_timeout_secs 120 240\nhung_task_panic 0 1\n"
        );
        assert_eq!(Severity::parse(&format!("{note}../x 0 1\nnonsense\n")), raised);
        set("hung_task_timeout_secs", "600\n");
        assert_eq!(raised.lower(folder.path()), Vec::<String>::new());
        let now: Vec<String> = ["softlockup_panic", "hung_task_panic", "watchdog_thresh", "panic_on_oops"]
            .map(|name| value(name).trim().to_owned())
            .into();
        assert_eq!(now, ["0", "0", "10", "1"]);
        assert_eq!(value("hung_task_timeout_secs"), "600\n");
    }
}
