//! Walks the entries of all journal files of some folders in one order, through matches.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::blocks::Blocks;
use crate::chain::Chain;
use crate::cursor::Place;
use crate::fault::Fault;
use crate::file::{Entry, JournalFile};
use crate::filter::{Direction, Matches, Node};
use crate::id::Id128;
use crate::name;

/// Faults that are kept of one file; the first ones tell what happened.
const MAX_FAULTS: usize = 16;

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
pub struct Reader {
    folders: Vec<PathBuf>,
    sources: Vec<Source>,
    blocks: Blocks,
    next_key: u32,
    matches: Matches,
    location: Location,
    current: Option<Current>,
    faults: Vec<(PathBuf, Fault)>,
}

#[derive(Debug)]
struct Source {
    key: u32,
    file: JournalFile,
    node: Option<Node>,
    candidate: Candidate,
}

/// What a file has to offer next.
#[derive(Debug, Clone, Default, PartialEq)]
enum Candidate {
    #[default]
    Unknown,
    Entry(Direction, Entry),
    End(Direction),
}

/// Where the reader stands.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Location {
    Head,
    Tail,
    Realtime(u64),
    Before(Place),
    After(Place),
    On(Place),
}

#[derive(Debug, Clone, PartialEq)]
struct Current {
    key: u32,
    entry: Entry,
    place: Place,
}

impl Location {
    /// On which side of the reader an entry lies; `Equal` is under it.
    fn side(&self, place: &Place) -> Ordering {
        let ahead = |is_ahead| if is_ahead { Ordering::Greater } else { Ordering::Less };
        match self {
            Self::Head => Ordering::Greater,
            Self::Tail => Ordering::Less,
            Self::Realtime(realtime_us) => ahead(place.realtime_us >= *realtime_us),
            Self::Before(other) => ahead(place.order(other).is_ge()),
            Self::After(other) => ahead(place.order(other).is_gt()),
            Self::On(other) => place.order(other),
        }
    }
}

impl Reader {
    /// Opens all journal files (`*.journal`, `*.journal~`) that lie directly in the folders; a folder that does not
    /// exist is empty. Files that cannot be read at all are in `faults`.
    pub fn open_folders(folders: &[&Path]) -> io::Result<Self> {
        let mut reader = Self::new(folders.iter().map(|folder| folder.to_path_buf()).collect());
        reader.scan()?;
        Ok(reader)
    }

    /// Opens these files; one that cannot be opened or is no journal file is an error that names it.
    pub fn open_files(files: &[&Path]) -> io::Result<Self> {
        let mut reader = Self::new(Vec::new());
        for path in files {
            let named = |kind, why: String| io::Error::new(kind, format!("'{}': {why}", path.display()));
            let opened = JournalFile::open(path, reader.next_key, &mut reader.blocks);
            match opened.map_err(|error| named(error.kind(), error.to_string()))? {
                Ok(file) => reader.add(file),
                Err(fault) => return Err(named(io::ErrorKind::InvalidData, fault.to_string())),
            }
        }
        Ok(reader)
    }

    fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            folders,
            sources: Vec::new(),
            blocks: Blocks::default(),
            next_key: 0,
            matches: Matches::default(),
            location: Location::Head,
            current: None,
            faults: Vec::new(),
        }
    }

    fn add(&mut self, file: JournalFile) {
        if let Some(fault) = &file.entries.fault {
            note(&mut self.faults, &file.path, fault.clone());
        }
        self.sources.push(Source { key: self.next_key, file, node: None, candidate: Candidate::Unknown });
        self.next_key += 1;
    }

    /// Opens what is new in the folders, drops what is gone, follows renames; whether there was anything.
    fn scan(&mut self) -> io::Result<bool> {
        let mut present = BTreeMap::new();
        for folder in &self.folders {
            let listing = match fs::read_dir(folder) {
                Ok(listing) => listing,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io::Error::new(error.kind(), format!("'{}': {error}", folder.display()))),
            };
            for item in listing {
                let item = item?;
                if item.file_name().to_str().and_then(name::parse).is_some()
                    && let Ok(metadata) = fs::metadata(item.path())
                    && metadata.is_file()
                {
                    present.insert((metadata.dev(), metadata.ino()), item.path());
                }
            }
        }
        let count = self.sources.len();
        self.sources.retain_mut(|source| match present.remove(&source.file.inode) {
            Some(path) => {
                source.file.path = path;
                true
            }
            None => false,
        });
        let mut has_changed = self.sources.len() != count;
        for path in present.into_values() {
            match JournalFile::open(&path, self.next_key, &mut self.blocks) {
                Ok(Ok(file)) => {
                    self.add(file);
                    has_changed = true;
                }
                Ok(Err(fault)) => note(&mut self.faults, &path, fault),
                // Removed since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => note(&mut self.faults, &path, Fault::new(0, format!("opening failed ({error})"))),
            }
        }
        Ok(has_changed)
    }

    /// Shows only entries with this value; matches of the same field are alternatives, different fields must all match.
    pub fn add_match(&mut self, field: &[u8], value: &[u8]) {
        self.matches.add(field, value);
        self.forget();
    }

    /// What was matched so far, or what comes next.
    pub fn add_disjunction(&mut self) {
        self.matches.disjunction();
    }

    /// What was matched so far, and what comes next (stronger than a disjunction: `(a or b) and (c or d)`).
    pub fn add_conjunction(&mut self) {
        self.matches.conjunction();
    }

    /// Shows all entries again.
    pub fn flush_matches(&mut self) {
        self.matches = Matches::default();
        self.forget();
    }

    fn forget(&mut self) {
        for source in &mut self.sources {
            source.node = None;
            source.candidate = Candidate::Unknown;
        }
    }

    fn seek(&mut self, location: Location) {
        self.location = location;
        self.current = None;
        for source in &mut self.sources {
            source.candidate = Candidate::Unknown;
        }
    }

    /// Before the first entry.
    pub fn seek_head(&mut self) {
        self.seek(Location::Head);
    }

    /// After the last entry.
    pub fn seek_tail(&mut self) {
        self.seek(Location::Tail);
    }

    /// Before the first entry at or after this time: `next` goes to it, `previous` to the one before.
    pub fn seek_realtime(&mut self, realtime_us: u64) {
        self.seek(Location::Realtime(realtime_us));
    }

    /// The same by the clock of a boot; after the last entry where the journal does not know the boot.
    pub fn seek_monotonic(&mut self, boot: Id128, monotonic_us: u64) {
        let (mut next, mut last): (Option<Place>, Option<Place>) = (None, None);
        let payload = format!("_BOOT_ID={boot}");
        let blocks = &mut self.blocks;
        for Source { file, .. } in &self.sources {
            let found = file.find_data(blocks, payload.as_bytes());
            let list = match found {
                Ok(Some(data)) => Chain::build(file, blocks, &data.list),
                Ok(None) => continue,
                Err(fault) => {
                    note(&mut self.faults, &file.path, fault);
                    continue;
                }
            };
            let position = list.search(file, blocks, |blocks, offset| {
                Some(file.entry(blocks, offset).ok()?.monotonic_us < monotonic_us)
            });
            let mut place = |position: u64| {
                let entry = list.entry(file, blocks, position).ok()?;
                Some(Place::of(file.header.seqnum_id, &entry))
            };
            if position < list.len() {
                let first = place(position).into_iter().chain(next);
                next = first.reduce(|one, other| if other.order(&one).is_lt() { other } else { one });
            } else if let Some(position) = position.checked_sub(1) {
                let end = place(position).into_iter().chain(last);
                last = end.reduce(|one, other| if other.order(&one).is_gt() { other } else { one });
            }
        }
        self.seek(match (next, last) {
            (Some(place), _) => Location::Before(place),
            (None, Some(place)) => Location::After(place),
            (None, None) => Location::Tail,
        });
    }

    /// Before the entry of the cursor: `next` goes to it (see `at_cursor`), or to the closest after it.
    pub fn seek_cursor(&mut self, cursor: &str) -> io::Result<()> {
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("'{cursor}' is not a cursor of the journal"));
        let place = Place::parse(cursor).ok_or_else(wrong)?;
        self.seek(Location::Before(place));
        Ok(())
    }

    /// Whether the current entry is the one of this cursor (`--after-cursor` skips it then).
    pub fn at_cursor(&self, cursor: &str) -> bool {
        let place = Place::parse(cursor);
        self.current.as_ref().is_some_and(|current| place.is_some_and(|place| place.order(&current.place).is_eq()))
    }

    /// Goes to the next entry; `false` where there is none, and the position stays for a later `refresh`.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend its fields")]
    pub fn next(&mut self) -> io::Result<bool> {
        Ok(self.step(Direction::Forward))
    }

    /// Goes to the entry before.
    pub fn previous(&mut self) -> io::Result<bool> {
        Ok(self.step(Direction::Backward))
    }

    fn step(&mut self, direction: Direction) -> bool {
        let mut best: Option<Current> = None;
        for index in 0..self.sources.len() {
            self.advance(index, direction);
            let source = &self.sources[index];
            let Candidate::Entry(_, entry) = &source.candidate else { continue };
            let place = Place::of(source.file.header.seqnum_id, entry);
            let is_closer = best.as_ref().is_none_or(|best| match direction {
                Direction::Forward => place.order(&best.place).is_lt(),
                Direction::Backward => place.order(&best.place).is_gt(),
            });
            if is_closer {
                best = Some(Current { key: source.key, entry: entry.clone(), place });
            }
        }
        let Some(best) = best else { return false };
        self.location = Location::On(best.place);
        self.current = Some(best);
        true
    }

    /// Brings the candidate of a file past the reader, in this direction.
    fn advance(&mut self, index: usize, direction: Direction) {
        let Self { sources, blocks, matches, location, current, faults, .. } = self;
        let Some(Source { key, file, node, candidate }) = sources.get_mut(index) else { return };
        let wanted = match direction {
            Direction::Forward => Ordering::Greater,
            Direction::Backward => Ordering::Less,
        };
        let seqnum_id = file.header.seqnum_id;
        let side = |entry: &Entry| location.side(&Place::of(seqnum_id, entry));
        // In the file of the current entry, what lies behind it comes after it, whatever a damaged number says.
        let is_here = current.as_ref().is_some_and(|at| at.key == *key);
        let mut from = match candidate {
            Candidate::End(which) if *which == direction => return,
            Candidate::Entry(which, entry) if *which == direction => {
                let is_new = current.as_ref().is_none_or(|at| at.key != *key || at.entry != *entry);
                if is_new && (is_here || side(entry) == wanted) {
                    return;
                }
                beyond(entry.offset, direction)
            }
            Candidate::Unknown | Candidate::Entry(..) | Candidate::End(_) => match current {
                Some(at) if at.key == *key => beyond(at.entry.offset, direction),
                _ => locate(file, blocks, direction, side),
            },
        };
        let mut report = |fault| note(faults, &file.path, fault);
        let node = node.get_or_insert_with(|| matches.compile(file, blocks, &mut report));
        let end = file.entries.len().checked_sub(1).and_then(|last| file.entries.get(file, blocks, last).ok());
        *candidate = Candidate::End(direction);
        while let (Some(offset), Some(end)) = (from, end) {
            // Lists of values may be ahead of the list of all entries while the file is being written.
            let offset = if direction == Direction::Backward { offset.min(end) } else { offset };
            let Some(found) = node.seek(file, blocks, offset, direction) else { return };
            match file.entry(blocks, found) {
                // Not in the list of all entries yet.
                Ok(_) if found > end => return,
                Ok(entry) if is_here || side(&entry) == wanted => {
                    *candidate = Candidate::Entry(direction, entry);
                    return;
                }
                Ok(_) => {}
                Err(_) if file.is_unwritten(blocks, found) => {}
                Err(fault) => report(fault),
            }
            from = beyond(found, direction);
        }
    }

    /// The real time of the current entry.
    pub fn realtime_us(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.entry.realtime_us)
    }

    /// The monotonic time and boot of the current entry.
    pub fn monotonic(&self) -> (u64, Id128) {
        self.current.as_ref().map_or((0, Id128::default()), |at| (at.entry.monotonic_us, at.entry.boot))
    }

    /// The sequence number of the current entry.
    pub fn seqnum(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.entry.seqnum)
    }

    /// The id of the row that the sequence number counts in.
    pub fn seqnum_id(&self) -> Id128 {
        self.current.as_ref().map_or(Id128::default(), |current| current.place.seqnum_id)
    }

    /// The cursor of the current entry, in systemd's form.
    pub fn cursor(&self) -> String {
        self.current.as_ref().map_or(String::new(), |current| current.place.to_text())
    }

    /// Calls `each` with name and value of every field of the current entry, in the order of the file.
    pub fn fields(&mut self, mut each: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        self.payloads(|name, value| {
            each(name, value);
            true
        })
    }

    /// The first value of a field of the current entry.
    pub fn field(&mut self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut found = None;
        self.payloads(|field, value| {
            if field == name {
                found = Some(value.to_vec());
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// Goes through the fields until `each` says no. What is damaged is skipped.
    fn payloads(&mut self, mut each: impl FnMut(&[u8], &[u8]) -> bool) -> io::Result<()> {
        let Self { sources, blocks, current, faults, .. } = self;
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "the reader stands on no entry");
        let current = current.as_ref().ok_or_else(none)?;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the file of the entry was removed");
        let file = &sources.iter().find(|source| source.key == current.key).ok_or_else(gone)?.file;
        let mut items = Vec::new();
        if let Err(fault) = file.items(blocks, &current.entry, &mut items) {
            note(faults, &file.path, fault);
            return Ok(());
        }
        let mut payload = Vec::new();
        for offset in items {
            match file.read_payload(blocks, offset, &mut payload) {
                Ok(()) => {
                    let Some((name, value)) = split(&payload) else {
                        note(faults, &file.path, Fault::new(offset, "a value without the name of its field"));
                        continue;
                    };
                    if !each(name, value) {
                        return Ok(());
                    }
                }
                Err(fault) => note(faults, &file.path, fault),
            }
        }
        Ok(())
    }

    /// All values that a field has in the files, sorted; matches do not count.
    pub fn unique(&mut self, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut values = BTreeSet::new();
        let Self { sources, blocks, faults, .. } = self;
        for Source { file, .. } in sources.iter() {
            let outcome = file.values(blocks, name, |blocks, data| {
                let payload = file.payload(blocks, data)?;
                values.extend(split(&payload).map(|(_, value)| value.to_vec()));
                Ok(())
            });
            if let Err(fault) = outcome {
                note(faults, &file.path, fault);
            }
        }
        Ok(values.into_iter().collect())
    }

    /// All names of fields in the files, sorted.
    pub fn field_names(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut names = BTreeSet::new();
        for Source { file, .. } in &self.sources {
            let outcome = file.field_names(&mut self.blocks, |name| {
                names.insert(name);
            });
            if let Err(fault) = outcome {
                note(&mut self.faults, &file.path, fault);
            }
        }
        Ok(names.into_iter().collect())
    }

    /// All boots in the order of their first entries; matches do not count.
    pub fn boots(&mut self) -> io::Result<Vec<Boot>> {
        let mut boots: BTreeMap<Id128, (Place, Place, Boot)> = BTreeMap::new();
        let Self { sources, blocks, faults, .. } = self;
        for Source { file, .. } in sources.iter() {
            let outcome = file.values(blocks, b"_BOOT_ID", |blocks, data| {
                let payload = file.payload(blocks, data)?;
                let id = split(&payload).and_then(|(_, value)| Id128::parse(std::str::from_utf8(value).ok()?));
                let mut list = Chain::build(file, blocks, &data.list);
                list.trim(file, blocks);
                let (Some(id), Some(last)) = (id, list.len().checked_sub(1)) else { return Ok(()) };
                let first = list.entry(file, blocks, 0)?;
                let last = list.entry(file, blocks, last)?;
                let place = |entry| Place::of(file.header.seqnum_id, entry);
                let boot = Boot { id, first_us: first.realtime_us, last_us: last.realtime_us };
                let (first, last) = (place(&first), place(&last));
                let known = boots.entry(id).or_insert((first, last, boot));
                if first.order(&known.0).is_lt() {
                    known.0 = first;
                    known.2.first_us = boot.first_us;
                }
                // The clock may have been set back meanwhile.
                if last.order(&known.1).is_gt() {
                    known.1 = last;
                    known.2.last_us = boot.last_us;
                }
                Ok(())
            });
            if let Err(fault) = outcome {
                note(faults, &file.path, fault);
            }
        }
        let mut boots: Vec<(Place, Boot)> = boots.into_values().map(|(first, _, boot)| (first, boot)).collect();
        // The order of places is total only in one row of numbers.
        match boots.first().map(|(place, _)| place.seqnum_id) {
            Some(id) if boots.iter().all(|(place, _)| place.seqnum_id == id) => {
                boots.sort_by_key(|(place, _)| place.seqnum);
            }
            _ => boots.sort_by_key(|(place, _)| (place.realtime_us, place.boot)),
        }
        Ok(boots.into_iter().map(|(_, boot)| boot).collect())
    }

    /// Looks for new entries and files since; `true` where there may be some. The position stays.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let mut has_changed = self.scan()?;
        let Self { sources, blocks, faults, .. } = self;
        for source in sources.iter_mut().filter(|source| source.file.is_live()) {
            if !source.file.has_changed(blocks) {
                continue;
            }
            has_changed = true;
            source.node = None;
            source.candidate = Candidate::Unknown;
            if let Err(fault) = source.file.reload(blocks) {
                note(faults, &source.file.path, fault);
            }
        }
        Ok(has_changed)
    }

    /// The same where other folders may be read from now on.
    pub fn refresh_in(&mut self, folders: Vec<PathBuf>) -> io::Result<bool> {
        self.folders = folders;
        self.refresh()
    }

    /// Bytes of disk that the files take.
    pub fn usage(&self) -> u64 {
        self.sources.iter().map(|source| source.file.disk_bytes).sum()
    }

    /// Damage that was met and skipped so far, by file; it can grow while reading.
    pub fn faults(&self) -> Vec<(PathBuf, Fault)> {
        self.faults.clone()
    }
}

/// The next offset in a direction.
fn beyond(offset: u64, direction: Direction) -> Option<u64> {
    match direction {
        Direction::Forward => offset.checked_add(1),
        Direction::Backward => offset.checked_sub(1),
    }
}

/// The offset of the first entry of a file past the reader.
fn locate(
    file: &JournalFile,
    blocks: &mut Blocks,
    direction: Direction,
    side: impl Fn(&Entry) -> Ordering,
) -> Option<u64> {
    let judge = |blocks: &mut Blocks, offset| file.entry(blocks, offset).ok().map(|entry| side(&entry));
    let position = match direction {
        Direction::Forward => {
            file.entries.search(file, blocks, |blocks, offset| judge(blocks, offset).map(Ordering::is_le))
        }
        Direction::Backward => {
            let end = file.entries.search(file, blocks, |blocks, offset| judge(blocks, offset).map(Ordering::is_lt));
            end.checked_sub(1)?
        }
    };
    if position >= file.entries.len() {
        return None;
    }
    file.entries.get(file, blocks, position).ok()
}

/// `NAME=value` in its parts.
fn split(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = payload.iter().position(|byte| *byte == b'=')?;
    Some((payload.get(..at)?, payload.get(at + 1..)?))
}

fn note(faults: &mut Vec<(PathBuf, Fault)>, path: &Path, fault: Fault) {
    let of_file = faults.iter().filter(|(file, _)| file == path);
    let (count, is_known) =
        of_file.fold((0, false), |(count, known), (_, other)| (count + 1, known || *other == fault));
    if count < MAX_FAULTS && !is_known {
        faults.push((path.to_path_buf(), fault));
    }
}
