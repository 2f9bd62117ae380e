//! Programs that run in the kernel for the processes of a control group: what they may use, and what passes.
//!
//! A program stays with its group whatever becomes of this process, and is found again by its name.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;

/// One instruction: `struct bpf_insn` of linux/bpf.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Class, operation and source of its operand.
    pub code: u8,
    /// The register that is changed (low half) and the one that is read (high half).
    pub registers: u8,
    /// How far a jump goes, or where memory is read.
    pub offset: i16,
    /// A number.
    pub immediate: i32,
}

/// Where in the kernel a program decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A device is opened or made.
    Device,
    /// A packet comes to a socket.
    Ingress,
    /// A packet leaves a socket.
    Egress,
    /// A socket is bound to an address of IPv4.
    Bind4,
    /// A socket is bound to an address of IPv6.
    Bind6,
}

impl Place {
    /// The kind of program that belongs here.
    fn program(self) -> u32 {
        match self {
            Place::Device => 15,
            Place::Ingress | Place::Egress => 8,
            Place::Bind4 | Place::Bind6 => 18,
        }
    }

    /// The kernel's number of the place.
    fn number(self) -> u32 {
        match self {
            Place::Ingress => 0,
            Place::Egress => 1,
            Place::Device => 6,
            Place::Bind4 => 8,
            Place::Bind6 => 9,
        }
    }
}

/// The parts of `union bpf_attr` for the commands used here.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    place: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    place: u32,
    flags: u32,
}

#[repr(C)]
struct Query {
    target: u32,
    place: u32,
    query_flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
}

#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
struct InfoOf {
    file: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    lengths: [u32; 2],
    code: [u64; 2],
    loaded: u64,
    user: u32,
    map_count: u32,
    maps: u64,
    name: [u8; 16],
}

#[repr(C)]
struct NewMap {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; 16],
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_DETACH: libc::c_int = 9;
const PROG_BY_ID: libc::c_int = 13;
const MAP_BY_ID: libc::c_int = 14;
const INFO_BY_FILE: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;
/// Groups below may have programs of their own; all of them must agree.
const ALLOW_MULTI: u32 = 2;
/// Programs of one place of a group that are looked at; the kernel allows no more.
const PROGRAMS_MAX: usize = 64;
/// Our programs are found by this name.
const NAME: [u8; 16] = *b"ferrite_unit\0\0\0\0";

fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    let size = std::mem::size_of::<T>();
    // SAFETY: the kernel reads and writes attributes of the size given, and what they point to; all outlives the call.
    let outcome = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    match libc::c_int::try_from(outcome) {
        Ok(outcome) if outcome >= 0 => Ok(outcome),
        _ => Err(io::Error::last_os_error()),
    }
}

fn open<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    let number = call(command, attributes)?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn number(file: &impl AsRawFd) -> u32 {
    u32::try_from(file.as_raw_fd()).unwrap_or(u32::MAX)
}

/// Puts a program into its place in a group, instead of those that we put there before.
pub fn guard(group: BorrowedFd<'_>, place: Place, instructions: &[Instruction]) -> io::Result<()> {
    let mut load = Load {
        kind: place.program(),
        count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
        name: NAME,
        interface: 0,
        place: place.number(),
    };
    let program = open(PROG_LOAD, &mut load)?;
    let old = ours(group, place);
    let mut attach =
        Attach { target: number(&group), program: number(&program), place: place.number(), flags: ALLOW_MULTI };
    call(PROG_ATTACH, &mut attach)?;
    old.iter().try_for_each(|(program, _)| remove(group, place, program))
}

/// Takes our programs out of a place of a group.
pub fn unguard(group: BorrowedFd<'_>, place: Place) -> io::Result<()> {
    ours(group, place).iter().try_for_each(|(program, _)| remove(group, place, program))
}

fn remove(group: BorrowedFd<'_>, place: Place, program: &OwnedFd) -> io::Result<()> {
    let mut detach = Attach { target: number(&group), program: number(program), place: place.number(), flags: 0 };
    call(PROG_DETACH, &mut detach).map(|_| ())
}

/// Our programs in a place of a group, each with its first map. What cannot be looked at is not ours.
fn ours(group: BorrowedFd<'_>, place: Place) -> Vec<(OwnedFd, Option<u32>)> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let mut query = Query {
        target: number(&group),
        place: place.number(),
        query_flags: 0,
        attach_flags: 0,
        programs: ids.as_mut_ptr() as u64,
        count: u32::try_from(PROGRAMS_MAX).unwrap_or(0),
    };
    if call(PROG_QUERY, &mut query).is_err() {
        return Vec::new();
    }
    let count = usize::try_from(query.count).unwrap_or(0);
    ids.iter().take(count).filter_map(|id| program_of(*id)).collect()
}

fn program_of(id: u32) -> Option<(OwnedFd, Option<u32>)> {
    let program = open(PROG_BY_ID, &mut ById { id, next: 0, flags: 0 }).ok()?;
    let mut map = [0_u32; 1];
    let mut info = Info { map_count: 1, maps: map.as_mut_ptr() as u64, ..Info::default() };
    let length = u32::try_from(std::mem::size_of::<Info>()).unwrap_or(0);
    let mut of = InfoOf { file: number(&program), length, info: std::ptr::from_mut(&mut info) as u64 };
    call(INFO_BY_FILE, &mut of).ok()?;
    let [map] = map;
    (info.name == NAME).then_some((program, (info.map_count > 0).then_some(map)))
}

/// Numbers that programs count up.
#[derive(Debug)]
pub struct Counters(OwnedFd);

impl Counters {
    /// So many of them, all 0.
    pub fn new(count: u32) -> io::Result<Counters> {
        const ARRAY: u32 = 2;
        let mut map = NewMap {
            kind: ARRAY,
            key_bytes: 4,
            value_bytes: 8,
            entries: count,
            flags: 0,
            inner: 0,
            node: 0,
            name: NAME,
        };
        open(MAP_CREATE, &mut map).map(Counters)
    }

    /// Those that our program in this place of a group counts up.
    pub fn of(group: BorrowedFd<'_>, place: Place) -> Option<Counters> {
        let id = ours(group, place).into_iter().find_map(|(_, map)| map)?;
        open(MAP_BY_ID, &mut ById { id, next: 0, flags: 0 }).ok().map(Counters)
    }

    /// How far one of them is.
    pub fn read(&self, key: u32) -> io::Result<u64> {
        let mut value = 0_u64;
        let mut element = Element {
            map: number(&self.0),
            padding: 0,
            key: std::ptr::from_ref(&key) as u64,
            value: std::ptr::from_mut(&mut value) as u64,
            flags: 0,
        };
        call(MAP_LOOKUP, &mut element)?;
        Ok(value)
    }

    /// The number of its file, as programs name it when they are loaded.
    pub fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
