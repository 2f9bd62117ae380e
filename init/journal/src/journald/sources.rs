//! The sources of messages: each read is bounded, and turns bytes into fields with a pure parser.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

use super::clock::Moment;
use super::config::Audit;
use super::context::Sender;
use super::event_loop::Daemon;
use super::keeper::Message;
use super::kernel::Record;
use super::sockets::{MESSAGE_MAX, Received, receive, receive_datagram};
use super::stream::{Line, LineBreak, StreamParser};
use super::{audit, kernel, native, syslog};
use crate::fields::Fields;

/// Services that may be connected; more are refused and log to nowhere.
const STREAMS_MAX: usize = 16_384;
/// Streams that PID 1 is asked to keep over a restart; it keeps no more for one service.
const STORED_MAX: usize = 4000;
/// Datagrams, records or connections taken from one source in a turn.
const READS_PER_TURN: usize = 64;
/// What systemd calls "messages of the kernel were lost".
const MISSED: &str = "e9bf28e6e834481bb6f48f548ad13606";
const STORED: &str = "stream-";

/// The output of a service.
pub(super) struct Stream {
    socket: UnixStream,
    parser: StreamParser,
    sender: Sender,
    is_root: bool,
    /// `_STREAM_ID`; it also names what is kept of the stream over a restart.
    id: String,
    is_stored: bool,
}

impl Daemon {
    pub(super) fn accept_streams(&mut self) {
        for _ in 0..READS_PER_TURN {
            let Ok((socket, _)) = self.sockets.stdout.accept() else { return };
            if self.streams.len() >= STREAMS_MAX {
                self.keeper.say(&format!("more than {STREAMS_MAX} log streams, closing the new one"), 4);
                continue;
            }
            self.add_stream(socket, StreamParser::default(), String::new());
        }
    }

    fn add_stream(&mut self, socket: UnixStream, parser: StreamParser, id: String) {
        let Ok(peer) = rustix::net::sockopt::socket_peercred(&socket) else { return };
        if socket.set_nonblocking(true).is_err() || rustix::net::sockopt::set_socket_passcred(&socket, true).is_err() {
            return;
        }
        let token = self.next_stream;
        if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token)).is_err() {
            return;
        }
        self.next_stream += 1;
        let sender = Sender { pid: peer.pid.as_raw_nonzero().get(), uid: peer.uid.as_raw(), gid: peer.gid.as_raw() };
        let is_stored = !id.is_empty();
        let stream = Stream { socket, parser, sender, is_root: peer.uid.is_root(), id, is_stored };
        self.streams.insert(token, stream);
    }

    /// Takes over the streams that PID 1 kept.
    pub(super) fn restore_streams(&mut self) {
        for (name, file) in self.files.take_all(STORED) {
            let id = name.strip_prefix(STORED).unwrap_or_default().to_owned();
            let header = std::fs::read(self.streams_dir.join(&id)).unwrap_or_default();
            let mut parser = StreamParser::default();
            let is_good = parser.push(&header, self.line_max, &mut Vec::new()).is_ok() && parser.is_open();
            if is_good {
                self.add_stream(UnixStream::from(file), parser, id);
            } else {
                self.files.forget(&name);
            }
        }
    }

    /// Keeps a stream over a restart, once its header is there.
    fn store_stream(&self, stream: &mut Stream) {
        if stream.is_stored || !stream.parser.is_open() {
            return;
        }
        stream.is_stored = true;
        stream.id = random_id();
        if self.streams.len() >= STORED_MAX {
            return;
        }
        let path = self.streams_dir.join(&stream.id);
        let written = std::fs::create_dir_all(&self.streams_dir)
            .and_then(|()| std::fs::write(&path, stream.parser.header().render()));
        match written {
            Ok(()) => self.files.keep(&format!("{STORED}{}", stream.id), &stream.socket),
            Err(error) => eprintln!("writing '{}': {error}, going on without", path.display()),
        }
    }

    fn forget_stream(&self, stream: &Stream) {
        if !stream.id.is_empty() {
            // One that was not stored has none. PID 1 sees the end of the stream by itself.
            let _ = std::fs::remove_file(self.streams_dir.join(&stream.id));
        }
    }

    pub(super) fn read_stream(&mut self, token: u64) {
        let Some(mut stream) = self.streams.remove(&token) else { return };
        let received = match receive(&stream.socket, &mut self.buffer) {
            Ok(Some(received)) => received,
            Ok(None) => {
                self.streams.insert(token, stream);
                return;
            }
            Err(_) => Received::default(),
        };
        if received.sender.pid > 0 {
            stream.sender = received.sender;
        }
        let bytes = self.buffer.get(..received.length).unwrap_or_default();
        let mut lines = Vec::new();
        let outcome = stream.parser.push(bytes, self.line_max, &mut lines);
        self.store_stream(&mut stream);
        if let Err(error) = &outcome {
            self.keeper.say(&format!("closing a log stream of process {}: {error}", stream.sender.pid), 4);
        }
        let is_open = received.length > 0 && outcome.is_ok();
        if !is_open {
            lines.extend(stream.parser.finish());
        }
        let mut fields = Fields::default();
        lines.iter().for_each(|line| self.keep_line(&stream, line, &mut fields));
        if is_open {
            self.streams.insert(token, stream);
        } else {
            self.forget_stream(&stream);
        }
    }

    fn keep_line(&mut self, stream: &Stream, line: &Line, fields: &mut Fields) {
        let header = stream.parser.header();
        fields.clear();
        fields.text("_STREAM_ID", &stream.id);
        let priority = (line.priority & 7) as u8;
        fields.show("PRIORITY", priority);
        fields.show("SYSLOG_FACILITY", line.priority >> 3);
        fields.known("SYSLOG_IDENTIFIER", &header.identifier);
        match line.end {
            LineBreak::Newline => {}
            LineBreak::Length => fields.text("_LINE_BREAK", "line-max"),
            LineBreak::End => fields.text("_LINE_BREAK", "eof"),
        }
        fields.push(b"MESSAGE", &line.message);
        let unit = (stream.is_root && !header.unit.is_empty()).then_some(header.unit.as_str());
        let message = Message { transport: "stdout", sender: stream.sender, unit, priority, raw: None };
        self.keeper.keep(fields, &message);
    }

    pub(super) fn read_syslog(&mut self) {
        let mut fields = Fields::default();
        for _ in 0..READS_PER_TURN {
            let Ok(Some(received)) = receive_datagram(&self.sockets.syslog, &mut self.buffer) else { return };
            let bytes = self.buffer.get(..received.length).unwrap_or_default();
            let parsed = syslog::parse(bytes);
            if parsed.message.is_empty() {
                continue;
            }
            fields.clear();
            fields.show("PRIORITY", parsed.priority);
            if let Some(facility) = parsed.facility {
                fields.show("SYSLOG_FACILITY", facility);
            }
            for (name, value) in [
                ("SYSLOG_IDENTIFIER", parsed.identifier),
                ("SYSLOG_PID", parsed.pid),
                ("SYSLOG_TIMESTAMP", parsed.stamp),
            ] {
                if !value.is_empty() {
                    fields.push(name.as_bytes(), value);
                }
            }
            fields.push(b"MESSAGE", parsed.message);
            let message = Message {
                transport: "syslog",
                sender: received.sender,
                unit: None,
                priority: parsed.priority,
                raw: Some(bytes),
            };
            self.keeper.keep(&mut fields, &message);
        }
    }

    pub(super) fn read_native(&mut self) {
        let mut fields = Fields::default();
        for _ in 0..READS_PER_TURN {
            let Ok(Some(received)) = receive_datagram(&self.sockets.native, &mut self.buffer) else { return };
            if received.too_large {
                let pid = received.sender.pid;
                let text = format!("a message of process {pid} is no sealed file of at most {MESSAGE_MAX} bytes");
                self.keeper.say(&format!("{text}, dropping it"), 4);
                continue;
            }
            let bytes = received.memory.as_deref();
            let mut rest = bytes.unwrap_or_else(|| self.buffer.get(..received.length).unwrap_or_default());
            while native::next_entry(&mut rest, &mut fields) {
                let priority = fields.number("PRIORITY").filter(|number| *number <= 7).unwrap_or(6);
                let message =
                    Message { transport: "journal", sender: received.sender, unit: None, priority, raw: None };
                self.keeper.keep(&mut fields, &message);
            }
        }
    }

    pub(super) fn read_kernel(&mut self) {
        for _ in 0..READS_PER_TURN {
            let Some(kmsg) = self.kmsg.as_mut() else { return };
            let length = match kmsg.read(&mut self.buffer) {
                Ok(0) => {
                    self.forget_kernel();
                    return;
                }
                Ok(length) => length,
                // EPIPE: records were overwritten before we came; the next read gives the oldest that is left.
                Err(error) if error.raw_os_error() == Some(Errno::EPIPE as i32) => continue,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.forget_kernel();
                    return;
                }
            };
            for record in kernel::records(self.buffer.get(..length).unwrap_or_default()) {
                self.keep_record(&record);
            }
        }
    }

    fn keep_record(&mut self, record: &Record) {
        if record.sequence < self.next_sequence {
            return;
        }
        let missed = record.sequence - self.next_sequence;
        if missed > 0 && self.next_sequence > 0 {
            let mut fields = Fields::default();
            fields.text("MESSAGE_ID", MISSED);
            fields.text("PRIORITY", "4");
            fields.text("SYSLOG_IDENTIFIER", "ferrite-journald");
            fields.text("MESSAGE", &format!("Missed {missed} kernel messages"));
            let message =
                Message { transport: "driver", sender: Sender::default(), unit: None, priority: 4, raw: None };
            self.keeper.record(&mut fields, &message, Moment::now());
        }
        self.next_sequence = record.sequence + 1;
        let mut fields = Fields::default();
        record.describe(&mut fields);
        let mut transport = "kernel";
        if record.is_of_manager() {
            // PID 1 writes to the kernel's log what the manager of systemd sends to the journal.
            transport = "journal";
            let (sender, now) = (Sender { pid: 1, uid: 0, gid: 0 }, Moment::now());
            let process = self.keeper.processes.of(1, now.monotonic_us);
            self.keeper.processes.describe(sender, &process, &process.unit, &mut fields);
        }
        let message =
            Message { transport, sender: Sender::default(), unit: None, priority: record.priority, raw: None };
        self.keeper.record(&mut fields, &message, Moment::now());
    }

    pub(super) fn read_audit(&mut self) {
        let mut fields = Fields::default();
        for _ in 0..READS_PER_TURN {
            let Some(socket) = &self.audit else { return };
            let (length, from) = match socket::recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut self.buffer) {
                Ok((length, from)) => (length, from.map_or(0, |from| from.pid())),
                Err(Errno::ENOBUFS) => {
                    self.keeper.say("more audit records came than could be taken, some are lost", 4);
                    continue;
                }
                Err(_) => return,
            };
            // Only the kernel has number 0.
            if from != 0 || !audit::describe(self.buffer.get(..length).unwrap_or_default(), &mut fields) {
                continue;
            }
            let message = Message { transport: "audit", sender: Sender::default(), unit: None, priority: 5, raw: None };
            self.keeper.record(&mut fields, &message, Moment::now());
        }
    }

    fn forget_kernel(&mut self) {
        if let Some(kmsg) = self.kmsg.take() {
            // It was watched; the kernel forgets it with the last descriptor anyway.
            let _ = self.epoll.delete(&kmsg);
        }
    }
}

/// Opens the kernel's log; without it the daemon goes on.
pub(super) fn open_kmsg(path: &Path) -> Option<File> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => Some(file),
        Err(error) => {
            eprintln!("opening '{}': {error}, going on without the kernel's messages", path.display());
            None
        }
    }
}

/// Listens to the kernel's audit, if that is wanted; without it the daemon goes on.
pub(super) fn open_audit(wanted: Audit) -> Option<OwnedFd> {
    if wanted == Audit::Off {
        return None;
    }
    let open = || -> io::Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkAudit;
        let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, audit::READERS))?;
        if wanted == Audit::On {
            let kernel = NetlinkAddr::new(0, 0);
            socket::sendto(socket.as_raw_fd(), &audit::switch_on(), &kernel, MsgFlags::empty())?;
        }
        Ok(socket)
    };
    open().inspect_err(|error| eprintln!("listening to the kernel's audit: {error}, going on without")).ok()
}

/// 32 hexadecimal digits.
fn random_id() -> String {
    let mut bytes = [0; 16];
    // An id that is not random enough still tells streams apart by the clock of the kernel's generator.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
