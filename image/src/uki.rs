//! Makes the unified kernel image of a slot: systemd's EFI stub with command line, kernel and initrd as PE sections.
//! Pure.
//!
//! UEFI loads the file as a program; GRUB on BIOS reads kernel and initrd out of the same file by block ranges, so
//! every section starts on a 4 KiB boundary. The header is edited by offset: time stamp and checksum become zero.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile64};
use thiserror::Error;

const FILE_ALIGNMENT: usize = 4096;
const SECTOR: usize = 512;
/// Initialised data that is only read.
const READ_ONLY_DATA: u32 = 0x4000_0040;

/// What a section is put behind the stub for; order in the file is the order of the list.
pub struct Section<'a> {
    /// Name with its dot, at most eight bytes.
    pub name: &'a str,
    /// Content.
    pub data: &'a [u8],
}

/// Where a section's bytes lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First byte; a multiple of 4096.
    pub offset: usize,
    /// Length without padding.
    pub size: usize,
}

impl Place {
    /// GRUB's block list notation, in 512-byte sectors, padding included.
    pub fn block_list(self) -> String {
        format!("{}+{}", self.offset / SECTOR, self.size.div_ceil(SECTOR))
    }
}

/// The stub cannot carry the sections.
#[derive(Debug, Error)]
pub enum UkiError {
    /// Not a PE file for x86-64.
    #[error("reading the header of the EFI stub")]
    Stub(#[from] object::Error),
    /// The table of sections is full.
    #[error("the EFI stub's header has no room for {wanted} more sections")]
    NoRoom {
        /// How many were wanted.
        wanted: usize,
    },
    /// Sizes beyond what a PE file can say.
    #[error("the unified kernel image is larger than 4 GiB")]
    TooLarge,
}

struct Header {
    file_header: usize,
    optional_header: usize,
    sections: usize,
    section_count: usize,
    room_end: usize,
    section_alignment: usize,
    file_alignment: usize,
    memory_end: usize,
    initialized: usize,
}

/// The image and the place of each section, in the order given.
pub fn build(stub: &[u8], sections: &[Section]) -> Result<(Vec<u8>, Vec<Place>), UkiError> {
    let header = read_header(stub)?;
    if header.sections + pe_size() * (header.section_count + sections.len()) > header.room_end {
        return Err(UkiError::NoRoom { wanted: sections.len() });
    }
    let mut image = stub.to_vec();
    let mut places = Vec::new();
    let (mut address, mut initialized) = (header.memory_end, header.initialized);
    for (index, section) in sections.iter().enumerate() {
        image.resize(image.len().next_multiple_of(FILE_ALIGNMENT), 0);
        let place = Place { offset: image.len(), size: section.data.len() };
        address = address.next_multiple_of(header.section_alignment);
        let raw_size = section.data.len().next_multiple_of(header.file_alignment.max(SECTOR));
        image.extend(section.data);
        image.resize(place.offset + raw_size, 0);
        let at = header.sections + pe_size() * (header.section_count + index);
        write_section(&mut image, at, section, address, place, raw_size)?;
        address += section.data.len();
        initialized += raw_size;
        places.push(place);
    }
    let count = u16::try_from(header.section_count + sections.len()).map_err(|_| UkiError::TooLarge)?;
    put(&mut image, header.file_header + 2, &count.to_le_bytes());
    put(&mut image, header.file_header + 4, &0u32.to_le_bytes());
    put(&mut image, header.optional_header + 8, &word(initialized)?);
    put(&mut image, header.optional_header + 56, &word(address.next_multiple_of(header.section_alignment))?);
    put(&mut image, header.optional_header + 64, &0u32.to_le_bytes());
    Ok((image, places))
}

fn read_header(stub: &[u8]) -> Result<Header, UkiError> {
    let file = PeFile64::parse(stub)?;
    let nt = file.nt_headers();
    let optional = nt.optional_header();
    let dos = file.dos_header();
    let file_header = dos.nt_headers_offset() as usize + 4;
    let optional_header = file_header + size_of::<pe::ImageFileHeader>();
    let table = file.section_table();
    let memory_end = table.iter().map(|s| s.virtual_address.get(LE) as usize + s.virtual_size.get(LE) as usize).max();
    Ok(Header {
        file_header,
        optional_header,
        sections: optional_header + usize::from(nt.file_header().size_of_optional_header.get(LE)),
        section_count: table.len(),
        room_end: optional.size_of_headers() as usize,
        section_alignment: optional.section_alignment() as usize,
        file_alignment: optional.file_alignment() as usize,
        memory_end: memory_end.unwrap_or(0),
        initialized: nt.optional_header().size_of_initialized_data() as usize,
    })
}

fn write_section(
    image: &mut [u8],
    at: usize,
    section: &Section,
    address: usize,
    place: Place,
    raw_size: usize,
) -> Result<(), UkiError> {
    let mut name = [0u8; 8];
    for (to, from) in name.iter_mut().zip(section.name.bytes()) {
        *to = from;
    }
    put(image, at, &name);
    put(image, at + 8, &word(section.data.len())?);
    put(image, at + 12, &word(address)?);
    put(image, at + 16, &word(raw_size)?);
    put(image, at + 20, &word(place.offset)?);
    put(image, at + 24, &[0; 12]);
    put(image, at + 36, &READ_ONLY_DATA.to_le_bytes());
    Ok(())
}

fn pe_size() -> usize {
    size_of::<pe::ImageSectionHeader>()
}

fn word(value: usize) -> Result<[u8; 4], UkiError> {
    u32::try_from(value).map(u32::to_le_bytes).map_err(|_| UkiError::TooLarge)
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object, ObjectSection};

    const HEADERS: usize = 0x400;

    /// The smallest stub that the reader accepts: one section of code.
    fn stub() -> Vec<u8> {
        let mut bytes = vec![0u8; HEADERS];
        let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        set(0, b"MZ");
        set(0x3c, &0x80u32.to_le_bytes());
        set(0x80, b"PE\0\0");
        set(0x84, &0x8664u16.to_le_bytes());
        set(0x86, &1u16.to_le_bytes());
        set(0x88, &0x1234_5678u32.to_le_bytes());
        set(0x94, &240u16.to_le_bytes());
        set(0x98, &0x20bu16.to_le_bytes());
        set(0x98 + 32, &0x1000u32.to_le_bytes());
        set(0x98 + 36, &0x200u32.to_le_bytes());
        set(0x98 + 56, &0x2000u32.to_le_bytes());
        set(0x98 + 60, &(HEADERS as u32).to_le_bytes());
        set(0x98 + 64, &0xdead_beefu32.to_le_bytes());
        set(0x98 + 108, &16u32.to_le_bytes());
        let table = 0x98 + 240;
        set(table, b".text");
        set(table + 8, &4u32.to_le_bytes());
        set(table + 12, &0x1000u32.to_le_bytes());
        set(table + 16, &0x200u32.to_le_bytes());
        set(table + 20, &(HEADERS as u32).to_le_bytes());
        bytes.resize(HEADERS + 0x200, 0x90);
        bytes
    }

    #[test]
    fn sections_are_found_again_and_start_on_blocks_of_4096() {
        let kernel = vec![7u8; 5000];
        let sections = [Section { name: ".cmdline", data: b"quiet" }, Section { name: ".linux", data: &kernel }];
        let (image, places) = build(&stub(), &sections).unwrap();
        let file = object::File::parse(image.as_slice()).unwrap();
        let data = |name: &str| file.section_by_name(name).unwrap().data().unwrap().to_vec();
        assert_eq!(&data(".cmdline")[..5], b"quiet");
        assert_eq!(&data(".linux")[..5000], &kernel[..]);
        assert!(places.iter().all(|place| place.offset % 4096 == 0));
        assert_eq!(&image[places[1].offset..][..5000], &kernel[..]);
        assert_eq!(places[1].block_list(), format!("{}+10", places[1].offset / 512));
    }

    #[test]
    fn time_stamp_and_checksum_are_zero_and_the_size_in_memory_grows() {
        let (image, _) = build(&stub(), &[Section { name: ".linux", data: &[1; 5000] }]).unwrap();
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        assert_eq!((word(0x88), word(0x98 + 64)), (0, 0));
        assert_eq!(word(0x98 + 56), 0x4000);
    }

    #[test]
    fn a_full_header_and_a_foreign_file_are_refused() {
        let many: Vec<Section> = (0..32).map(|_| Section { name: ".x", data: b"x" }).collect();
        let error = build(&stub(), &many).unwrap_err();
        assert_eq!(error.to_string(), "the EFI stub's header has no room for 32 more sections");
        assert!(matches!(build(b"#!/bin/sh", &[]).unwrap_err(), UkiError::Stub(_)));
    }
}
