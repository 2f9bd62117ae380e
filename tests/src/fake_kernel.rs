//! A unified kernel image of a few sectors that says on the serial port which slot it is of, and halts: what the boot
//! loader decides is seen without a system. Pure but for [`put`].

use anyhow::{Context, ensure};
use ferrite_layout::{Part, Slot};

use crate::disk_file::DiskFile;

const SECTOR: usize = 512;
/// Where the parts of the file lie, in sectors: headers for UEFI, their code, then a kernel for BIOS and its initrd.
const CODE_AT: usize = 1;
const LINUX_AT: usize = 2;
const LINUX_SECTORS: usize = 4;
const INITRD_AT: usize = LINUX_AT + LINUX_SECTORS;
const SECTORS: usize = INITRD_AT + 1;
const KERNEL_NAME: &[u8; 11] = b"FERRITE EFI";

/// What the kernel of a slot says.
pub fn said(slot: Slot) -> String {
    format!("the boot loader started slot {slot}")
}

/// Whether the boot loader finds a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loads {
    /// It does.
    Yes,
    /// There is no such file.
    Missing,
}

/// Makes the kernel of a slot one of these. The slot must hold a file system with a kernel, or have held one.
pub fn put(disk: &DiskFile, slot: Slot, loads: Loads) -> anyhow::Result<()> {
    let part = Part::boot_of(slot);
    let boot = disk.read_all(part)?;
    let entries = boot.chunks_exact(32);
    let entry = entries.clone().position(|entry| entry.get(1..11) == KERNEL_NAME.get(1..) && entry[11] & 0x08 == 0);
    let entry = 32 * entry.context("the boot partition has no directory entry of the kernel")? as u64;
    let start = boot.chunks_exact(SECTOR).position(|sector| sector.starts_with(b"MZ"));
    let start = (SECTOR * start.context("the boot partition has no kernel")?) as u64;
    disk.write(part, start, &image(slot))?;
    disk.write(part, entry + 28, &((SECTORS * SECTOR) as u32).to_le_bytes())?;
    // A name that begins with 0xe5 is a deleted one.
    disk.write(part, entry, &[if loads == Loads::Yes { KERNEL_NAME[0] } else { 0xe5 }])?;
    let config = boot.windows(8).position(|text| text == b"set lin=").context("the boot partition has no slot.cfg")?;
    let length = boot[config..].iter().take_while(|byte| **byte != 0).count();
    let mut text = format!("set lin=(uki){LINUX_AT}+{LINUX_SECTORS}\nset ini=(uki){INITRD_AT}+1\nset cmd=\"x\"\n");
    ensure!(text.len() <= length, "slot.cfg has only {length} bytes");
    text.extend(std::iter::repeat_n('\n', length - text.len()));
    disk.write(part, config as u64, text.as_bytes())
}

/// The file.
fn image(slot: Slot) -> Vec<u8> {
    let mut bytes = vec![0; SECTORS * SECTOR];
    let mut place = |at: usize, part: &[u8]| bytes[at..at + part.len()].copy_from_slice(part);
    place(0, &program_header());
    place(CODE_AT * SECTOR, &code(slot));
    place(LINUX_AT * SECTOR, &linux_header());
    place((LINUX_AT + 2) * SECTOR, &code(slot));
    bytes
}

/// The same instructions for 32 and 64 bits.
fn code(slot: Slot) -> Vec<u8> {
    // mov edx, 0x3f8
    let mut code = vec![0xba, 0xf8, 0x03, 0, 0];
    for letter in format!("\n{}\n", said(slot)).bytes() {
        // mov al, LETTER; out dx, al
        code.extend([0xb0, letter, 0xee]);
    }
    // cli; again: hlt; jmp again
    code.extend([0xfa, 0xf4, 0xeb, 0xfd]);
    assert!(code.len() <= SECTOR);
    code
}

/// The header of Linux's boot protocol 2.6: one sector of setup, the rest goes to 1 MiB and is jumped to.
fn linux_header() -> Vec<u8> {
    let mut header = vec![0; 2 * SECTOR];
    let mut place = |at: usize, part: &[u8]| header[at..at + part.len()].copy_from_slice(part);
    place(0x1f1, &[1]);
    place(0x1fe, &[0x55, 0xaa]);
    place(0x202, b"HdrS");
    place(0x206, &0x0206u16.to_le_bytes());
    place(0x211, &[1]);
    place(0x214, &0x10_0000u32.to_le_bytes());
    place(0x22c, &0x37ff_ffffu32.to_le_bytes());
    place(0x230, &0x1000u32.to_le_bytes());
    place(0x238, &2047u32.to_le_bytes());
    header
}

/// DOS, COFF and optional header of a program for UEFI with one section.
fn program_header() -> Vec<u8> {
    let mut header = vec![0; SECTOR];
    let mut place = |at: usize, part: &[u8]| header[at..at + part.len()].copy_from_slice(part);
    let u32s = |value: u32| value.to_le_bytes();
    place(0, b"MZ");
    place(0x3c, &u32s(0x40));
    place(0x40, b"PE\0\0");
    // x86-64, one section, 240 bytes of optional header, executable.
    place(0x44, &[0x64, 0x86, 1, 0]);
    place(0x54, &[0xf0, 0, 0x2e, 0x02]);
    let optional = 0x58;
    place(optional, &[0x0b, 0x02]);
    for (at, value) in [
        (4, SECTOR as u32),
        (16, 0x1000),
        (20, 0x1000),
        (32, 0x1000),
        (36, SECTOR as u32),
        (56, 0x2000),
        (60, SECTOR as u32),
        (108, 16),
    ] {
        place(optional + at, &u32s(value));
    }
    // A program for UEFI.
    place(optional + 68, &[10, 0]);
    let section = optional + 240;
    place(section, b".text");
    for (at, value) in [(8, 0x1000), (12, 0x1000), (16, SECTOR as u32), (20, (CODE_AT * SECTOR) as u32)] {
        place(section + at, &u32s(value));
    }
    place(section + 36, &u32s(0x6000_0020));
    header
}
