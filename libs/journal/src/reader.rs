//! Walks the entries of all journal files of some folders in one order, through matches.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::Id128;
use crate::verify::Fault;

/// A boot that the journal knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Its id.
    pub id: Id128,
    /// Real time of its first entry.
    pub first_us: u64,
    /// Real time of its last entry.
    pub last_us: u64,
}

/// Reads journal files. It stands on an entry after `next` or `previous` said `true`.
#[derive(Debug)]
pub struct Reader {}

impl Reader {
    /// Opens all journal files (`*.journal`, `*.journal~`) that lie directly in the folders; a folder that does not
    /// exist is empty. Files that cannot be read at all are in `faults`.
    pub fn open_folders(folders: &[&Path]) -> io::Result<Self> {
        let _ = folders;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens these files; one that cannot be opened or is no journal file is an error that names it.
    pub fn open_files(files: &[&Path]) -> io::Result<Self> {
        let _ = files;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Shows only entries with this value; matches of the same field are alternatives, different fields must all match.
    pub fn add_match(&mut self, field: &[u8], value: &[u8]) {
        let _ = (field, value);
    }

    /// What was matched so far, or what comes next.
    pub fn add_disjunction(&mut self) {}

    /// What was matched so far, and what comes next (stronger than a disjunction: `(a or b) and (c or d)`).
    pub fn add_conjunction(&mut self) {}

    /// Shows all entries again.
    pub fn flush_matches(&mut self) {}

    /// Before the first entry.
    pub fn seek_head(&mut self) {}

    /// After the last entry.
    pub fn seek_tail(&mut self) {}

    /// Before the first entry at or after this time: `next` goes to it, `previous` to the one before.
    pub fn seek_realtime(&mut self, realtime_us: u64) {
        let _ = realtime_us;
    }

    /// The same by the clock of a boot.
    pub fn seek_monotonic(&mut self, boot: Id128, monotonic_us: u64) {
        let _ = (boot, monotonic_us);
    }

    /// Before the entry of the cursor: `next` goes to it (see `at_cursor`), or to the closest after it.
    pub fn seek_cursor(&mut self, cursor: &str) -> io::Result<()> {
        let _ = cursor;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether the current entry is the one of this cursor (`--after-cursor` skips it then).
    pub fn at_cursor(&self, cursor: &str) -> bool {
        let _ = cursor;
        false
    }

    /// Goes to the next entry; `false` where there is none, and the position stays for a later `refresh`.
    pub fn next(&mut self) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Goes to the entry before.
    pub fn previous(&mut self) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The real time of the current entry.
    pub fn realtime_us(&self) -> u64 {
        0
    }

    /// The monotonic time and boot of the current entry.
    pub fn monotonic(&self) -> (u64, Id128) {
        (0, Id128::default())
    }

    /// The sequence number of the current entry.
    pub fn seqnum(&self) -> u64 {
        0
    }

    /// The id of the row that the sequence number counts in.
    pub fn seqnum_id(&self) -> Id128 {
        Id128::default()
    }

    /// The cursor of the current entry, in systemd's form.
    pub fn cursor(&self) -> String {
        String::new()
    }

    /// Calls `each` with name and value of every field of the current entry, in the order of the file.
    pub fn fields(&mut self, each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let _ = each;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The first value of a field of the current entry.
    pub fn field(&mut self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let _ = name;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// All values that a field has in the files, sorted; matches do not count.
    pub fn unique(&mut self, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let _ = name;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// All names of fields in the files, sorted.
    pub fn field_names(&mut self) -> io::Result<Vec<Vec<u8>>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// All boots in the order of their first entries; matches do not count.
    pub fn boots(&mut self) -> io::Result<Vec<Boot>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Looks for new entries and files since; `true` where there may be some. The position stays.
    pub fn refresh(&mut self) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes of disk that the files take.
    pub fn usage(&self) -> u64 {
        0
    }

    /// Damage that was met and skipped so far, by file; it can grow while reading.
    pub fn faults(&self) -> Vec<(PathBuf, Fault)> {
        Vec::new()
    }
}
