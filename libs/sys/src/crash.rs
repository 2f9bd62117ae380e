//! What PID 1 does when it crashes: it becomes its next image, which takes over what is kept ready for it.
//!
//! A signal handler may do next to nothing: everything it needs is prepared here, in memory that is never freed, and
//! the handler makes system calls only. It runs on a stack of its own, as the first one may have overflowed.

use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Signals that tell of a bug or of broken memory.
pub const FATAL: [Signal; 5] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT];
/// Bytes of the handler's stack; it needs a few hundred.
const STACK_BYTES: usize = 64 * 1024;

/// Program and arguments in the form that the kernel takes. Never freed.
struct Image {
    program: *const c_char,
    arguments: *const *const c_char,
}

/// The next image. A handler can be given nothing, so this is one of the few globals of the tree.
static NEXT: AtomicPtr<Image> = AtomicPtr::new(ptr::null_mut());
/// The greatest number of a file that the next image may want.
static LAST_FILE: AtomicI32 = AtomicI32::new(2);
/// Is this the PID 1 of the machine, which the kernel does not let end?
static MACHINE: AtomicBool = AtomicBool::new(false);

/// Is this a child that has not executed its program yet? Its number may be 1, in a namespace of its own.
static CHILD: AtomicBool = AtomicBool::new(false);

/// From here on this is a child.
pub(crate) fn note_child() {
    CHILD.store(true, Ordering::Release);
}

/// Is this process PID 1 itself, and not a child of it that has not executed its program yet?
pub fn is_first() -> bool {
    // SAFETY: getpid cannot fail and touches no memory.
    !CHILD.load(Ordering::Acquire) && unsafe { libc::getpid() } == 1
}

/// Chooses the next image. Each choice costs the memory of its words for good.
pub fn choose_next(program: CString, arguments: Vec<CString>) {
    let mut words: Vec<*const c_char> = arguments.into_iter().map(|word| word.into_raw().cast_const()).collect();
    words.push(ptr::null());
    let arguments = Vec::leak(words).as_ptr();
    let image = Image { program: program.into_raw(), arguments };
    NEXT.store(Box::into_raw(Box::new(image)), Ordering::Release);
}

/// Files with numbers up to this one stay open for the next image.
pub fn keep_files_up_to(number: RawFd) {
    LAST_FILE.fetch_max(number, Ordering::Release);
}

/// From now on fatal signals lead to the next image. On a machine, what fails then restarts it; elsewhere it ends.
pub fn arm(machine: bool) -> io::Result<()> {
    MACHINE.store(machine, Ordering::Release);
    let stack: &'static mut [u8] = Vec::leak(vec![0; STACK_BYTES]);
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK_BYTES };
    // SAFETY: the stack is valid for good, and nobody else uses it.
    if unsafe { libc::sigaltstack(&stack, ptr::null_mut()) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // A second crash inside the handler is not caught again.
    let flags = SaFlags::SA_ONSTACK | SaFlags::SA_NODEFER | SaFlags::SA_RESETHAND;
    let action = SigAction::new(SigHandler::Handler(crashed), flags, SigSet::empty());
    for signal in FATAL {
        // SAFETY: the handler only makes calls that are allowed in one.
        unsafe { sigaction(signal, &action) }?;
    }
    let fatal: SigSet = FATAL.into_iter().collect();
    fatal.thread_unblock()?;
    Ok(())
}

extern "C" fn crashed(signal: c_int) {
    if !is_first() {
        // A child that has not executed its program yet dies of the signal, whose handler is the default one by now.
        // SAFETY: raise takes an integer and may be called here.
        unsafe { libc::raise(signal) };
        return;
    }
    say(b"<3>init: PID 1 crashed by a signal, executing it again\n");
    become_next()
}

/// Becomes the next image at once, from a handler or not. Without one the machine restarts, or the process ends.
pub fn become_next() -> ! {
    let image = NEXT.load(Ordering::Acquire);
    if !image.is_null() {
        for number in 3..=LAST_FILE.load(Ordering::Acquire) {
            // SAFETY: F_SETFD takes integers only; a number that is not open is an error without effect.
            unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
        }
        // SAFETY: the image was leaked by `choose_next`: program and words end with a zero byte, the list with a null.
        unsafe {
            libc::execv((*image).program, (*image).arguments);
            libc::execv(c"/proc/self/exe".as_ptr(), (*image).arguments);
        }
    }
    give_up()
}

/// The end of what cannot go on: a machine writes everything back and restarts, another PID 1 ends.
pub fn give_up() -> ! {
    say(b"<2>init: PID 1 cannot go on\n");
    if MACHINE.load(Ordering::Acquire) {
        // SAFETY: neither call touches memory; without pings the hardware watchdog bounds both.
        unsafe {
            libc::sync();
            libc::reboot(libc::RB_AUTOBOOT);
        }
    }
    // SAFETY: _exit never returns and runs nothing; for a machine the kernel panics and restarts it.
    unsafe { libc::_exit(70) }
}

/// To the kernel log, and to standard error where there is none to write to.
fn say(text: &[u8]) {
    // SAFETY: the text is valid for its length, the path ends with a zero byte; all three may be called in a handler.
    unsafe {
        let machine = MACHINE.load(Ordering::Acquire);
        let log = if machine { libc::open(c"/dev/kmsg".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) } else { 2 };
        libc::write(if log == -1 { 2 } else { log }, text.as_ptr().cast(), text.len());
        if log > 2 {
            libc::close(log);
        }
    }
}

/// Ends a child that must not go on as its parent would: nothing of the parent's is run.
pub fn end_child(status: i32) -> ! {
    // SAFETY: _exit never returns and runs nothing.
    unsafe { libc::_exit(status) }
}

/// Ways to crash, for tests of what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Memory that is not there.
    Memory,
    /// The end of the stack.
    Stack,
    /// `abort`.
    Abort,
    /// A panic.
    Panic,
    /// An allocation that fails.
    Allocation,
}

/// Crashes.
pub fn inject(fault: Fault) {
    match fault {
        // SAFETY: unmapped by intention: the signal is what is wanted.
        Fault::Memory => unsafe { ptr::write_volatile(std::hint::black_box(8 as *mut u8), 1) },
        Fault::Stack => drop(std::hint::black_box(endless(1))),
        Fault::Abort => std::process::abort(),
        Fault::Panic => panic!("a fault was injected"),
        Fault::Allocation => std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>()),
    }
}

#[allow(unconditional_recursion)]
#[inline(never)]
fn endless(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 512]);
    endless(depth.wrapping_add(1)).wrapping_add(room[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_dies_of_its_own_faults_although_the_handler_is_there() {
        for (fault, signal) in [(Fault::Memory, 11), (Fault::Stack, 11), (Fault::Abort, 6)] {
            let child = crate::process::fork_into(None, || {
                // Nothing of a core file is wanted.
                let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
                if arm(false).is_err() {
                    return 1;
                }
                inject(fault);
                0
            })
            .expect("a child");
            let pid = rustix::process::Pid::from_raw(child.pid);
            let status = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).expect("it ends");
            assert_eq!(status.and_then(|(_, status)| status.terminating_signal()), Some(signal), "{fault:?}");
        }
    }
}
