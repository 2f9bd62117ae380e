//! The sockets of the daemon and what one read of them brings: bytes, and the kernel's word who sent them.

use std::fs;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::SealFlags;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

/// Bytes of one read: a datagram that is longer loses its end.
pub const READ_BYTES: usize = 64 * 1024;
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
}

/// What one read brought.
#[derive(Debug, Default)]
pub struct Received {
    /// The bytes; empty: the peer closed.
    pub bytes: Vec<u8>,
    /// Process id of the sender; 0: unknown.
    pub pid: i32,
    /// Whether the sender is root.
    pub is_root: bool,
}

impl Sockets {
    /// Makes the sockets and the link to the syslog socket; old ones are replaced.
    pub fn open(run_dir: &Path, dev_log: &Path) -> Result<Self> {
        fs::create_dir_all(run_dir).with_context(|| format!("making '{}'", run_dir.display()))?;
        let stdout_path = fresh(run_dir, "stdout")?;
        let stdout =
            UnixListener::bind(&stdout_path).with_context(|| format!("binding '{}'", stdout_path.display()))?;
        stdout.set_nonblocking(true)?;
        let syslog = datagram(run_dir, "dev-log")?;
        let native = datagram(run_dir, "socket")?;
        for name in ["stdout", "dev-log", "socket"] {
            fs::set_permissions(run_dir.join(name), fs::Permissions::from_mode(0o666))?;
        }
        link_dev_log(&run_dir.join("dev-log"), dev_log)?;
        Ok(Self { stdout, syslog, native })
    }
}

fn fresh(run_dir: &Path, name: &str) -> Result<std::path::PathBuf> {
    let path = run_dir.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing '{}'", path.display()))
        }
        Ok(()) | Err(_) => Ok(path),
    }
}

fn datagram(run_dir: &Path, name: &str) -> Result<UnixDatagram> {
    let path = fresh(run_dir, name)?;
    let socket = UnixDatagram::bind(&path).with_context(|| format!("binding '{}'", path.display()))?;
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
    let mut received = Received { bytes: buffer.get(..length).unwrap_or_default().to_vec(), ..Received::default() };
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmCredentials(sender) => {
                received.pid = sender.pid.as_raw_nonzero().get();
                received.is_root = sender.uid.is_root();
            }
            RecvAncillaryMessage::ScmRights(mut files) => {
                if let Some(file) = files.next().filter(|_| length == 0) {
                    received.bytes = memory_file(&file).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
    Ok(Some(received))
}

/// The beginning of a sealed memory file. Nothing else is read: a file of another kind could make us wait.
fn memory_file(file: &OwnedFd) -> Option<Vec<u8>> {
    let seals = rustix::fs::fcntl_get_seals(file).ok()?;
    if !seals.contains(SealFlags::WRITE | SealFlags::SHRINK) {
        return None;
    }
    let mut bytes = vec![0; READ_BYTES];
    let length = rustix::io::pread(file, &mut bytes, 0).ok()?;
    bytes.truncate(length);
    Some(bytes)
}

/// Tells PID 1 that the sockets are there.
pub fn notify(state: &str) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    match path.to_str().and_then(|path| path.strip_prefix('@')) {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(state.as_bytes(), &address)?;
        }
        None => {
            socket.send_to(state.as_bytes(), Path::new(&path))?;
        }
    }
    Ok(())
}
