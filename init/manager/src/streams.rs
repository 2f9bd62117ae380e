//! The standard streams of a new process. Runs in the child.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use ferrite_unit::exec::{Exec, Stream};

use crate::child::{Fault, Invocation, place};

const JOURNAL: &str = "/run/systemd/journal/stdout";

/// Does a stream lead to the terminal?
pub fn uses_terminal(exec: &Exec) -> bool {
    let tty = |stream: &Stream| matches!(stream, Stream::Tty | Stream::TtyForce | Stream::TtyFail);
    tty(&exec.input) || exec.output.as_ref().is_some_and(tty) || exec.error.as_ref().is_some_and(tty)
}

/// The terminal of the unit.
pub fn terminal_path(exec: &Exec) -> &str {
    exec.tty_path.as_deref().unwrap_or("/dev/console")
}

/// Opens all three streams.
pub fn open(invocation: &Invocation<'_>) -> Result<(), Fault> {
    let exec = invocation.exec;
    if exec.tty_vhangup || exec.tty_reset {
        prepare_terminal(exec);
    }
    if let Some(streams) = invocation.streams {
        return take(streams);
    }
    match &exec.input_stream() {
        Stream::Tty | Stream::TtyForce | Stream::TtyFail => {
            let terminal = open_terminal(exec)?;
            let force = exec.input != Stream::TtyFail;
            ferrite_sys::process::take_terminal(terminal.as_fd(), force)
                .map_err(Fault::of(208, &format!("taking terminal {}", terminal_path(exec))))?;
            place(&terminal, 0)?;
        }
        Stream::File(path) => {
            let file = File::open(path).map_err(Fault::of(208, &format!("opening {path}")))?;
            place(&file, 0)?;
        }
        Stream::Socket => place(invocation.descriptors.stream().map_err(|text| Fault { code: 208, text })?, 0)?,
        Stream::Data => place(&data(&exec.input_data)?, 0)?,
        Stream::Named(name) => return Err(no_descriptor(208, name)),
        _ => place(&null(208)?, 0)?,
    }
    output(invocation, &exec.output_stream(), 1, 0)?;
    output(invocation, &exec.error_stream(), 2, 1)
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

fn output(invocation: &Invocation<'_>, stream: &Stream, to: i32, before: i32) -> Result<(), Fault> {
    let file = match stream {
        Stream::Inherit => {
            let source = if before == 0 { rustix::stdio::stdin() } else { rustix::stdio::stdout() };
            return place(source, to);
        }
        Stream::Null | Stream::Data => null(209)?,
        Stream::Socket => {
            let socket = invocation.descriptors.stream().map_err(|text| Fault { code: 209, text })?;
            return place(socket, to);
        }
        Stream::Named(name) => return Err(no_descriptor(209, name)),
        Stream::Tty | Stream::TtyForce | Stream::TtyFail => open_terminal(invocation.exec)?,
        Stream::Journal | Stream::JournalConsole => {
            if let Some(journal) = journal(invocation) {
                return place(&journal, to);
            }
            match fallback(invocation) {
                Some(file) => file,
                // In a namespace: whatever PID 1 itself writes to, which is still descriptor 2 here.
                None if to == 1 => return place(rustix::stdio::stderr(), 1),
                None => return Ok(()),
            }
        }
        Stream::Kmsg | Stream::KmsgConsole => match fallback(invocation) {
            Some(file) => file,
            None => null(209)?,
        },
        Stream::File(path) => open_file(path, |options| options.write(true).create(true))?,
        Stream::Append(path) => open_file(path, |options| options.append(true).create(true))?,
        Stream::Truncate(path) => open_file(path, |options| options.write(true).create(true).truncate(true))?,
    };
    place(&file, to)
}

/// A file in memory that holds what `StandardInputText=` and its like say.
fn data(bytes: &[u8]) -> Result<File, Fault> {
    use std::io::Seek;
    let made = rustix::fs::memfd_create("standard-input", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(made.map_err(Fault::of(208, "making the data of standard input"))?);
    file.write_all(bytes).and_then(|()| file.rewind()).map_err(Fault::of(208, "writing the data of standard input"))?;
    Ok(file)
}

fn no_descriptor(code: i32, name: &str) -> Fault {
    Fault { code, text: format!("no descriptor was handed over under the name '{name}'") }
}

fn open_file(path: &str, how: impl FnOnce(&mut OpenOptions) -> &mut OpenOptions) -> Result<File, Fault> {
    let mut options = OpenOptions::new();
    options.mode(0o644);
    how(&mut options).open(path).map_err(Fault::of(209, &format!("opening {path}")))
}

/// The kernel log takes lines before the journal listens.
fn fallback(invocation: &Invocation<'_>) -> Option<File> {
    if !invocation.to_kernel_log {
        return None;
    }
    OpenOptions::new().write(true).open("/dev/kmsg").ok()
}

/// Connects to the journal and says who we are.
fn journal(invocation: &Invocation<'_>) -> Option<UnixStream> {
    let exec = invocation.exec;
    let mut stream = UnixStream::connect(JOURNAL).ok()?;
    let name = invocation.command.path.rsplit('/').next().unwrap_or("");
    let identifier = exec.syslog_identifier.as_deref().unwrap_or(name);
    let prefix = u8::from(exec.syslog_level_prefix);
    // Facility 3 is "daemon", as systemd's default.
    let priority = (3 << 3) | u32::from(exec.syslog_level);
    let header = format!("{identifier}\n{}\n{priority}\n{prefix}\n0\n0\n0\n", invocation.unit);
    stream.write_all(header.as_bytes()).ok()?;
    Some(stream)
}

fn open_terminal(exec: &Exec) -> Result<File, Fault> {
    let path = terminal_path(exec);
    let mut options = OpenOptions::new();
    // Non-blocking only for the opening: a serial line without carrier would hold us for ever.
    let flags = nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK;
    options.read(true).write(true).custom_flags(flags.bits());
    let file = options.open(path).map_err(Fault::of(208, &format!("opening {path}")))?;
    rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::RDWR).map_err(Fault::of(208, &format!("setting up {path}")))?;
    Ok(file)
}

/// Takes the terminal from whoever had it, and makes it sane. Best effort, as in systemd: getty does the rest.
fn prepare_terminal(exec: &Exec) {
    if exec.tty_vhangup
        && let Ok(terminal) = open_terminal(exec)
    {
        let _ = ferrite_sys::process::hang_up(terminal.as_fd());
    }
    if exec.tty_reset
        && let Ok(terminal) = open_terminal(exec)
        && let Ok(mut settings) = rustix::termios::tcgetattr(&terminal)
    {
        use rustix::termios::{InputModes, LocalModes, OptionalActions, OutputModes};
        settings.input_modes |= InputModes::ICRNL | InputModes::IXON;
        settings.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        settings.local_modes |= LocalModes::ISIG | LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHOE;
        let _ = rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &settings);
    }
}
