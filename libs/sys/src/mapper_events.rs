//! What the kernel announces about device-mapper devices, and nothing else: the socket drops every other announcement,
//! so that a process which waits here is not woken by each device of a boot.
//!
//! An announcement is a hint. Whoever gets one looks at the device itself, see [`crate::dm::Mapper::status`].

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::libc;
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

const KERNEL_GROUP: u32 = 1;
const MESSAGE_BYTES: usize = 8192;
/// Announcements taken at once.
const BATCH: usize = 64;
/// How an announcement begins; whole words of four bytes, as the filter compares them.
const BEGINNING: &[u8; 32] = b"change@/devices/virtual/block/dm";

/// The socket.
#[derive(Debug)]
pub struct MapperEvents {
    socket: OwnedFd,
}

impl MapperEvents {
    /// Opens the socket; what is announced from now on is kept.
    pub fn open() -> io::Result<MapperEvents> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        attach(&socket, &filter())?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(MapperEvents { socket })
    }

    /// Takes all there is and returns the values of this key; lost or unreadable announcements count as none.
    pub fn take(&self, key: &str) -> Vec<String> {
        let mut values = Vec::new();
        let mut buffer = [0u8; MESSAGE_BYTES];
        for _ in 0..BATCH {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((count, _)) => values.extend(value(buffer.get(..count).unwrap_or_default(), key)),
                Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(_) => break,
            }
        }
        values
    }
}

impl AsFd for MapperEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A message is a head line, then `KEY=value`, all ended by zero bytes.
fn value(message: &[u8], key: &str) -> Option<String> {
    let mut fields = message.split(|&byte| byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    fields.find_map(|field| field.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

/// A program for the kernel's packet filter: keeps what begins with `BEGINNING`.
fn filter() -> Vec<libc::sock_filter> {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let words = BEGINNING.as_chunks::<4>().0;
    let mut program = Vec::with_capacity(2 * words.len() + 2);
    for (index, word) in words.iter().enumerate() {
        // Where the words after this one and the first return are skipped, the second return follows.
        let to_drop = 2 * (words.len() - 1 - index) + 1;
        let (offset, wanted) = (4 * index as u32, u32::from_be_bytes(*word));
        program.push(libc::sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: offset });
        program.push(libc::sock_filter { code: JUMP_IF_EQUAL, jt: 0, jf: to_drop as u8, k: wanted });
    }
    program.push(libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: u32::MAX });
    program.push(libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 });
    program
}

fn attach(socket: &OwnedFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies a sock_fprog of the size given and the `len` instructions it points to, all of which
    // outlive the call, and changes none of them.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            std::mem::size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SendFlags, send, socketpair};

    const CORRUPT: &[u8] = b"change@/devices/virtual/block/dm-0\0ACTION=change\0DM_VERITY_ERR_BLOCK_NR=0,4711\0";

    #[test]
    fn the_value_of_a_key_is_found() {
        assert_eq!(value(CORRUPT, "DM_VERITY_ERR_BLOCK_NR").as_deref(), Some("0,4711"));
        assert_eq!(value(CORRUPT, "DM_VERITY_ERR"), None);
        assert_eq!(value(b"", "A"), None);
    }

    /// The kernel's own filter, on a pair of sockets.
    #[test]
    fn only_changes_of_mapper_devices_come_through() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (to, from) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).expect("a pair of sockets");
        attach(&from, &filter()).expect("the kernel takes the filter");
        let others: [&[u8]; 5] = [
            b"add@/devices/virtual/block/dm-0\0ACTION=add\0DM_VERITY_ERR_BLOCK_NR=0,1\0",
            b"change@/devices/virtual/block/loop0\0DM_VERITY_ERR_BLOCK_NR=0,2\0",
            b"change@/devices/pci0000:00/0000:00:04.0/virtio1/block/vda\0DM_VERITY_ERR_BLOCK_NR=0,3\0",
            b"change@/devices",
            b"x",
        ];
        for message in others {
            // A dropped datagram is not an error for a netlink sender; a Unix socket says EPERM.
            let _ = send(&to, message, SendFlags::empty());
        }
        assert_eq!(send(&to, CORRUPT, SendFlags::empty()), Ok(CORRUPT.len()));
        let events = MapperEvents { socket: from };
        assert_eq!(events.take("DM_VERITY_ERR_BLOCK_NR"), ["0,4711"]);
        assert!(events.take("DM_VERITY_ERR_BLOCK_NR").is_empty());
    }
}
