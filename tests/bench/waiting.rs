//! The first process of a guest that does nothing, and the initrd that holds it: this program itself, which is static.

use std::io::Write;

/// What it says when it begins to wait.
pub(crate) const SAYS: &str = "ferrite-bench waits";

/// Whether this process is the first one of a guest.
pub(crate) fn is_wanted() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}

/// Waits for ever.
pub(crate) fn wait() -> ! {
    println!("{SAYS}");
    loop {
        std::thread::park();
    }
}

/// An archive with `program` as /init, in the format that the kernel unpacks (cpio, `newc`).
pub(crate) fn archive(program: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry(&mut bytes, "init", 0o100_755, program);
    entry(&mut bytes, "TRAILER!!!", 0, &[]);
    bytes
}

fn entry(bytes: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    // Number, mode, owner, group, links, time, size, four device numbers, length of the name, no checksum.
    let fields = [1, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    let header: String = fields.iter().map(|field| format!("{field:08X}")).collect();
    let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
    // Writing into memory cannot fail.
    let _ = write!(bytes, "070701{header}{name}\0");
    pad(bytes);
    bytes.extend_from_slice(content);
    pad(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_the_program_and_an_end() {
        let bytes = archive(b"abcde");
        assert!(bytes.starts_with(b"07070100000001000081ED"));
        assert_eq!(bytes.len() % 4, 0);
        let at = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text);
        // The header has 110 bytes, the name five with its zero, and one more to a multiple of four.
        assert_eq!(at(b"abcde"), Some(116));
        assert_eq!(at(b"070701").map(|_| at(b"TRAILER!!!")), Some(Some(124 + 110)));
    }
}
