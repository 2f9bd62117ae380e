//! daemon-reload: all unit files are read and linked beside the table that is in use, which is replaced in one step.
//!
//! Files are read ahead in short turns, between which clients and units are served; unchanged ones are not read at all.
//! Requests that come while one is carried out become one further reload, and there are only so many in a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ferrite_control::Reply;
use ferrite_unit::UnitName;
use ferrite_unit::specifier::Host;

use crate::disk::Disk;
use crate::draft::{self, Draft, Read};
use crate::engine::Engine;
use crate::loading::loader;
use crate::server::ClientId;
use crate::timers::TimerKey;

/// One turn of reading.
const TURN: Duration = Duration::from_millis(10);
/// So often the reading begins anew because units were loaded in the meantime; then it is done at once.
const ATTEMPTS: u8 = 3;
/// So many reloads in so long a time.
const BURST: usize = 30;
const INTERVAL: Duration = Duration::from_secs(3);

/// Reloads: the one under way, the next one, the last ones.
#[derive(Debug, Default)]
pub struct Reloads {
    current: Option<Reload>,
    /// Who asked since the current one began.
    next: Option<Vec<ClientId>>,
    recent: Vec<Instant>,
    /// Were units loaded since the current one began? Its view of the disk is older than they are.
    disturbed: bool,
}

/// A reload under way.
#[derive(Debug)]
struct Reload {
    clients: Vec<ClientId>,
    /// Do generators still make units? Then nothing is read yet.
    generating: bool,
    attempts: u8,
    disk: Disk,
    host: Host,
    /// Do the facts of the machine differ, so that every unit must be read?
    everything: bool,
    open: Vec<UnitName>,
    read: BTreeMap<UnitName, Read>,
}

impl Reloads {
    /// Is there something to do now?
    pub fn is_busy(&self) -> bool {
        self.current.as_ref().is_some_and(|reload| !reload.generating)
    }

    /// Units were loaded, or are about to be.
    pub fn disturb(&mut self) {
        self.disturbed = true;
    }

    /// Everybody who waits.
    pub fn clients(&self) -> impl Iterator<Item = ClientId> {
        let current = self.current.iter().flat_map(|reload| &reload.clients);
        current.chain(self.next.iter().flatten()).copied()
    }
}

impl Engine {
    /// Asks for a reload; `client` is answered when it is done.
    pub fn request_reload(&mut self, client: Option<ClientId>) {
        self.reloads.next.get_or_insert_default().extend(client);
        self.begin_reload();
    }

    /// Begins the next reload, if one is wished, none is under way, and the last ones are long enough ago.
    pub fn begin_reload(&mut self) {
        if self.reloads.current.is_some() || self.reloads.next.is_none() {
            return;
        }
        let now = Instant::now();
        self.reloads.recent.retain(|at| now.saturating_duration_since(*at) < INTERVAL);
        if let Some(oldest) = self.reloads.recent.first().filter(|_| self.reloads.recent.len() >= BURST) {
            let ago = now.saturating_duration_since(*oldest);
            self.timers.arm(TimerKey::Reload, now, INTERVAL.saturating_sub(ago));
            return;
        }
        self.reloads.recent.push(now);
        let clients = self.reloads.next.take().unwrap_or_default();
        let generating = self.generate_again();
        let reload = Reload { generating, ..self.new_reload(clients, 0) };
        self.reloads.current = Some(reload);
    }

    /// The generators of a reload ended, well or not: now everything is read.
    pub fn generators_ended(&mut self) {
        self.timers.disarm(TimerKey::Generators);
        if let Some(reload) = self.reloads.current.take_if(|reload| reload.generating) {
            self.reloads.current = Some(self.new_reload(reload.clients, 0));
        }
    }

    fn new_reload(&mut self, clients: Vec<ClientId>, attempts: u8) -> Reload {
        self.reloads.disturbed = false;
        let host = crate::host::read();
        let names = |(_, runtime): (_, &crate::units::Runtime)| runtime.unit.name.clone();
        Reload {
            clients,
            generating: false,
            attempts,
            disk: Disk::default(),
            everything: host != self.host,
            host,
            open: self.units.iter().map(names).collect(),
            read: BTreeMap::new(),
        }
    }

    /// One turn of the reload under way.
    pub fn continue_reload(&mut self) {
        let Some(mut reload) = self.reloads.current.take_if(|reload| !reload.generating) else { return };
        let began = Instant::now();
        while let Some(name) = reload.open.pop() {
            self.read_ahead(&mut reload, name);
            if began.elapsed() >= TURN && reload.attempts < ATTEMPTS {
                self.reloads.current = Some(reload);
                return;
            }
        }
        if self.reloads.disturbed {
            let again = self.new_reload(reload.clients, reload.attempts.saturating_add(1));
            self.reloads.current = Some(again);
            return;
        }
        self.finish_reload(reload);
        self.begin_reload();
    }

    fn read_ahead(&self, reload: &mut Reload, name: UnitName) {
        if reload.read.contains_key(&name) {
            return;
        }
        let known = self.units.find(&name).and_then(|id| self.units.get(id)).filter(|r| r.unit.name == name);
        let sources = known.map(|runtime| &runtime.sources).filter(|_| !reload.everything);
        let read = draft::read(&loader(&self.settings.load_path, &reload.disk, &reload.host), &name, sources);
        match &read {
            Read::Same => {}
            Read::Alias(other) => reload.open.push(other.clone()),
            Read::Unit(unit, _) => {
                let fresh = unit.dependencies.iter().map(|(_, other, _)| other);
                reload.open.extend(fresh.filter(|other| !reload.read.contains_key(*other)).cloned());
            }
        }
        reload.read.insert(name, read);
    }

    /// The step in which the new units take the place of the old ones.
    fn finish_reload(&mut self, reload: Reload) {
        let Reload { clients, disk, host, read, .. } = reload;
        let changes = {
            let files = loader(&self.settings.load_path, &disk, &host);
            let mut draft = Draft::renewing(files, &self.units, read);
            draft.renew();
            draft.finish()
        };
        let devices = crate::wanting_devices::named(&self.settings.load_path, &disk);
        // Most of what reading took goes before the units are taken over.
        drop(disk);
        self.host = host;
        self.units.forget_relations();
        self.take_over(changes);
        self.idle_units.extend(self.units.ids());
        self.load_devices(&devices);
        self.resume_kinds();
        // What was waited for may have changed.
        self.ready.extend(self.jobs.keys().copied());
        self.give_back_memory();
        self.log.info("unit files were read again");
        for client in clients {
            self.send(client, &Reply::Done);
        }
    }
}
