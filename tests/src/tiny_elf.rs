//! The smallest programs: ELF files of a few bytes that misbehave, or make one system call and tell its error. Pure.

/// An argument of a system call.
#[derive(Debug, Clone, Copy)]
pub enum Argument {
    /// A number.
    Number(u64),
    /// The address of zeros that may be written.
    Space,
    /// The address of a text that ends in a zero.
    Text(&'static str),
}

const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;
/// Places of the segment's flags and of its length in memory.
const SEGMENT_FLAGS: usize = 64 + 4;
const SEGMENT_MEMORY: usize = 64 + 40;
/// Where the zeros begin, and how many they are.
const SPACE: u64 = BASE + 0x1000;
const SPACE_BYTES: u64 = 0x1000;

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

/// A program that makes one system call and exits with the number of its error, 0 for none.
pub fn calls(number: u32, arguments: &[Argument; 6]) -> Vec<u8> {
    // mov rdi, rsi, rdx, r10, r8, r9
    const MOVES: [[u8; 2]; 6] = [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]];
    /// Everything before the texts.
    const CODE_BYTES: u64 = 6 * 10 + 7 + 24;
    let (mut code, mut texts) = (Vec::new(), Vec::new());
    for (bytes, argument) in MOVES.iter().zip(arguments) {
        code.extend(bytes);
        let value = match argument {
            Argument::Number(number) => *number,
            Argument::Space => SPACE,
            Argument::Text(text) => {
                let place = BASE + HEADERS + CODE_BYTES + texts.len() as u64;
                texts.extend(text.bytes().chain([0]));
                place
            }
        };
        code.extend(value.to_le_bytes());
    }
    // mov eax, NUMBER; syscall
    code.push(0xb8);
    code.extend(number.to_le_bytes());
    code.extend([0x0f, 0x05]);
    // mov rdi, rax; neg rdi; cmp rdi, 4095; jbe over; xor edi, edi; over: mov eax, 60; syscall
    code.extend([0x48, 0x89, 0xc7, 0x48, 0xf7, 0xdf, 0x48, 0x81, 0xff, 0xff, 0x0f, 0, 0, 0x76, 2, 0x31, 0xff]);
    code.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
    debug_assert_eq!(code.len() as u64, CODE_BYTES);
    code.extend(texts);
    let mut elf = program(&code);
    // Where nothing may be written and executed, a program whose segment may is not even started.
    if !arguments.iter().any(|argument| matches!(argument, Argument::Space)) {
        elf[SEGMENT_FLAGS] = 5;
        elf[SEGMENT_MEMORY..SEGMENT_MEMORY + 8].copy_from_slice(&(HEADERS + code.len() as u64).to_le_bytes());
    }
    elf
}

/// A program that makes one system call without arguments as programs of 32 bits do, and exits with 0.
pub fn calls_of_32_bits(number: u32) -> Vec<u8> {
    // mov eax, NUMBER; int 0x80; mov eax, 60; xor edi, edi; syscall
    let mut code = vec![0xb8];
    code.extend(number.to_le_bytes());
    code.extend([0xcd, 0x80, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    program(&code)
}

fn program(code: &[u8]) -> Vec<u8> {
    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // One segment that may be read, written and executed; what the file does not fill is zeros.
    elf.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    for word in [0, BASE, BASE, size, SPACE - BASE + SPACE_BYTES, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    /// Writes a program and starts it. A child that another test began in the meantime holds the written file open
    /// until it executes its own program.
    fn start(folder: &tempfile::TempDir, elf: Vec<u8>) -> Child {
        let path = folder.path().join("program");
        fs::write(&path, elf).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match Command::new(&path).spawn() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < end => {
                    std::thread::yield_now();
                }
                started => return started.expect("it starts"),
            }
        }
    }

    #[test]
    fn the_program_that_exits_exits_with_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let status = start(&folder, exits()).wait().expect("it ends");
        assert_eq!(status.code(), Some(1));
    }

    #[test]
    fn a_program_tells_the_error_of_its_call() {
        use Argument::{Number, Space, Text};
        let folder = tempfile::tempdir().expect("a folder");
        let zero = Number(0);
        for (number, arguments, expected) in [
            // uname into space and into nowhere, a call that does not exist, getpid
            (63, [Space, zero, zero, zero, zero, zero], 0),
            (63, [Number(1), zero, zero, zero, zero, zero], 14),
            (999, [zero; 6], 38),
            (39, [zero; 6], 0),
            // chdir to two texts
            (80, [Text("/proc"), zero, zero, zero, zero, zero], 0),
            (80, [Text("/nowhere"), zero, zero, zero, zero, zero], 2),
        ] {
            let status = start(&folder, calls(number, &arguments)).wait().expect("it ends");
            assert_eq!(status.code(), Some(expected), "{number}");
        }
    }

    #[test]
    fn the_program_that_hangs_uses_no_processor() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = start(&folder, hangs());
        std::thread::sleep(Duration::from_millis(100));
        assert!(child.try_wait().expect("asked").is_none());
        child.kill().expect("killed");
        child.wait().expect("collected");
    }
}
