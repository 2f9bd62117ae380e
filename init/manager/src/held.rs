//! What units hold beside their state, kept when PID 1 executes itself: open sockets, connections, counts.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::keeping::{Bag, saved_file};
use crate::kinds::KindState;
use crate::path_machine::PathEvent;
use crate::rate::Rate;
use crate::socket_accept::{Connection, Source};
use crate::socket_machine::SocketState;
use crate::socket_open::{OpenSockets, Port};
use crate::state::SavedUnit;
use crate::timer_machine::{Moment, TimerState};
use crate::timer_unit::TimerData;

/// The names of stored files begin so, by whether their hang-up is waited for.
const WATCHED: &str = "stored ";
const UNWATCHED: &str = "stored-unwatched ";

/// What is kept of a socket unit beside its files.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedSockets {
    accepted: u32,
    refused: u32,
}

/// What is kept of the connection of a service beside its file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedConnection {
    socket: String,
    source: Option<Source>,
}

/// What is kept of a timer.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedTimer {
    last: Moment,
    over: Vec<usize>,
}

/// The name of the file of a port: what it is and where it listens.
fn port_name(listen: &ferrite_unit::socket::Listen) -> String {
    format!("port {} {}", listen.word(), listen.target())
}

impl Engine {
    /// Saves what a unit holds.
    pub fn save_held(&self, id: UnitId, saved: &mut SavedUnit) {
        let stored = self.units.get(id).map(|runtime| runtime.stored.as_slice()).unwrap_or_default();
        saved.files.extend(stored.iter().map(|stored| {
            let prefix = if stored.key.is_some() { WATCHED } else { UNWATCHED };
            saved_file(&format!("{prefix}{}", stored.name), &stored.file)
        }));
        if let Some(open) = self.kinds.sockets.get(&id) {
            saved.files.extend(open.ports.iter().map(|port| saved_file(&port_name(&port.listen), &port.file)));
            let counts = SavedSockets { accepted: open.accepted, refused: open.refused };
            put(saved, "sockets", &counts);
        }
        if let Some(data) = self.kinds.timers.get(&id) {
            put(saved, "timer", &SavedTimer { last: data.last, over: data.over.clone() });
        }
        if let Some(pipe) = self.kinds.automounts.get(&id) {
            saved.files.push(saved_file("automount", &pipe.file));
            put(saved, "automount", &pipe.known);
        }
        if let Some(streams) = self.kinds.streams.get(&id) {
            saved.files.extend(streams.iter().map(|stream| saved_file("stream", stream)));
        }
        if self.units.get(id).is_some_and(|runtime| runtime.transient) {
            put(saved, "transient", &true);
        }
        if let Some(joined) = self.units.get(id).and_then(|runtime| runtime.joined.as_ref()) {
            put(saved, "joined", joined);
        }
        let kills = self.units.get(id).map_or(0, |runtime| runtime.memory_kills);
        if kills > 0 {
            put(saved, "memory-kills", &kills);
        }
        if let Some(data) = self.kinds.paths.get(&id) {
            put(saved, "paths-seen", &data.seen);
        }
        if let Some(connection) = self.kinds.connections.get(&id) {
            saved.files.push(saved_file("connection", &connection.file));
            let socket = crate::transaction::Graph::name(self, connection.socket);
            put(saved, "connection", &SavedConnection { socket, source: connection.source });
        }
    }

    /// The opposite.
    pub fn restore_held(&mut self, id: UnitId, saved: &SavedUnit, files: &mut Bag<'_>) {
        for prefix in [WATCHED, UNWATCHED] {
            for (name, file) in files.take_all(prefix) {
                self.store_file(id, &name, file, prefix == WATCHED);
            }
        }
        if let Some(counts) = get::<SavedSockets>(saved, "sockets") {
            self.restore_sockets(id, &counts, files);
        }
        if let Some(SavedTimer { last, over }) = get(saved, "timer") {
            self.kinds.timers.insert(id, TimerData { last, over, ..TimerData::default() });
        }
        if let (Some(pipe), Some(known)) = (files.take("automount"), get(saved, "automount"))
            && let Err(error) = self.watch_automount(id, pipe, known)
        {
            self.log.error(&format!("{}: following its place: {error}", saved.name));
        }
        if let (Some(input), Some(output), Some(errors)) =
            (files.take("stream"), files.take("stream"), files.take("stream"))
        {
            self.kinds.streams.insert(id, [input, output, errors]);
        }
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.transient = get(saved, "transient").unwrap_or(false);
            runtime.joined = get(saved, "joined");
            runtime.memory_kills = get(saved, "memory-kills").unwrap_or(0);
        }
        if let Some(seen) = get(saved, "paths-seen") {
            self.kinds.paths.entry(id).or_default().seen = seen;
        }
        if let Some(connection) = get::<SavedConnection>(saved, "connection") {
            self.restore_connection(id, &connection, files.take("connection"));
        }
    }

    fn restore_sockets(&mut self, id: UnitId, counts: &SavedSockets, files: &mut Bag<'_>) {
        let Some(socket) = self.socket_settings(id) else { return };
        let mut open = OpenSockets { accepted: counts.accepted, refused: counts.refused, ..OpenSockets::default() };
        for listen in &socket.listen {
            // A socket that the unit file does not name any more is closed.
            if let Some(file) = files.take(&port_name(listen)) {
                open.ports.push(Port { listen: listen.clone(), file, key: None, polls: Rate::default() });
            }
        }
        self.kinds.sockets.insert(id, open);
    }

    fn restore_connection(&mut self, id: UnitId, saved: &SavedConnection, file: Option<OwnedFd>) {
        let name = ferrite_unit::UnitName::parse(&saved.socket).ok();
        let socket = name.and_then(|name| self.units.find(&name));
        if let (Some(file), Some(socket)) = (file, socket) {
            self.kinds.connections.insert(id, Connection { file, socket, source: saved.source });
        }
    }

    /// What was taken over or read anew is watched again, once all units are there.
    pub fn resume_kinds(&mut self) {
        self.describe_mounts();
        for id in self.units.ids() {
            match self.kind_state(id) {
                Some(KindState::Socket(machine)) if machine.state == SocketState::Listening => self.watch_ports(id),
                Some(KindState::Timer(machine)) if machine.state == TimerState::Waiting => {
                    self.resume_timer(id);
                }
                Some(KindState::Path(machine)) if machine.active().is_up() => {
                    self.path_happened(id, PathEvent::Stirred);
                }
                _ => {}
            }
        }
    }
}

fn put(saved: &mut SavedUnit, part: &str, value: &impl Serialize) {
    // These are plain values: they can always be written.
    if let Ok(value) = serde_json::to_value(value) {
        saved.parts.insert(part.to_owned(), value);
    }
}

fn get<T: serde::de::DeserializeOwned>(saved: &SavedUnit, part: &str) -> Option<T> {
    serde_json::from_value(saved.parts.get(part)?.clone()).ok()
}
