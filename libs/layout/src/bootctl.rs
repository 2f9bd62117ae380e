//! Acts: reads the boot control partition and writes one sector of it at a time, past every cache, then reads it back.
//!
//! The partition is never mounted and no file in it is ever truncated, renamed or made anew: GRUB reads the same bytes.
//! Where the sectors lie and in which order they are written is decided by the pure half at the top.

use std::io;
use std::path::{Path, PathBuf};

pub use crate::direct::Access;
use crate::direct::DirectFile;
use crate::disk::SECTOR_BYTES;
use crate::envblock::{self, ENV_BYTES, ENV_SIGNATURE};
use crate::fat;
use crate::gpt::Sector;
use crate::pieces;
pub use crate::pieces::Sectors;
use crate::record::{RECORD_SIGNATURE, Record};
use crate::slots::SlotState;

/// Most bytes of the partition that are read.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// The boot control partition could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BootctlError {
    /// Opening failed.
    #[error("opening boot control partition '{}'", path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("reading boot control partition '{}'", path.display())]
    Read {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("writing boot control partition '{}' at byte {offset}", path.display())]
    Write {
        /// The device.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The device took the write and gives other bytes back.
    #[error("boot control partition '{}' gives back other bytes than were written at byte {offset}", path.display())]
    Verify {
        /// The device.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// There is nothing to write to.
    #[error("boot control partition '{}' holds no {what}", path.display())]
    NotFound {
        /// The device.
        path: PathBuf,
        /// `slot flags` or `boot record`.
        what: &'static str,
    },
}

/// Where the three files lie in the partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locations {
    /// boot0.env, which GRUB reads first, and boot1.env.
    pub env: [Option<u64>; 2],
    /// record.bin.
    pub record: Option<u64>,
}

/// What the partition says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Where it was read.
    pub locations: Locations,
    /// Each copy of the flags; `None` when it is torn or absent.
    pub copies: [Option<SlotState>; 2],
    /// The boot record; `None` when it is torn or absent.
    pub record: Option<Record>,
}

impl Contents {
    /// Reads a whole partition.
    pub fn parse(partition: &[u8]) -> Contents {
        let locations = locate(partition);
        let at = |offset: Option<u64>| offset.and_then(|offset| partition.get(offset as usize..)).unwrap_or_default();
        let copy = |offset| envblock::parse(at(offset).get(..ENV_BYTES).unwrap_or_default());
        let [first, second] = locations.env;
        Contents { locations, copies: [copy(first), copy(second)], record: Record::parse(at(locations.record)) }
    }

    /// The flags that the boot loader goes by: the first copy that is whole.
    pub fn flags(&self) -> Option<SlotState> {
        self.copies.into_iter().flatten().next()
    }
}

/// Finds the files by their folder entries, and by their first lines where those are damaged.
pub fn locate(partition: &[u8]) -> Locations {
    // A file counts only if all of it lies in the partition.
    let scan = |signature: &'static [u8], length: usize| {
        let starts = (0..partition.len()).step_by(SECTOR_BYTES as usize);
        let found = starts.filter(move |at| partition.get(*at..at + length).is_some_and(|s| s.starts_with(signature)));
        found.map(|at| at as u64)
    };
    let listed = [fat::find_file(partition, b"BOOT0   ENV"), fat::find_file(partition, b"BOOT1   ENV")];
    let env = if listed.iter().all(Option::is_some) {
        listed
    } else {
        let mut found = scan(ENV_SIGNATURE, ENV_BYTES);
        [found.next(), found.next()]
    };
    let record =
        fat::find_file(partition, b"RECORD  BIN").or_else(|| scan(RECORD_SIGNATURE, SECTOR_BYTES as usize).next());
    Locations { env, record }
}

/// One sector to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorWrite {
    /// Offset in the partition, in bytes.
    pub offset: u64,
    /// What.
    pub sector: Sector,
}

/// The writes that change the flags, each to be on the disk before the next: the second copy, then the first, which the
/// boot loader believes. The rest of a copy is put right too if it is not all padding, or GRUB could not write to it.
pub fn flag_writes(partition: &[u8], locations: &Locations, flags: &SlotState) -> Vec<SectorWrite> {
    let [first, second] = locations.env;
    let mut writes = Vec::new();
    for offset in [second, first].into_iter().flatten() {
        let rest = offset + SECTOR_BYTES;
        let present = partition.get(rest as usize..offset as usize + ENV_BYTES).unwrap_or_default();
        if present.iter().any(|byte| *byte != b'#') {
            writes.push(SectorWrite { offset: rest, sector: [b'#'; SECTOR_BYTES as usize] });
        }
        writes.push(SectorWrite { offset, sector: envblock::render_sector(flags) });
    }
    writes
}

/// An open boot control partition.
#[derive(Debug)]
pub struct Bootctl<D = DirectFile> {
    path: PathBuf,
    device: D,
    size_bytes: u64,
}

impl Bootctl {
    /// Opens the device past the page cache, or through it where the device does not allow that.
    pub fn open(path: &Path, access: Access) -> Result<Self, BootctlError> {
        let fail = |source| BootctlError::Open { path: path.to_path_buf(), source };
        let mut device = DirectFile::open(path, access).map_err(fail)?;
        let size_bytes = device.size_bytes().map_err(fail)?.min(LIMIT_BYTES);
        Ok(Self { path: path.to_path_buf(), device, size_bytes })
    }
}

impl<D: Sectors> Bootctl<D> {
    /// A partition on some other kind of device; the name is for messages.
    pub fn over(name: &Path, device: D, size_bytes: u64) -> Self {
        Self { path: name.to_path_buf(), device, size_bytes: size_bytes.min(LIMIT_BYTES) }
    }

    /// Reads flags and record. What lies in a bad sector is absent, as if it were torn; an error means that nothing of
    /// the partition could be read.
    pub fn read(&mut self) -> Result<Contents, BootctlError> {
        Ok(Contents::parse(&self.read_partition()?))
    }

    /// Writes the flags: second copy, then first, each read back. A copy that cannot be written does not matter if the
    /// boot loader goes by the other one afterwards.
    pub fn write_flags(&mut self, flags: &SlotState) -> Result<(), BootctlError> {
        let partition = self.read_partition()?;
        let writes = flag_writes(&partition, &locate(&partition), flags);
        if writes.is_empty() {
            return Err(BootctlError::NotFound { path: self.path.clone(), what: "slot flags" });
        }
        let mut fault = None;
        for write in &writes {
            fault = fault.or(self.write_sector(write).err());
        }
        match fault {
            Some(fault) if self.read()?.flags() != Some(*flags) => Err(fault),
            Some(_) | None => Ok(()),
        }
    }

    /// Writes the boot record and reads it back.
    pub fn write_record(&mut self, record: &Record) -> Result<(), BootctlError> {
        let found = locate(&self.read_partition()?).record;
        let offset = found.ok_or_else(|| BootctlError::NotFound { path: self.path.clone(), what: "boot record" })?;
        self.write_sector(&SectorWrite { offset, sector: record.render() })
    }

    fn read_partition(&mut self) -> Result<Vec<u8>, BootctlError> {
        let size = usize::try_from(self.size_bytes).unwrap_or(0);
        let read = pieces::read_partition(&mut self.device, size);
        read.map_err(|source| BootctlError::Read { path: self.path.clone(), source })
    }

    fn write_sector(&mut self, write: &SectorWrite) -> Result<(), BootctlError> {
        let offset = write.offset;
        let written = self.device.write(offset, &write.sector);
        let outcome = written.and_then(|()| self.device.read(offset, write.sector.len()));
        match outcome {
            Ok(present) if present == write.sector => Ok(()),
            Ok(_) => Err(BootctlError::Verify { path: self.path.clone(), offset }),
            Err(source) => Err(BootctlError::Write { path: self.path.clone(), offset, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::{Choice, Slot};
    use proptest::prelude::*;
    use std::io::Write;

    const FOLDER: usize = 4096;
    const ENV0: usize = 20480;
    const ENV1: usize = 24576;
    const RECORD: usize = 28672;

    /// A FAT12 file system with 4 KiB clusters whose folder lies at byte 4096, as the image has it.
    fn partition(flags: &SlotState, record: &Record) -> Vec<u8> {
        let mut bytes = vec![0u8; 1 << 20];
        bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
        bytes[13] = 8;
        bytes[14..16].copy_from_slice(&6u16.to_le_bytes());
        bytes[16] = 2;
        bytes[17..19].copy_from_slice(&512u16.to_le_bytes());
        bytes[22..24].copy_from_slice(&1u16.to_le_bytes());
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        let files =
            [(b"FERRITE    ", 0x08, 0u16), (b"BOOT0   ENV", 0, 2), (b"BOOT1   ENV", 0, 3), (b"RECORD  BIN", 0, 4)];
        for (index, (name, kind, cluster)) in files.into_iter().enumerate() {
            let at = FOLDER + index * 32;
            bytes[at..at + 11].copy_from_slice(name);
            bytes[at + 11] = kind;
            bytes[at + 26..at + 28].copy_from_slice(&cluster.to_le_bytes());
        }
        for at in [ENV0, ENV1] {
            bytes[at..at + ENV_BYTES].copy_from_slice(&envblock::render(flags));
        }
        bytes[RECORD..RECORD + 512].copy_from_slice(&record.render());
        bytes
    }

    fn fresh() -> Vec<u8> {
        partition(&SlotState::fresh(), &Record::default())
    }

    fn device(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(bytes).expect("it can be written");
        file
    }

    #[test]
    fn files_are_found_by_name_and_by_first_line() {
        let wanted = Locations { env: [Some(ENV0 as u64), Some(ENV1 as u64)], record: Some(RECORD as u64) };
        assert_eq!(locate(&fresh()), wanted);
        let mut no_folder = fresh();
        no_folder[..ENV0].fill(0);
        assert_eq!(locate(&no_folder), wanted);
        let mut no_content = fresh();
        no_content[ENV0..].fill(0);
        assert_eq!(locate(&no_content), wanted);
        assert_eq!(locate(&[0; 4096]), Locations::default());
        assert_eq!(locate(&[]), Locations::default());
    }

    #[test]
    fn the_first_whole_copy_is_believed() {
        let mut bytes = fresh();
        let newer = SlotState::fresh().install_done(Slot::B);
        bytes[ENV1..ENV1 + ENV_BYTES].copy_from_slice(&envblock::render(&newer));
        assert_eq!(Contents::parse(&bytes).flags(), Some(SlotState::fresh()));
        bytes[ENV0 + 30..ENV0 + 512].fill(0);
        assert_eq!(Contents::parse(&bytes).flags(), Some(newer));
        bytes[ENV1..ENV1 + 512].fill(0);
        assert_eq!(Contents::parse(&bytes).flags(), None);
    }

    /// Every history of an update, every write cut before, in and after its sector.
    #[test]
    fn a_cut_between_or_in_the_writes_leaves_the_old_or_the_new_flags() {
        let begins = SlotState::fresh().install_begins(Slot::B);
        let done = begins.install_done(Slot::B);
        let Choice::Try(_, tried) = done.choose() else { panic!("slot b is tried") };
        let steps = [
            (SlotState::fresh(), begins),
            (begins, done),
            (tried, tried.mark_good(Slot::B)),
            (tried.demote(Slot::B), tried.demote(Slot::B).mark_good(Slot::A)),
        ];
        for (old, new) in steps {
            let mut bytes = partition(&old, &Record::default());
            let writes = flag_writes(&bytes, &locate(&bytes), &new);
            assert_eq!(writes.iter().map(|write| write.offset as usize).collect::<Vec<_>>(), [ENV1, ENV0]);
            for write in writes {
                let at = write.offset as usize;
                for torn_at in [0, 25, 40, 100] {
                    let mut torn = bytes.clone();
                    torn[at..at + torn_at].copy_from_slice(&write.sector[..torn_at]);
                    torn[at + torn_at..at + 512].fill(0xff);
                    let seen = Contents::parse(&torn).flags();
                    assert!(seen == Some(old) || seen == Some(new), "torn at {torn_at}: {seen:?}");
                }
                bytes[at..at + 512].copy_from_slice(&write.sector);
                let seen = Contents::parse(&bytes).flags();
                assert!(seen == Some(old) || seen == Some(new));
            }
            assert_eq!(Contents::parse(&bytes).copies, [Some(new); 2]);
        }
    }

    #[test]
    fn flags_and_record_are_written_in_place_and_nothing_else_changes() {
        let file = device(&fresh());
        let mut bootctl = Bootctl::open(file.path(), Access::Write).expect("it opens");
        let flags = SlotState::fresh().install_done(Slot::B);
        let record = Record::default().start(Some(&flags), Slot::B, "2.0");
        bootctl.write_flags(&flags).expect("flags are written");
        bootctl.write_record(&record).expect("the record is written");
        let contents = bootctl.read().expect("it can be read");
        assert_eq!((contents.copies, contents.record.as_ref()), ([Some(flags); 2], Some(&record)));
        assert_eq!(std::fs::read(file.path()).expect("it can be read"), partition(&flags, &record));
    }

    #[test]
    fn a_destroyed_copy_and_a_destroyed_record_are_made_whole_again() {
        let mut bytes = fresh();
        bytes[ENV0..ENV0 + ENV_BYTES].fill(0x5a);
        bytes[RECORD..RECORD + 512].fill(0);
        let file = device(&bytes);
        let mut bootctl = Bootctl::open(file.path(), Access::Write).expect("it opens");
        assert_eq!(bootctl.read().expect("it can be read").record, None);
        bootctl.write_flags(&SlotState::fresh()).expect("flags are written");
        bootctl.write_record(&Record::default()).expect("the record is written");
        assert_eq!(std::fs::read(file.path()).expect("it can be read"), fresh());
    }

    #[test]
    fn a_partition_without_our_files_is_refused_by_name() {
        let file = device(&[0; 8192]);
        let mut bootctl = Bootctl::open(file.path(), Access::Write).expect("it opens");
        let path = file.path().display();
        let error = bootctl.write_flags(&SlotState::fresh()).expect_err("nothing is there");
        assert_eq!(error.to_string(), format!("boot control partition '{path}' holds no slot flags"));
        let error = bootctl.write_record(&Record::default()).expect_err("nothing is there");
        assert_eq!(error.to_string(), format!("boot control partition '{path}' holds no boot record"));
        let error = Bootctl::open(Path::new("/nonexistent"), Access::Read).expect_err("nothing is there");
        assert_eq!(error.to_string(), "opening boot control partition '/nonexistent'");
    }

    #[test]
    fn a_partition_opened_for_reading_is_not_written() {
        let file = device(&fresh());
        let mut bootctl = Bootctl::open(file.path(), Access::Read).expect("it opens");
        let other = SlotState::fresh().demote(Slot::A);
        assert!(matches!(bootctl.write_flags(&other), Err(BootctlError::Write { .. })));
        assert_eq!(std::fs::read(file.path()).expect("it can be read"), fresh());
    }

    /// A disk in memory with bad sectors.
    #[derive(Debug, Default)]
    struct Faulty {
        bytes: Vec<u8>,
        unreadable: Vec<usize>,
        unwritable: Vec<usize>,
        read: std::collections::BTreeSet<usize>,
        reads_that_failed: usize,
    }

    impl Sectors for Faulty {
        fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
            let sectors = offset as usize / 512..(offset as usize + length).div_ceil(512);
            self.read.extend(sectors.clone());
            if self.unreadable.iter().any(|bad| sectors.contains(bad)) {
                self.reads_that_failed += 1;
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            let end = offset as usize + length;
            self.bytes.get(offset as usize..end).map(<[u8]>::to_vec).ok_or(io::ErrorKind::UnexpectedEof.into())
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let sector = offset as usize / 512;
            if self.unwritable.contains(&sector) {
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
            // A disk puts a good sector in the place of a bad one that is written.
            self.unreadable.retain(|bad| *bad != sector);
            self.bytes[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
    }

    fn faulty(unreadable: &[usize], unwritable: &[usize]) -> Bootctl<Faulty> {
        let (unreadable, unwritable) = (unreadable.to_vec(), unwritable.to_vec());
        let record = Record::default().start(None, Slot::A, "1.0");
        let bytes = partition(&SlotState::fresh(), &record);
        let size_bytes = bytes.len() as u64;
        let device = Faulty { bytes, unreadable, unwritable, ..Faulty::default() };
        Bootctl { path: "disk".into(), device, size_bytes }
    }

    #[test]
    fn only_the_folder_and_the_files_are_read() {
        let mut bootctl = faulty(&[], &[]);
        let contents = bootctl.read().expect("it can be read");
        assert_eq!((contents.copies, contents.record.is_some()), ([Some(SlotState::fresh()); 2], true));
        let wanted: Vec<usize> =
            (0..16).chain([ENV0 / 512, ENV0 / 512 + 1, ENV1 / 512, ENV1 / 512 + 1, RECORD / 512]).collect();
        assert_eq!(bootctl.device.read.into_iter().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn a_bad_sector_anywhere_costs_what_lies_in_it_and_nothing_else() {
        let new = SlotState::fresh().install_done(Slot::B);
        for bad in (0..64).chain([100, 1000, 2047]) {
            for unwritable in [&[][..], &[bad]] {
                let mut bootctl = faulty(&[bad], unwritable);
                let contents = bootctl.read().expect("it can be read");
                assert_eq!(contents.flags(), Some(SlotState::fresh()), "sector {bad}");
                let whole = contents.copies.iter().flatten().count();
                assert_eq!(
                    whole,
                    if [ENV0, ENV0 + 512, ENV1, ENV1 + 512].contains(&(bad * 512)) { 1 } else { 2 },
                    "sector {bad}"
                );
                assert_eq!(contents.record.is_some(), bad != RECORD / 512, "sector {bad}");
                bootctl.write_flags(&new).expect("flags can be written");
                assert_eq!(bootctl.read().expect("it can be read").flags(), Some(new), "sector {bad}");
                let recorded = bootctl.write_record(&Record::default());
                assert_eq!(recorded.is_err(), bad == RECORD / 512 && !unwritable.is_empty(), "sector {bad}");
            }
        }
    }

    #[test]
    fn two_bad_sectors_at_once_are_survived_if_a_copy_is_left() {
        // The folder and one copy: the other one is found by its first line.
        for copy in [ENV0 / 512, ENV1 / 512] {
            let mut bootctl = faulty(&[FOLDER / 512, copy], &[FOLDER / 512]);
            assert_eq!(bootctl.read().expect("it can be read").flags(), Some(SlotState::fresh()));
        }
        let mut bootctl = faulty(&[ENV0 / 512, ENV1 / 512], &[]);
        assert_eq!(bootctl.read().expect("it can be read").flags(), None);
        bootctl.write_flags(&SlotState::fresh()).expect("the folder says where");
        assert_eq!(bootctl.read().expect("it can be read").copies, [Some(SlotState::fresh()); 2]);
    }

    #[test]
    fn flags_that_the_boot_loader_would_not_see_are_an_error() {
        let mut bootctl = faulty(&[], &[ENV0 / 512]);
        let error = bootctl.write_flags(&SlotState::fresh().demote(Slot::A)).expect_err("the first copy stays old");
        assert_eq!(error.to_string(), "writing boot control partition 'disk' at byte 20480");
        faulty(&[], &[ENV1 / 512]).write_flags(&SlotState::fresh()).expect("the first copy is what counts");
    }

    #[test]
    fn a_dead_disk_is_given_up_after_a_few_reads() {
        let mut bootctl = faulty(&(0..2048).collect::<Vec<_>>(), &[]);
        let error = bootctl.read().expect_err("nothing can be read");
        assert_eq!(error.to_string(), "reading boot control partition 'disk'");
        assert!(bootctl.device.reads_that_failed <= 24, "{} reads failed", bootctl.device.reads_that_failed);
    }

    proptest! {
        #[test]
        fn hostile_partitions_never_panic(
            at in 0usize..3000,
            bytes in proptest::collection::vec(any::<u8>(), 1..64),
            length in 0usize..40_000,
        ) {
            let mut partition = fresh();
            for (place, byte) in partition.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            for partition in [&partition[..], &partition[..length]] {
                let contents = Contents::parse(partition);
                for write in flag_writes(partition, &contents.locations, &SlotState::fresh()) {
                    prop_assert!(write.offset as usize + 512 <= partition.len(), "a write outside the partition");
                }
            }
        }
    }
}
