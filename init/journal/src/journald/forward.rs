//! Hands messages on to a syslog daemon that has the socket `syslog` beside ours, as rsyslog has by `syslog.socket`.
//!
//! Never waits: without a daemon, or when it cannot keep up, messages are only in our own log.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use ferrite_unit::timestamp::short_stamp;
use ferrite_unit::zone::Zone;

use crate::fields::Fields;

/// The facility of messages that say none.
const USER: u16 = 1;
/// After a send that found nobody, so long nothing is sent.
const REST_US: u64 = 100_000;

/// The way to the syslog daemon.
#[derive(Debug)]
pub struct Forward {
    socket: Option<UnixDatagram>,
    path: PathBuf,
    zone: Zone,
    level_max: u8,
    quiet_until_us: u64,
}

impl Forward {
    /// To the socket in this folder, whether or not it is there yet; `None`: it is not wanted.
    pub fn new(run_dir: &Path, zone: Zone, level_max: Option<u8>) -> Self {
        let socket = level_max.and_then(|_| UnixDatagram::unbound().ok());
        let socket = socket.filter(|socket| socket.set_nonblocking(true).is_ok());
        Self { socket, path: run_dir.join("syslog"), zone, level_max: level_max.unwrap_or(0), quiet_until_us: 0 }
    }

    /// A message. `raw`: the form in which syslog(3) sent it.
    pub fn send(&mut self, raw: Option<&[u8]>, priority: u8, fields: &Fields, realtime_us: u64, now_us: u64) {
        let Some(socket) = &self.socket else { return };
        if priority > self.level_max || now_us < self.quiet_until_us {
            return;
        }
        let sent = match raw {
            Some(bytes) => socket.send_to(bytes, &self.path),
            None => socket.send_to(&text(priority, fields, realtime_us, &self.zone), &self.path),
        };
        // Nobody listens; one that is only slow is tried again with the next message.
        if sent.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
            self.quiet_until_us = now_us + REST_US;
        }
    }
}

/// `<PRI>Nov 25 15:04:05 identifier[pid]: message`.
fn text(priority: u8, fields: &Fields, realtime_us: u64, zone: &Zone) -> Vec<u8> {
    let facility: u16 = fields.number("SYSLOG_FACILITY").unwrap_or(USER);
    let number = facility * 8 + u16::from(priority & 7);
    let mut out = format!("<{number}>{} ", short_stamp(realtime_us, zone)).into_bytes();
    out.extend_from_slice(fields.get("SYSLOG_IDENTIFIER").or_else(|| fields.get("_COMM")).unwrap_or(b"unknown"));
    if let Some(pid) = fields.get("_PID") {
        out.push(b'[');
        out.extend_from_slice(pid);
        out.push(b']');
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(fields.get("MESSAGE").unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_facility_priority_time_and_tag() {
        let mut fields = Fields::default();
        for (name, value) in [("SYSLOG_IDENTIFIER", "demo"), ("_PID", "7"), ("MESSAGE", "no")] {
            fields.text(name, value);
        }
        let line = |fields: &Fields| text(3, fields, 1_795_619_045_123_456, &Zone::utc());
        assert_eq!(line(&fields), b"<11>Nov 25 15:04:05 demo[7]: no");
        fields.text("SYSLOG_FACILITY", "3");
        assert!(line(&fields).starts_with(b"<27>"));
    }
}
