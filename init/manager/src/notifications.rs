//! What services say through sd_notify. Parsing is pure; acting checks who may say what.

use std::time::{Duration, Instant};

use ferrite_unit::service::NotifyAccess;
use ferrite_unit::value::Span;

use crate::engine::{Engine, UnitEvent};
use crate::jobs::UnitId;
use crate::machine::{Event, Said};
use crate::main_process::Word;
use crate::timers::TimerKey;

/// Datagrams taken before other work is looked at again.
const BATCH_MAX: usize = 1_000;
/// Longest `STATUS=` kept.
const STATUS_MAX: usize = 512;

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notification {
    /// The last of `READY=1`, `RELOADING=1` and `STOPPING=1`.
    pub said: Option<Said>,
    /// Did `RELOADING=1` stand anywhere in it?
    pub reloading: bool,
    /// `MONOTONIC_USEC=`.
    pub monotonic_us: Option<u64>,
    /// `STATUS=`.
    pub status: Option<String>,
    /// `ERRNO=`.
    pub errno: Option<i32>,
    /// `MAINPID=`.
    pub main_pid: Option<i32>,
    /// `NOTIFYACCESS=`.
    pub access: Option<NotifyAccess>,
    /// `WATCHDOG=1`.
    pub watchdog: bool,
    /// `WATCHDOG=trigger`.
    pub trigger: bool,
    /// `WATCHDOG_USEC=`.
    pub watchdog_interval: Option<Duration>,
    /// `EXTEND_TIMEOUT_USEC=`.
    pub extend_timeout: Option<Duration>,
    /// `FDSTORE=1`.
    pub store: bool,
    /// `FDSTOREREMOVE=1`.
    pub unstore: bool,
    /// `FDNAME=`.
    pub file_name: Option<String>,
    /// `FDPOLL=0`.
    pub unwatched: bool,
}

/// Reads the lines of a datagram; unknown ones are skipped. A barrier needs no reading: the file that came with it is
/// closed once everything before it was taken.
pub fn parse(bytes: &[u8]) -> Notification {
    let text = String::from_utf8_lossy(bytes);
    let mut out = Notification::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let duration = || value.parse().ok().map(Duration::from_micros);
        match (key, value) {
            ("READY", "1") => out.said = Some(Said::Ready),
            ("RELOADING", "1") => {
                out.said = Some(Said::Reloading);
                out.reloading = true;
            }
            ("STOPPING", "1") => out.said = Some(Said::Stopping),
            ("MONOTONIC_USEC", _) => out.monotonic_us = value.parse().ok(),
            ("STATUS", text) => out.status = Some(text.chars().take(STATUS_MAX).collect()),
            ("ERRNO", _) => out.errno = value.parse().ok().filter(|errno| (0..4096).contains(errno)),
            ("MAINPID", pid) => out.main_pid = pid.parse().ok().filter(|pid| *pid > 1),
            ("NOTIFYACCESS", word) => out.access = NotifyAccess::parse(word),
            ("WATCHDOG", "1") => out.watchdog = true,
            ("WATCHDOG", "trigger") => out.trigger = true,
            ("WATCHDOG_USEC", _) => out.watchdog_interval = duration(),
            ("EXTEND_TIMEOUT_USEC", _) => out.extend_timeout = duration(),
            ("FDSTORE", "1") => out.store = true,
            ("FDSTOREREMOVE", "1") => out.unstore = true,
            ("FDNAME", name) => out.file_name = Some(name.to_owned()),
            ("FDPOLL", "0") => out.unwatched = true,
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
                    // Not a word about others: everybody may send, and the log is not theirs to fill.
                    if let Some(id) = self.unit_of(message.pid) {
                        self.notified(id, message);
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
    pub fn unit_of(&self, pid: i32) -> Option<UnitId> {
        if let Some(id) = self.processes.get(&pid).and_then(|process| process.unit) {
            return Some(id);
        }
        let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.units
            .iter()
            .filter_map(|(id, runtime)| Some((id, runtime.group.as_deref()?)))
            .filter(|(_, group)| path.ends_with(group) || path.contains(&format!("{group}/")))
            // Its slices hold the process too.
            .max_by_key(|(_, group)| group.len())
            .map(|(id, _)| id)
    }

    fn notified(&mut self, id: UnitId, datagram: ferrite_sys::notify::Message) {
        let Some(runtime) = self.units.get(id) else { return };
        let Some(service) = runtime.unit.service() else { return };
        let pid = datagram.pid;
        let main = runtime.main_pid == Some(pid);
        let allowed = match runtime.notify_access.unwrap_or(service.notify_access) {
            NotifyAccess::None => false,
            NotifyAccess::Main => main,
            NotifyAccess::Exec => main || runtime.control_pid == Some(pid),
            NotifyAccess::All => true,
        };
        if !allowed {
            let title = self.title(id);
            let text = format!("{title}: message of process {pid}, which NotifyAccess= does not allow, ignoring");
            return self.log.warning(&text);
        }
        let message = parse(&datagram.bytes);
        if let Some(main) = message.main_pid {
            self.new_main(id, main, datagram.uid);
        }
        self.note_words(id, &message);
        self.say(id, &message);
        self.set_deadlines(id, &message);
        self.take_files(id, &message, datagram.files);
    }

    /// What is only to be remembered.
    fn note_words(&mut self, id: UnitId, message: &Notification) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        if let Some(status) = &message.status {
            runtime.status_text.clone_from(status);
        }
        if let Some(errno) = message.errno {
            runtime.status_errno = errno;
        }
        if message.access.is_some() {
            runtime.notify_access = message.access;
        }
    }

    /// What moves the service.
    fn say(&mut self, id: UnitId, message: &Notification) {
        let began = self.units.get(id).map_or(0, |runtime| runtime.reload_began_us);
        let fresh = message.monotonic_us.is_some_and(|at| at >= began);
        let event = match message.said {
            Some(Said::Ready) => Some(Event::Ready { reloaded: message.reloading && fresh }),
            Some(Said::Reloading) => Some(Event::Reloading { fresh }),
            Some(Said::Stopping) => Some(Event::Stopping),
            Some(Said::Nothing) | None => None,
        };
        let trigger = message.trigger.then_some(Event::WatchdogExpired);
        for event in event.into_iter().chain(trigger) {
            self.events.push_back((id, UnitEvent::Service(event)));
        }
    }

    fn set_deadlines(&mut self, id: UnitId, message: &Notification) {
        let now = Instant::now();
        if let Some(extend) = message.extend_timeout {
            for key in [TimerKey::Unit(id), TimerKey::Watchdog(id)] {
                // It only ever gives more time.
                if self.timers.left(key, now).is_some_and(|left| left < extend) {
                    self.timers.arm(key, now, extend);
                }
            }
        }
        if message.watchdog_interval.is_some()
            && let Some(runtime) = self.units.get_mut(id)
        {
            runtime.watchdog_override = message.watchdog_interval;
        }
        if message.watchdog || message.watchdog_interval.is_some() {
            self.arm_watchdog(id);
        }
    }

    /// From now on the service must say within its interval that it lives.
    pub fn arm_watchdog(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        let setting = runtime.unit.service().and_then(|service| service.watchdog).and_then(Span::finite);
        match runtime.watchdog_override.or(setting) {
            Some(interval) if !interval.is_zero() && self.manager.service_watchdogs => {
                self.timers.arm(TimerKey::Watchdog(id), Instant::now(), interval);
            }
            _ => self.timers.disarm(TimerKey::Watchdog(id)),
        }
    }

    /// `MAINPID=`: only root may name a process that is none of the service's own.
    fn new_main(&mut self, id: UnitId, pid: i32, uid: u32) {
        let Some(runtime) = self.units.get(id) else { return };
        let word = if uid == 0 { Word::OfRoot } else { Word::OfOther };
        if runtime.main_pid != Some(pid) && self.may_be_main(id, pid, word) {
            self.set_main(id, pid);
            self.events.push_back((id, UnitEvent::Service(Event::MainFound)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_line_by_line() {
        let message = parse(b"READY=1\nSTATUS=up and well\nMAINPID=42\nX=y\nnonsense\nWATCHDOG_USEC=1500\nERRNO=2");
        assert_eq!(message.said, Some(Said::Ready));
        assert_eq!(message.status.as_deref(), Some("up and well"));
        assert_eq!((message.main_pid, message.errno), (Some(42), Some(2)));
        assert_eq!(message.watchdog_interval, Some(Duration::from_micros(1500)));
        assert_eq!(parse(b"MAINPID=1\n\xff\xfe=2"), Notification::default());
    }

    #[test]
    fn of_several_words_about_its_state_the_last_one_counts() {
        let message = parse(b"RELOADING=1\nMONOTONIC_USEC=77\nREADY=1");
        assert_eq!((message.said, message.reloading, message.monotonic_us), (Some(Said::Ready), true, Some(77)));
        assert_eq!(parse(b"READY=1\nSTOPPING=1").said, Some(Said::Stopping));
    }

    #[test]
    fn a_file_may_come_with_a_name_and_unwatched() {
        let message = parse(b"FDSTORE=1\nFDNAME=db\nFDPOLL=0");
        assert!(message.store && message.unwatched && !message.unstore);
        assert_eq!(message.file_name.as_deref(), Some("db"));
    }
}
