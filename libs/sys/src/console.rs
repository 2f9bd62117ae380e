//! Lines for a person, on every console the kernel uses.
//!
//! A console that does not take its bytes (flow control, a dead serial line) costs a bounded
//! time and then loses the line; it never blocks the caller.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

const ACTIVE: &str = "/sys/class/tty/console/active";
const PATIENCE: Duration = Duration::from_millis(500);

/// The consoles that were active when this was opened.
#[derive(Debug)]
pub struct Consoles {
    devices: Vec<OwnedFd>,
}

impl Consoles {
    /// Opens every active console, else /dev/console, else none.
    pub fn open() -> Consoles {
        let names = fs::read_to_string(ACTIVE).unwrap_or_default();
        let mut devices: Vec<OwnedFd> = names.split_whitespace().filter_map(|name| open(name).ok()).collect();
        if devices.is_empty() {
            devices.extend(open("console"));
        }
        Consoles { devices }
    }

    /// How many consoles take the lines.
    pub fn count(&self) -> usize {
        self.devices.len()
    }

    /// Writes one line to each console; what a console does not take in time is lost there.
    pub fn write_line(&self, text: &str) {
        let line = format!("{text}\n");
        for device in &self.devices {
            // A console is the last place to report to: nothing can be done about its own error.
            let _ = write_bounded(device, line.as_bytes());
        }
    }
}

/// Writes one line to every active console, opening them for this line only.
pub fn write_line(text: &str) {
    Consoles::open().write_line(text);
}

fn open(name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/dev/{name}"), flags, Mode::empty())?)
}

fn write_bounded(device: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        match rustix::io::write(device, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_writable(device, deadline)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait_writable(device: &OwnedFd, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::Error::from(io::ErrorKind::TimedOut));
    }
    let mut set = [PollFd::new(device, PollFlags::OUT)];
    let timeout = rustix::event::Timespec::try_from(left).map_err(io::Error::other)?;
    match rustix::event::poll(&mut set, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_never_reads_costs_a_bounded_time() {
        let (_reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        let started = Instant::now();
        let error = write_bounded(&writer, &vec![b'x'; 1 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() < PATIENCE * 4);
    }

    #[test]
    fn a_line_ends_with_one_character_as_the_terminal_adds_the_other() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        Consoles { devices: vec![writer] }.write_line("root: ok");
        let mut bytes = [0; 32];
        let count = rustix::io::read(&reader, &mut bytes).unwrap();
        assert_eq!(&bytes[..count], b"root: ok\n");
    }
}
