//! Carries out what the machine of socket units decides: opens, watches, hands over and closes sockets.

use std::os::fd::OwnedFd;
use std::time::Instant;

use ferrite_unit::socket::{Listen, Socket};
use ferrite_unit::{Config, LoadState};

use crate::accounts::Accounts;
use crate::child::Fault;
use crate::control_process::Task;
use crate::engine::Engine;
use crate::jobs::{Active, JobKind, Mode, UnitId};
use crate::kinds::{Cause, KindEvent, KindState, Watched};
use crate::machine::State;
use crate::rate::Rate;
use crate::socket_machine::{ServiceView, SocketCommand, SocketEffect, SocketEvent, SocketMachine, SocketView, step};
use crate::socket_open::{self, OpenSockets, Port};
use crate::timers::TimerKey;

/// systemd's exit code of a child that could not change an owner.
const CHOWN: i32 = 213;

impl Engine {
    /// The settings of a socket unit.
    pub fn socket_settings(&self, id: UnitId) -> Option<&Socket> {
        match &self.units.get(id)?.unit.config {
            Config::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    /// Queues an event of a socket.
    pub fn socket_happened(&mut self, id: UnitId, event: SocketEvent) {
        self.kind_happened(id, KindEvent::Socket(event));
    }

    /// Does it wait for something to arrive?
    pub fn socket_listens(&self, id: UnitId) -> bool {
        use crate::socket_machine::SocketState;
        matches!(self.kind_state(id), Some(KindState::Socket(machine)) if machine.state == SocketState::Listening)
    }

    /// The unit of the service that a socket starts; none with `Accept=yes`.
    fn service_of(&self, id: UnitId) -> Option<UnitId> {
        let name = &self.units.get(id)?.unit.name;
        self.units.find(&self.socket_settings(id)?.activates(name)?)
    }

    /// Why the socket cannot be started as things stand.
    pub fn socket_refuses(&self, id: UnitId) -> Option<String> {
        let socket = self.socket_settings(id)?;
        if socket.accept {
            return None;
        }
        let service = self.service_of(id).and_then(|service| Some((service, self.units.get(service)?)));
        let Some((service, runtime)) = service else { return Some("its service is not there".into()) };
        let name = &runtime.unit.name;
        if runtime.unit.load != LoadState::Loaded {
            return Some(format!("its service {name} is {}", runtime.unit.load.as_str()));
        }
        let holds = !runtime.active().is_down() && !self.waits_to_restart(service);
        holds.then(|| format!("its service {name} is active already"))
    }

    fn waits_to_restart(&self, service: UnitId) -> bool {
        self.units.get(service).and_then(|r| r.machine()).is_some_and(|machine| machine.state == State::AutoRestart)
    }

    fn view_of_service(&self, id: UnitId) -> ServiceView {
        let runtime = self.service_of(id).and_then(|service| self.units.get(service));
        let Some(runtime) = runtime else { return ServiceView::default() };
        let state = runtime.machine().map_or(State::Dead, |machine| machine.state);
        let ending = matches!(state, State::AutoRestart | State::FinalSigterm | State::FinalSigkill);
        ServiceView {
            limit_hit: runtime.result() == Cause::StartLimitHit.as_str(),
            job: runtime.job.is_some(),
            active: !runtime.active().is_down() && !ending,
            running: state == State::Running,
        }
    }

    /// Takes one event of a socket.
    pub fn socket_event(&mut self, id: UnitId, before: SocketMachine, event: KindEvent) {
        let own = match event {
            KindEvent::Start => SocketEvent::Start,
            KindEvent::Stop => SocketEvent::Stop,
            KindEvent::StartLimitHit => SocketEvent::StartLimitHit,
            KindEvent::ResetFailed => SocketEvent::ResetFailed,
            KindEvent::Exited(exit) => SocketEvent::Exited(exit),
            KindEvent::NotMade => SocketEvent::NotMade,
            KindEvent::GroupEmpty => SocketEvent::GroupEmpty,
            KindEvent::TimedOut => SocketEvent::TimedOut,
            KindEvent::TriggeredChanged => SocketEvent::ServiceChanged(self.view_of_service(id)),
            KindEvent::Socket(event) => event,
            KindEvent::Reload
            | KindEvent::Timer(_)
            | KindEvent::Path(_)
            | KindEvent::Scope(_)
            | KindEvent::Mount(_)
            | KindEvent::Swap(_)
            | KindEvent::Automount(_) => return,
        };
        let Some(runtime) = self.units.get(id) else { return };
        let Config::Socket(socket) = &runtime.unit.config else { return };
        let populated = runtime.group.as_ref().is_some_and(|group| self.groups.populated(group));
        let old = runtime.active();
        let Some((after, effects)) = step(before, own, SocketView { socket, populated }) else {
            return self.kind_meaningless(id, event);
        };
        self.set_kind(id, KindState::Socket(after));
        for effect in effects {
            self.socket_effect(id, effect);
        }
        self.changed(id, old);
    }

    fn socket_effect(&mut self, id: UnitId, effect: SocketEffect) {
        match effect {
            SocketEffect::Spawn(kind, index) => self.spawn_socket_command(id, kind, index),
            SocketEffect::Open => {
                let event = if self.open_ports(id) { SocketEvent::Opened } else { SocketEvent::NotOpened };
                self.socket_happened(id, event);
            }
            SocketEffect::Chown => self.chown_ports(id),
            SocketEffect::Flush => {
                let open = self.kinds.sockets.get(&id);
                open.iter().flat_map(|open| &open.ports).for_each(socket_open::drain);
            }
            SocketEffect::Watch => self.watch_ports(id),
            SocketEffect::Unwatch => self.unwatch_ports(id),
            SocketEffect::Close => self.close_ports(id),
            SocketEffect::Kill(step) => self.kill(id, step),
            SocketEffect::ArmTimer => match self.socket_settings(id).and_then(|socket| socket.timeout.finite()) {
                Some(after) => self.timers.arm(TimerKey::Unit(id), Instant::now(), after),
                None => self.timers.disarm(TimerKey::Unit(id)),
            },
            SocketEffect::DisarmTimer => self.timers.disarm(TimerKey::Unit(id)),
            SocketEffect::Release => self.release(id),
        }
    }

    fn spawn_socket_command(&mut self, id: UnitId, kind: SocketCommand, index: usize) {
        let command = self.socket_settings(id).and_then(|socket| kind.commands(socket).get(index)).cloned();
        let Some(command) = command else { return self.kind_happened(id, KindEvent::NotMade) };
        self.spawn_task(id, Task::Command(kind.directive(), &command));
    }

    /// Opens what is not open yet.
    fn open_ports(&mut self, id: UnitId) -> bool {
        let Some(socket) = self.socket_settings(id).cloned() else { return false };
        let title = self.title(id);
        let mut warnings = Vec::new();
        let mut fault = None;
        let mut open = self.kinds.sockets.remove(&id).unwrap_or_default();
        for listen in &socket.listen {
            if open.ports.iter().any(|port| port.listen == *listen) {
                continue;
            }
            let opened = match socket_open::path(listen).filter(|path| !self.answers(path)) {
                Some(path) => Err(format!("the file system of {path} does not answer")),
                None => socket_open::open(&socket, listen, &mut |warning| warnings.push(warning)),
            };
            match opened.and_then(|file| self.can_watch(listen, file)) {
                Ok(file) => {
                    open.ports.push(Port { listen: listen.clone(), file, key: None, polls: Rate::default() });
                }
                Err(why) => {
                    fault = Some(why);
                    break;
                }
            }
        }
        self.kinds.sockets.insert(id, open);
        for warning in warnings {
            self.log.warning(&format!("{title}: {warning}"));
        }
        if let Some(why) = &fault {
            self.log.error(&format!("{title}: {why}"));
        }
        fault.is_none()
    }

    /// Some special files cannot be waited for.
    fn can_watch(&self, listen: &Listen, file: OwnedFd) -> Result<OwnedFd, String> {
        if matches!(listen, Listen::Special(_)) {
            let fault = |error| format!("waiting for {}: {error}", listen.target());
            self.epoll.add(&file, crate::engine::keys::WATCHED).map_err(fault)?;
            self.epoll.remove(&file).map_err(fault)?;
        }
        Ok(file)
    }

    /// Gives the sockets to their owner, in a child: who that is stands in files.
    fn chown_ports(&mut self, id: UnitId) {
        let Some(socket) = self.socket_settings(id) else { return };
        let (user, group) = (socket.user.clone(), socket.group.clone());
        let paths: Vec<String> = socket
            .listen
            .iter()
            .filter(|listen| !matches!(listen, Listen::Special(_)))
            .filter_map(|listen| listen.path().map(str::to_owned))
            .collect();
        let work = move || chown(user.as_deref(), group.as_deref(), &paths);
        self.spawn_task(id, Task::Work("SocketUser", &work));
    }

    /// Waits for something to arrive.
    pub fn watch_ports(&mut self, id: UnitId) {
        let count = self.kinds.sockets.get(&id).map_or(0, |open| open.ports.len());
        for place in 0..count {
            let free =
                self.kinds.sockets.get(&id).and_then(|open| open.ports.get(place)).is_some_and(|p| p.key.is_none());
            if !free {
                continue;
            }
            let key = self.kinds.watch(Watched::Port(id, place));
            let Some(port) = self.kinds.sockets.get_mut(&id).and_then(|open| open.ports.get_mut(place)) else { return };
            match self.epoll.add(&port.file, key) {
                Ok(()) => port.key = Some(key),
                Err(error) => {
                    let target = port.listen.target();
                    self.kinds.unwatch(key);
                    let title = self.title(id);
                    self.log.error(&format!("{title}: waiting for {target}: {error}"));
                    return self.socket_happened(id, SocketEvent::Broken);
                }
            }
        }
    }

    fn unwatch_ports(&mut self, id: UnitId) {
        self.timers.disarm(TimerKey::Rest(id));
        let mut keys = Vec::new();
        if let Some(open) = self.kinds.sockets.get_mut(&id) {
            for port in &mut open.ports {
                if let Some(key) = port.key.take() {
                    // A file that is not watched any more is what we want.
                    let _ = self.epoll.remove(&port.file);
                    keys.push(key);
                }
            }
        }
        keys.into_iter().for_each(|key| self.kinds.unwatch(key));
    }

    fn close_ports(&mut self, id: UnitId) {
        self.unwatch_ports(id);
        let Some(OpenSockets { ports, .. }) = self.kinds.sockets.remove(&id) else { return };
        let Some(socket) = self.socket_settings(id).filter(|socket| socket.remove_on_stop) else { return };
        for port in ports {
            socket_open::remove(&port.listen);
        }
        for link in &socket.symlinks {
            // One that is gone already is what we want.
            let _ = std::fs::remove_file(link);
        }
    }

    /// Sockets that rested wait again.
    pub fn ports_rested(&mut self, id: UnitId) {
        if matches!(self.kind_state(id), Some(KindState::Automount(_))) {
            return self.look_for_idle(id);
        }
        if self.socket_listens(id) {
            self.watch_ports(id);
        }
    }

    /// Something arrived at a socket.
    pub fn port_ready(&mut self, id: UnitId, place: usize) {
        if !self.socket_listens(id) {
            return;
        }
        let Some(socket) = self.socket_settings(id) else { return };
        let (accept, poll_limit, trigger_limit) = (socket.accept, socket.poll_limit(), socket.trigger_limit());
        let now = Instant::now();
        let Some(port) = self.kinds.sockets.get_mut(&id).and_then(|open| open.ports.get_mut(place)) else { return };
        if !port.polls.count(now, poll_limit) {
            let rest = port.polls.rest(now, poll_limit);
            if let Some(key) = port.key.take() {
                let _ = self.epoll.remove(&port.file);
                self.kinds.unwatch(key);
            }
            return self.timers.arm(TimerKey::Rest(id), now, rest);
        }
        if is_hung_up(port) {
            let title = self.title(id);
            self.log.error(&format!("{title}: somebody shut the socket down, closing it"));
            return self.socket_happened(id, SocketEvent::Broken);
        }
        let connections = accept && port.listen.accepts();
        if self.stop_waits(id) {
            let port = self.kinds.sockets.get(&id).and_then(|open| open.ports.get(place));
            return port.into_iter().for_each(socket_open::drain);
        }
        if connections {
            return self.accept_connections(id, place);
        }
        let within = self.kinds.sockets.get_mut(&id).is_some_and(|open| open.triggers.count(now, trigger_limit));
        if !within {
            let title = self.title(id);
            self.log.warning(&format!("{title}: trigger limit hit, not starting its service any more"));
            return self.socket_happened(id, SocketEvent::TriggerLimitHit);
        }
        self.activate(id);
    }

    /// Starts the service, unless it is on its way.
    fn activate(&mut self, id: UnitId) {
        let pending = self.service_of(id).is_some_and(|service| self.is_active_or_pending(service));
        let outcome = match self.service_of(id) {
            _ if pending => Ok(()),
            Some(service) => {
                self.enqueue(service, JobKind::Start, Mode::Replace).map(drop).map_err(|error| error.to_string())
            }
            None => Err("it is not there".to_owned()),
        };
        match outcome {
            Ok(()) => self.socket_happened(id, SocketEvent::Triggered),
            Err(why) => {
                let title = self.title(id);
                self.log.warning(&format!("{title}: starting its service: {why}, closing the socket"));
                self.socket_happened(id, SocketEvent::Broken);
            }
        }
    }

    /// Does a stop job of this unit wait or run?
    pub fn stop_waits(&self, id: UnitId) -> bool {
        let job = self.units.get(id).and_then(|runtime| runtime.job).and_then(|job| self.jobs.get(&job));
        job.is_some_and(|job| matches!(job.kind, JobKind::Stop))
    }

    /// Does the unit run, or is it to start?
    pub fn is_active_or_pending(&self, id: UnitId) -> bool {
        let Some(runtime) = self.units.get(id) else { return false };
        let job = runtime.job.and_then(|job| self.jobs.get(&job)).map(|job| job.kind);
        let starts = matches!(job, Some(JobKind::Start | JobKind::Restart | JobKind::Reload));
        starts || matches!(runtime.active(), Active::Active | Active::Reloading | Active::Activating)
    }
}

/// Did somebody shut a listening socket down? It would wake us for ever.
fn is_hung_up(port: &Port) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut set = [PollFd::new(&port.file, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let bad = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
    // A FIFO without a writer hangs up as well, but ours is its own writer.
    poll(&mut set, Some(&now)).is_ok() && set.iter().any(|file| file.revents().intersects(bad))
}

/// Gives files to a user and group. Runs in a child.
fn chown(user: Option<&str>, group: Option<&str>, paths: &[String]) -> Result<(), Fault> {
    let accounts = Accounts::read();
    let user = match user {
        Some(name) => Some(accounts.user(name).ok_or_else(|| Fault { code: 217, text: format!("no user '{name}'") })?),
        None => None,
    };
    let gid = match group {
        Some(name) => {
            Some(accounts.group(name).ok_or_else(|| Fault { code: 216, text: format!("no group '{name}'") })?)
        }
        None => user.as_ref().map(|user| user.gid),
    };
    for path in paths {
        std::os::unix::fs::lchown(path, user.as_ref().map(|user| user.uid), gid)
            .map_err(Fault::of(CHOWN, &format!("giving {path} to its owner")))?;
    }
    Ok(())
}
