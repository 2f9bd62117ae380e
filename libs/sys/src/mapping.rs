//! A part of a file in memory, shared with the file, for many small changes at little cost.
//!
//! Memory of a file answers a bad sector, a full disk or a cut file with SIGBUS. Here a handler puts an empty page in
//! the place of the one that failed and remembers it, and the next `read` or `write` says that the mapping is lost.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Mappings that a process can have at a time.
const PLACES: usize = 64;

/// Where a mapping is, for the handler.
struct Place {
    is_taken: AtomicBool,
    start: AtomicUsize,
    end: AtomicUsize,
    is_lost: AtomicBool,
}

/// A handler can be given nothing, so this is one of the few globals of the tree.
static MAPPINGS: [Place; PLACES] = [const {
    Place {
        is_taken: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        is_lost: AtomicBool::new(false),
    }
}; PLACES];

/// The first bytes of a file, as memory.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    length: usize,
    place: usize,
}

// SAFETY: the memory belongs to the mapping alone in this process, and goes where the mapping goes.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of a file that is open for reading and writing.
    pub fn new(file: &File, length: u64) -> io::Result<Self> {
        catch()?;
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
        let free = |place: &Place| !place.is_taken.swap(true, Ordering::AcqRel);
        let place = MAPPINGS.iter().position(free).ok_or(io::ErrorKind::ResourceBusy)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses replaces no memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            let error = io::Error::last_os_error();
            MAPPINGS[place].is_taken.store(false, Ordering::Release);
            return Err(error);
        }
        MAPPINGS[place].is_lost.store(false, Ordering::Release);
        MAPPINGS[place].start.store(start as usize, Ordering::Release);
        MAPPINGS[place].end.store(start as usize + length, Ordering::Release);
        Ok(Self { start: start.cast(), length, place })
    }

    /// Bytes of the mapping.
    pub fn length(&self) -> u64 {
        self.length as u64
    }

    /// Copies bytes out of the file.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let from = self.address(offset, bytes.len())?;
        // SAFETY: `address` checked that the bytes lie in the mapping, which is not memory of any Rust value.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) };
        self.check()
    }

    /// Copies bytes into the file.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let to = self.address(offset, bytes.len())?;
        // SAFETY: `address` checked that the bytes lie in the mapping, which is not memory of any Rust value.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        self.check()
    }

    /// Whether all that was read and written so far was the file.
    pub fn check(&self) -> io::Result<()> {
        if MAPPINGS[self.place].is_lost.load(Ordering::Acquire) {
            return Err(io::Error::other("a page of the file could not be read or written"));
        }
        Ok(())
    }

    /// Gives the memory back; the file keeps what was written, and what is needed again comes back by itself.
    pub fn release(&self) {
        // SAFETY: of a shared mapping of a file this drops only this process' view of pages.
        // It cannot fail for a whole mapping, and would cost memory only.
        unsafe { libc::madvise(self.start.cast(), self.length, libc::MADV_DONTNEED) };
    }

    fn address(&self, offset: u64, bytes: usize) -> io::Result<*mut u8> {
        let outside = || io::Error::new(io::ErrorKind::UnexpectedEof, "outside of the mapped part of the file");
        let offset = usize::try_from(offset).map_err(|_| outside())?;
        if offset.checked_add(bytes).is_none_or(|end| end > self.length) {
            return Err(outside());
        }
        // SAFETY: the offset lies within the mapping.
        Ok(unsafe { self.start.add(offset) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let place = &MAPPINGS[self.place];
        place.start.store(0, Ordering::Release);
        place.end.store(0, Ordering::Release);
        // SAFETY: the mapping is this value's own, and nobody has an address of it any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
        place.is_taken.store(false, Ordering::Release);
    }
}

/// Installs the handler, once.
fn catch() -> io::Result<()> {
    static CAUGHT: OnceLock<Result<(), i32>> = OnceLock::new();
    let outcome = CAUGHT.get_or_init(|| {
        let action = SigAction::new(SigHandler::SigAction(failed), SaFlags::SA_SIGINFO, SigSet::empty());
        // SAFETY: the handler makes system calls that are allowed in one, and touches atomics only.
        unsafe { sigaction(Signal::SIGBUS, &action) }.map(|_| ()).map_err(|error| error as i32)
    });
    outcome.map_err(io::Error::from_raw_os_error)
}

extern "C" fn failed(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel gives the handler of SA_SIGINFO a valid description.
    let address = unsafe { (*info).si_addr() } as usize;
    let holds =
        |place: &&Place| (place.start.load(Ordering::Acquire)..place.end.load(Ordering::Acquire)).contains(&address);
    // SAFETY: sysconf takes an integer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    if let Some(place) = MAPPINGS.iter().find(holds)
        && page.is_power_of_two()
    {
        place.is_lost.store(true, Ordering::Release);
        let start = (address & !(page - 1)) as *mut c_void;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page lies in a mapping of this module, which is read and written only by copies of bytes.
        if unsafe { libc::mmap(start, page, protection, flags, -1, 0) } != libc::MAP_FAILED {
            return;
        }
    }
    // Not ours, or no memory: the same access again, without a handler.
    // SAFETY: signal takes integers, and is allowed in a handler.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    fn file(bytes: usize) -> File {
        let name = c"mapping";
        let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
        let mut file = File::from(fd);
        file.write_all(&vec![7; bytes]).expect("content");
        file
    }

    #[test]
    fn what_is_written_is_in_the_file_and_the_other_way() {
        let file = file(10_000);
        let mut mapping = Mapping::new(&file, 10_000).expect("a mapping");
        mapping.write(5000, b"hello").expect("it is written");
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, 5000).expect("it is read");
        assert_eq!(&bytes, b"hello");
        mapping.release();
        file.write_all_at(b"world", 9000).expect("it is written");
        mapping.read(9000, &mut bytes).expect("it is read");
        assert_eq!(&bytes, b"world");
    }

    #[test]
    fn nothing_outside_is_touched() {
        let file = file(100);
        let mut mapping = Mapping::new(&file, 100).expect("a mapping");
        assert!(mapping.write(97, b"long").is_err());
        assert!(mapping.read(u64::MAX, &mut [0]).is_err());
        assert!(mapping.read(100, &mut []).is_ok());
    }

    #[test]
    fn a_file_that_shrinks_is_an_error_and_no_signal() {
        let file = file(3 * 65536);
        let mut mapping = Mapping::new(&file, 3 * 65536).expect("a mapping");
        file.set_len(10).expect("it shrinks");
        assert!(mapping.write(2 * 65536, b"lost").is_err());
        assert!(mapping.read(5, &mut [0]).is_err(), "once lost, nothing is trusted");
        let other = Mapping::new(&file, 10).expect("a mapping");
        assert!(other.read(5, &mut [0]).is_ok(), "another mapping is not");
    }
}
