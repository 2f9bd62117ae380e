//! `ferrite-init rescue-shell`: what emergency and rescue mode show on the consoles.
//!
//! A person presses Enter and gets a shell on that console; without one the time runs out, and the unit's
//! `FailureAction=` restarts the machine. There is no password, so there is a shell only where the kernel command line,
//! which only the owner of the machine can change, asks for one of these modes or for `ferrite.debug`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};
use ferrite_control::{Client, JobMode, JobVerb, Request, SOCKET_PATH};

const SHELL: &str = "/usr/bin/bash";

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Pressed Enter.
    Shell,
    /// Pressed Ctrl-D.
    GoOn,
}

/// May there be a shell without a password?
fn is_allowed(command_line: &str) -> bool {
    let modes = ["ferrite.debug", "emergency", "rescue", "single"];
    let unit = crate::watch::option(command_line, "systemd.unit");
    modes.iter().any(|word| crate::watch::has_word(command_line, word))
        || matches!(unit, Some("emergency.target" | "rescue.target"))
}

/// Shows what there is to do, and does it. An error restarts the machine.
pub fn run(words: &[String]) -> Result<()> {
    let mode = words.first().map_or("rescue", String::as_str);
    let command_line = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let (allowed, time) = (is_allowed(&command_line), crate::watch::emergency_time(&command_line));
    let mut consoles = consoles();
    let offer = match allowed {
        true => format!("press Enter for a shell, Ctrl-D to go on; restarting in {} s", time.as_secs()),
        false => {
            format!("no shell without 'ferrite.debug' on the kernel command line; restarting in {} s", time.as_secs())
        }
    };
    let text = format!("\r\nThis is {mode} mode: {offer}.\r\n");
    for (_, console) in &mut consoles {
        // One that does not take it shows nothing.
        let _ = console.write_all(text.as_bytes());
    }
    let deadline = Instant::now() + time;
    match wait(&mut consoles, allowed, deadline) {
        Some((place, Wish::Shell)) => shell(&place)?,
        Some((_, Wish::GoOn)) => {}
        None => bail!("nobody came in {} s", time.as_secs()),
    }
    go_on()
}

/// All consoles of the kernel, without becoming the owner of one.
fn consoles() -> Vec<(String, File)> {
    let names = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let open = |name: &str| {
        let place = format!("/dev/{name}");
        let flags = nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK;
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(&place).ok()?;
        Some((place, file))
    };
    names.split_whitespace().filter_map(open).collect()
}

/// Waits for a person at any console.
fn wait(consoles: &mut [(String, File)], allowed: bool, deadline: Instant) -> Option<(String, Wish)> {
    loop {
        let left = deadline.checked_duration_since(Instant::now())?;
        let limit = rustix::event::Timespec::try_from(left).ok()?;
        let files: Vec<_> = consoles.iter().map(|(_, file)| file.as_fd()).collect();
        let mut polled: Vec<_> =
            files.iter().map(|file| rustix::event::PollFd::new(file, rustix::event::PollFlags::IN)).collect();
        if !matches!(rustix::event::poll(&mut polled, Some(&limit)), Ok(1..)) {
            continue;
        }
        let ready: Vec<bool> = polled.iter().map(|file| !file.revents().is_empty()).collect();
        drop(polled);
        for ((place, file), _) in consoles.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let mut buffer = [0; 256];
            let wish = match file.read(&mut buffer) {
                // The end of input is what Ctrl-D makes on a line of its own.
                Ok(0) => Wish::GoOn,
                Ok(_) => Wish::Shell,
                Err(_) => continue,
            };
            if allowed {
                return Some((place.clone(), wish));
            }
        }
    }
}

/// Runs the shell until its end.
fn shell(place: &str) -> Result<()> {
    let terminal =
        OpenOptions::new().read(true).write(true).custom_flags(nix::fcntl::OFlag::O_NOCTTY.bits()).open(place)?;
    // The new process must own the terminal, or the shell had no job control; this one owns none.
    nix::unistd::setsid().ok();
    ferrite_sys::process::take_terminal(terminal.as_fd(), true)?;
    let (input, output) = (Stdio::from(terminal.try_clone()?), Stdio::from(terminal.try_clone()?));
    let status = Command::new(SHELL)
        .arg0("-bash")
        .env("HOME", "/root")
        .env("TERM", if place.starts_with("/dev/ttyS") { "vt220" } else { "linux" })
        .current_dir(if Path::new("/root").is_dir() { "/root" } else { "/" })
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::from(terminal))
        .status()?;
    // Whatever its last command ended with: the person has left it.
    let _ = status;
    Ok(())
}

/// Goes on with the default target.
fn go_on() -> Result<()> {
    let mut client = Client::connect(Path::new(SOCKET_PATH))?;
    let units = vec!["default.target".to_owned()];
    client.ask(&Request::Job { verb: JobVerb::Start, units, mode: JobMode::Isolate, wait: false })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_command_line_allows_a_shell() {
        for line in ["quiet ferrite.debug", "emergency", "x single y", "systemd.unit=rescue.target"] {
            assert!(is_allowed(line), "{line}");
        }
        for line in ["", "quiet", "systemd.unit=multi-user.target", "noemergency"] {
            assert!(!is_allowed(line), "{line}");
        }
    }
}
