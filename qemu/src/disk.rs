//! Disk files of guests: copied cheaply (reflink, else only the parts that hold data) and grown.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use rustix::fs::{SeekFrom as HoleSeek, ioctl_ficlone, seek};

use crate::error::QemuError;

/// Makes `to` a copy of the sparse file `from`; holes stay holes.
pub fn copy_sparse(from: &Path, to: &Path) -> Result<(), QemuError> {
    let mut source = File::open(from).map_err(QemuError::file("opening", from))?;
    let mut target = File::create(to).map_err(QemuError::file("creating", to))?;
    if ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    let length = source.metadata().map_err(QemuError::file("reading", from))?.len();
    target.set_len(length).map_err(QemuError::file("growing", to))?;
    let mut position = 0;
    while let Some((start, end)) = next_data(&source, position, length) {
        source.seek(SeekFrom::Start(start)).map_err(QemuError::file("reading", from))?;
        target.seek(SeekFrom::Start(start)).map_err(QemuError::file("writing", to))?;
        let copied = std::io::copy(&mut Read::by_ref(&mut source).take(end - start), &mut target);
        copied.map_err(QemuError::file("copying to", to))?;
        position = end;
    }
    target.flush().map_err(QemuError::file("writing", to))
}

/// The next range that holds data, at or after `position`.
fn next_data(file: &File, position: u64, length: u64) -> Option<(u64, u64)> {
    if position >= length {
        return None;
    }
    match seek(file, HoleSeek::Data(position)) {
        Ok(start) => Some((start, seek(file, HoleSeek::Hole(start)).unwrap_or(length))),
        Err(rustix::io::Errno::NXIO) => None,
        // A file system that knows no holes.
        Err(_) => Some((position, length)),
    }
}

/// Makes a disk file larger; the new part is a hole.
pub fn grow(path: &Path, length: u64) -> Result<(), QemuError> {
    let file = File::options().write(true).open(path).map_err(QemuError::file("opening", path))?;
    file.set_len(length).map_err(QemuError::file("growing", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn a_sparse_file_is_copied_with_its_holes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::create(&from).expect("a file");
        file.set_len(64 << 20).expect("a size");
        file.write_all_at(b"begin", 0).expect("data");
        file.write_all_at(b"middle", 33 << 20).expect("data");
        copy_sparse(&from, &to).expect("the copy");
        assert!(std::fs::read(&from).expect("from") == std::fs::read(&to).expect("to"), "the copies differ");
        assert!(std::fs::metadata(&to).expect("metadata").blocks() < 4096, "the holes were written");
    }
}
