//! The child that shares our memory: how it is made, and what it does. It asks for no memory and uses no `errno`,
//! which is the parent's: every system call here is made directly.

use std::arch::asm;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;

use nix::libc;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

use super::stack::Stack;
use super::{REPORT_MAX, Recipe, Step};
use crate::process::{CLONE_CLEAR_SIGHAND, CLONE_INTO_CGROUP, CloneArguments};

/// What is needed to make the child.
pub(super) struct Birth<'a> {
    pub(super) recipe: *const Recipe,
    pub(super) stack: &'a Stack,
    pub(super) group: Option<BorrowedFd<'a>>,
}

/// Makes the child; it begins on its stack with the recipe.
pub(super) fn clone(birth: &Birth<'_>) -> std::io::Result<i32> {
    let (stack, stack_size) = birth.stack.range();
    // SAFETY: the recipe is valid; only the address of the number is taken.
    let present = unsafe { (*birth.recipe).present.as_ptr() } as u64;
    let mut arguments = CloneArguments {
        flags: libc::CLONE_VM as u64 | libc::CLONE_CHILD_CLEARTID as u64 | CLONE_CLEAR_SIGHAND,
        child_tid: present,
        exit_signal: libc::SIGCHLD as u64,
        stack,
        stack_size,
        ..CloneArguments::default()
    };
    if let Some(group) = birth.group {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    let outcome: i64;
    // SAFETY: the arguments are valid for their size. The child has a stack of its own, on which `begin` is called with
    // the recipe; it never comes back here. Recipe and stack are not freed before the kernel says that it has left.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => outcome,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<CloneArguments>(),
            in("r12") birth.recipe,
            in("r13") begin as extern "C" fn(*const Recipe) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match i32::try_from(outcome) {
        Ok(error) if error < 0 => Err(std::io::Error::from_raw_os_error(-error)),
        Ok(pid) => Ok(pid),
        Err(_) => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

extern "C" fn begin(recipe: *const Recipe) -> ! {
    // SAFETY: the parent keeps the recipe as long as this process uses its memory.
    let status = run(unsafe { &*recipe });
    loop {
        // SAFETY: exit_group takes an integer and does not return.
        unsafe { call(libc::SYS_exit_group, [status as usize, 0, 0, 0]) };
    }
}

/// One system call with integers and addresses: the result, or a negative error.
// SAFETY: whoever calls this says why the arguments are what the call may be given.
unsafe fn call(number: i64, arguments: [usize; 4]) -> i64 {
    let [first, second, third, fourth] = arguments;
    let outcome;
    // SAFETY: the caller answers for the arguments; the kernel changes no other registers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => outcome,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    outcome
}

/// The error of a call.
fn checked(outcome: i64) -> Result<(), Errno> {
    match i32::try_from(outcome) {
        Ok(error) if error < 0 => Err(Errno::from_raw_os_error(-error)),
        _ => Ok(()),
    }
}

/// Everything; returns the exit status of a failure.
fn run(recipe: &Recipe) -> i32 {
    for act in &recipe.program.acts {
        if let Err(error) = carry_out(&act.step) {
            say(recipe, &act.failure, error);
            return act.status;
        }
    }
    fill_in(recipe);
    let error = execute(recipe);
    say(recipe, &recipe.failure, error);
    recipe.program.status
}

fn carry_out(step: &Step) -> Result<(), Errno> {
    match step {
        Step::Unblock => unblock(),
        Step::Session => rustix::process::setsid().map(|_| ()),
        Step::Mask(mask) => {
            rustix::process::umask(Mode::from_bits_truncate(*mask));
            Ok(())
        }
        Step::Place { from, to } => place(from, *to),
        Step::Copy { from, to } if *from == 1 => place(rustix::stdio::stdout(), *to),
        Step::Copy { to, .. } => place(rustix::stdio::stderr(), *to),
        Step::Connect { socket, address, header, to, otherwise } => {
            let said = rustix::net::connect(socket, address).and_then(|()| rustix::io::write(socket, header));
            match (said, otherwise) {
                (Ok(_), _) => place(socket, *to),
                (Err(_), Some(path)) => place_file(path, *to).or_else(|_| place(rustix::stdio::stderr(), *to)),
                (Err(_), None) => place(rustix::stdio::stderr(), *to),
            }
        }
        Step::Files(soft, hard) => {
            let limit = Rlimit { current: Some(*soft), maximum: Some(*hard) };
            let _ = rustix::process::setrlimit(Resource::Nofile, limit);
            Ok(())
        }
        Step::Keyring => join_keyring(),
        Step::Directory { path, optional } => match rustix::process::chdir(path.as_c_str()) {
            Err(_) if *optional => Ok(()),
            outcome => outcome,
        },
    }
}

/// Makes a file a standard stream.
fn place(from: impl std::os::fd::AsFd, to: i32) -> Result<(), Errno> {
    match to {
        0 => rustix::stdio::dup2_stdin(from),
        1 => rustix::stdio::dup2_stdout(from),
        _ => rustix::stdio::dup2_stderr(from),
    }
}

fn place_file(path: &CStr, to: i32) -> Result<(), Errno> {
    place(rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?, to)
}

fn unblock() -> Result<(), Errno> {
    let none = 0_u64;
    // SAFETY: the call reads a set of the size given, and writes nothing.
    checked(unsafe {
        call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as usize, &raw const none as usize, 0, size_of::<u64>()])
    })
}

fn join_keyring() -> Result<(), Errno> {
    const JOIN_SESSION_KEYRING: usize = 1;
    // SAFETY: with a null pointer in place of a name the call touches no memory.
    match checked(unsafe { call(libc::SYS_keyctl, [JOIN_SESSION_KEYRING, 0, 0, 0]) }) {
        // A kernel without keys, a container that keeps them from us, too many of them.
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::DQUOT) => Ok(()),
        outcome => outcome,
    }
}

/// Writes the process id into the variables that hold it.
fn fill_in(recipe: &Recipe) {
    let mut digits = [0; 10];
    let digits = decimal(rustix::process::getpid().as_raw_nonzero().get().unsigned_abs(), &mut digits);
    for room in &recipe.pids {
        let from = room.len().saturating_sub(super::DIGITS);
        for (byte, digit) in room.iter().skip(from).zip(digits) {
            byte.store(*digit, Ordering::Relaxed);
        }
    }
}

/// The digits of a number.
fn decimal(mut number: u32, space: &mut [u8; 10]) -> &[u8] {
    let mut first = space.len();
    for (place, byte) in space.iter_mut().enumerate().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
        first = place;
        if number == 0 {
            break;
        }
    }
    space.get(first..).unwrap_or_default()
}

/// Executes the first candidate that is there. Returns only what went wrong.
fn execute(recipe: &Recipe) -> Errno {
    let mut last = Errno::NOENT;
    for candidate in &recipe.program.candidates {
        let (arguments, variables) = (recipe.arguments.as_ptr() as usize, recipe.variables.as_ptr() as usize);
        // SAFETY: the path and all words end with a zero byte, both lists with a null pointer.
        let outcome = unsafe { call(libc::SYS_execve, [candidate.as_ptr() as usize, arguments, variables, 0]) };
        match checked(outcome) {
            Err(Errno::NOENT) | Ok(()) => {}
            Err(error) => last = error,
        }
    }
    last
}

/// Tells what failed, in one write.
fn say(recipe: &Recipe, failure: &[u8], error: Errno) {
    let (mut text, mut digits) = ([0; REPORT_MAX], [0; 10]);
    let digits = decimal(error.raw_os_error().unsigned_abs(), &mut digits);
    for (place, byte) in text.iter_mut().zip(failure.iter().chain(digits)) {
        *place = *byte;
    }
    let length = text.len().min(failure.len() + digits.len());
    // SAFETY: the text is valid for its length.
    unsafe { call(libc::SYS_write, [recipe.report as usize, text.as_ptr() as usize, length, 0]) };
}
