//! Makes the unified kernel image of a slot: systemd's EFI stub with command line, kernel and initrd as PE sections. Pure.
//!
//! UEFI loads the file as a program; GRUB on BIOS reads kernel and initrd out of the same file by block ranges, so every
//! section starts on a 4 KiB boundary. The header is edited by offset: time stamp and checksum become zero.

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
