//! What services say through sd_notify. Parsing is pure; acting checks who may say what.

use std::time::{Duration, Instant};

use ferrite_unit::service::NotifyAccess;
use ferrite_unit::value::Span;

use crate::engine::{Engine, UnitEvent};
use crate::jobs::UnitId;
use crate::machine::Event;
use crate::timers::TimerKey;

/// Datagrams taken before other work is looked at again.
const BATCH_MAX: usize = 1_000;
/// Longest `STATUS=` kept.
const STATUS_MAX: usize = 512;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    /// `READY=1`.
    pub ready: bool,
    /// `RELOADING=1`.
    pub reloading: bool,
    /// `STOPPING=1`.
    pub stopping: bool,
    /// `STATUS=`.
    pub status: Option<String>,
    /// `MAINPID=`.
    pub main_pid: Option<i32>,
    /// `WATCHDOG=1`.
    pub watchdog: bool,
    /// `WATCHDOG=trigger`.
    pub trigger: bool,
    /// `WATCHDOG_USEC=`.
    pub watchdog_interval: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`.
    pub extend_timeout: Option<Duration>,
}

/// Reads the lines of a datagram; unknown ones are skipped.
pub fn parse(bytes: &[u8]) -> Notification {
    let text = String::from_utf8_lossy(bytes);
    let mut out = Notification::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let duration = || value.parse().ok().map(Duration::from_micros);
        match (key, value) {
            ("READY", "1") => out.ready = true,
            ("RELOADING", "1") => out.reloading = true,
            ("STOPPING", "1") => out.stopping = true,
            ("STATUS", text) => out.status = Some(text.chars().take(STATUS_MAX).collect()),
            ("MAINPID", pid) => out.main_pid = pid.parse().ok().filter(|pid| *pid > 1),
            ("WATCHDOG", "1") => out.watchdog = true,
            ("WATCHDOG", "trigger") => out.trigger = true,
            ("WATCHDOG_USEC", _) => out.watchdog_interval = duration(),
            ("EXTEND_TIMEOUT_USEC", _) => out.extend_timeout = duration(),
            _ => {}
        }
    }
    out
}

impl Engine {
    /// Takes all messages that wait.
    pub fn take_notifications(&mut self) {
        for _ in 0..BATCH_MAX {
            let Some(socket) = &self.notify else { return };
            match ferrite_sys::notify::receive(socket) {
                Ok(Some(message)) => {
                    let notification = parse(&message.bytes);
                    // Not a word about others: everybody may send, and the log is not theirs to fill.
                    if let Some(id) = self.unit_of(message.pid) {
                        self.notified(id, message.pid, notification);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    self.log.warning(&format!("reading a notification: {error}, ignoring"));
                    return;
                }
            }
        }
    }

    /// The unit that a process belongs to: one that we made, or a member of its group.
    fn unit_of(&self, pid: i32) -> Option<UnitId> {
        if let Some(id) = self.processes.get(&pid).and_then(|process| process.unit) {
            return Some(id);
        }
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.units
            .iter()
            .filter_map(|(id, runtime)| Some((id, runtime.group.as_deref()?)))
            .find(|(_, group)| path.ends_with(group) || path.contains(&format!("{group}/")))
            .map(|(id, _)| id)
    }

    fn notified(&mut self, id: UnitId, pid: i32, message: Notification) {
        let Some(runtime) = self.units.get(id) else { return };
        let Some(service) = runtime.unit.service() else { return };
        let main = runtime.main_pid == Some(pid);
        let allowed = match service.notify_access {
            NotifyAccess::None => false,
            NotifyAccess::Main => main,
            NotifyAccess::Exec => main || runtime.control_pid == Some(pid),
            NotifyAccess::All => true,
        };
        if !allowed {
            let title = self.title(id);
            self.log
                .warning(&format!("{title}: message of process {pid}, which NotifyAccess= does not allow, ignoring"));
            return;
        }
        let interval = match service.watchdog {
            Some(Span::Finite(interval)) => Some(interval),
            Some(Span::Infinite) | None => None,
        };
        if let Some(status) = message.status
            && let Some(runtime) = self.units.get_mut(id)
        {
            runtime.status_text = status;
        }
        let now = Instant::now();
        if let Some(main) = message.main_pid {
            self.new_main(id, main);
        }
        if let Some(extend) = message.extend_timeout
            && self.timers.is_armed(TimerKey::Unit(id))
        {
            self.timers.arm(TimerKey::Unit(id), now, extend);
        }
        if message.watchdog || message.watchdog_interval.is_some() {
            match message.watchdog_interval.or(interval) {
                Some(interval) if !interval.is_zero() => self.timers.arm(TimerKey::Watchdog(id), now, interval),
                _ => self.timers.disarm(TimerKey::Watchdog(id)),
            }
        }
        let events = [
            (message.reloading, Event::Reloading),
            (message.ready, Event::Ready),
            (message.stopping, Event::Stopping),
            (message.trigger, Event::WatchdogExpired),
        ];
        for (_, event) in events.into_iter().filter(|(said, _)| *said) {
            self.events.push_back((id, UnitEvent::Service(event)));
        }
    }

    /// `MAINPID=`: only a process of the unit's own group may become the main one.
    fn new_main(&mut self, id: UnitId, pid: i32) {
        let Some(runtime) = self.units.get(id) else { return };
        if runtime.main_pid == Some(pid) {
            return;
        }
        let member = match &runtime.group {
            Some(group) if self.groups.root().is_some() => {
                self.groups.processes(group).iter().any(|(have, _)| *have == pid)
            }
            _ => true,
        };
        if member {
            self.set_main(id, pid);
            self.events.push_back((id, UnitEvent::Service(Event::MainFound)));
        } else {
            let title = self.title(id);
            self.log.warning(&format!("{title}: MAINPID={pid} is no process of this unit, ignoring"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_line_by_line() {
        let message = parse(b"READY=1\nSTATUS=up and well\nMAINPID=42\nX=y\nnonsense\nWATCHDOG_USEC=1500");
        assert!(message.ready && !message.stopping);
        assert_eq!(message.status.as_deref(), Some("up and well"));
        assert_eq!(message.main_pid, Some(42));
        assert_eq!(message.watchdog_interval, Some(Duration::from_micros(1500)));
        assert_eq!(parse(b"MAINPID=1\n\xff\xfe=2"), Notification::default());
    }
}
