//! Removes the oldest rotated files of a folder; the file that is written stays.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::name::{self, Name};

/// What may stay; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files together (`--vacuum-size=`).
    pub max_use: Option<u64>,
    /// Files whose last entry is older than this microsecond of the real time go (`--vacuum-time=`).
    pub oldest_us: Option<u64>,
    /// Files that are kept, the one that is written counted (`--vacuum-files=`).
    pub max_files: Option<u32>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// How many files.
    pub files: u32,
    /// How many bytes of disk they had.
    pub bytes: u64,
}

/// A journal file of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) name: Name,
    pub(crate) bytes: u64,
}

/// All journal files of a folder, the oldest first.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder)? {
        let item = item?;
        let Some(name) = item.file_name().to_str().and_then(name::parse) else { continue };
        match item.metadata() {
            Ok(metadata) if metadata.is_file() => {
                files.push(Listed { path: item.path(), name, bytes: metadata.blocks() * 512 });
            }
            Ok(_) => {}
            // Removed by someone else meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sort(&mut files);
    Ok(files)
}

/// By age. Rows of numbers are kept together, each where its oldest file belongs: an order of single files by number
/// here and by time there would have no end.
fn sort(files: &mut [Listed]) {
    files.sort_by_key(|file| file.name.realtime_us());
    let mut rows = Vec::new();
    for file in files.iter() {
        if let Name::Archived { seqnum_id, .. } = file.name
            && !rows.iter().any(|(id, _)| *id == seqnum_id)
        {
            rows.push((seqnum_id, file.name.realtime_us()));
        }
    }
    if let [_] = rows.as_slice() {
        // One row, the usual case: its files in the order of their numbers, in the places that they take together.
        let numbered: Vec<usize> =
            (0..files.len()).filter(|at| matches!(files[*at].name, Name::Archived { .. })).collect();
        let mut row: Vec<Listed> = numbered.iter().map(|at| files[*at].clone()).collect();
        row.sort_by(|one, other| one.name.age(&other.name));
        for (at, file) in numbered.into_iter().zip(row) {
            files[at] = file;
        }
    }
}

/// Removes rotated files of `folder`, the oldest first, until the bounds hold.
pub fn vacuum(folder: &Path, bounds: &Bounds) -> io::Result<Vacuumed> {
    let files = list(folder)?;
    let mut used: u64 = files.iter().map(|file| file.bytes).sum();
    let mut count = files.len() as u64;
    let mut removed = Vacuumed::default();
    for file in files.iter().filter(|file| file.name != Name::Active) {
        let is_too_old = bounds.oldest_us.is_some_and(|oldest| is_old(file, oldest));
        let is_too_much = bounds.max_use.is_some_and(|most| used > most);
        let is_too_many = bounds.max_files.is_some_and(|most| count > u64::from(most));
        if !is_too_old && !is_too_much && !is_too_many {
            continue;
        }
        match fs::remove_file(&file.path) {
            Ok(()) => {
                removed.files += 1;
                removed.bytes += file.bytes;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io::Error::new(error.kind(), format!("'{}': {error}", file.path.display()))),
        }
        used = used.saturating_sub(file.bytes);
        count -= 1;
    }
    Ok(removed)
}

/// Whether the last entry of a file is older than a time.
fn is_old(file: &Listed, oldest_us: u64) -> bool {
    let mut blocks = crate::blocks::Blocks::default();
    match crate::file::JournalFile::open(&file.path, 0, &mut blocks) {
        Ok(Ok(opened)) => {
            opened.last(&mut blocks).map_or(file.name.realtime_us(), |entry| entry.realtime_us) < oldest_us
        }
        Ok(Err(_)) | Err(_) => file.name.realtime_us() < oldest_us,
    }
}
