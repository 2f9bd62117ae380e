//! Bytes together with open files over a Unix socket. Thin I/O.
//!
//! Received descriptors are close-on-exec and owned: a message that is dropped closes them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::RUN_DESCRIPTORS;

/// What one read of a socket brought.
#[derive(Debug)]
pub struct Received {
    /// Bytes put into the buffer; 0: the peer closed.
    pub length: usize,
    /// Open files that came with them, at most `RUN_DESCRIPTORS`; the kernel closes what is too much.
    pub descriptors: Vec<OwnedFd>,
}

/// Sends all bytes; the open files go with the first of them.
pub fn send_with_descriptors(stream: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RUN_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("more than {RUN_DESCRIPTORS} descriptors")));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let sent = match rustix::net::sendmsg(stream, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        control.clear();
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

/// Reads once; returns `WouldBlock` from a non-blocking socket without data.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RUN_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    };
    let mut descriptors = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = part {
            descriptors.extend(files);
        }
    }
    Ok(Received { length: message.bytes, descriptors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn open_files_arrive_with_the_bytes() {
        let (left, right) = UnixStream::pair().expect("a socket pair");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        send_with_descriptors(&left, b"hello\n", &[writer.as_fd(), writer.as_fd(), writer.as_fd()]).expect("sent");
        drop(writer);
        let mut buffer = [0; 64];
        let mut received = receive(&right, &mut buffer).expect("received");
        assert_eq!(&buffer[..received.length], b"hello\n");
        assert_eq!(received.descriptors.len(), 3);
        let file = received.descriptors.remove(0);
        std::fs::File::from(file).write_all(b"x").expect("written");
        drop(received);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("all writers are closed");
        assert_eq!(text, "x");
    }

    #[test]
    fn a_closed_peer_reads_as_nothing() {
        let (left, right) = UnixStream::pair().expect("a socket pair");
        drop(left);
        assert_eq!(receive(&right, &mut [0; 8]).expect("end of stream").length, 0);
    }

    #[test]
    fn too_many_descriptors_are_refused() {
        let (left, _right) = UnixStream::pair().expect("a socket pair");
        let files = vec![left.as_fd(); 64];
        assert!(send_with_descriptors(&left, b"x", &files).is_err());
    }
}
