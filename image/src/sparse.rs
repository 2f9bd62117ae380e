//! Sparse files: which parts of a file hold data. Reading holes block by block would cost more than the rest of a
//! build.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use rustix::fs::SeekFrom as Whence;
use rustix::io::Errno;

/// The parts of a file that may hold anything but zeros, in order.
pub fn data_ranges(file: &File) -> io::Result<Vec<Range<u64>>> {
    let size = file.metadata()?.len();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(file, Whence::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole follows.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(file, Whence::Hole(start))?.min(size);
        if end <= start {
            break;
        }
        ranges.push(start..end);
        at = end;
    }
    Ok(ranges)
}

/// Reads all bytes of a file; holes are not read but given as zeros.
pub fn for_each_chunk(file: &File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    const CHUNK: usize = 1 << 20;
    let zeros = vec![0u8; CHUNK];
    let mut chunk = vec![0u8; CHUNK];
    let size = file.metadata()?.len();
    let give_zeros = |from: u64, to: u64, take: &mut dyn FnMut(&[u8]) -> io::Result<()>| {
        let mut left = to - from;
        while left > 0 {
            let length = left.min(CHUNK as u64) as usize;
            take(&zeros[..length])?;
            left -= length as u64;
        }
        io::Result::Ok(())
    };
    let mut at = 0;
    let mut reader = file;
    for range in data_ranges(file)? {
        give_zeros(at, range.start, &mut take)?;
        reader.seek(SeekFrom::Start(range.start))?;
        let mut left = range.end - range.start;
        while left > 0 {
            let length = left.min(CHUNK as u64) as usize;
            reader.read_exact(&mut chunk[..length])?;
            take(&chunk[..length])?;
            left -= length as u64;
        }
        at = range.end;
    }
    give_zeros(at, size, &mut take)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_read_as_zeros_and_data_as_it_is() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(9_000_001).unwrap();
        file.write_all_at(b"first", 0).unwrap();
        file.write_all_at(b"later", 5_000_000).unwrap();
        let mut all = Vec::new();
        for_each_chunk(&file, |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        let mut expected = vec![0; 9_000_001];
        expected[..5].copy_from_slice(b"first");
        expected[5_000_000..5_000_005].copy_from_slice(b"later");
        assert!(all == expected);
    }

    #[test]
    fn a_file_that_is_one_hole_has_no_data() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        assert!(data_ranges(&file).unwrap().is_empty());
    }
}
