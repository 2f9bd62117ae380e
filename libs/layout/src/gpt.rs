//! The GUID partition table: what it says, its bytes, and reading it as the Linux kernel does. Pure.
//!
//! The surprise: a table is only as good as its checksum. A copy whose checksum fails is not read at all, so a writer
//! may change a copy in any order as long as the other copy is whole (see `gpt_grow`).

use std::collections::BTreeMap;
use std::io;

use uuid::Uuid;

use crate::disk::SECTOR_BYTES;
use crate::read_at::ReadAt;

/// Sectors of the entry array.
pub const ENTRY_SECTORS: u64 = (ENTRY_COUNT * ENTRY_BYTES) as u64 / SECTOR_BYTES;
/// First sector a partition may use.
pub const FIRST_USABLE_LBA: u64 = 2 + ENTRY_SECTORS;

pub(crate) const ENTRY_COUNT: usize = 128;
pub(crate) const ENTRY_BYTES: usize = 128;
const HEADER_BYTES: usize = 92;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
const NAME_UNITS: usize = 36;

/// One sector.
pub type Sector = [u8; SECTOR_BYTES as usize];

/// What is wrong with a partition table.
#[derive(Debug, thiserror::Error)]
pub enum GptError {
    /// Neither copy is whole.
    #[error("no whole partition table: primary {primary}, backup {backup}")]
    NoTable {
        /// State of the copy at the start of the disk.
        primary: CopyHealth,
        /// State of the copy at the end of the disk.
        backup: CopyHealth,
    },
    /// The table was made for a bigger disk.
    #[error("disk is too small: it has {disk_sectors} sectors, its partition table needs {needed_sectors}")]
    DiskTooSmall {
        /// Sectors of the disk.
        disk_sectors: u64,
        /// Sectors the table needs.
        needed_sectors: u64,
    },
    /// There is no partition that may grow.
    #[error("partition table has no partition {0}")]
    Missing(crate::disk::Part),
    /// The partition that should grow is followed by another.
    #[error("partition {0} is not the last on the disk")]
    NotLast(crate::disk::Part),
    /// The disk cannot be read.
    #[error("reading the partition table")]
    Read(#[from] io::Error),
}

/// How one copy of the table looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyHealth {
    /// Header and entries match their checksums.
    Good,
    /// No header there.
    Absent,
    /// The header is damaged.
    BadHeader,
    /// The header is whole but does not fit this disk or this place.
    Misplaced,
    /// The entries do not match the header.
    BadEntries,
    /// The disk does not give it back.
    Unreadable,
}

impl std::fmt::Display for CopyHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CopyHealth::Good => "good",
            CopyHealth::Absent => "absent",
            CopyHealth::BadHeader => "has a bad header",
            CopyHealth::Misplaced => "does not fit the disk",
            CopyHealth::BadEntries => "has bad entries",
            CopyHealth::Unreadable => "cannot be read",
        })
    }
}

/// Which copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// At the start of the disk.
    Primary,
    /// At the end of the disk.
    Backup,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Partition type.
    pub type_guid: Uuid,
    /// GUID of this partition.
    pub guid: Uuid,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, inclusive.
    pub last_lba: u64,
    /// Attribute bits.
    pub attributes: u64,
    /// Name, at most 36 UTF-16 units.
    pub name: String,
}

impl Entry {
    /// Length in sectors.
    pub fn sectors(&self) -> u64 {
        self.last_lba - self.first_lba + 1
    }
}

/// What a partition table says, wherever it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// GUID of the disk.
    pub disk_guid: Uuid,
    /// Partitions by number, from 1 to 128.
    pub entries: BTreeMap<u32, Entry>,
}

/// The bytes of both copies for a disk of a certain size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableBytes {
    /// The entry array, the same in both copies.
    pub entries: Vec<u8>,
    /// Header at sector 1.
    pub primary_header: Sector,
    /// Header at the last sector.
    pub backup_header: Sector,
    /// Sector of the first backup entry.
    pub backup_entries_lba: u64,
    /// Sector of the backup header: the last of the disk.
    pub backup_header_lba: u64,
}

/// A table that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTable {
    /// What it says.
    pub table: Table,
    /// The copy that was believed.
    pub copy: Copy,
    /// State of the primary copy.
    pub primary: CopyHealth,
    /// State of the copy at the last sector.
    pub backup: CopyHealth,
}

impl Table {
    /// The partition with this name, and its number.
    pub fn by_name(&self, name: &str) -> Option<(u32, &Entry)> {
        self.entries.iter().find(|(_, entry)| entry.name == name).map(|(number, entry)| (*number, entry))
    }

    /// The partition with this GUID, and its number.
    pub fn by_guid(&self, guid: Uuid) -> Option<(u32, &Entry)> {
        self.entries.iter().find(|(_, entry)| entry.guid == guid).map(|(number, entry)| (*number, entry))
    }

    /// Whether the disk GUID is still the one of the image (made by uuid5), so that every copy of the image has it.
    pub fn has_image_guids(&self) -> bool {
        self.disk_guid.get_version_num() == 5
    }

    /// Sectors a disk must have to hold this table and its backup.
    pub fn needed_sectors(&self) -> u64 {
        let last = self.entries.values().map(|entry| entry.last_lba).max().unwrap_or(FIRST_USABLE_LBA);
        last.saturating_add(ENTRY_SECTORS + 2)
    }

    /// The bytes of both copies on a disk of this size.
    pub fn bytes(&self, disk_sectors: u64) -> Result<TableBytes, GptError> {
        let needed_sectors = self.needed_sectors();
        if disk_sectors < needed_sectors {
            return Err(GptError::DiskTooSmall { disk_sectors, needed_sectors });
        }
        let entries = self.entry_array();
        let backup_header_lba = disk_sectors - 1;
        let backup_entries_lba = backup_header_lba - ENTRY_SECTORS;
        let header = |my_lba, alternate_lba, entries_lba| {
            header_sector(&Header {
                my_lba,
                alternate_lba,
                first_usable: FIRST_USABLE_LBA,
                last_usable: backup_entries_lba - 1,
                disk_guid: self.disk_guid,
                entries_lba,
                entries_crc: crc32fast::hash(&entries),
            })
        };
        Ok(TableBytes {
            primary_header: header(1, backup_header_lba, 2),
            backup_header: header(backup_header_lba, 1, backup_entries_lba),
            entries,
            backup_entries_lba,
            backup_header_lba,
        })
    }

    fn entry_array(&self) -> Vec<u8> {
        let mut array = vec![0u8; ENTRY_COUNT * ENTRY_BYTES];
        for (number, entry) in &self.entries {
            let slot =
                (*number as usize).checked_sub(1).and_then(|index| array.chunks_exact_mut(ENTRY_BYTES).nth(index));
            if let Some(slot) = slot {
                slot[0..16].copy_from_slice(&entry.type_guid.to_bytes_le());
                slot[16..32].copy_from_slice(&entry.guid.to_bytes_le());
                slot[32..40].copy_from_slice(&entry.first_lba.to_le_bytes());
                slot[40..48].copy_from_slice(&entry.last_lba.to_le_bytes());
                slot[48..56].copy_from_slice(&entry.attributes.to_le_bytes());
                for (place, unit) in slot[56..].chunks_exact_mut(2).zip(entry.name.encode_utf16().take(NAME_UNITS)) {
                    place.copy_from_slice(&unit.to_le_bytes());
                }
            }
        }
        array
    }
}

/// The first sector of the disk: boot code (440 bytes, zeros if none) and a protective partition over the whole disk.
pub fn protective_mbr(boot_code: &[u8; 440], disk_sectors: u64) -> Sector {
    let mut sector = [0u8; SECTOR_BYTES as usize];
    sector[..440].copy_from_slice(boot_code);
    sector[446..454].copy_from_slice(&[0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    sector[454..458].copy_from_slice(&1u32.to_le_bytes());
    let length = u32::try_from(disk_sectors - 1).unwrap_or(u32::MAX);
    sector[458..462].copy_from_slice(&length.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// Reads the table as Linux with `gpt` on its command line does: the primary copy if it is whole, else the copy at the
/// last sector of the disk. A copy at any other place is never believed.
pub fn read_table(disk: &(impl ReadAt + ?Sized), disk_sectors: u64) -> Result<FoundTable, GptError> {
    if disk_sectors < FIRST_USABLE_LBA + ENTRY_SECTORS + 2 {
        return Err(GptError::NoTable { primary: CopyHealth::Absent, backup: CopyHealth::Absent });
    }
    // One bad sector must not make the other copy worthless.
    let mut failure = None;
    let mut read = |lba| {
        read_copy(disk, lba, disk_sectors).unwrap_or_else(|error| {
            failure = Some(error);
            (CopyHealth::Unreadable, None, None)
        })
    };
    let (primary, primary_header, primary_table) = read(1);
    let (backup, _, backup_table) = read(disk_sectors - 1);
    if let Some(table) = primary_table {
        return Ok(FoundTable { table, copy: Copy::Primary, primary, backup });
    }
    if let Some(table) = backup_table {
        return Ok(FoundTable { table, copy: Copy::Backup, primary, backup });
    }
    match primary_header {
        Some(header) if header.last_usable >= disk_sectors => Err(GptError::DiskTooSmall {
            disk_sectors,
            needed_sectors: header.last_usable.saturating_add(ENTRY_SECTORS + 2),
        }),
        Some(_) | None => Err(failure.unwrap_or(GptError::NoTable { primary, backup })),
    }
}

struct Header {
    my_lba: u64,
    alternate_lba: u64,
    first_usable: u64,
    last_usable: u64,
    disk_guid: Uuid,
    entries_lba: u64,
    entries_crc: u32,
}

fn header_sector(header: &Header) -> Sector {
    let mut sector = [0u8; SECTOR_BYTES as usize];
    sector[0..8].copy_from_slice(SIGNATURE);
    sector[8..12].copy_from_slice(&REVISION.to_le_bytes());
    sector[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
    sector[24..32].copy_from_slice(&header.my_lba.to_le_bytes());
    sector[32..40].copy_from_slice(&header.alternate_lba.to_le_bytes());
    sector[40..48].copy_from_slice(&header.first_usable.to_le_bytes());
    sector[48..56].copy_from_slice(&header.last_usable.to_le_bytes());
    sector[56..72].copy_from_slice(&header.disk_guid.to_bytes_le());
    sector[72..80].copy_from_slice(&header.entries_lba.to_le_bytes());
    sector[80..84].copy_from_slice(&(ENTRY_COUNT as u32).to_le_bytes());
    sector[84..88].copy_from_slice(&(ENTRY_BYTES as u32).to_le_bytes());
    sector[88..92].copy_from_slice(&header.entries_crc.to_le_bytes());
    let crc = crc32fast::hash(&sector[..HEADER_BYTES]);
    sector[16..20].copy_from_slice(&crc.to_le_bytes());
    sector
}

type CopyRead = (CopyHealth, Option<Header>, Option<Table>);

fn read_copy(disk: &(impl ReadAt + ?Sized), lba: u64, disk_sectors: u64) -> Result<CopyRead, GptError> {
    let mut sector = [0u8; SECTOR_BYTES as usize];
    disk.read_exact_at(&mut sector, lba * SECTOR_BYTES)?;
    let header = match parse_header(&sector) {
        Ok(header) => header,
        Err(health) => return Ok((health, None, None)),
    };
    let fits = header.my_lba == lba
        && header.first_usable <= header.last_usable
        && header.last_usable < disk_sectors
        && header.entries_lba.checked_add(ENTRY_SECTORS).is_some_and(|end| end <= disk_sectors);
    if !fits {
        return Ok((CopyHealth::Misplaced, Some(header), None));
    }
    let mut array = vec![0u8; ENTRY_COUNT * ENTRY_BYTES];
    disk.read_exact_at(&mut array, header.entries_lba * SECTOR_BYTES)?;
    if crc32fast::hash(&array) != header.entries_crc {
        return Ok((CopyHealth::BadEntries, Some(header), None));
    }
    match parse_entries(&array, &header) {
        Some(entries) => {
            let table = Table { disk_guid: header.disk_guid, entries };
            Ok((CopyHealth::Good, Some(header), Some(table)))
        }
        None => Ok((CopyHealth::BadEntries, Some(header), None)),
    }
}

fn parse_header(sector: &Sector) -> Result<Header, CopyHealth> {
    if &sector[..8] != SIGNATURE {
        return Err(CopyHealth::Absent);
    }
    let mut summed = *sector;
    summed[16..20].fill(0);
    let whole = read_u32(sector, 12) as usize == HEADER_BYTES
        && read_u32(sector, 16) == crc32fast::hash(&summed[..HEADER_BYTES])
        && read_u32(sector, 80) as usize == ENTRY_COUNT
        && read_u32(sector, 84) as usize == ENTRY_BYTES;
    if !whole {
        return Err(CopyHealth::BadHeader);
    }
    Ok(Header {
        my_lba: read_u64(sector, 24),
        alternate_lba: read_u64(sector, 32),
        first_usable: read_u64(sector, 40),
        last_usable: read_u64(sector, 48),
        disk_guid: read_guid(sector, 56),
        entries_lba: read_u64(sector, 72),
        entries_crc: read_u32(sector, 88),
    })
}

/// `None` when an entry lies outside the usable sectors or has its end before its start: a table nobody should use.
fn parse_entries(array: &[u8], header: &Header) -> Option<BTreeMap<u32, Entry>> {
    let mut entries = BTreeMap::new();
    for (number, bytes) in (1u32..).zip(array.chunks_exact(ENTRY_BYTES)) {
        let type_guid = read_guid(bytes, 0);
        if type_guid.is_nil() {
            continue;
        }
        let units: Vec<u16> = bytes[56..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        let length = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        let entry = Entry {
            type_guid,
            guid: read_guid(bytes, 16),
            first_lba: read_u64(bytes, 32),
            last_lba: read_u64(bytes, 40),
            attributes: read_u64(bytes, 48),
            name: String::from_utf16_lossy(&units[..length]),
        };
        if entry.first_lba < header.first_usable
            || entry.last_lba > header.last_usable
            || entry.last_lba < entry.first_lba
        {
            return None;
        }
        entries.insert(number, entry);
    }
    Some(entries)
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0u8; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn read_u64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0u8; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn read_guid(bytes: &[u8], at: usize) -> Uuid {
    let mut guid = [0u8; 16];
    guid.copy_from_slice(&bytes[at..at + 16]);
    Uuid::from_bytes_le(guid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskPlan, Part, Sizes};
    use crate::gpt_write::{apply, new_disk};
    use proptest::prelude::*;

    fn plan() -> DiskPlan {
        DiskPlan::new(&Sizes::default(), Uuid::from_u128(7)).expect("default sizes are right")
    }

    fn disk_file() -> std::fs::File {
        let plan = plan();
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(plan.disk_bytes()).expect("a sparse file");
        let bytes = plan.table().bytes(plan.disk_sectors()).expect("it fits");
        apply(&new_disk(&[0xeb; 440], &bytes), &file).expect("it is written");
        file
    }

    #[test]
    fn the_gpt_crate_reads_what_we_write() {
        let plan = plan();
        let device: Box<dyn ::gpt::DiskDevice> = Box::new(disk_file());
        let disk = ::gpt::GptConfig::new().writable(false).open_from_device(device).expect("the crate accepts it");
        assert_eq!(*disk.guid(), plan.disk_guid());
        assert_eq!(disk.partitions().len(), Part::ALL.len());
        for extent in plan.extents() {
            let entry = &disk.partitions()[&extent.part.number()];
            assert_eq!(entry.name, extent.part.name());
            assert_eq!(entry.part_guid, extent.guid);
            assert_eq!(entry.part_type_guid.guid, extent.part.type_guid());
            assert_eq!((entry.first_lba, entry.last_lba), (extent.first_lba, extent.last_lba));
            assert_eq!(entry.flags, extent.part.attributes());
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let plan = plan();
        let found = read_table(&disk_file(), plan.disk_sectors()).expect("it can be read");
        assert_eq!(found.table, plan.table());
        assert_eq!((found.copy, found.primary, found.backup), (Copy::Primary, CopyHealth::Good, CopyHealth::Good));
        assert!(found.table.has_image_guids());
    }

    #[test]
    fn an_empty_disk_and_a_tiny_disk_have_no_table() {
        for sectors in [0u64, 1, 10, 67, 68, 4096] {
            let disk = vec![0u8; sectors as usize * 512];
            assert!(matches!(read_table(&disk, sectors), Err(GptError::NoTable { .. })), "{sectors} sectors");
        }
    }

    /// A disk on which one sector cannot be read.
    struct Worn<'a>(&'a std::fs::File, u64);

    impl ReadAt for Worn<'_> {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let bad = self.1 * SECTOR_BYTES;
            if (offset..offset + buffer.len() as u64).contains(&bad) {
                return Err(io::Error::other("a bad sector"));
            }
            self.0.read_exact_at(buffer, offset)
        }
    }

    #[test]
    fn a_bad_sector_in_one_copy_leaves_the_other_one() {
        let (plan, disk) = (plan(), disk_file());
        let last = plan.disk_sectors() - 1;
        let (good, unreadable) = (CopyHealth::Good, CopyHealth::Unreadable);
        for (sector, copy, primary, backup) in [
            (1, Copy::Backup, unreadable, good),
            (20, Copy::Backup, unreadable, good),
            (last, Copy::Primary, good, unreadable),
            (last - 10, Copy::Primary, good, unreadable),
        ] {
            let found = read_table(&Worn(&disk, sector), plan.disk_sectors()).expect("one copy is whole");
            assert_eq!((found.copy, found.primary, found.backup), (copy, primary, backup), "sector {sector}");
            assert_eq!(found.table, plan.table());
        }
        disk.set_len(0).expect("it can be cut");
        assert!(matches!(read_table(&disk, plan.disk_sectors()), Err(GptError::Read(_))));
    }

    #[test]
    fn a_protective_record_covers_the_disk() {
        let mbr = protective_mbr(&[1; 440], 1000);
        assert_eq!(
            (mbr[439], mbr[450], &mbr[458..462], &mbr[510..]),
            (1, 0xee, &999u32.to_le_bytes()[..], &[0x55, 0xaa][..])
        );
        assert_eq!(protective_mbr(&[1; 440], 1 << 40)[458..462], [0xff; 4]);
    }

    proptest! {
        #[test]
        fn damaged_tables_never_panic(
            at in 0usize..1536,
            bytes in proptest::collection::vec(any::<u8>(), 1..64),
            fix in any::<bool>(),
        ) {
            let one = 1 << 20;
            let sizes =
                Sizes { esp_bytes: one, boot_bytes: one, root_bytes: one, oem_bytes: one, state_bytes: one };
            let plan = DiskPlan::new(&sizes, Uuid::nil()).expect("sizes are right");
            let table = plan.table().bytes(plan.disk_sectors()).expect("it fits");
            let mut disk = vec![0u8; plan.disk_bytes() as usize];
            disk[512..1024].copy_from_slice(&table.primary_header);
            disk[1024..1024 + table.entries.len()].copy_from_slice(&table.entries);
            for (place, byte) in disk[512 + at..].iter_mut().zip(bytes) {
                *place = byte;
            }
            if fix {
                // A hostile table has right checksums.
                let entries_crc = crc32fast::hash(&disk[1024..1024 + table.entries.len()]);
                disk[512 + 88..512 + 92].copy_from_slice(&entries_crc.to_le_bytes());
                disk[512 + 16..512 + 20].fill(0);
                let crc = crc32fast::hash(&disk[512..512 + 92]);
                disk[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
            }
            if let Ok(found) = read_table(&disk, plan.disk_sectors()) {
                for entry in found.table.entries.values() {
                    prop_assert!(entry.first_lba <= entry.last_lba && entry.last_lba < plan.disk_sectors());
                }
                // Whatever was believed can be planned for without a panic.
                let _ = crate::gpt_grow::plan(&disk, plan.disk_sectors(), &found, None);
            }
        }
    }
}
