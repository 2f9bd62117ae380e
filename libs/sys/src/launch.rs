//! Starting a program without a copy of our memory: the child uses ours, beside us, until its program is there.
//!
//! A copy costs page tables, and a fault for each page that either writes meanwhile. So the child only carries out
//! steps that were prepared: it asks for no memory, and touches nothing but what was prepared for it and a stack of its
//! own. Nobody waits for it, whatever it hangs in: what it uses is freed when the kernel says that it left our memory.

mod child;
mod stack;

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};

use nix::errno::Errno;
use rustix::net::SocketAddrUnix;

use child::Birth;
use stack::Stack;

/// Something that a child does before its program.
#[derive(Debug)]
pub enum Step {
    /// No signal is blocked.
    Unblock,
    /// A session of its own.
    Session,
    /// The bits that new files do not get.
    Mask(u32),
    /// A file becomes standard stream `to` (0, 1 or 2).
    Place {
        /// The file.
        from: Rc<OwnedFd>,
        /// The stream.
        to: i32,
    },
    /// A standard stream leads where another one does.
    Copy {
        /// The other one.
        from: i32,
        /// The stream.
        to: i32,
    },
    /// A standard stream leads to a socket, which is told this first.
    Connect {
        /// The socket, not connected yet.
        socket: Rc<OwnedFd>,
        /// Who listens.
        address: SocketAddrUnix,
        /// The first bytes.
        header: Vec<u8>,
        /// The stream.
        to: i32,
        /// A file in its place, if nobody listens; `None`: where standard error leads.
        otherwise: Option<CString>,
    },
    /// The soft and the hard limit of open files; one that cannot be set stays.
    Files(u64, u64),
    /// A session keyring of its own, where the kernel gives one.
    Keyring,
    /// The working directory.
    Directory {
        /// Its path.
        path: CString,
        /// Does an error not matter?
        optional: bool,
    },
}

/// A step, and what is said of it if it fails.
#[derive(Debug)]
pub struct Act {
    step: Step,
    failure: Vec<u8>,
    status: i32,
}

impl Act {
    /// If it fails, the child ends with this status, and says what it was doing.
    pub fn new(step: Step, status: i32, doing: &str) -> Act {
        Act { step, failure: failure(status, doing), status }
    }
}

/// The beginning of a report, up to the number of the error.
fn failure(status: i32, doing: &str) -> Vec<u8> {
    let mut text = format!("{status} {doing}").replace('\0', " ").into_bytes();
    text.truncate(REPORT_MAX - 16);
    text.push(0);
    text
}

/// Bytes of a report at most.
const REPORT_MAX: usize = 512;

/// A program and everything that is done for it.
#[derive(Debug)]
pub struct Program {
    /// The steps, in order.
    pub acts: Vec<Act>,
    /// Where it may be: the first that is there counts.
    pub candidates: Vec<CString>,
    /// Its arguments, from number 0 on.
    pub arguments: Vec<CString>,
    /// Its variables, as `NAME=value`.
    pub variables: Vec<CString>,
    /// Names of variables that hold its process id.
    pub pid_variables: Vec<String>,
    /// Exit status if it cannot be executed.
    pub status: i32,
    /// What is said then.
    pub doing: String,
}

/// What the child reads. It writes nothing but what is atomic.
struct Recipe {
    program: Program,
    failure: Vec<u8>,
    /// `NAME=` and room for a number.
    pids: Vec<Vec<AtomicU8>>,
    /// Null-terminated.
    arguments: Vec<*const c_char>,
    variables: Vec<*const c_char>,
    /// The file that takes the report, in the child.
    report: i32,
    /// The kernel puts 0 here when the child leaves our memory.
    present: AtomicI32,
}

/// Decimal digits of a process id, and a zero byte.
const DIGITS: usize = 11;

impl Recipe {
    fn new(program: Program, report: BorrowedFd<'_>) -> Recipe {
        let room = |name: &String| -> Vec<AtomicU8> {
            name.bytes().filter(|byte| *byte != 0).chain([b'=']).chain([0; DIGITS]).map(AtomicU8::new).collect()
        };
        let pids: Vec<_> = program.pid_variables.iter().map(room).collect();
        let list = |words: &[CString]| words.iter().map(|word| word.as_ptr()).collect::<Vec<_>>();
        let (mut arguments, mut variables) = (list(&program.arguments), list(&program.variables));
        arguments.push(ptr::null());
        variables.extend(pids.iter().map(|room| room.as_ptr().cast::<c_char>()));
        variables.push(ptr::null());
        Recipe {
            failure: failure(program.status, &program.doing),
            program,
            pids,
            arguments,
            variables,
            report: report.as_raw_fd(),
            present: AtomicI32::new(1),
        }
    }
}

/// A child on its way to its program.
struct Launch {
    recipe: *mut Recipe,
    stack: Option<Stack>,
}

impl Launch {
    fn is_over(&self) -> bool {
        // SAFETY: the recipe is freed by `drop` only; the child and the kernel share nothing but atomics with us.
        unsafe { (*self.recipe).present.load(Ordering::Acquire) == 0 }
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        if self.is_over() {
            // SAFETY: it came from `Box::into_raw`, and the only other user has left.
            drop(unsafe { Box::from_raw(self.recipe) });
        } else if let Some(stack) = self.stack.take() {
            // The child still runs in both.
            std::mem::forget(stack);
        }
    }
}

/// Starts programs, and keeps what their children use until they do not any more.
#[derive(Default)]
pub struct Launcher {
    launches: RefCell<Vec<Launch>>,
    stacks: RefCell<Vec<Stack>>,
}

/// Stacks that are kept for the next children.
const STACKS_MAX: usize = 4;

impl Launcher {
    /// Starts a program, in this control group; returns its process id. Why it could not be executed is written to
    /// `report`, see [`report_text`]; when that is closed, the program is there or the child is gone.
    pub fn launch(&self, group: Option<BorrowedFd<'_>>, program: Program, report: BorrowedFd<'_>) -> io::Result<i32> {
        self.sweep();
        let stack = self.stacks.borrow_mut().pop().map_or_else(Stack::new, Ok)?;
        let recipe = Box::into_raw(Box::new(Recipe::new(program, report)));
        match child::clone(&Birth { recipe, stack: &stack, group }) {
            Ok(pid) => {
                self.launches.borrow_mut().push(Launch { recipe, stack: Some(stack) });
                Ok(pid)
            }
            Err(error) => {
                // SAFETY: it came from `Box::into_raw`, and there is no child.
                drop(unsafe { Box::from_raw(recipe) });
                self.keep(stack);
                Err(error)
            }
        }
    }

    /// Frees what children used that have left.
    pub fn sweep(&self) {
        let mut launches = self.launches.borrow_mut();
        let mut at = 0;
        while let Some(launch) = launches.get(at) {
            if launch.is_over() {
                let mut launch = launches.swap_remove(at);
                launch.stack.take().into_iter().for_each(|stack| self.keep(stack));
            } else {
                at += 1;
            }
        }
    }

    /// How many children are on their way.
    pub fn count(&self) -> usize {
        self.launches.borrow().len()
    }

    fn keep(&self, stack: Stack) {
        let mut stacks = self.stacks.borrow_mut();
        if stacks.len() < STACKS_MAX {
            stacks.push(stack);
        }
    }
}

/// Why a program was not executed: exit status and reason.
pub fn report_text(report: &str) -> String {
    let Some((text, number)) = report.split_once('\0') else { return report.to_owned() };
    let number = number.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    format!("{text}: {}", Errno::from_raw(number).desc())
}

#[cfg(test)]
mod tests;
