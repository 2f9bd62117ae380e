//! The standard streams of a new process. Runs in the child.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;

use ferrite_unit::exec::{Exec, Stream};

use crate::child::{Fault, Invocation, place};

/// Where the journal listens for streams.
pub const JOURNAL: &str = "/run/systemd/journal/stdout";

/// Does a stream lead to the terminal?
pub fn uses_terminal(exec: &Exec) -> bool {
    let tty = |stream: &Stream| matches!(stream, Stream::Tty | Stream::TtyForce | Stream::TtyFail);
    tty(&exec.input) || exec.output.as_ref().is_some_and(tty) || exec.error.as_ref().is_some_and(tty)
}

/// The terminal of the unit.
pub fn terminal_path(exec: &Exec) -> &str {
    exec.tty_path.as_deref().unwrap_or("/dev/console")
}

/// The stream to the journal, as a process can find out whether it is still what it writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    /// The number of its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// Opens all three streams. What leads to the journal is told: of two streams that of the errors.
pub fn open(invocation: &Invocation<'_>) -> Result<Option<Journal>, Fault> {
    let exec = invocation.exec;
    crate::terminals::prepare(exec);
    if let Some(streams) = invocation.streams {
        return take(streams).map(|()| None);
    }
    match &exec.input_stream() {
        Stream::Tty | Stream::TtyForce | Stream::TtyFail => {
            let terminal = open_terminal(exec)?;
            crate::terminals::set_size(exec, &terminal);
            let force = exec.input != Stream::TtyFail;
            ferrite_sys::process::take_terminal(terminal.as_fd(), force)
                .map_err(Fault::of(208, &format!("taking terminal {}", terminal_path(exec))))?;
            place(&terminal, 0)?;
        }
        Stream::File(path) => {
            let writes = goes_both_ways(exec, &exec.output_stream());
            let file = open_file(208, path, |options| options.read(true).write(writes))?;
            place(&file, 0)?;
        }
        Stream::Socket => place(invocation.descriptors.stream().map_err(|text| Fault { code: 208, text })?, 0)?,
        Stream::Data => place(&data(&exec.input_data)?, 0)?,
        Stream::Named(name) => place(named(invocation, name, "stdin").map_err(|text| Fault { code: 208, text })?, 0)?,
        _ => place(&null(208)?, 0)?,
    }
    let out = exec.output_stream();
    // Where two streams lead to the same place they share its position, and one does not write over the other.
    let error = if exec.error_stream() == out { Stream::Inherit } else { exec.error_stream() };
    let out = if goes_both_ways(exec, &out) { Stream::Inherit } else { out };
    let journal = output(invocation, &out, 1, None)?;
    output(invocation, &error, 2, journal)
}

/// Is it the file that standard input comes from?
fn goes_both_ways(exec: &Exec, stream: &Stream) -> bool {
    match (&exec.input, stream) {
        (Stream::File(from), Stream::File(to) | Stream::Append(to) | Stream::Truncate(to)) => from == to,
        _ => false,
    }
}

/// A file that was handed over under a name; without one the stream's own name counts.
fn named<'a>(invocation: &'a Invocation<'_>, name: &str, usual: &str) -> Result<BorrowedFd<'a>, String> {
    let wanted = if name.is_empty() { usual } else { name };
    let found = invocation.descriptors.named(wanted);
    found.ok_or_else(|| format!("no descriptor was handed over under the name '{wanted}'"))
}

/// Takes the streams of whoever made the unit; a terminal becomes that of the session.
fn take(streams: &[std::os::fd::OwnedFd; 3]) -> Result<(), Fault> {
    for (to, stream) in (0..).zip(streams) {
        place(stream, to)?;
    }
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        // One that another session holds stays with it.
        let _ = ferrite_sys::process::take_terminal(rustix::stdio::stdin(), false);
    }
    Ok(())
}

fn null(code: i32) -> Result<File, Fault> {
    OpenOptions::new().read(true).write(true).open("/dev/null").map_err(Fault::of(code, "opening /dev/null"))
}

/// Opens standard output (1) or error (2), and tells of the journal that it or the stream before it leads to.
fn output(
    invocation: &Invocation<'_>,
    stream: &Stream,
    to: i32,
    before: Option<Journal>,
) -> Result<Option<Journal>, Fault> {
    let file = match stream {
        Stream::Inherit => {
            let source = if to == 1 { rustix::stdio::stdin() } else { rustix::stdio::stdout() };
            return place(source, to).map(|()| before);
        }
        Stream::Null | Stream::Data => null(209)?,
        Stream::Socket => {
            let socket = invocation.descriptors.stream().map_err(|text| Fault { code: 209, text })?;
            return place(socket, to).map(|()| before);
        }
        Stream::Named(name) => {
            let usual = if to == 1 { "stdout" } else { "stderr" };
            let file = named(invocation, name, usual).map_err(|text| Fault { code: 209, text })?;
            return place(file, to).map(|()| before);
        }
        Stream::Tty | Stream::TtyForce | Stream::TtyFail => {
            let terminal = open_terminal(invocation.exec)?;
            crate::terminals::set_size(invocation.exec, &terminal);
            terminal
        }
        Stream::Journal | Stream::JournalConsole => {
            if let Some(journal) = journal(invocation, *stream == Stream::JournalConsole) {
                place(&journal, to)?;
                let status = rustix::fs::fstat(&journal).map_err(Fault::of(209, "looking at the journal's socket"))?;
                return Ok(Some(Journal { device: status.st_dev, inode: status.st_ino }));
            }
            match fallback(invocation) {
                Some(file) => file,
                // In a namespace: whatever PID 1 itself writes to, which is still descriptor 2 here.
                None if to == 1 => return place(rustix::stdio::stderr(), 1).map(|()| before),
                None => return Ok(before),
            }
        }
        Stream::Kmsg | Stream::KmsgConsole => match fallback(invocation) {
            Some(file) => file,
            None => null(209)?,
        },
        Stream::File(path) => open_file(209, path, |options| options.write(true).create(true))?,
        Stream::Append(path) => open_file(209, path, |options| options.append(true).create(true))?,
        Stream::Truncate(path) => open_file(209, path, |options| options.write(true).create(true).truncate(true))?,
    };
    place(&file, to).map(|()| before)
}

/// A file in memory that holds what `StandardInputText=` and its like say.
fn data(bytes: &[u8]) -> Result<File, Fault> {
    use std::io::Seek;
    let made = rustix::fs::memfd_create("standard-input", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(made.map_err(Fault::of(208, "making the data of standard input"))?);
    file.write_all(bytes).and_then(|()| file.rewind()).map_err(Fault::of(208, "writing the data of standard input"))?;
    Ok(file)
}

/// Opens a file, or connects to the socket that is there; `UMask=` counts for a new one.
fn open_file(code: i32, path: &str, how: impl FnOnce(&mut OpenOptions) -> &mut OpenOptions) -> Result<File, Fault> {
    if std::fs::metadata(path).is_ok_and(|status| status.file_type().is_socket()) {
        let socket = UnixStream::connect(path).map_err(Fault::of(code, &format!("connecting to {path}")))?;
        return Ok(File::from(OwnedFd::from(socket)));
    }
    let mut options = OpenOptions::new();
    options.mode(0o666).custom_flags(nix::libc::O_NOCTTY);
    how(&mut options).open(path).map_err(Fault::of(code, &format!("opening {path}")))
}

/// The kernel log takes lines before the journal listens.
fn fallback(invocation: &Invocation<'_>) -> Option<File> {
    if !invocation.to_kernel_log {
        return None;
    }
    OpenOptions::new().write(true).open("/dev/kmsg").ok()
}

/// Connects to the journal and says who we are.
fn journal(invocation: &Invocation<'_>, console: bool) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(JOURNAL).ok()?;
    stream.write_all(journal_header(invocation, console).as_bytes()).ok()?;
    Some(stream)
}

/// What the journal is told first.
pub fn journal_header(invocation: &Invocation<'_>, console: bool) -> String {
    let exec = invocation.exec;
    let name = invocation.command.path.rsplit('/').next().unwrap_or("");
    let identifier = exec.syslog_identifier.as_deref().unwrap_or(name);
    let prefix = u8::from(exec.syslog_level_prefix);
    let priority = u32::from(exec.sandbox.logging.facility) << 3 | u32::from(exec.syslog_level);
    let console = u8::from(console);
    format!("{identifier}\n{}\n{priority}\n{prefix}\n0\n0\n{console}\n", invocation.unit)
}

pub fn open_terminal(exec: &Exec) -> Result<File, Fault> {
    let path = terminal_path(exec);
    let mut options = OpenOptions::new();
    // Non-blocking only for the opening: a serial line without carrier would hold us for ever.
    let flags = nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK;
    options.read(true).write(true).custom_flags(flags.bits());
    let file = options.open(path).map_err(Fault::of(208, &format!("opening {path}")))?;
    rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::RDWR).map_err(Fault::of(208, &format!("setting up {path}")))?;
    Ok(file)
}
