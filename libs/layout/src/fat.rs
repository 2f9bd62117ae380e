//! Finds the files of the boot control partition in its FAT12 root folder, so that a copy whose content is destroyed is
//! still found and can be repaired. Pure; understands only what the image builder makes: files of one cluster.

use crate::disk::SECTOR_BYTES;

const ENTRY_BYTES: usize = 32;

/// Offset in the partition of the one-cluster file with this 8.3 name, `BOOT0   ENV`. `None`: no such file, or the
/// file system is damaged.
pub fn find_file(partition: &[u8], name: &[u8; 11]) -> Option<u64> {
    let geometry = Geometry::read(partition)?;
    let folder = partition.get(geometry.folder..geometry.folder.checked_add(geometry.folder_entries * ENTRY_BYTES)?)?;
    let entry = folder
        .chunks_exact(ENTRY_BYTES)
        .take_while(|entry| entry.first() != Some(&0))
        .find(|entry| entry.get(..11) == Some(name.as_slice()) && entry.get(11).is_some_and(|kind| kind & 0x18 == 0))?;
    let cluster = usize::from(read_u16(entry, 26)?).checked_sub(2)?;
    let offset = geometry.data.checked_add(cluster.checked_mul(geometry.cluster_bytes)?)?;
    let end = offset.checked_add(geometry.cluster_bytes)?;
    (end <= partition.len()).then_some(offset as u64)
}

/// Offset of the root folder, as the first sector has it.
pub fn folder(partition: &[u8]) -> Option<usize> {
    Geometry::read(partition).map(|geometry| geometry.folder)
}

struct Geometry {
    folder: usize,
    folder_entries: usize,
    data: usize,
    cluster_bytes: usize,
}

impl Geometry {
    fn read(partition: &[u8]) -> Option<Self> {
        let byte = |at: usize| partition.get(at).map(|byte| usize::from(*byte));
        let word = |at: usize| read_u16(partition, at).map(usize::from);
        let sector = SECTOR_BYTES as usize;
        let sane = partition.get(510..512)? == [0x55, 0xaa] && word(11)? == sector && word(14)? > 0 && word(22)? > 0;
        let cluster_bytes = byte(13)? * sector;
        let fats = byte(16)?;
        if !sane || cluster_bytes == 0 || fats == 0 {
            return None;
        }
        let folder_entries = word(17)?;
        let folder = (word(14)? + fats * word(22)?) * sector;
        let data = folder + (folder_entries * ENTRY_BYTES).next_multiple_of(sector);
        Some(Self { folder, folder_entries, data, cluster_bytes })
    }
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    match bytes.get(at..at + 2) {
        Some(&[low, high]) => Some(u16::from_le_bytes([low, high])),
        Some(_) | None => None,
    }
}
