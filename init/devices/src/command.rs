//! Commands of the administrator that stand for a module: a shell runs them, and one that hangs is ended.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs a command; anything but exit code 0 is an error.
pub(crate) fn run(command: &str) -> anyhow::Result<()> {
    let mut shell = Command::new("/bin/sh");
    let mut child = shell.args(["-c", command]).stdin(Stdio::null()).spawn().context("starting a shell")?;
    let status = wait(&mut child, DEADLINE)?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    Ok(())
}

fn wait(child: &mut Child, deadline: Duration) -> anyhow::Result<ExitStatus> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the shell has no number")?;
    let file = pidfd_open(pid, PidfdFlags::empty()).context("watching the shell")?;
    let limit = Timespec { tv_sec: i64::try_from(deadline.as_secs())?, tv_nsec: deadline.subsec_nanos().into() };
    let ended = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&limit)));
    if ended.context("waiting for the shell")? == 0 {
        // One that has ended meanwhile is what we want.
        let _ = child.kill();
        child.wait().context("collecting the shell")?;
        bail!("it did not end within {} s", deadline.as_secs());
    }
    child.wait().context("collecting the shell")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_hangs_is_ended() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let error = wait(&mut child, Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("did not end"), "{error}");
        assert!(child.try_wait().unwrap().is_some());
    }
}
