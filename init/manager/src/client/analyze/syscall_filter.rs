//! `systemd-analyze syscall-filter`: the groups of system calls that filters may name.

use anyhow::{Result, bail};
use ferrite_unit::directives::nearest;
use ferrite_unit::syscall::{group_members, group_names};

use super::Call;
use crate::client::print;
use crate::client::style::{BOLD, GREY, paint};

/// What each group is about.
const MEANINGS: [(&str, &str); 29] = [
    ("@default", "Calls that every allow list has"),
    ("@aio", "Asynchronous input and output"),
    ("@basic-io", "Reading, writing and closing"),
    ("@chown", "Changing the owner of files"),
    ("@clock", "Setting the clock"),
    ("@cpu-emulation", "Emulating other processors"),
    ("@debug", "Debugging, tracing and measuring"),
    ("@file-system", "Files and directories"),
    ("@io-event", "Waiting for input and output"),
    ("@ipc", "Pipes, queues and memory of several processes"),
    ("@keyring", "Keys in the kernel"),
    ("@memlock", "Keeping memory from being swapped out"),
    ("@module", "Kernel modules"),
    ("@mount", "Mounting, unmounting and the root directory"),
    ("@network-io", "Sockets"),
    ("@obsolete", "Calls that nobody needs any more"),
    ("@pkey", "Protection keys of memory"),
    ("@privileged", "Calls that need the rights of root"),
    ("@process", "Processes: making, ending, namespaces"),
    ("@raw-io", "Ports of devices"),
    ("@reboot", "Restarting the machine, another kernel"),
    ("@resources", "Scheduling, priorities and limits"),
    ("@sandbox", "Limiting oneself further"),
    ("@setuid", "Changing user and group"),
    ("@signal", "Signals"),
    ("@swap", "Swap space"),
    ("@sync", "Writing memory to disk"),
    ("@system-service", "What an ordinary service needs"),
    ("@timer", "Timers"),
];

/// Prints the named groups, or all of them and the calls that are in none.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let words = call.operands();
    let names: Vec<&str> = match words {
        [] => group_names().collect(),
        words => words.iter().map(String::as_str).collect(),
    };
    let mut blocks = Vec::new();
    for name in names {
        let Some(members) = members(name) else {
            let near = nearest(name, group_names()).map(|near| format!(" Did you mean \"{near}\"?"));
            bail!("Filter set \"{name}\" not found.{}", near.unwrap_or_default());
        };
        let meaning = MEANINGS.iter().find(|(known, _)| *known == name).map_or("All known system calls", |(_, m)| m);
        let lines: String = members.iter().map(|member| format!("    {member}\n")).collect();
        let (title, comment) = (paint(name, BOLD, call.colour), paint(&format!("# {meaning}"), GREY, call.colour));
        blocks.push(format!("{title}\n    {comment}\n{lines}"));
    }
    print(&blocks.join("\n"))
}

fn members(name: &str) -> Option<Vec<&'static str>> {
    match name {
        "@known" => ferrite_unit::syscall::group(name),
        name => group_members(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_a_meaning_and_members() {
        let names: Vec<&str> = group_names().collect();
        assert_eq!(names, MEANINGS.map(|(name, _)| name));
        assert!(names.iter().all(|name| members(name).is_some_and(|members| !members.is_empty())));
        assert!(members("@clock").expect("a group").contains(&"settimeofday"));
        assert!(members("@system-service").expect("a group").contains(&"@aio"));
        assert!(members("@nope").is_none());
    }
}
