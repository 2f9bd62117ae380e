//! Signals that PID 1 gets: ends of processes, Ctrl-Alt-Del, and the requests that systemd defines.

use std::time::{Duration, Instant};

use ferrite_sys::reboot::End;
use ferrite_unit::UnitName;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use rustix::process::{Pid, WaitOptions, wait, waitpid};

use crate::engine::{Engine, Phase};
use crate::jobs::{JobKind, Mode};
use crate::log::Show;
use crate::machine::Exit;

/// Ends taken before other work is looked at again.
const REAP_MAX: usize = 5_000;
/// So many Ctrl-Alt-Del within two seconds end the system by force.
const IMPATIENCE: usize = 7;

fn exit_of(code: Option<i32>, signal: Option<i32>, dumped: bool) -> Option<Exit> {
    match (code, signal) {
        (Some(code), _) => Some(Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
        (None, Some(signal)) if dumped => Some(Exit::Dumped(signal)),
        (None, Some(signal)) => Some(Exit::Signal(signal)),
        (None, None) => None,
    }
}

impl Engine {
    /// Takes all pending signals.
    pub fn take_signals(&mut self, signals: &SignalFd) {
        let mut children = false;
        while let Ok(Some(info)) = signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number == 17 {
                children = true;
            } else {
                self.signalled(number);
            }
        }
        if children {
            self.reap();
        }
    }

    /// Takes the ends of all processes: several ends may come with one signal.
    pub fn reap(&mut self) {
        for _ in 0..REAP_MAX {
            let next = if self.unborn.is_empty() { None } else { self.look_at_next() };
            // The one that was looked at, and no other that ended since: that would be gone before anybody looked.
            let ended = match next {
                Some(pid) => waitpid(Some(pid), WaitOptions::NOHANG),
                None => wait(WaitOptions::NOHANG),
            };
            let Ok(Some((pid, status))) = ended else { return };
            let Some(exit) = exit_of(status.exit_status(), status.terminating_signal(), status.as_raw() & 0x80 != 0)
            else {
                continue;
            };
            self.process_ended(pid.as_raw_nonzero().get(), exit);
        }
        // More ends wait: the level-triggered signal file does not tell so again, but a signal to ourselves does.
        self.log.debug("many processes ended at once");
        self.reap_later();
    }

    /// Looks at a process that ended, while its group can still be read. It is the one to be reaped next.
    fn look_at_next(&mut self) -> Option<Pid> {
        let options = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let (pid, exit) = match waitid(Id::All, options) {
            Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), exit_of(Some(code), None, false)),
            Ok(WaitStatus::Signaled(pid, signal, dumped)) => (pid.as_raw(), exit_of(None, Some(signal as i32), dumped)),
            // An end by a real-time signal cannot be told this way; the service is looked at without it.
            _ => return None,
        };
        if let Some(exit) = exit.filter(|_| !self.processes.contains_key(&pid)) {
            self.note_early_end(pid, exit);
        }
        Pid::from_raw(pid)
    }

    fn reap_later(&mut self) {
        let own = i32::try_from(std::process::id()).unwrap_or(1);
        // PID 1 may signal itself; the number is that of SIGCHLD.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(own), nix::sys::signal::Signal::SIGCHLD);
    }

    fn signalled(&mut self, number: i32) {
        let machine = self.settings.real_boot;
        match number {
            1 => self.request_reload(None),
            2 if machine => self.ctrl_alt_del(),
            // Inside a namespace these two end it, as the end of a terminal does with any other program.
            2 | 15 if !machine => self.begin_shutdown(End::Poweroff, 0),
            15 => self.request_reexec(None),
            10 => self.open_control_socket(),
            12 => self.dump(),
            28 if machine => self.start_if_there("kbrequest.target"),
            30 => self.start_special("sigpwr.target", End::Poweroff),
            _ => self.real_time_signalled(number - ferrite_sys::signal::real_time(0)),
        }
    }

    /// The requests that have no other name than `SIGRTMIN+offset`.
    fn real_time_signalled(&mut self, offset: i32) {
        match offset {
            0 => self.isolate(&self.settings.default_unit.clone()),
            1 => self.isolate("rescue.target"),
            2 => self.isolate("emergency.target"),
            3 => self.begin_shutdown(End::Halt, 0),
            4 => self.begin_shutdown(End::Poweroff, 0),
            5 => self.begin_shutdown(End::Reboot, 0),
            6 => self.begin_shutdown(End::Kexec, 0),
            7 => self.begin_shutdown(End::SoftReboot, 0),
            13 => self.begin_shutdown(End::Halt, 1),
            14 => self.begin_shutdown(End::Poweroff, 1),
            15 => self.begin_shutdown(End::Reboot, 1),
            16 => self.begin_shutdown(End::Kexec, 1),
            17 => self.begin_shutdown(End::SoftReboot, 1),
            20 => self.log.set_show(Show::All),
            21 => self.log.set_show(Show::Nothing),
            22 => self.log.set_debug(true),
            23 => self.log.set_debug(false),
            25 => self.request_reexec(None),
            _ => {}
        }
    }

    fn ctrl_alt_del(&mut self) {
        let now = Instant::now();
        self.ctrl_alt_del.retain(|at| now.saturating_duration_since(*at) < Duration::from_secs(2));
        self.ctrl_alt_del.push(now);
        if self.ctrl_alt_del.len() > IMPATIENCE {
            self.log.error("Ctrl-Alt-Del was pressed many times, restarting without waiting for units");
            return self.begin_shutdown(End::Reboot, 1);
        }
        // Once is enough: a second wish would force the end.
        if !matches!(self.phase, Phase::Stopping(_)) && self.ctrl_alt_del.len() == 1 {
            self.start_special("ctrl-alt-del.target", End::Reboot);
        }
    }

    fn start_if_there(&mut self, name: &str) {
        let id = UnitName::parse(name).ok().and_then(|name| self.load(&name));
        if let Some(Err(error)) = id.map(|id| self.enqueue(id, JobKind::Start, Mode::Replace)) {
            self.log.debug(&format!("starting {name}: {error}"));
        }
    }

    /// Starts a target and stops everything it does not need.
    pub fn isolate(&mut self, name: &str) {
        let id = UnitName::parse(name).ok().and_then(|name| self.load(&name));
        let outcome = id.map(|id| self.enqueue(id, JobKind::Start, Mode::Isolate));
        match outcome {
            Some(Ok(_)) => {}
            Some(Err(error)) => self.log.error(&format!("changing to {name}: {error}, staying")),
            None => self.log.error(&format!("'{name}' is no unit, staying")),
        }
    }

    /// Everything that PID 1 knows of its units and jobs, as it would keep it for its next image.
    fn dump(&self) {
        for line in String::from_utf8_lossy(&self.snapshot()).lines() {
            self.log.info(line);
        }
    }
}
