//! The sockets of the daemon and what one read of them brings: bytes, and the kernel's word who sent them.
//!
//! PID 1 keeps the sockets over a restart of the daemon: what is sent meanwhile waits in them.

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::context::Sender;
use super::file_store::FileStore;

/// Bytes of a usual read.
pub const READ_BYTES: usize = 64 * 1024;
/// No message is larger; of a larger one nothing is kept but the fact.
pub const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// Bytes the kernel keeps for us when many services speak at once.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// Everything that listens.
#[derive(Debug)]
pub struct Sockets {
    /// Streams of services.
    pub stdout: UnixListener,
    /// syslog(3).
    pub syslog: UnixDatagram,
    /// The native protocol.
    pub native: UnixDatagram,
    /// Orders of journalctl.
    pub control: UnixListener,
}

/// What one read brought besides its bytes.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes at the beginning of the buffer.
    pub length: usize,
    /// Who sent them.
    pub sender: Sender,
    /// The content of the memory file that came instead of bytes.
    pub memory: Option<Vec<u8>>,
    /// Whether something was too large to be kept.
    pub too_large: bool,
}

impl Sockets {
    /// Takes the sockets from the store or makes them, and the link to the syslog socket.
    pub fn open(run_dir: &Path, dev_log: &Path, store: &mut FileStore) -> Result<Self> {
        fs::create_dir_all(run_dir).with_context(|| format!("making '{}'", run_dir.display()))?;
        let stdout = listener(run_dir, "stdout", 0o666, store)?;
        let syslog = datagram(run_dir, "dev-log", store)?;
        let native = datagram(run_dir, "socket", store)?;
        let control = listener(run_dir, "io.systemd.journal", 0o600, store)?;
        link_dev_log(&run_dir.join("dev-log"), dev_log)?;
        Ok(Self { stdout, syslog, native, control })
    }
}

fn fresh(run_dir: &Path, name: &str) -> Result<PathBuf> {
    let path = run_dir.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing '{}'", path.display()))
        }
        Ok(()) | Err(_) => Ok(path),
    }
}

/// A stored socket is of use only while its path leads to it.
fn stored(run_dir: &Path, name: &str, store: &mut FileStore) -> Option<OwnedFd> {
    let socket = store.take(name)?;
    run_dir.join(name).exists().then_some(socket)
}

fn listener(run_dir: &Path, name: &str, mode: u32, store: &mut FileStore) -> Result<UnixListener> {
    let socket = match stored(run_dir, name, store) {
        Some(socket) => UnixListener::from(socket),
        None => {
            let path = fresh(run_dir, name)?;
            let socket = UnixListener::bind(&path).with_context(|| format!("binding '{}'", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            store.keep(name, &socket);
            socket
        }
    };
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn datagram(run_dir: &Path, name: &str, store: &mut FileStore) -> Result<UnixDatagram> {
    let socket = match stored(run_dir, name, store) {
        Some(socket) => UnixDatagram::from(socket),
        None => {
            let path = fresh(run_dir, name)?;
            let socket = UnixDatagram::bind(&path).with_context(|| format!("binding '{}'", path.display()))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
            store.keep(name, &socket);
            socket
        }
    };
    socket.set_nonblocking(true)?;
    rustix::net::sockopt::set_socket_passcred(&socket, true)?;
    // Only root may go over the system's limit; a smaller buffer only makes senders wait sooner.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
    Ok(socket)
}

fn link_dev_log(target: &Path, link: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|old| old == target) {
        return Ok(());
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing '{}'", link.display()));
        }
        Ok(()) | Err(_) => {}
    }
    std::os::unix::fs::symlink(target, link).with_context(|| format!("making the link '{}'", link.display()))
}

/// Reads a datagram; `None`: nothing there. The buffer grows for a large one.
pub fn receive_datagram(socket: impl AsFd, buffer: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let waiting = usize::try_from(rustix::io::ioctl_fionread(&socket)?).unwrap_or(MESSAGE_MAX);
    let is_too_large = waiting > MESSAGE_MAX;
    let wanted = waiting.clamp(READ_BYTES, MESSAGE_MAX);
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    } else if buffer.len() > READ_BYTES && wanted == READ_BYTES {
        // What a large message needed is given back.
        *buffer = vec![0; READ_BYTES];
    }
    let Some(mut received) = receive(socket, buffer)? else { return Ok(None) };
    received.too_large |= is_too_large;
    Ok(Some(received))
}

/// Reads once; `None`: nothing there. An empty datagram with a memory file stands for the content of the file.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let length = match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
        Ok(message) => message.bytes,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let mut received = Received { length, ..Received::default() };
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmCredentials(sender) => {
                received.sender = Sender {
                    pid: sender.pid.as_raw_nonzero().get(),
                    uid: sender.uid.as_raw(),
                    gid: sender.gid.as_raw(),
                };
            }
            RecvAncillaryMessage::ScmRights(mut files) => {
                if let Some(file) = files.next().filter(|_| length == 0) {
                    received.memory = memory_file(&file);
                    received.too_large = received.memory.is_none();
                }
            }
            _ => {}
        }
    }
    Ok(Some(received))
}

/// A sealed memory file. Nothing else is read: a file of another kind could make us wait.
fn memory_file(file: &OwnedFd) -> Option<Vec<u8>> {
    let seals = rustix::fs::fcntl_get_seals(file).ok()?;
    if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK) {
        return None;
    }
    let size = usize::try_from(rustix::fs::fstat(file).ok()?.st_size).ok().filter(|size| *size <= MESSAGE_MAX)?;
    let mut bytes = vec![0; size];
    let mut done = 0;
    while done < size {
        match rustix::io::pread(file, bytes.get_mut(done..)?, done as u64) {
            Ok(0) => return None,
            Ok(length) => done += length,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(bytes)
}
