//! The last phase: no unit runs any more. Processes are ended, everything is written back, file systems are closed.
//!
//! Each step has a deadline, and the watchdog is pinged between them: a machine always ends.

use std::fs;
use std::time::{Duration, Instant};

use ferrite_sys::reboot::End;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::process::{WaitOptions, wait};

use crate::facts::unoctal;
use crate::log::{Log, Mark};
use crate::watch::Watch;

const TERM_TIME: Duration = Duration::from_secs(10);
const KILL_TIME: Duration = Duration::from_secs(5);
const SYNC_TIME: Duration = Duration::from_secs(30);
const UNMOUNT_TIME: Duration = Duration::from_secs(60);
/// Rounds of unmounting; each must change something.
const ROUNDS_MAX: usize = 32;

/// Ends every process but this one.
pub fn end_processes(log: &Log, watch: &Watch) {
    for (signal, time) in [(15, TERM_TIME), (9, KILL_TIME)] {
        if ferrite_sys::signal::send_to_all(signal).is_err() {
            return;
        }
        // A stopped process takes its signal only when it goes on.
        let _ = ferrite_sys::signal::send_to_all(18);
        if wait_for_all(time, watch) {
            return;
        }
        let word = if signal == 15 { "SIGTERM" } else { "SIGKILL" };
        log.warning(&format!("processes are left {} s after {word}", time.as_secs()));
    }
}

/// Waits until there is no process but this one.
fn wait_for_all(time: Duration, watch: &Watch) -> bool {
    let deadline = Instant::now() + time;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) => {}
            Err(_) => return true,
        }
        watch.ping();
        if Instant::now() >= deadline {
            return false;
        }
        next_child(deadline);
    }
}

/// Waits for SIGCHLD, which is blocked, or a moment.
fn next_child(deadline: Instant) {
    let mut set = nix::sys::signal::SigSet::empty();
    set.add(nix::sys::signal::Signal::SIGCHLD);
    let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
    let Ok(file) = nix::sys::signalfd::SignalFd::with_flags(&set, nix::sys::signalfd::SfdFlags::SFD_CLOEXEC) else {
        return;
    };
    let Ok(limit) = rustix::event::Timespec::try_from(left) else { return };
    let mut files = [rustix::event::PollFd::new(&file, rustix::event::PollFlags::IN)];
    if matches!(rustix::event::poll(&mut files, Some(&limit)), Ok(1..)) {
        let _ = file.read_signal();
    }
}

/// Runs something that may hang in a process of its own, for so long at most. Did it end by itself?
pub fn bounded(time: Duration, watch: &Watch, work: impl FnOnce() -> i32) -> bool {
    bounded_status(time, watch, work).is_some()
}

/// The same, with the status that the work returned; -1 if a signal ended it. `None`: it did not end in time.
pub fn bounded_status(time: Duration, watch: &Watch, work: impl FnOnce() -> i32) -> Option<i32> {
    let child = ferrite_sys::process::fork_into(None, work).ok()?;
    wait_bounded(&child, time, watch)
}

/// Waits for the end of such a process; one that does not end in time is killed.
pub fn wait_bounded(child: &ferrite_sys::process::Child, time: Duration, watch: &Watch) -> Option<i32> {
    let deadline = Instant::now() + time;
    loop {
        watch.ping();
        let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(1));
        let limit = rustix::event::Timespec::try_from(left).ok()?;
        let mut files = [rustix::event::PollFd::new(&child.pidfd, rustix::event::PollFlags::IN)];
        if matches!(rustix::event::poll(&mut files, Some(&limit)), Ok(1..)) {
            // Its end is taken so that it does not count as a process that is left.
            let pid = rustix::process::Pid::from_raw(child.pid);
            let ended = rustix::process::waitpid(pid, WaitOptions::NOHANG).ok().flatten();
            return Some(ended.and_then(|(_, status)| status.exit_status()).unwrap_or(-1));
        }
        if Instant::now() >= deadline {
            let _ = ferrite_sys::signal::send(child.pid, 9);
            return None;
        }
    }
}

/// Writes everything back.
pub fn write_back(log: &Log, watch: &Watch) {
    let done = bounded(SYNC_TIME, watch, || {
        rustix::fs::sync();
        0
    });
    if !done {
        log.error(&format!("writing back takes longer than {} s, going on", SYNC_TIME.as_secs()));
    }
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mounted {
    place: String,
    kind: String,
    read_only: bool,
}

/// The lines of mountinfo, newest last.
fn parse_mounts(text: &str) -> Vec<Mounted> {
    let line = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ');
        let place = unoctal(fields.nth(4)?);
        let options = fields.next()?;
        let mut back = back.split(' ');
        let kind = back.next()?.to_owned();
        let inner = back.nth(1).unwrap_or("");
        let read_only = [options, inner].iter().any(|list| list.split(',').any(|word| word == "ro"));
        Some(Mounted { place, kind, read_only })
    };
    text.lines().filter_map(line).collect()
}

/// File systems of the kernel hold nothing that could be lost. What is mounted below /run may: containers live there.
fn is_kernel_place(place: &str) -> bool {
    place == "/run"
        || ["/proc", "/sys", "/dev"]
            .iter()
            .any(|top| place == *top || place.strip_prefix(top).is_some_and(|r| r.starts_with('/')))
}

/// Unmounts all it can, makes the rest read-only; tells what stays writable. Runs in a child.
fn close_all() -> Vec<String> {
    for _ in 0..ROUNDS_MAX {
        let mut changed = false;
        for mounted in mounts().iter().rev() {
            if mounted.place != "/" && !is_kernel_place(&mounted.place) {
                changed |= umount2(mounted.place.as_str(), MntFlags::UMOUNT_NOFOLLOW).is_ok();
            }
        }
        if !changed {
            break;
        }
    }
    for mounted in mounts().iter().rev() {
        if !mounted.read_only && !is_kernel_place(&mounted.place) && has_content(&mounted.kind) {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            // What cannot be made read-only is named below.
            let _ = mount(None::<&str>, mounted.place.as_str(), None::<&str>, flags, None::<&str>);
        }
    }
    let left = |m: &Mounted| !m.read_only && !is_kernel_place(&m.place) && has_content(&m.kind);
    mounts().into_iter().filter(left).map(|mounted| mounted.place).collect()
}

fn has_content(kind: &str) -> bool {
    !matches!(
        kind,
        "tmpfs" | "devtmpfs" | "proc" | "sysfs" | "cgroup2" | "cgroup" | "erofs" | "autofs" | "ramfs" | "rootfs"
    )
}

fn mounts() -> Vec<Mounted> {
    parse_mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Closes all file systems.
pub fn close_file_systems(log: &Log, watch: &Watch) {
    let done = bounded(UNMOUNT_TIME, watch, || {
        let left = close_all();
        if left.is_empty() {
            return 0;
        }
        log.error(&format!("still writable: {}", left.join(" ")));
        1
    });
    if !done {
        log.error(&format!("unmounting takes longer than {} s, going on", UNMOUNT_TIME.as_secs()));
    }
}

/// Everything, in order; then the machine ends. Returns only if the kernel refuses.
pub fn finish(end: End, log: &Log, watch: &mut Watch) -> std::io::Error {
    log.status(Mark::None, "Ending all processes, writing back, unmounting.");
    end_processes(log, watch);
    write_back(log, watch);
    close_file_systems(log, watch);
    // What still uses a file system that is no longer mounted anywhere keeps it open; it is written back all the same.
    write_back(log, watch);
    if end == End::Halt {
        // Nobody pings a halted machine, and it is to stay halted.
        watch.disarm();
    }
    let word = match end {
        End::Reboot => "Restarting.",
        End::Poweroff => "Powering off.",
        End::Halt => "Halted.",
    };
    log.status(Mark::None, word);
    ferrite_sys::reboot::end(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read() {
        let text = "22 1 254:0 / / ro,relatime - erofs /dev/dm-0 ro\n\
                    30 22 8:9 / /state rw,noatime shared:1 - ext4 /dev/vda9 rw\n\
                    31 22 8:9 /var /var\\040x rw - ext4 /dev/vda9 rw\n";
        let mounts = parse_mounts(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[0].read_only, mounts[1].read_only), (true, false));
        assert_eq!((mounts[2].place.as_str(), mounts[2].kind.as_str()), ("/var x", "ext4"));
    }

    #[test]
    fn places_of_the_kernel_are_left_alone() {
        assert!(is_kernel_place("/dev/shm") && is_kernel_place("/run") && !is_kernel_place("/device"));
        assert!(!is_kernel_place("/run/containerd/x/rootfs"));
    }
}
