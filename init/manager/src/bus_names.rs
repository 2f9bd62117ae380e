//! Services of `Type=dbus`: they have started once their name is taken on the message bus, if the machine has one.
//!
//! PID 1 asks nothing else of the bus, and never waits for it: where there is none, or where it goes away, such a
//! service counts as started once it is executed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;

use ferrite_unit::service::ServiceType;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::bus::{Conversation, Owner};
use crate::engine::{Engine, UnitEvent, keys};
use crate::jobs::UnitId;
use crate::machine::Event;

/// Where the bus listens.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// Reads in one turn.
const READS_MAX: usize = 64;

/// The connection to the bus, and who waits for which name.
#[derive(Debug, Default)]
pub struct Bus {
    connection: Option<(OwnedFd, Conversation)>,
    names: BTreeMap<String, BTreeSet<UnitId>>,
}

impl Bus {
    /// Is the bus asked for the name of this unit?
    pub fn watches(&self, id: UnitId) -> bool {
        self.connection.is_some() && self.names.values().any(|units| units.contains(&id))
    }
}

fn connect() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(SOCKET)?)?;
    Ok(socket)
}

fn say(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    // A bus that does not take a few bytes does not work.
    match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
        Ok(length) if length == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::from(io::ErrorKind::WriteZero)),
        Err(error) => Err(error.into()),
    }
}

impl Engine {
    /// The name that a service waits for.
    fn bus_name(&self, id: UnitId) -> Option<&str> {
        let service = self.units.get(id)?.unit.service()?;
        service.bus_name.as_deref().filter(|_| service.kind == ServiceType::Dbus)
    }

    /// A service starts, or runs already: its name is asked for.
    pub fn watch_bus_name(&mut self, id: UnitId) {
        let Some(name) = self.bus_name(id).map(str::to_owned) else { return };
        if self.bus.connection.is_none()
            && let Err(error) = self.connect_bus()
        {
            return self.tell_no_bus(id, &error);
        }
        self.bus.names.entry(name.clone()).or_default().insert(id);
        let Some((socket, conversation)) = &mut self.bus.connection else { return };
        let question = conversation.watch(&name);
        if let Err(error) = say(socket, &question) {
            self.lose_bus(&error.to_string());
        }
    }

    /// A service is over: nobody waits for its name.
    pub fn forget_bus_name(&mut self, id: UnitId) {
        let mut over = Vec::new();
        self.bus.names.retain(|name, units| {
            if units.remove(&id) && units.is_empty() {
                over.push(name.clone());
            }
            !units.is_empty()
        });
        for name in over {
            let Some((socket, conversation)) = &mut self.bus.connection else { return };
            let farewell = conversation.forget(&name);
            if let Err(error) = say(socket, &farewell) {
                return self.lose_bus(&error.to_string());
            }
        }
    }

    fn connect_bus(&mut self) -> io::Result<()> {
        let socket = connect()?;
        let (conversation, first) = Conversation::begin(rustix::process::geteuid().as_raw());
        say(&socket, &first)?;
        self.epoll.add(&socket, keys::BUS)?;
        self.bus.connection = Some((socket, conversation));
        Ok(())
    }

    /// There is no bus to ask: the unit says so, and where it asks for one.
    fn tell_no_bus(&mut self, id: UnitId, error: &io::Error) {
        let title = self.title(id);
        let Some(runtime) = self.units.get_mut(id) else { return };
        if std::mem::replace(&mut runtime.without_bus, true) {
            return;
        }
        let place = runtime.unit.bus_name_at.as_ref().map(|(path, line)| format!("{path}:{line}: "));
        let text = "it counts as started once it is executed";
        let place = place.unwrap_or_default();
        self.log.warning(&format!("{place}{title}: BusName=: no message bus at {SOCKET}: {error}, {text}"));
    }

    /// The bus said something, or went away.
    pub fn hear_bus(&mut self) {
        let mut buffer = [0; 4096];
        for _ in 0..READS_MAX {
            let Some((socket, conversation)) = &mut self.bus.connection else { return };
            let length = match rustix::net::recv(&*socket, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return,
                Err(error) => return self.lose_bus(&error.to_string()),
            };
            if length == 0 {
                return self.lose_bus("it closed the connection");
            }
            let heard = match conversation.take(buffer.get(..length).unwrap_or_default()) {
                Ok(heard) => heard,
                Err(error) => return self.lose_bus(&error.to_string()),
            };
            if let Err(error) = say(socket, &heard.answer) {
                return self.lose_bus(&error.to_string());
            }
            heard.owners.iter().for_each(|owner| self.name_changed(owner));
        }
    }

    fn name_changed(&mut self, owner: &Owner) {
        let units = self.bus.names.get(&owner.name).cloned().unwrap_or_default();
        let event = if owner.owned { Event::NameTaken } else { Event::NameLost };
        self.events.extend(units.into_iter().map(|id| (id, UnitEvent::Service(event))));
    }

    /// Whoever waits for a name does not wait any longer.
    fn lose_bus(&mut self, why: &str) {
        let Some((socket, _)) = self.bus.connection.take() else { return };
        let _ = self.epoll.remove(&socket);
        let units: BTreeSet<UnitId> = std::mem::take(&mut self.bus.names).into_values().flatten().collect();
        self.log.info(&format!("the message bus is not listened to any more: {why}"));
        units.into_iter().for_each(|id| self.name_untold(id));
    }

    /// Nobody will tell of the name of a service: if its program was executed, it has started.
    fn name_untold(&mut self, id: UnitId) {
        let main = self.units.get(id).and_then(|runtime| runtime.main_pid);
        if main.is_some_and(|pid| !self.reports.contains_key(&pid)) {
            self.events.push_back((id, UnitEvent::Service(Event::MainExecuted)));
        }
    }

    /// After PID 1 executed itself, what waited for a name waits again.
    pub fn resume_bus(&mut self) {
        let waits = |id: &UnitId| {
            let up = self.units.get(*id).is_some_and(|runtime| !runtime.active().is_down());
            up && self.bus_name(*id).is_some()
        };
        let units: Vec<UnitId> = self.units.ids().into_iter().filter(waits).collect();
        for id in units {
            self.watch_bus_name(id);
            if !self.bus.watches(id) {
                self.name_untold(id);
            }
        }
    }
}
