//! The partition that the UEFI stub of the kernel was read from, as systemd's stub tells it.

use std::ffi::CStr;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use uuid::Uuid;

const FOLDER: &str = "/sys/firmware/efi/efivars";
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The stub's own word first; the other one is set by whatever loader came before it.
const NAMES: [&str; 2] = ["StubDevicePartUUID", "LoaderDevicePartUUID"];
const ATTRIBUTE_BYTES: usize = 4;
const OPTIONS: &CStr = c"";

/// Makes the variables readable.
pub fn mount_variables() -> rustix::io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("efivarfs", FOLDER, "efivarfs", flags, OPTIONS) {
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The GUID of the partition with the kernel, if the firmware was told.
pub fn boot_partition() -> Option<Uuid> {
    NAMES.iter().find_map(|name| {
        let content = std::fs::read(Path::new(FOLDER).join(format!("{name}-{VENDOR}"))).ok()?;
        parse(&content)
    })
}

/// Reads a variable: four bytes of attributes, then UTF-16.
fn parse(content: &[u8]) -> Option<Uuid> {
    let text = content.get(ATTRIBUTE_BYTES..)?;
    let units = text.chunks_exact(2).map(|pair| pair.iter().rev().fold(0u16, |sum, &byte| sum << 8 | u16::from(byte)));
    let characters = char::decode_utf16(units.take_while(|&unit| unit != 0));
    Uuid::parse_str(&characters.collect::<Result<String, _>>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Vec<u8> {
        let units = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
        [6, 0, 0, 0].into_iter().chain(units).collect()
    }

    #[test]
    fn a_variable_is_utf16_behind_its_attributes() {
        let text = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
        assert_eq!(parse(&variable(text)), Uuid::parse_str(text).ok());
    }

    #[test]
    fn a_variable_that_is_no_guid_is_nothing() {
        for content in [&b""[..], b"\x06\0\0", b"\x06\0\0\0", &variable("hello"), b"\x06\0\0\0\x00\xd8\x00"] {
            assert_eq!(parse(content), None);
        }
    }
}
