//! The open files that a service gets: its sockets, its connection, and what it stored with PID 1.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferrite_unit::environment::Environment;
use ferrite_unit::exec::Stream;

use crate::child::Fault;
use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::transaction::Relation;

/// Open files for a process: from 3 on, in this order, each with its name.
#[derive(Debug, Default)]
pub struct Descriptors<'a> {
    /// Sockets first.
    pub files: Vec<(BorrowedFd<'a>, String)>,
    /// How many of them are sockets.
    pub sockets: usize,
    /// `NonBlocking=`: reading from a socket that has nothing does not wait.
    pub non_blocking: bool,
}

/// systemd's exit code of a child that could not set up its files.
pub const FILES: i32 = 202;

impl Descriptors<'_> {
    /// The same and further files, behind them.
    pub fn with<'b>(&'b self, more: &'b [(OwnedFd, String)]) -> Descriptors<'b> {
        let own = self.files.iter().map(|(file, name)| (*file, name.clone()));
        let files = own.chain(more.iter().map(|(file, name)| (file.as_fd(), name.clone()))).collect();
        Descriptors { files, sockets: self.sockets, non_blocking: self.non_blocking }
    }

    /// The file of a name, for `StandardInput=fd:` and its like.
    pub fn named(&self, wanted: &str) -> Option<BorrowedFd<'_>> {
        self.files.iter().find(|(_, name)| name == wanted).map(|(file, _)| *file)
    }

    /// The one socket that `StandardInput=socket` means.
    pub fn stream(&self) -> Result<BorrowedFd<'_>, String> {
        match (self.files.first(), self.sockets) {
            (Some((file, _)), 1) => Ok(*file),
            (_, 0) => Err("a standard stream is to be the socket, but there is none".into()),
            _ => Err(format!("a standard stream is to be the socket, but there are {}", self.sockets)),
        }
    }

    /// Puts the files into their places and names them in the environment. The last act of a child.
    pub fn hand_over(&self, environment: &mut Environment) -> Result<(), Fault> {
        if self.files.is_empty() {
            return Ok(());
        }
        for (file, _) in self.files.iter().take(self.sockets) {
            rustix::io::ioctl_fionbio(file, self.non_blocking)
                .map_err(Fault::of(FILES, "setting whether a socket blocks"))?;
        }
        let files: Vec<BorrowedFd<'_>> = self.files.iter().map(|(file, _)| *file).collect();
        ferrite_sys::socket::place_from_three(&files).map_err(Fault::of(FILES, "placing the open files"))?;
        let names: Vec<&str> = self.files.iter().map(|(_, name)| name.as_str()).collect();
        environment.set("LISTEN_PID", &std::process::id().to_string());
        environment.set("LISTEN_FDS", &self.files.len().to_string());
        environment.set("LISTEN_FDNAMES", &names.join(":"));
        Ok(())
    }
}

/// Moves the pipe of the report away from the places of the files.
pub fn keep_clear(files: usize, report: OwnedFd) -> OwnedFd {
    let lowest = i32::try_from(files).unwrap_or(i32::MAX - 3) + 3;
    // One that cannot be moved may be lost; the exit status tells as much.
    ferrite_sys::socket::move_above(&report, lowest).unwrap_or(report)
}

impl Engine {
    /// The files that a process of a service gets; `main`: it is to take them, others only as their standard streams.
    pub fn descriptors(&self, id: UnitId, main: bool) -> Descriptors<'_> {
        let Some(runtime) = self.units.get(id) else { return Descriptors::default() };
        let handed = |stream: &Stream| matches!(stream, Stream::Socket | Stream::Named(_));
        let streams = runtime.unit.exec().is_some_and(|exec| {
            handed(&exec.input) || exec.output.as_ref().is_some_and(handed) || exec.error.as_ref().is_some_and(handed)
        });
        if !main && !streams {
            return Descriptors::default();
        }
        let mut files = Vec::new();
        match self.kinds.connections.get(&id) {
            Some(connection) => {
                let name = self.units.get(connection.socket).map(|runtime| &runtime.unit.name);
                let socket = self.socket_settings(connection.socket);
                let name = socket.zip(name).map_or("connection", |(socket, name)| socket.descriptor_name(name));
                files.push((connection.file.as_fd(), name.to_owned()));
            }
            None => {
                for socket in self.units.related(id, Relation::TriggeredBy) {
                    files.extend(self.own_descriptors(socket).files);
                }
            }
        }
        let sockets = files.len();
        if main {
            files.extend(runtime.stored.iter().map(|stored| (stored.file.as_fd(), stored.name.clone())));
        }
        let non_blocking = runtime.unit.exec().is_some_and(|exec| exec.non_blocking);
        Descriptors { files, sockets, non_blocking }
    }

    /// The open files of a socket unit itself.
    pub fn own_descriptors(&self, id: UnitId) -> Descriptors<'_> {
        let Some((runtime, socket)) = self.units.get(id).zip(self.socket_settings(id)) else {
            return Descriptors::default();
        };
        let name = socket.descriptor_name(&runtime.unit.name);
        let ports = self.kinds.sockets.get(&id).map_or(&[][..], |open| &open.ports);
        let files: Vec<_> = ports.iter().map(|port| (port.file.as_fd(), name.to_owned())).collect();
        Descriptors { sockets: files.len(), files, non_blocking: socket.exec.non_blocking }
    }

    /// The same for its commands, which get them only if the unit says so.
    pub fn command_descriptors(&self, id: UnitId) -> Descriptors<'_> {
        match self.socket_settings(id) {
            Some(socket) if socket.pass_descriptors_to_exec => self.own_descriptors(id),
            _ => Descriptors::default(),
        }
    }
}
