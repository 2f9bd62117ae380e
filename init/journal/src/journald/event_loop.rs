//! The turn of the daemon: wait, read each source a bounded amount, write once.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result};
use ferrite_control::log_line::{LogEntry, LogSource};
use ferrite_unit::zone::{Zone, Zones};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::clock::{Moment, boot_id};
use super::forward::Forward;
use super::origin::{comm_of, unit_of};
use super::rate::{RateLimit, Verdict};
use super::settings::Settings;
use super::sockets::{READ_BYTES, Received, Sockets, notify, receive};
use super::store::{Store, own_entry};
use super::stream::{Line, StreamParser};
use super::{Options, kernel, native, syslog};

const SIGNALS: u64 = 0;
const STDOUT: u64 = 1;
const SYSLOG: u64 = 2;
const NATIVE: u64 = 3;
const KERNEL: u64 = 4;
const FIRST_STREAM: u64 = 16;
/// Services that may be connected; more are refused and log to nowhere.
const STREAMS_MAX: usize = 8192;
/// Datagrams, records or connections taken from one source in a turn.
const READS_PER_TURN: usize = 64;
const EVENTS_PER_TURN: usize = 64;
/// Turns after SIGTERM in which what was sent before is still taken.
const LAST_TURNS: usize = 64;

/// Runs until SIGTERM.
pub fn run(options: &Options) -> Result<()> {
    let mut daemon = Daemon::start(options)?;
    notify("READY=1").context("telling PID 1 that the log is ready")?;
    while daemon.turn(None)? != Next::Stop {}
    for _ in 0..LAST_TURNS {
        if daemon.turn(Some(EpollTimeout::ZERO))? == Next::Idle {
            break;
        }
    }
    daemon.store.flush(Moment::now());
    daemon.store.sync();
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Idle,
    Stop,
}

struct Stream {
    socket: UnixStream,
    parser: StreamParser,
    pid: i32,
    is_root: bool,
    /// The unit, once the header is there.
    unit: Option<String>,
    /// The program's short name, for streams without an identifier.
    comm: String,
}

struct Daemon {
    epoll: Epoll,
    signals: SignalFd,
    sockets: Sockets,
    kmsg: Option<File>,
    sequence_path: PathBuf,
    next_sequence: u64,
    saved_sequence: u64,
    streams: BTreeMap<u64, Stream>,
    next_stream: u64,
    store: Store,
    rate: RateLimit,
    settings: Settings,
    forward: Forward,
    buffer: Vec<u8>,
}

impl Daemon {
    fn start(options: &Options) -> Result<Self> {
        raise_file_limit();
        let mut set = SigSet::empty();
        [Signal::SIGTERM, Signal::SIGINT].into_iter().for_each(|signal| set.add(signal));
        set.thread_block().context("blocking signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&set, flags).context("opening a signalfd")?;
        let sockets = Sockets::open(&options.run_dir, &options.dev_log)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("opening an epoll")?;
        let kmsg = open_kmsg(options);
        let watch = |file: &dyn AsFd, token| {
            epoll.add(file.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token)).context("watching a descriptor")
        };
        watch(&signals, SIGNALS)?;
        watch(&sockets.stdout, STDOUT)?;
        watch(&sockets.syslog, SYSLOG)?;
        watch(&sockets.native, NATIVE)?;
        if let Some(kmsg) = &kmsg {
            watch(kmsg, KERNEL)?;
        }
        let sequence_path = options.run_dir.join("kernel-sequence");
        // The number belongs to this start of the kernel: /run is empty at the next one.
        let next_sequence =
            std::fs::read_to_string(&sequence_path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Ok(Self {
            epoll,
            signals,
            sockets,
            kmsg,
            sequence_path,
            next_sequence,
            saved_sequence: next_sequence,
            streams: BTreeMap::new(),
            next_stream: FIRST_STREAM,
            store: Store::new(&options.log_dir, options.file_bytes, boot_id()),
            rate: RateLimit::new(options.rate_burst),
            settings: Settings::new(&options.units_dir),
            forward: Forward::new(&options.run_dir, local_zone()),
            buffer: vec![0; READ_BYTES],
        })
    }

    fn turn(&mut self, timeout: Option<EpollTimeout>) -> Result<Next> {
        let timeout = timeout.unwrap_or_else(|| self.timeout());
        let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno).context("waiting for messages"),
        };
        let mut next = if count == 0 { Next::Idle } else { Next::GoOn };
        for event in events.get(..count).unwrap_or_default() {
            match event.data() {
                SIGNALS => {
                    while matches!(self.signals.read_signal(), Ok(Some(_))) {}
                    next = Next::Stop;
                }
                STDOUT => self.accept(),
                SYSLOG => self.read_syslog(),
                NATIVE => self.read_native(),
                KERNEL => self.read_kernel(),
                token => self.read_stream(token),
            }
        }
        self.store.flush(Moment::now());
        self.save_sequence();
        Ok(next)
    }

    fn timeout(&self) -> EpollTimeout {
        match self.store.due_in_us(Moment::now()) {
            None => EpollTimeout::NONE,
            Some(us) => u16::try_from(us.div_ceil(1000)).map_or(EpollTimeout::MAX, EpollTimeout::from),
        }
    }

    fn accept(&mut self) {
        for _ in 0..READS_PER_TURN {
            let Ok((socket, _)) = self.sockets.stdout.accept() else { return };
            if self.streams.len() >= STREAMS_MAX || socket.set_nonblocking(true).is_err() {
                continue;
            }
            let Ok(peer) = rustix::net::sockopt::socket_peercred(&socket) else { continue };
            if rustix::net::sockopt::set_socket_passcred(&socket, true).is_err() {
                continue;
            }
            let token = self.next_stream;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, token);
            if self.epoll.add(&socket, event).is_err() {
                continue;
            }
            self.next_stream += 1;
            let stream = Stream {
                socket,
                parser: StreamParser::default(),
                pid: peer.pid.as_raw_nonzero().get(),
                is_root: peer.uid.is_root(),
                unit: None,
                comm: String::new(),
            };
            self.streams.insert(token, stream);
        }
    }

    fn read_stream(&mut self, token: u64) {
        let Some(mut stream) = self.streams.remove(&token) else { return };
        let received = match receive(&stream.socket, &mut self.buffer) {
            Ok(Some(received)) => received,
            Ok(None) => {
                self.streams.insert(token, stream);
                return;
            }
            Err(_) => Received::default(),
        };
        if received.pid > 0 {
            stream.pid = received.pid;
        }
        let is_open = !received.bytes.is_empty();
        let (lines, is_good) = match stream.parser.push(&received.bytes) {
            Ok(mut lines) => {
                lines.extend(if is_open { None } else { stream.parser.finish() });
                (lines, true)
            }
            Err(error) => {
                let message = format!("closing a log stream of process {}: {error}", stream.pid);
                self.store.append(own_entry(message, 4, Moment::now()));
                (Vec::new(), false)
            }
        };
        for line in lines {
            let entry = stream_entry(&mut stream, line);
            self.keep(entry, None);
        }
        if is_open && is_good {
            self.streams.insert(token, stream);
        }
    }

    fn read_syslog(&mut self) {
        for _ in 0..READS_PER_TURN {
            let Ok(Some(received)) = receive(&self.sockets.syslog, &mut self.buffer) else { return };
            let parsed = syslog::parse(&received.bytes);
            if parsed.message.is_empty() {
                continue;
            }
            let pid = if received.pid > 0 { received.pid } else { parsed.pid.unwrap_or(0) };
            let identifier = if parsed.identifier.is_empty() { comm_of(pid) } else { parsed.identifier };
            let entry = LogEntry {
                priority: parsed.priority,
                source: LogSource::Syslog,
                pid,
                unit: unit_of(pid),
                identifier,
                message: parsed.message,
                ..LogEntry::default()
            };
            self.keep(entry, Some(&received.bytes));
        }
    }

    fn read_native(&mut self) {
        for _ in 0..READS_PER_TURN {
            let Ok(Some(received)) = receive(&self.sockets.native, &mut self.buffer) else { return };
            let parsed = native::parse(&received.bytes);
            let Some(message) = parsed.message else { continue };
            let pid = received.pid;
            let by_manager = pid == 1 && received.is_root && !parsed.unit.is_empty();
            let entry = LogEntry {
                priority: parsed.priority.unwrap_or(6),
                source: LogSource::Journal,
                pid,
                unit: if by_manager { parsed.unit } else { unit_of(pid) },
                identifier: if parsed.identifier.is_empty() { comm_of(pid) } else { parsed.identifier },
                message,
                ..LogEntry::default()
            };
            self.keep(entry, None);
        }
    }

    fn read_kernel(&mut self) {
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
            let now = Moment::now();
            for record in kernel::records(self.buffer.get(..length).unwrap_or_default()) {
                if record.sequence < self.next_sequence {
                    continue;
                }
                self.next_sequence = record.sequence + 1;
                let moment = now.at_monotonic(record.monotonic_us);
                self.store.append(LogEntry {
                    realtime_us: moment.realtime_us,
                    monotonic_us: moment.monotonic_us,
                    priority: record.priority,
                    source: LogSource::Kernel,
                    pid: record.pid,
                    unit: record.unit,
                    identifier: record.identifier,
                    message: record.message,
                    ..LogEntry::default()
                });
            }
        }
    }

    fn forget_kernel(&mut self) {
        if let Some(kmsg) = self.kmsg.take() {
            // It was watched; the kernel forgets it with the last descriptor anyway.
            let _ = self.epoll.delete(&kmsg);
        }
    }

    /// After the records are written, so that a crash repeats some rather than losing any.
    fn save_sequence(&mut self) {
        if self.saved_sequence != self.next_sequence {
            self.saved_sequence = self.next_sequence;
            // Without it a restart repeats the kernel's messages: not worth an error.
            let _ = std::fs::write(&self.sequence_path, format!("{}\n", self.next_sequence));
        }
    }

    /// Gives an entry the time, writes it and hands it on, unless its unit floods the log. `raw`: as syslog(3) sent it.
    fn keep(&mut self, mut entry: LogEntry, raw: Option<&[u8]>) {
        let now = Moment::now();
        let wishes = self.settings.of(&entry.unit, now.monotonic_us);
        if wishes.level_max.is_some_and(|max| entry.priority > max) {
            return;
        }
        match self.rate.count(&entry.unit, now.monotonic_us, &wishes) {
            Verdict::Drop => return,
            Verdict::KeepAfter(count) => {
                let message = format!("Suppressed {count} messages from {}", entry.unit);
                let unit = entry.unit.clone();
                self.store.append(LogEntry { unit, ..own_entry(message, 5, now) });
            }
            Verdict::Keep => {}
        }
        entry.realtime_us = now.realtime_us;
        entry.monotonic_us = now.monotonic_us;
        match raw {
            Some(bytes) => self.forward.send_raw(bytes),
            None => self.forward.send(&entry),
        }
        self.store.append(entry);
    }
}

fn stream_entry(stream: &mut Stream, line: Line) -> LogEntry {
    let header = stream.parser.header();
    let claimed = stream.is_root && !header.unit.is_empty();
    let pid = stream.pid;
    let unit = stream.unit.get_or_insert_with(|| if claimed { header.unit.clone() } else { unit_of(pid) });
    if header.identifier.is_empty() && stream.comm.is_empty() {
        stream.comm = comm_of(pid);
    }
    LogEntry {
        priority: line.priority,
        source: LogSource::Stdout,
        pid,
        unit: unit.clone(),
        identifier: if header.identifier.is_empty() { stream.comm.clone() } else { header.identifier.clone() },
        message: line.message,
        ..LogEntry::default()
    }
}

fn open_kmsg(options: &Options) -> Option<File> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    match OpenOptions::new().read(true).custom_flags(flags).open(&options.kmsg) {
        Ok(file) => Some(file),
        Err(error) => {
            eprintln!("opening '{}': {error}, going on without the kernel's messages", options.kmsg.display());
            None
        }
    }
}

/// The zone that a syslog daemon expects times to be in.
fn local_zone() -> Zone {
    Zones::new(None, |path| std::fs::read(path).ok()).local().clone()
}

/// Each service is a descriptor.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With the old limit fewer services can be connected.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
