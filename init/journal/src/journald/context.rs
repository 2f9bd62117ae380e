//! Who sent a message: what the kernel tells of a process, as the trusted fields of its entries. Reads /proc.
//!
//! What was read counts for a second, so that a flood costs one look; a process that is gone is remembered a little
//! longer, as its last words are often read after its end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::fields::Fields;

/// How long what was read counts.
const FRESH_US: u64 = 1_000_000;
/// How long a process is remembered that cannot be read any more.
const GONE_US: u64 = 5_000_000;
/// Processes that are remembered.
const PROCESSES_MAX: usize = 512;
/// Longest command line that is kept.
const COMMAND_LINE_MAX: usize = 4096;
const UNIT_SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// The kernel's word for who sent something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sender {
    /// Process id; 0: unknown.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// What is known of a process.
#[derive(Debug, Default)]
pub struct Process {
    /// Its unit; empty: none.
    pub unit: String,
    /// Its trusted fields but user, group and unit.
    pub fields: Fields,
    /// Its unit's control group and slice.
    group: Group,
    /// Which run of its unit it belongs to; empty: nobody knows.
    invocation: String,
}

/// The processes that were looked at.
#[derive(Debug)]
pub struct Processes {
    units: PathBuf,
    known: BTreeMap<i32, (u64, Rc<Process>)>,
}

impl Processes {
    /// None yet; `units` is where PID 1 leaves the invocation ids of units.
    pub fn new(units: &Path) -> Self {
        Self { units: units.to_owned(), known: BTreeMap::new() }
    }

    /// The process of this number, at a monotonic time.
    pub fn of(&mut self, pid: i32, now_us: u64) -> Rc<Process> {
        let known = self.known.get(&pid);
        if let Some((read_us, process)) = known
            && now_us.saturating_sub(*read_us) < FRESH_US
        {
            return Rc::clone(process);
        }
        if pid <= 0 {
            return Rc::default();
        }
        match read(pid) {
            Some(mut process) => {
                process.invocation = self.invocation(&process.unit);
                let process = Rc::new(process);
                self.make_room();
                self.known.insert(pid, (now_us, Rc::clone(&process)));
                process
            }
            None => match known.filter(|(read_us, _)| now_us.saturating_sub(*read_us) < GONE_US) {
                Some((_, process)) => Rc::clone(process),
                None => Rc::default(),
            },
        }
    }

    fn make_room(&mut self) {
        if self.known.len() >= PROCESSES_MAX
            && let Some(oldest) = self.known.iter().min_by_key(|(_, (read_us, _))| *read_us).map(|(pid, _)| *pid)
        {
            self.known.remove(&oldest);
        }
    }

    /// Adds the trusted fields of a sender. `unit`: the one that is believed, which need not be that of its group.
    pub fn describe(&self, sender: Sender, process: &Process, unit: &str, fields: &mut Fields) {
        if sender.pid > 0 {
            fields.show("_PID", sender.pid);
            fields.show("_UID", sender.uid);
            fields.show("_GID", sender.gid);
        }
        process.fields.iter().for_each(|(name, value)| fields.push(name, value));
        if unit == process.unit {
            fields.known("_SYSTEMD_SLICE", &process.group.slice);
        }
        if unit.is_empty() {
            return;
        }
        fields.text("_SYSTEMD_UNIT", unit);
        if unit == process.unit {
            fields.known("_SYSTEMD_INVOCATION_ID", &process.invocation);
        } else {
            fields.known("_SYSTEMD_INVOCATION_ID", &self.invocation(unit));
        }
    }

    /// Only PID 1 knows it; without the link the unit began before the log listened, or there is none.
    fn invocation(&self, unit: &str) -> String {
        let link = fs::read_link(self.units.join(format!("invocation:{unit}")));
        link.ok().and_then(|id| id.to_str().map(str::to_owned)).unwrap_or_default()
    }
}

fn read(pid: i32) -> Option<Process> {
    let place = PathBuf::from(format!("/proc/{pid}"));
    let comm = fs::read(place.join("comm")).ok()?;
    let comm = String::from_utf8_lossy(comm.trim_ascii_end()).into_owned();
    let group = group_in(&fs::read_to_string(place.join("cgroup")).unwrap_or_default());
    let mut fields = Fields::default();
    fields.known("_COMM", &comm);
    if let Ok(exe) = fs::read_link(place.join("exe")) {
        use std::os::unix::ffi::OsStrExt;
        fields.push(b"_EXE", exe.as_os_str().as_bytes());
    }
    let line = command_line(&fs::read(place.join("cmdline")).unwrap_or_default());
    if !line.is_empty() {
        fields.push(b"_CMDLINE", &line);
    }
    let status = fs::read_to_string(place.join("status")).unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    fields.known("_CAP_EFFECTIVE", capabilities.trim().trim_start_matches('0'));
    fields.known("_SYSTEMD_CGROUP", &group.path);
    fields.known("_SYSTEMD_OWNER_UID", &group.owner);
    fields.known("_SYSTEMD_SESSION", &group.session);
    Some(Process { unit: group.unit.clone(), fields, group, invocation: String::new() })
}

/// The arguments with blanks between.
fn command_line(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let line = bytes.get(..end.min(COMMAND_LINE_MAX)).unwrap_or_default();
    line.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect()
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Group {
    path: String,
    unit: String,
    slice: String,
    session: String,
    owner: String,
}

/// What the path of a control group tells. The unit is its outermost part that is no slice: slices only hold others.
fn group_in(text: &str) -> Group {
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::")) else { return Group::default() };
    let mut group = Group { path: path.to_owned(), ..Group::default() };
    for part in path.split('/') {
        if UNIT_SUFFIXES.iter().any(|end| part.ends_with(end) && part.len() > end.len()) {
            part.clone_into(&mut group.unit);
            break;
        }
        if part.ends_with(".slice") {
            part.clone_into(&mut group.slice);
            if let Some(owner) = part.strip_prefix("user-").and_then(|rest| rest.strip_suffix(".slice")) {
                owner.clone_into(&mut group.owner);
            }
        }
    }
    if let Some(session) = group.unit.strip_prefix("session-").and_then(|rest| rest.strip_suffix(".scope")) {
        session.clone_into(&mut group.session);
    }
    if group.slice.is_empty() && !group.unit.is_empty() {
        "-.slice".clone_into(&mut group.slice);
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_first_part_that_is_no_slice() {
        for (text, unit, slice) in [
            ("0::/system.slice/ssh.service\n", "ssh.service", "system.slice"),
            (
                "0::/system.slice/system-getty.slice/getty@tty1.service/sub.scope\n",
                "getty@tty1.service",
                "system-getty.slice",
            ),
            ("1:name=systemd:/x.service\n0::/init.scope\n", "init.scope", "-.slice"),
            ("0::/\n", "", ""),
            ("", "", ""),
        ] {
            let group = group_in(text);
            assert_eq!((group.unit.as_str(), group.slice.as_str()), (unit, slice));
        }
        let group = group_in("0::/user.slice/user-1000.slice/session-3.scope\n");
        assert_eq!((group.owner.as_str(), group.session.as_str()), ("1000", "3"));
    }

    #[test]
    fn a_process_is_described_by_what_the_kernel_tells() {
        let directory = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink("abc", directory.path().join("invocation:x.service")).expect("a link");
        let mut processes = Processes::new(directory.path());
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let process = processes.of(pid, 1);
        let mut fields = Fields::default();
        processes.describe(Sender { pid, uid: 7, gid: 8 }, &process, "x.service", &mut fields);
        for (name, value) in [
            ("_PID", pid.to_string()),
            ("_UID", "7".into()),
            ("_GID", "8".into()),
            ("_COMM", fs::read_to_string("/proc/self/comm").expect("a name").trim().into()),
            ("_SYSTEMD_UNIT", "x.service".into()),
            ("_SYSTEMD_INVOCATION_ID", "abc".into()),
        ] {
            assert_eq!(fields.str(name), Some(value.as_str()), "{name}");
        }
        assert!(fields.str("_EXE").is_some_and(|exe| exe.starts_with('/')) && fields.get("_CMDLINE").is_some());
        assert_eq!(command_line(b"a\0b c\0\0"), b"a b c");
    }

    #[test]
    fn the_gone_are_remembered_and_the_number_of_the_remembered_is_bounded() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("a process");
        let pid = i32::try_from(child.id()).expect("a pid");
        let mut processes = Processes::new(Path::new("/nonexistent"));
        assert!(processes.of(pid, 0).fields.get("_COMM").is_some());
        child.kill().expect("killed");
        child.wait().expect("ended");
        assert!(processes.of(pid, GONE_US - 1).fields.get("_COMM").is_some());
        assert!(processes.of(pid, GONE_US).fields.is_empty());
        assert!(processes.of(0, 0).unit.is_empty());
        for number in 0..2 * i32::try_from(PROCESSES_MAX).expect("small") {
            processes.make_room();
            processes.known.insert(number + 1_000_000, (u64::try_from(number).expect("positive"), Rc::default()));
        }
        assert!(processes.known.len() <= PROCESSES_MAX);
    }
}
