//! Capabilities and users of the process. Runs in the child.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use ferrite_sys::capability::{self, Sets};
use ferrite_unit::capability::{CapabilitySet, number};

/// Capabilities that a kernel may have.
const NUMBERS: std::ops::RangeInclusive<u8> = 0..=62;

/// Leaves only these capabilities to programs executed from now on.
pub fn bound(kept: CapabilitySet) -> io::Result<()> {
    with_setpcap(|| {
        let mut sets = capability::get()?;
        for number in NUMBERS.filter(|number| !kept.has(*number)) {
            // An error: the kernel does not know it, or it is gone already.
            if capability::is_bounding(number).unwrap_or(false) {
                capability::drop_bounding(number)?;
            }
            sets.inheritable &= !(1 << number);
        }
        capability::set(sets)
    })
}

/// Runs something with the right to change bounding sets and secure bits, which PID 1 may lack in force.
pub fn with_setpcap(act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let before = capability::get()?;
    let bit = number("cap_setpcap").map_or(0, |number| 1_u64 << number);
    if before.effective & bit == 0 && before.permitted & bit != 0 {
        capability::set(Sets { effective: before.effective | bit, ..before })?;
    }
    act()
}

/// Lets programs have these capabilities, as far as the bounding set has them.
pub fn raise(set: CapabilitySet, inherit: bool) -> io::Result<()> {
    let numbers: Vec<u8> = set.numbers().filter(|number| capability::is_bounding(*number).unwrap_or(false)).collect();
    if inherit {
        let sets = capability::get()?;
        let bits = numbers.iter().fold(0, |bits, number| bits | 1_u64 << number);
        capability::set(Sets { inheritable: sets.inheritable | bits, ..sets })?;
    }
    capability::clear_ambient()?;
    numbers.iter().try_for_each(|number| capability::raise_ambient(*number))
}

/// Puts capabilities that are still permitted in force.
pub fn regain(set: CapabilitySet) -> io::Result<()> {
    let sets = capability::get()?;
    capability::set(Sets { effective: sets.effective | (set.bits() & sets.permitted), ..sets })
}

/// Takes what installing filters took away: from the bounding set, and out of force.
pub fn give_up(bounding: CapabilitySet, capabilities: CapabilitySet) -> io::Result<()> {
    if bounding != CapabilitySet::ALL {
        bound(bounding)?;
    }
    let sets = capability::get()?;
    let without = |bits: u64| bits & !capabilities.bits();
    capability::set(Sets { effective: without(sets.effective), permitted: without(sets.permitted), ..sets })?;
    ferrite_sys::prctl::keep_capabilities(false)
}

/// The map of a namespace of users: root, and the unit's own user.
fn own_map(id: u32) -> String {
    if id == 0 { "0 0 1\n".to_owned() } else { format!("0 0 1\n{id} {id} 1\n") }
}

/// Enters a namespace of users. A helper outside of it writes the maps: inside there is no right to do it.
pub fn enter_user_namespace(user: u32, group: u32, own: bool) -> io::Result<()> {
    let (users, groups) = match own {
        true => (own_map(user), own_map(group)),
        false => ("0 0 65536\n".to_owned(), "0 0 65536\n".to_owned()),
    };
    let (ready, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let target = std::process::id();
    let helper = ferrite_sys::process::fork_into(None, || write_maps(target, &users, &groups, ready))?;
    let entered = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(io::Error::from);
    let mut tell = fs::File::from(tell);
    // Without the byte the helper writes nothing and ends with an error.
    if entered.is_ok() {
        tell.write_all(b"1")?;
    }
    drop(tell);
    let pid = nix::unistd::Pid::from_raw(helper.pid);
    let written = matches!(nix::sys::wait::waitpid(pid, None), Ok(nix::sys::wait::WaitStatus::Exited(_, 0)));
    entered?;
    if written { Ok(()) } else { Err(io::Error::other("writing the map of users failed")) }
}

/// The helper; returns its exit status.
fn write_maps(target: u32, users: &str, groups: &str, ready: OwnedFd) -> i32 {
    let mut byte = [0];
    let told = fs::File::from(ready).read_exact(&mut byte);
    let write = |file: &str, text: &str| fs::write(format!("/proc/{target}/{file}"), text);
    let written = told.and_then(|()| write("uid_map", users)).and_then(|()| write("gid_map", groups));
    i32::from(written.is_err())
}
