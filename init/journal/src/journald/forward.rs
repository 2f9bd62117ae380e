//! Hands messages on to a syslog daemon that has the socket `syslog` beside ours, as rsyslog has by `syslog.socket`.
//!
//! Never waits: without a daemon, or when it cannot keep up, messages are only in our own log.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use ferrite_control::log_line::{LogEntry, LogSource};
use ferrite_unit::timestamp::short_stamp;
use ferrite_unit::zone::Zone;

const USER: u8 = 1;
const DAEMON: u8 = 3;

/// The way to the syslog daemon.
#[derive(Debug)]
pub struct Forward {
    socket: Option<UnixDatagram>,
    path: PathBuf,
    zone: Zone,
}

impl Forward {
    /// To the socket in this folder, whether or not it is there yet.
    pub fn new(run_dir: &Path, zone: Zone) -> Self {
        let socket = UnixDatagram::unbound().ok().filter(|socket| socket.set_nonblocking(true).is_ok());
        Self { socket, path: run_dir.join("syslog"), zone }
    }

    /// A message in the form in which syslog(3) sent it.
    pub fn send_raw(&self, bytes: &[u8]) {
        if let Some(socket) = &self.socket {
            // Nobody listens, or is too slow.
            let _ = socket.send_to(bytes, &self.path);
        }
    }

    /// A message of another way.
    pub fn send(&self, entry: &LogEntry) {
        if self.path.exists() {
            self.send_raw(text(entry, &self.zone).as_bytes());
        }
    }
}

/// `<PRI>Nov 25 15:04:05 identifier[pid]: message`.
fn text(entry: &LogEntry, zone: &Zone) -> String {
    let facility = if entry.source == LogSource::Stdout { DAEMON } else { USER };
    let LogEntry { priority, realtime_us, identifier, pid, message, .. } = entry;
    let number = facility * 8 + priority.min(&7);
    format!("<{number}>{} {identifier}[{pid}]: {message}", short_stamp(*realtime_us, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_facility_priority_time_and_tag() {
        let entry = LogEntry {
            realtime_us: 1_795_619_045_123_456,
            priority: 3,
            pid: 7,
            identifier: "demo".into(),
            message: "no".into(),
            ..LogEntry::default()
        };
        assert_eq!(text(&entry, &Zone::utc()), "<27>Nov 25 15:04:05 demo[7]: no");
        let native = LogEntry { source: LogSource::Journal, ..entry };
        assert!(text(&native, &Zone::utc()).starts_with("<11>"));
    }
}
