//! The smallest programs that misbehave: ELF files of a few bytes, laid over the beginning of a real program. Pure.

/// A program that exits with 1.
pub fn exits() -> Vec<u8> {
    // mov eax, 60; mov edi, 1; syscall
    program(&[0xb8, 60, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x0f, 0x05])
}

/// A program that never does anything.
pub fn hangs() -> Vec<u8> {
    // again: mov eax, 34 (pause); syscall; jmp again
    program(&[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7])
}

fn program(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;
    use std::time::Duration;

    fn installed(folder: &tempfile::TempDir, elf: Vec<u8>) -> std::path::PathBuf {
        let path = folder.path().join("program");
        fs::write(&path, elf).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }

    #[test]
    fn the_program_that_exits_exits_with_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let status = Command::new(installed(&folder, exits())).status().expect("it starts");
        assert_eq!(status.code(), Some(1));
    }

    #[test]
    fn the_program_that_hangs_uses_no_processor() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(installed(&folder, hangs())).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().expect("asked").is_none());
        child.kill().expect("killed");
        child.wait().expect("collected");
    }
}
