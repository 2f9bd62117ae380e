//! The view of the file systems that a unit's processes have: which places are mounted how, in which order. Pure.
//!
//! Places are paths below the new root. What `+` means, and that the first of two entries for a place wins, follows
//! systemd; links below the root are followed later, so the list may have to be put in order again.

use std::cmp::Ordering;

use ferrite_unit::escape::is_below;

/// How a place is changed. The order of the variants decides which of two entries for one place wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// Nothing of it can be seen.
    Inaccessible,
    /// Something else is shown there.
    Bind {
        /// What, as a path of the machine.
        source: String,
        /// With the mounts below it.
        recursive: bool,
    },
    /// A /dev of harmless devices only.
    PrivateDevices,
    /// The /dev of the machine.
    BindDevices,
    /// An empty folder.
    Empty,
    /// A /sys of this network namespace.
    PrivateSystem,
    /// The /sys of the machine.
    BindSystem,
    /// A new /proc.
    Processes {
        /// Options of the file system.
        options: String,
    },
    /// A hierarchy of control groups that begins at the unit's.
    PrivateGroups,
    /// Nothing can be changed.
    ReadOnly,
    /// What is above may be read-only, this is not.
    ReadWrite,
    /// Nothing can be executed.
    NoExecute,
    /// What is above may not be executed, this may.
    Execute,
    /// An empty file system.
    Tmpfs {
        /// Its options.
        options: String,
    },
    /// A /run of its own, unless there is one.
    Run,
    /// The message queues of this namespace.
    MessageQueues,
    /// As `ReadWrite`, but any other entry wins.
    ReadWriteImplicit,
}

impl Mode {
    fn rank(&self) -> u8 {
        match self {
            Mode::Inaccessible => 0,
            Mode::Bind { recursive: false, .. } => 1,
            Mode::Bind { recursive: true, .. } => 2,
            Mode::PrivateDevices => 3,
            Mode::BindDevices => 4,
            Mode::Empty => 5,
            Mode::PrivateSystem => 6,
            Mode::BindSystem => 7,
            Mode::Processes { .. } => 8,
            Mode::PrivateGroups => 9,
            Mode::ReadOnly => 10,
            Mode::ReadWrite => 11,
            Mode::NoExecute => 12,
            Mode::Execute => 13,
            Mode::Tmpfs { .. } => 14,
            Mode::Run => 15,
            Mode::MessageQueues => 16,
            Mode::ReadWriteImplicit => 17,
        }
    }
}

/// A place and how it is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The place.
    pub path: String,
    /// How.
    pub mode: Mode,
    /// It may be missing.
    pub optional: bool,
    /// Nothing can be changed there, besides.
    pub read_only: bool,
    /// Nothing can be executed there, besides.
    pub no_execute: bool,
    /// Programs can be executed there, besides.
    pub execute: bool,
    /// SUID bits mean nothing there.
    pub no_suid: bool,
    /// It is in place already.
    pub applied: bool,
    /// It was missing, and may be.
    pub skipped: bool,
}

impl Entry {
    /// An entry without further conditions.
    pub fn new(path: &str, mode: Mode) -> Entry {
        Entry {
            path: path.to_owned(),
            mode,
            optional: false,
            read_only: false,
            no_execute: false,
            execute: false,
            no_suid: false,
            applied: false,
            skipped: false,
        }
    }

    /// The same, and it may be missing.
    pub fn optional(self) -> Entry {
        Entry { optional: true, ..self }
    }

    /// The same, and nothing can be changed there.
    pub fn read_only(self) -> Entry {
        Entry { read_only: true, ..self }
    }

    /// Does nothing change there?
    pub fn is_read_only(&self) -> bool {
        self.read_only || matches!(self.mode, Mode::ReadOnly | Mode::Inaccessible)
    }

    /// Is nothing executed there?
    pub fn is_no_execute(&self) -> bool {
        let never = matches!(
            self.mode,
            Mode::NoExecute | Mode::Inaccessible | Mode::PrivateSystem | Mode::BindSystem | Mode::Processes { .. }
        );
        self.no_execute || never
    }

    /// Is it said that programs can be executed there?
    pub fn is_execute(&self) -> bool {
        self.execute || self.mode == Mode::Execute
    }
}

/// Everything about the view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The folder that becomes the root; none: that of the machine.
    pub root: Option<String>,
    /// Are /tmp and /var/tmp taken from a new file system, which the entries then show?
    pub own_tmp: bool,
    /// The places, in order.
    pub entries: Vec<Entry>,
    /// Do mounts made later on either side show on the other? `None`: shared among the unit's own.
    pub propagation: Option<ferrite_unit::sandbox::Propagation>,
    /// Links that are made below the root: target and path.
    pub links: Vec<(String, String)>,
}

fn compare(one: &Entry, other: &Entry) -> Ordering {
    let parts = |entry: &Entry| entry.path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    let (one_parts, other_parts): (Vec<String>, Vec<String>) = (parts(one), parts(other));
    one_parts.cmp(&other_parts).then(one.mode.rank().cmp(&other.mode.rank()))
}

/// Puts folders before what is in them, and drops what another entry makes meaningless.
pub fn put_in_order(entries: &mut Vec<Entry>) {
    entries.sort_by(compare);
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    // Whatever is below the last place that cannot be seen.
    let mut hidden: Option<String> = None;
    for entry in entries.drain(..) {
        let done = |entry: &Entry| entry.applied || entry.skipped;
        if let Some(last) = kept.last_mut()
            && last.path == entry.path
            && !done(last)
            && !done(&entry)
        {
            last.read_only |= entry.is_read_only();
            last.no_execute |= entry.is_no_execute();
            last.execute |= entry.is_execute();
            continue;
        }
        if hidden.as_ref().is_some_and(|folder| is_below(&entry.path, folder)) {
            continue;
        }
        hidden = (entry.mode == Mode::Inaccessible).then(|| entry.path.clone());
        let access = matches!(entry.mode, Mode::ReadOnly | Mode::ReadWrite | Mode::ReadWriteImplicit);
        let parent = kept.iter().rev().find(|above| is_below(&entry.path, &above.path));
        if access && parent.is_some_and(|above| above.mode == entry.mode) {
            continue;
        }
        kept.push(entry);
    }
    *entries = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(entries: &[(&str, Mode)]) -> Vec<String> {
        let mut list: Vec<Entry> = entries.iter().map(|(path, mode)| Entry::new(path, mode.clone())).collect();
        put_in_order(&mut list);
        list.iter()
            .map(|entry| format!("{} {:?}{}", entry.path, entry.mode, if entry.read_only { " ro" } else { "" }))
            .collect()
    }

    #[test]
    fn folders_come_before_what_is_in_them_and_the_stricter_entry_wins() {
        let entries = [
            ("/usr/lib", Mode::ReadOnly),
            ("/usr", Mode::ReadWrite),
            ("/usr", Mode::ReadOnly),
            ("/usr-x", Mode::ReadOnly),
        ];
        assert_eq!(order(&entries), ["/usr ReadOnly", "/usr-x ReadOnly"]);
    }

    #[test]
    fn what_is_hidden_is_not_mounted_below() {
        let entries = [("/home", Mode::Inaccessible), ("/home/x", Mode::ReadWrite), ("/homes", Mode::Empty)];
        assert_eq!(order(&entries), ["/home Inaccessible", "/homes Empty"]);
    }

    #[test]
    fn an_exception_inside_is_kept_and_a_bind_takes_the_flag_of_what_it_replaces() {
        let source = Mode::Bind { source: "/x".into(), recursive: true };
        let entries = [
            ("/", Mode::ReadOnly),
            ("/dev", Mode::ReadWriteImplicit),
            ("/etc", Mode::ReadOnly),
            ("/var", Mode::ReadOnly),
            ("/var", source),
        ];
        assert_eq!(
            order(&entries),
            ["/ ReadOnly", "/dev ReadWriteImplicit", "/var Bind { source: \"/x\", recursive: true } ro"]
        );
    }
}
