//! Reads a partition from its first byte on, one piece while the one before is looked at. Acts.

use std::io;
use std::sync::mpsc::{channel, sync_channel};

use ferrite_layout::aligned::AlignedBuffer;

use crate::uncached::Uncached;

const PIECE_BYTES: u64 = 1 << 20;

/// Shows `length` bytes, in order.
pub(crate) fn read_ahead(file: &Uncached, length: u64, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let (give, empty) = channel::<AlignedBuffer>();
    let (show, full) = sync_channel::<io::Result<AlignedBuffer>>(1);
    let read = move || {
        let mut offset = 0;
        while offset < length {
            // Nobody looks any more.
            let Ok(mut buffer) = empty.recv() else { return };
            let piece = (length - offset).min(PIECE_BYTES);
            buffer.resize(piece as usize);
            let read = file.read(buffer.bytes_mut(), offset);
            let is_last = read.is_err();
            if show.send(read.map(|()| buffer)).is_err() || is_last {
                return;
            }
            offset += piece;
        }
    };
    for _ in 0..2 {
        // The receiver is still here.
        let _ = give.send(AlignedBuffer::default());
    }
    let mut seen = 0;
    std::thread::scope(|scope| {
        std::thread::Builder::new().name("reader".to_string()).spawn_scoped(scope, read)?;
        for buffer in full {
            let buffer = buffer?;
            look(buffer.bytes());
            seen += buffer.bytes().len() as u64;
            // It has ended after the last piece.
            let _ = give.send(buffer);
        }
        if seen == length { Ok(()) } else { Err(io::Error::other("the thread that reads is gone")) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uncached::Access;
    use std::io::Write;

    #[test]
    fn every_byte_is_shown_once_and_in_order_and_an_early_end_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let bytes: Vec<u8> = (0..(5 << 19) + 512).map(|at: u32| (at / 512) as u8).collect();
        file.write_all(&bytes).expect("it can be written");
        let part = Uncached::open(file.path(), Access::Read).expect("it opens");
        for length in [0, 512, 1 << 20, bytes.len()] {
            let mut seen = Vec::new();
            read_ahead(&part, length as u64, &mut |piece| seen.extend_from_slice(piece)).expect("it is there");
            assert!(seen == bytes[..length], "{length} bytes");
        }
        let error = read_ahead(&part, bytes.len() as u64 + 1, &mut |_| {}).expect_err("it is not there");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
