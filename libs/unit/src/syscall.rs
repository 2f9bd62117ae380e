//! System calls as filters name them: names, groups, error numbers. Pure.

use std::collections::BTreeMap;

use crate::errno;
use crate::syscall_groups::GROUPS;
use crate::syscall_numbers::NUMBERS;
use crate::value::{Parsed, wrong};

/// Names that are known, but not to the kernel of any architecture of today: `@known` does not hold them.
const UNKNOWN_TO_KERNELS: [&str; 7] =
    ["arm_sync_file_range", "breakpoint", "get_tls", "nfsservctl", "set_tls", "usr26", "usr32"];

/// What a call gets that a filter names with a `:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The end of its process.
    Kill,
    /// This error.
    Errno(i32),
}

/// A machine that system calls belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Machine {
    X86_64,
    X86,
    X32,
    Arm64,
    Arm,
}

/// A list of system calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyscallFilter {
    /// Does the list name what is allowed?
    pub allow: bool,
    /// The calls by name; with an answer: this instead of the usual one.
    pub calls: BTreeMap<&'static str, Option<Answer>>,
}

/// What a word does to a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Named to be allowed (or logged).
    Plain,
    /// Named behind `~`.
    Inverted,
}

impl SyscallFilter {
    /// A list that begins with this kind of word.
    pub fn new(change: Change) -> SyscallFilter {
        SyscallFilter { allow: change == Change::Plain, calls: BTreeMap::new() }
    }

    /// Takes a word `name`, `@group` or `name:error`.
    pub fn word(&mut self, word: &str, change: Change) -> Parsed<()> {
        let (name, answer) = match word.split_once(':') {
            Some((name, answer)) => (name, Some(parse_answer(answer)?)),
            None => (word, None),
        };
        if change == Change::Plain && answer.is_some() {
            return Err(wrong(word, "an allowed system call: only those behind '~' have an error number"));
        }
        self.name(name, change, answer)
    }

    /// Takes a name or a group.
    pub fn name(&mut self, name: &str, change: Change, answer: Option<Answer>) -> Parsed<()> {
        if !name.starts_with('@') {
            let call = known(name).ok_or_else(|| wrong(name, "a system call"))?;
            self.call(call, change, answer);
            return Ok(());
        }
        for call in group(name).ok_or_else(|| wrong(name, "a group of system calls such as @system-service"))? {
            self.call(call, change, answer);
        }
        Ok(())
    }

    fn call(&mut self, call: &'static str, change: Change, answer: Option<Answer>) {
        let listed = (change == Change::Plain) == self.allow;
        // In a list of what is allowed, one with an error number is still denied.
        if listed || answer.is_some() {
            self.calls.insert(call, answer);
        } else {
            self.calls.remove(call);
        }
    }
}

fn parse_answer(text: &str) -> Parsed<Answer> {
    if text == "kill" { Ok(Answer::Kill) } else { errno::parse(text).map(Answer::Errno) }
}

/// The name of a known system call.
pub fn known(name: &str) -> Option<&'static str> {
    // To systemd's library these two, of one architecture that is not ours, are the same.
    let name = if name == "switch_endian" { "sys_debug_setcontext" } else { name };
    NUMBERS.binary_search_by(|(have, _)| (*have).cmp(name)).ok().and_then(|at| NUMBERS.get(at)).map(|(name, _)| *name)
}

/// The number of a system call.
pub fn number(name: &str, machine: Machine) -> Option<u32> {
    let at = NUMBERS.binary_search_by(|(have, _)| (*have).cmp(name)).ok()?;
    let [x86_64, x86, x32, arm64, arm] = NUMBERS.get(at)?.1;
    u32::try_from(match machine {
        Machine::X86_64 => x86_64,
        Machine::X86 => x86,
        Machine::X32 => x32,
        Machine::Arm64 => arm64,
        Machine::Arm => arm,
    })
    .ok()
}

/// All calls of a group; members that no kernel knows are left out.
pub fn group(name: &str) -> Option<Vec<&'static str>> {
    if name == "@known" {
        return Some(NUMBERS.iter().map(|(name, _)| *name).filter(|n| !UNKNOWN_TO_KERNELS.contains(n)).collect());
    }
    let mut calls = Vec::new();
    let mut open: Vec<&str> = group_members(name)?.into_iter().rev().collect();
    while let Some(word) = open.pop() {
        match group_members(word) {
            Some(inner) => open.extend(inner.into_iter().rev()),
            None => calls.extend(known(word)),
        }
    }
    Some(calls)
}

/// The names of the groups.
pub fn group_names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, _)| *name)
}

/// What a group names itself: calls and other groups.
pub fn group_members(name: &str) -> Option<Vec<&'static str>> {
    GROUPS.iter().find(|(have, _)| *have == name).map(|(_, members)| members.split_ascii_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_names_is_sorted() {
        assert!(NUMBERS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn groups_hold_groups_and_only_known_names() {
        let service = group("@system-service").unwrap();
        assert!(service.contains(&"read") && service.contains(&"capset") && !service.contains(&"mount"));
        for (name, members) in GROUPS {
            assert!(group(name).is_some_and(|calls| !calls.is_empty()), "{name}");
            for inner in members.split(' ').filter(|word| word.starts_with('@')) {
                assert!(group(inner).is_some(), "{name} names {inner}");
            }
        }
        assert!(group("@known").unwrap().len() > 400 && group("@nope").is_none());
    }

    #[test]
    fn a_list_of_what_is_allowed_can_be_cut_and_one_of_what_is_denied_lengthened() {
        let mut filter = SyscallFilter::new(Change::Plain);
        filter.word("@system-service", Change::Plain).unwrap();
        filter.word("@resources", Change::Inverted).unwrap();
        filter.word("chown:EPERM", Change::Inverted).unwrap();
        assert!(!filter.calls.contains_key("setrlimit"));
        assert_eq!(filter.calls["chown"], Some(Answer::Errno(1)));
        let mut filter = SyscallFilter::new(Change::Inverted);
        filter.word("@mount", Change::Inverted).unwrap();
        filter.word("umount2", Change::Plain).unwrap();
        assert!(filter.calls.contains_key("mount") && !filter.calls.contains_key("umount2"));
        assert!(filter.word("read:EPERM", Change::Plain).is_err() && filter.word("nope", Change::Plain).is_err());
    }
}
