//! Instructions of programs that run in the kernel. Pure.

use ferrite_sys::bpf::Instruction;

/// An instruction; `registers` is the one that is read (high half) and the one that is changed (low half).
pub const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers, offset, immediate }
}

/// Reads four bytes.
pub const LOAD_WORD: u8 = 0x61;
/// Writes a number as four bytes.
pub const STORE_WORD: u8 = 0x62;
/// The address of a map, in two instructions.
pub const LOAD_MAP: u8 = 0x18;
/// Adds to eight bytes of memory, whoever else does so at the same time.
pub const ADD_TO_MEMORY: u8 = 0xdb;
/// A register becomes a number.
pub const MOVE: u8 = 0xb7;
/// A register becomes another one.
pub const MOVE_REGISTER: u8 = 0xbf;
/// The same for the low halves.
pub const MOVE_32: u8 = 0xbc;
/// Adds a number.
pub const ADD: u8 = 0x07;
/// Keeps the bits of a number.
pub const AND_32: u8 = 0x54;
/// Moves bits to the right.
pub const SHIFT_RIGHT_32: u8 = 0x74;
/// Turns bytes from the order of the network.
pub const FROM_NETWORK: u8 = 0xdc;
/// Jumps if a register is a number.
pub const IF: u8 = 0x15;
/// Jumps if it is not.
pub const IF_NOT: u8 = 0x55;
/// The same for the low half.
pub const IF_NOT_32: u8 = 0x56;
/// Jumps if a register is not another one.
pub const IF_NOT_REGISTER: u8 = 0x5d;
/// Jumps if a register is greater than a number.
pub const IF_GREATER: u8 = 0x25;
/// Jumps if it is less.
pub const IF_LESS: u8 = 0xa5;
/// Calls a function of the kernel.
pub const CALL: u8 = 0x85;
/// Ends with what is in register 0.
pub const EXIT: u8 = 0x95;

/// Appends tests, each a jump over all the rest, and what the program says if none of them jumps.
pub fn rule(code: &mut Vec<Instruction>, mut tests: Vec<Instruction>, says: i32) {
    let length = tests.len();
    for (at, test) in tests.iter_mut().enumerate() {
        if matches!(test.code, IF_NOT | IF_NOT_32 | IF_NOT_REGISTER | IF_GREATER | IF_LESS) {
            // Behind the rest of the tests and the two instructions that end the program.
            test.offset = i16::try_from(length - at + 1).unwrap_or(i16::MAX);
        }
    }
    code.extend(tests);
    end(code, says);
}

/// Appends an end.
pub fn end(code: &mut Vec<Instruction>, says: i32) {
    code.extend([instruction(MOVE, 0x00, 0, says), instruction(EXIT, 0, 0, 0)]);
}
