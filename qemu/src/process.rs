//! Child processes: found by name, bound to the life of their starter, waited for with a deadline.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::error::QemuError;

/// The emulator.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// QEMU, killed by the kernel when the thread that starts it ends (also by SIGKILL).
pub(crate) fn qemu_command() -> Result<Command, QemuError> {
    let qemu = find_program(QEMU).ok_or(QemuError::MissingProgram { program: QEMU, package: "qemu-system-x86" })?;
    Ok(match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg(qemu);
            command
        }
        None => Command::new(qemu),
    })
}

/// A program of the search path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A folder of our own for sockets and small files; short, because socket names are limited to 107 bytes.
pub(crate) fn work_folder(purpose: &str) -> Result<tempfile::TempDir, QemuError> {
    tempfile::Builder::new()
        .prefix(&format!("ferrite-{purpose}-"))
        .tempdir()
        .map_err(QemuError::file("making a folder in", std::env::temp_dir()))
}

/// Waits for the end of a child; kills it at the deadline and answers `None`.
pub(crate) fn wait_until(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>, QemuError> {
    let fail = |source| QemuError::Start { program: QEMU.into(), source };
    let end = Instant::now() + deadline;
    loop {
        if let Some(status) = child.try_wait().map_err(fail)? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            // The child may have ended by itself in between; both are the same to us.
            let _ = child.kill();
            child.wait().map_err(fail)?;
            return Ok(None);
        }
        // Waiting for a child with a deadline has no call in std that does not poll.
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What QEMU died of: its first line that speaks of an error, else its last one.
pub(crate) fn reason(said: &str) -> Option<String> {
    let mut lines = said.lines().map(|line| line.strip_prefix("qemu-system-x86_64: ").unwrap_or(line).trim());
    let last = lines.clone().rev().find(|line| !line.is_empty())?;
    Some(lines.find(|line| line.starts_with("error:")).unwrap_or(last).trim_start_matches("error: ").into())
}

/// Processor time that a live process has used, user and system; `None` once it is gone.
pub(crate) fn cpu_used(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_cpu(&stat)
}

fn parse_cpu(stat: &str) -> Option<Duration> {
    // Fields are counted from behind the name, which may hold anything: state is the third field of the file.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    // USER_HZ, which Linux promises to user space on this architecture.
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_user_and_system_even_with_a_strange_name() {
        let stat = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20";
        assert_eq!(parse_cpu(stat), Some(Duration::from_millis(1750)));
    }

    #[test]
    fn the_reason_is_the_error_else_the_last_line() {
        let said = "qemu-system-x86_64: error: failed to set MSR\nkvm.c:3183: Assertion failed.\n\n";
        assert_eq!(reason(said).as_deref(), Some("failed to set MSR"));
        assert_eq!(reason("a\nb\n\n").as_deref(), Some("b"));
        assert_eq!(reason(" \n"), None);
    }
}
