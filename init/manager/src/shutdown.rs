//! The last phase: no unit runs any more. Processes are ended, everything is written back, file systems are closed.
//!
//! Each step has a deadline, and the watchdog is pinged between them: a machine always ends.

use std::fs;
use std::time::{Duration, Instant};

use ferrite_sys::reboot::End;
use rustix::process::{WaitOptions, wait};

use crate::closing::Closing;
use crate::last_stage;
use crate::log::{Log, Mark};
use crate::watch::Watch;

const TERM_TIME: Duration = Duration::from_secs(10);
const KILL_TIME: Duration = Duration::from_secs(5);
/// One look at how writing back goes on, and so many in vain.
const SYNC_TIME: Duration = Duration::from_secs(10);
const SYNC_ROUNDS: u32 = 3;
/// Programs that run when all units are gone.
const HOOKS: &str = "/usr/lib/systemd/system-shutdown";
const HOOKS_TIME: Duration = Duration::from_secs(90);

/// Ends every process but this one, and those that serve a file system and say so by a name that begins with `@`.
pub fn end_processes(log: &Log, watch: &Watch) {
    for (signal, time) in [(15, TERM_TIME), (9, KILL_TIME)] {
        // What stands still makes no new processes while they are listed.
        if ferrite_sys::signal::send_to_all(19).is_err() {
            return;
        }
        for pid in processes() {
            // One that ended in the meantime needs no signal.
            let _ = ferrite_sys::signal::send(pid, signal);
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

/// All processes that are to end.
fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| *pid > 1 && !is_spared(*pid)).collect()
}

/// The kernel's own processes have none.
fn has_command_line(pid: i32) -> bool {
    !crate::server::read_some(&format!("/proc/{pid}/cmdline"), 1).is_empty()
}

fn is_spared(pid: i32) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = format!("/proc/{pid}");
    let of_root = || fs::metadata(&place).is_ok_and(|data| data.uid() == 0);
    crate::server::read_some(&format!("{place}/cmdline"), 1) == b"@" && of_root()
}

/// Waits until there is no process but this one.
fn wait_for_all(time: Duration, watch: &Watch) -> bool {
    let deadline = Instant::now() + time;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) if processes().iter().any(|pid| has_command_line(*pid)) => {}
            // What is left is spared, or belongs to the kernel.
            Ok(None) | Err(_) => return true,
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
    let status = wait_for(child, time, watch);
    if status.is_none() {
        let _ = ferrite_sys::signal::send(child.pid, 9);
    }
    status
}

/// Waits for the end of a child; `None`: it did not come in time.
fn wait_for(child: &ferrite_sys::process::Child, time: Duration, watch: &Watch) -> Option<i32> {
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
            return None;
        }
    }
}

/// Writes everything back. As long as there is less and less to write, it may take its time.
pub fn write_back(log: &Log, watch: &Watch) {
    let mut before = u64::MAX;
    let mut idle = 0;
    let done = bounded_while(watch, SYNC_TIME, || {
        let now = unwritten_kib(&fs::read_to_string("/proc/meminfo").unwrap_or_default());
        idle = if now < before { 0 } else { idle + 1 };
        before = now;
        idle < SYNC_ROUNDS
    });
    if !done {
        log.error(&format!("writing back: {before} KiB do not get less, going on"));
    }
}

/// Calls sync in a child; each time `time` is over, `on` says whether to wait for it once more.
fn bounded_while(watch: &Watch, time: Duration, mut on: impl FnMut() -> bool) -> bool {
    let Ok(child) = ferrite_sys::process::fork_into(None, || {
        rustix::fs::sync();
        0
    }) else {
        return false;
    };
    loop {
        if let Some(status) = wait_for(&child, time, watch) {
            return status == 0;
        }
        if !on() {
            let _ = ferrite_sys::signal::send(child.pid, 9);
            return false;
        }
    }
}

/// What waits to be written, in KiB.
fn unwritten_kib(text: &str) -> u64 {
    let value = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    let wanted = text.lines().filter(|line| line.starts_with("Dirty:") || line.starts_with("Writeback:"));
    wanted.filter_map(value).sum()
}

/// Runs the programs that want to do something when all units are gone, all at once: with the word for the end.
fn run_hooks(end: End, log: &Log, watch: &Watch) {
    let entries = fs::read_dir(HOOKS).into_iter().flatten().flatten();
    let executable = |path: &std::path::PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    let mut programs: Vec<_> = entries.map(|entry| entry.path()).filter(executable).collect();
    programs.sort();
    if programs.is_empty() {
        return;
    }
    let done = bounded(HOOKS_TIME, watch, || {
        // As any other program they expect that no signal is blocked.
        let _ = ferrite_sys::signal::reset_for_program(true);
        let start = |path: &std::path::PathBuf| std::process::Command::new(path).arg(last_stage::word(end)).spawn();
        let children: Vec<_> = programs.iter().filter_map(|path| start(path).ok()).collect();
        let failed = children.into_iter().filter_map(|mut child| child.wait().ok()).filter(|status| !status.success());
        i32::from(failed.count() > 0)
    });
    if !done {
        log.error(&format!("the programs in {HOOKS} take longer than {} s, going on", HOOKS_TIME.as_secs()));
        // They hold what is to be closed.
        let _ = ferrite_sys::signal::send_to_all(9);
    }
}

/// Everything, in order; then the machine ends. Returns only if the kernel refuses.
pub fn finish(end: End, argument: Option<&str>, log: &Log, watch: &mut Watch) -> std::io::Error {
    log.status(Mark::None, "Ending all processes, writing back, unmounting.");
    end_processes(log, watch);
    write_back(log, watch);
    let left = Closing::new(log, watch).close_all(|place| place == "/");
    if !left.is_empty() {
        log.error(&format!("still writable: {}", left.join(" ")));
    }
    run_hooks(end, log, watch);
    // What still uses a file system that is no longer mounted anywhere keeps it open; it is written back all the same.
    write_back(log, watch);
    watch.ping();
    let error = last_stage::enter(end, argument, watch);
    log.error(&format!("moving into memory: {error}, ending the machine from its root"));
    last_stage::leave(end, argument, log, watch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unwritten_is_added_up() {
        let text = "MemTotal: 1024 kB\nDirty:    12 kB\nWriteback:  3 kB\nWritebackTmp: 100 kB\n";
        assert_eq!(unwritten_kib(text), 15);
        assert_eq!(unwritten_kib(""), 0);
    }
}
