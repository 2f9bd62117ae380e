//! Runs a program of the mounted root, with its libraries, while PID 1 keeps the watchdog ticking.
//!
//! The child is this program again (`chroot ROOT PROGRAM ARGUMENTS`), because changing the root between
//! fork and exec would need unsafe code.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::process::{Pid, PidfdFlags, chroot, pidfd_open};

use crate::early_mounts::SYSROOT;
use crate::watchdog::Guard;

/// First argument of the child.
pub const CHROOT: &str = "chroot";

const OUTPUT: &str = "/run/ferrite/tool-output";
const PING: Duration = Duration::from_secs(5);
const OUTPUT_BYTES: usize = 4096;
const KERNEL_FOLDERS: [&str; 2] = ["/dev", "/proc"];

/// A program below the mounted root.
#[derive(Debug)]
pub struct Tool<'a> {
    /// Its path in the root.
    pub program: &'a str,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// How long it may run.
    pub limit: Duration,
}

/// Where input and output of the child go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    /// Nobody is asked; what it says is kept.
    Kept,
    /// To a person at the console.
    Console,
}

impl Tool<'_> {
    /// Runs it to its end and returns its status and what it said.
    pub fn run(&self, guard: &Guard) -> anyhow::Result<(ExitStatus, String)> {
        let status = self.run_in_root(guard, Talk::Kept)?;
        let said = std::fs::read(OUTPUT).unwrap_or_default();
        let end = said.len().saturating_sub(OUTPUT_BYTES);
        Ok((status, String::from_utf8_lossy(said.get(end..).unwrap_or_default()).trim().to_owned()))
    }

    /// Runs it on /dev/console.
    pub fn run_on_console(&self, guard: &Guard) -> anyhow::Result<ExitStatus> {
        self.run_in_root(guard, Talk::Console)
    }

    fn run_in_root(&self, guard: &Guard, talk: Talk) -> anyhow::Result<ExitStatus> {
        for folder in KERNEL_FOLDERS {
            let target = format!("{SYSROOT}{folder}");
            mount_bind(folder, &target).with_context(|| format!("mounting '{folder}' on '{target}'"))?;
        }
        let outcome = self.spawn(talk).and_then(|child| self.wait(child, guard));
        for folder in KERNEL_FOLDERS {
            // What stays is hidden by the mount that the switch puts there.
            let _ = unmount(format!("{SYSROOT}{folder}"), UnmountFlags::DETACH);
        }
        outcome.with_context(|| format!("running {}", self.program))
    }

    fn spawn(&self, talk: Talk) -> anyhow::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.args([CHROOT, SYSROOT, self.program]).args(self.arguments);
        let (input, output) = match talk {
            Talk::Kept => (Stdio::null(), File::create(OUTPUT).context("making the output file")?),
            Talk::Console => {
                let console =
                    File::options().read(true).write(true).open("/dev/console").context("opening the console")?;
                (Stdio::from(console.try_clone()?), console)
            }
        };
        command.stdin(input).stdout(output.try_clone()?).stderr(output);
        command.spawn().context("starting the child")
    }

    fn wait(&self, mut child: Child, guard: &Guard) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + self.limit;
        let process = Pid::from_child(&child);
        let descriptor = pidfd_open(process, PidfdFlags::empty()).context("watching the child")?;
        loop {
            guard.ping();
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                child.kill()?;
                bail!("it did not end within {} s", self.limit.as_secs());
            }
            let timeout = Timespec::try_from(left.min(PING))?;
            match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What the child does: changes the root and becomes the program. Returns only when that fails.
pub fn become_tool(arguments: &[String]) -> anyhow::Error {
    let [root, program, rest @ ..] = arguments else {
        return anyhow::anyhow!("usage: chroot ROOT PROGRAM [ARGUMENT...]");
    };
    let entered = chroot(root.as_str()).and_then(|()| rustix::process::chdir("/"));
    if let Err(error) = entered {
        return anyhow::anyhow!(error).context(format!("entering '{root}'"));
    }
    anyhow::anyhow!(Command::new(program).args(rest).env_clear().env("PATH", "/usr/sbin:/usr/bin").exec())
        .context(format!("executing '{program}'"))
}
