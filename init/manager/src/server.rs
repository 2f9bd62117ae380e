//! The control socket: clients, their rights, their requests. Never waits for a client.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use ferrite_control::{
    ErrorKind, JobReport, LineBuffer, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, RUN_DESCRIPTORS, Reply, Request, decode,
    encode,
};

use ferrite_sys::inherit::Inherited;
use ferrite_unit::UnitName;

use crate::accounts::Accounts;
use crate::engine::{Engine, keys};
use crate::keeping::{Bag, saved_file};
use crate::state::{SavedClient, SavedFile};

/// Clients at once.
pub const CLIENTS_MAX: usize = 128;
/// Clients at once that may only ask; the other places are kept for those that may act.
const GUESTS_MAX: usize = 96;
/// Clients let in before those that are there have their turn.
const ACCEPTED_MAX: usize = 16;
/// Requests that a client may send without waiting for answers.
const REQUESTS_MAX: usize = 8;
/// Bytes of older answers that a client may leave unread.
const UNREAD_MAX: usize = 64 * 1024;
/// Bytes of answers that all clients together may leave unread.
const UNREAD_TOTAL_MAX: usize = 4 * MAX_REPLY_BYTES;

/// The number of a client; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A client.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    lines: LineBuffer,
    output: Vec<u8>,
    closing: bool,
    /// When it last sent something or took something.
    heard: Instant,
    /// May it change anything?
    pub privileged: bool,
    /// Who it is.
    pub uid: u32,
    /// Files that came with its requests and are not used yet.
    pub descriptors: Vec<OwnedFd>,
    /// Jobs whose ends it waits for.
    pub pending: Option<Pending>,
    /// The process of its `run`.
    pub command: Option<i32>,
    /// Does it wait for the end of the boot?
    pub waits_for_boot: bool,
}

impl Client {
    fn new(stream: UnixStream, uid: u32, privileged: bool) -> Client {
        Client {
            stream,
            lines: LineBuffer::new(MAX_REQUEST_BYTES),
            output: Vec::new(),
            closing: false,
            heard: Instant::now(),
            privileged,
            uid,
            descriptors: Vec::new(),
            pending: None,
            command: None,
            waits_for_boot: false,
        }
    }
}

/// An answer that is not complete yet.
#[derive(Debug)]
pub struct Pending {
    /// One a unit.
    pub reports: Vec<JobReport>,
    /// How many are still open.
    pub open: usize,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Server {
    listener: Option<UnixListener>,
    /// The clients by number.
    pub clients: BTreeMap<ClientId, Client>,
    next: u64,
}

impl Server {
    /// Clients that wait for something that cannot be asked for again, with the answers that each still lacks.
    pub fn waiting(&self) -> Vec<(ClientId, usize)> {
        let waits = |client: &Client| client.command.is_some() || client.waits_for_boot || client.pending.is_some();
        let open = |client: &Client| client.pending.as_ref().map_or(0, |pending| pending.open);
        let clients = self.clients.iter().filter(|(_, client)| waits(client));
        clients.map(|(id, client)| (*id, open(client))).collect()
    }

    /// The control socket for the next image.
    pub fn saved_listener(&self) -> Option<SavedFile> {
        self.listener.as_ref().map(|listener| saved_file("control", listener))
    }

    /// The number of the next client.
    pub fn next_number(&self) -> u64 {
        self.next
    }
}

impl Engine {
    /// Makes the control socket, again if need be.
    pub fn open_control_socket(&mut self) {
        let path = self.settings.control_socket.clone();
        if let Some(old) = self.server.listener.take() {
            let _ = self.epoll.remove(&old);
        }
        if let Some((directory, _)) = path.rsplit_once('/')
            && let Err(error) = fs::create_dir_all(directory)
        {
            self.log.error(&format!("making {directory}: {error}, going on without a control socket"));
            return;
        }
        let _ = fs::remove_file(&path);
        let made = UnixListener::bind(&path).and_then(|listener| {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
            listener.set_nonblocking(true)?;
            self.epoll.add(&listener, keys::CONTROL)?;
            Ok(listener)
        });
        match made {
            Ok(listener) => self.server.listener = Some(listener),
            Err(error) => self.log.error(&format!("making control socket {path}: {error}, going on without")),
        }
    }

    /// Lets new clients in.
    pub fn accept_clients(&mut self) {
        for _ in 0..ACCEPTED_MAX {
            let Some(Ok((stream, _))) = self.server.listener.as_ref().map(UnixListener::accept) else { return };
            if let Err(error) = self.add_client(stream) {
                self.log.warning(&format!("taking a client: {error}, sending it away"));
            }
        }
    }

    fn add_client(&mut self, stream: UnixStream) -> std::io::Result<()> {
        stream.set_nonblocking(true)?;
        // A peer outside our process namespace has the process id 0, which rustix's type cannot hold.
        let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?;
        let uid = peer.uid();
        let privileged = uid == 0 || may_administer(uid, peer.gid());
        let guests = self.server.clients.values().filter(|client| !client.privileged).count();
        if !privileged && guests >= GUESTS_MAX && !self.send_idlest_away(|client| !client.privileged) {
            return refuse(&stream, &format!("more than {GUESTS_MAX} clients without rights"));
        }
        let full = self.server.clients.len() >= CLIENTS_MAX;
        if full && !self.send_idlest_away(|client| privileged || !client.privileged) {
            return refuse(&stream, &format!("more than {CLIENTS_MAX} clients"));
        }
        let id = ClientId(self.server.next);
        self.server.next = (self.server.next + 1) % (keys::REPORTS - keys::CLIENTS);
        self.epoll.add(&stream, keys::CLIENTS + id.0)?;
        self.server.clients.insert(id, Client::new(stream, uid, privileged));
        Ok(())
    }

    /// Makes a place, or room, at the cost of the client that has been silent longest; one that waits for an answer has
    /// a reason to be silent.
    fn send_idlest_away(&mut self, among: impl Fn(&Client) -> bool) -> bool {
        let candidates = self.server.clients.iter().filter(|(id, client)| among(client) && !self.is_owed(**id, client));
        let Some((id, _)) = candidates.min_by_key(|(_, client)| client.heard) else { return false };
        let id = *id;
        if let Some(client) = self.server.clients.get(&id) {
            // One that does not listen misses it.
            let _ = refuse(&client.stream, "silent for longer than others who want to be served");
        }
        self.drop_client(id);
        true
    }

    /// Does it wait for an answer that is still to come?
    fn is_owed(&self, id: ClientId, client: &Client) -> bool {
        client.command.is_some()
            || client.waits_for_boot
            || client.pending.is_some()
            || self.reloads.clients().any(|other| other == id)
            || self.reexec.as_ref().is_some_and(|reexec| reexec.clients.contains(&id))
            || self.kinds.waiting.iter().chain(&self.kinds.freezing).chain(&self.kinds.cleaning).any(|(c, _)| *c == id)
            || self.kinds.references.values().any(|clients| clients.contains(&id))
    }

    /// The clients for the next image.
    pub fn save_clients(&self) -> Vec<SavedClient> {
        let save = |(id, client): (&ClientId, &Client)| SavedClient {
            id: id.0,
            uid: client.uid,
            privileged: client.privileged,
            closing: client.closing,
            files: std::iter::once(saved_file("stream", &client.stream))
                .chain(client.descriptors.iter().map(|file| saved_file("descriptor", file)))
                .collect(),
            input: client.lines.rest().to_vec(),
            output: client.output.clone(),
            command: client.command,
            waits_for_boot: client.waits_for_boot,
            waits_for: self.units_waited_for(*id),
            refers_to: self.units_referred_to(*id),
            reports: client.pending.as_ref().map(|pending| pending.reports.clone()),
            open_reports: client.pending.as_ref().map_or(0, |pending| pending.open),
        };
        self.server.clients.iter().map(save).collect()
    }

    /// Takes a client over from the image before this one.
    pub fn restore_client(&mut self, saved: &SavedClient, inherited: &mut Inherited) {
        let mut files = Bag::new(inherited, &saved.files);
        let Some(stream) = files.take("stream").map(UnixStream::from) else { return };
        let id = ClientId(saved.id);
        if self.epoll.add(&stream, keys::CLIENTS + id.0).is_err() {
            // It sees the end of the connection and asks again.
            return;
        }
        let mut client = Client::new(stream, saved.uid, saved.privileged);
        client.lines.push(&saved.input);
        client.output.clone_from(&saved.output);
        client.closing = saved.closing;
        client.descriptors = files.take_all("descriptor").into_iter().map(|(_, file)| file).collect();
        client.command = saved.command;
        client.waits_for_boot = saved.waits_for_boot;
        client.pending = saved.reports.clone().map(|reports| Pending { reports, open: saved.open_reports });
        self.server.clients.insert(id, client);
        self.flush(id);
    }

    /// Takes the control socket over, or makes a new one.
    pub fn restore_listener(&mut self, listener: Option<OwnedFd>, next: u64) {
        self.server.next = next;
        match listener.map(UnixListener::from) {
            Some(listener) if self.epoll.add(&listener, keys::CONTROL).is_ok() => {
                self.server.listener = Some(listener);
            }
            _ => self.open_control_socket(),
        }
    }

    /// A client sent something, went away, or takes bytes again.
    pub fn client_ready(&mut self, id: ClientId) {
        self.flush(id);
        let mut buffer = [0; 16 * 1024];
        // One read a turn: what is left is told of again, after everybody else had a turn.
        let Some(client) = self.server.clients.get_mut(&id) else { return };
        client.heard = Instant::now();
        match ferrite_control::receive(&client.stream, &mut buffer) {
            Ok(received) if received.length == 0 => return self.drop_client(id),
            // What follows a fault is not looked at, and must not pile up.
            Ok(_) if client.closing => return,
            Ok(received) => {
                client.descriptors.extend(received.descriptors);
                client.descriptors.truncate(RUN_DESCRIPTORS);
                client.lines.push(buffer.get(..received.length).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            Err(_) => return self.drop_client(id),
        }
        self.take_lines(id);
    }

    fn take_lines(&mut self, id: ClientId) {
        for count in 0.. {
            let Some(client) = self.server.clients.get_mut(&id) else { return };
            let fault = match client.lines.next_line() {
                Ok(Some(line)) if count < REQUESTS_MAX => {
                    self.take_line(id, &line);
                    continue;
                }
                Ok(Some(_)) => format!("more than {REQUESTS_MAX} requests at once"),
                Ok(None) => {
                    // Files come with the first bytes of a request: those that it did not use are of no use.
                    if !client.lines.has_partial_line() {
                        client.descriptors.clear();
                    }
                    return;
                }
                Err(fault) => fault.to_string(),
            };
            client.closing = true;
            return self.send(id, &error(ErrorKind::LimitExceeded, fault));
        }
    }

    fn take_line(&mut self, id: ClientId, line: &[u8]) {
        let request: Request = match decode(line) {
            Ok(request) => request,
            Err(fault) => return self.send(id, &error(ErrorKind::BadRequest, fault.to_string())),
        };
        let Some(client) = self.server.clients.get(&id) else { return };
        if !request.is_read_only() && !client.privileged {
            let text = "only root and members of group sudo may do this".to_owned();
            return self.send(id, &error(ErrorKind::AccessDenied, text));
        }
        if let Some(reply) = self.answer(id, request) {
            self.send(id, &reply);
        }
    }

    /// Sends an answer; what the client does not take at once is kept up to a limit.
    pub fn send(&mut self, id: ClientId, reply: &Reply) {
        let line = encode(reply, MAX_REPLY_BYTES)
            .or_else(|fault| encode(&error(ErrorKind::LimitExceeded, fault.to_string()), MAX_REPLY_BYTES));
        let Some(client) = self.server.clients.get_mut(&id) else { return };
        let Ok(line) = line else { return };
        if client.output.len() > UNREAD_MAX {
            return self.drop_client(id);
        }
        client.output.extend_from_slice(&line);
        self.flush(id);
        let unread: usize = self.server.clients.values().map(|client| client.output.len()).sum();
        if unread > UNREAD_TOTAL_MAX {
            self.send_idlest_away(|client| !client.output.is_empty());
        }
    }

    fn flush(&mut self, id: ClientId) {
        let Some(client) = self.server.clients.get_mut(&id) else { return };
        while !client.output.is_empty() {
            match rustix::net::send(&client.stream, &client.output, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => drop(client.output.drain(..count)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let _ = self.epoll.set_writing(&client.stream, keys::CLIENTS + id.0, true);
                    return;
                }
                Err(_) => return self.drop_client(id),
            }
        }
        if client.closing {
            return self.drop_client(id);
        }
        let _ = self.epoll.set_writing(&client.stream, keys::CLIENTS + id.0, false);
    }

    /// Forgets a client; a command it started is told by SIGHUP, as by a terminal that went away.
    pub fn drop_client(&mut self, id: ClientId) {
        let Some(client) = self.server.clients.remove(&id) else { return };
        let _ = self.epoll.remove(client.stream.as_fd());
        self.drop_references(id);
        if let Some(pid) = client.command {
            let _ = ferrite_sys::signal::send_to_group(pid, 1);
        }
    }
}

/// Tells a client that there is no place for it; one that does not listen misses it.
fn refuse(mut stream: &UnixStream, why: &str) -> std::io::Result<()> {
    stream.set_nonblocking(true)?;
    if let Ok(line) = encode(&error(ErrorKind::LimitExceeded, why.to_owned()), MAX_REPLY_BYTES) {
        let _ = stream.write(&line);
    }
    Ok(())
}

/// An error as an answer.
pub fn error(kind: ErrorKind, message: String) -> Reply {
    Reply::Error { kind, message }
}

/// Why a request is not carried out.
pub type Refusal = (ErrorKind, String);

/// There is no such unit.
pub fn not_found(name: &UnitName) -> Refusal {
    (ErrorKind::NoSuchUnit, format!("Unit {name} not found."))
}

/// Is this user a member of the group `sudo`?
fn may_administer(uid: u32, gid: u32) -> bool {
    let accounts = Accounts::read();
    let Some(sudo) = accounts.group("sudo") else { return false };
    let member = |user: &crate::accounts::User| accounts.groups_of(&user.name).contains(&sudo);
    gid == sudo || accounts.user(&uid.to_string()).is_some_and(|user| member(&user))
}

/// Reads a small file for an answer, without ever taking more than so much.
pub fn read_some(path: &str, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What was read before an error is still true.
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    bytes
}
