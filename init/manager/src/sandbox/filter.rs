//! Filters of system calls: rules by name, assembled into the kernel's instructions for every architecture here. Pure.
//!
//! Arguments are compared in their low 32 bits: the kernel looks at no more of the ones that rules speak of.

use std::collections::BTreeMap;

use ferrite_sys::seccomp::Instruction;
use ferrite_unit::syscall::{self, Machine};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Allow,
    /// It is carried out and written into the kernel's log of audits.
    Log,
    /// It fails with this error.
    Errno(u16),
    /// Its process is ended.
    Kill,
}

/// What is asked of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Equal to.
    Is(u32),
    /// Different from.
    IsNot(u32),
    /// Greater than.
    Above(u32),
    /// All of these bits are set.
    Has(u32),
}

/// A condition on one argument, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument.
    pub argument: u8,
    /// What is asked.
    pub test: Test,
}

/// A call, under conditions that must all hold, gets a verdict. Of several rules for one call the first one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The name of the call.
    pub call: &'static str,
    /// The conditions.
    pub conditions: Vec<Condition>,
    /// The verdict.
    pub verdict: Verdict,
}

impl Rule {
    /// A rule without conditions.
    pub fn plain(call: &'static str, verdict: Verdict) -> Rule {
        Rule { call, conditions: Vec::new(), verdict }
    }
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The setting that it comes from.
    pub setting: &'static str,
    /// The rules.
    pub rules: Vec<Rule>,
    /// What all calls get that no rule speaks of.
    pub otherwise: Verdict,
    /// What calls of other architectures get.
    pub foreign: Verdict,
    /// The architectures whose calls the rules speak of.
    pub machines: &'static [Machine],
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_ABOVE: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What x32 adds to the numbers of its calls.
const X32_MARK: u32 = 0x4000_0000;

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, yes: 0, no: 0, operand }
}

fn verdict(verdict: Verdict) -> Instruction {
    let value = match verdict {
        Verdict::Allow => 0x7fff_0000,
        Verdict::Log => 0x7ffc_0000,
        Verdict::Errno(error) => 0x0005_0000 | u32::from(error),
        Verdict::Kill => 0x8000_0000,
    };
    plain(RETURN, value)
}

/// The kernel's number of an architecture.
fn audit(machine: Machine) -> u32 {
    match machine {
        Machine::X86_64 | Machine::X32 => 0xc000_003e,
        Machine::X86 => 0x4000_0003,
        Machine::Arm64 => 0xc000_00b7,
        Machine::Arm => 0x4000_0028,
    }
}

/// What is done with calls from a number on, up to the next such entry.
struct Range {
    from: u32,
    code: Vec<Instruction>,
}

/// The instructions of a filter.
pub fn assemble(filter: &Filter) -> Vec<Instruction> {
    let mut code = vec![plain(LOAD, ARCHITECTURE)];
    let mut done = Vec::new();
    for machine in filter.machines {
        let architecture = audit(*machine);
        if done.contains(&architecture) {
            continue;
        }
        done.push(architecture);
        let mut ranges = ranges(filter, *machine);
        if *machine == Machine::X86_64 {
            ranges.extend(marked(filter));
        }
        let mut section = vec![plain(LOAD, NUMBER)];
        section.extend(tree(&ranges));
        // The section is skipped by a far jump: it may be longer than a near one reaches.
        code.push(Instruction { code: IF_EQUAL, yes: 1, no: 0, operand: architecture });
        code.push(plain(JUMP, length(&section)));
        code.extend(section);
    }
    code.push(verdict(filter.foreign));
    code
}

fn length(code: &[Instruction]) -> u32 {
    u32::try_from(code.len()).unwrap_or(u32::MAX)
}

/// What becomes of the numbers of x32, which begin where those of x86-64 end.
fn marked(filter: &Filter) -> Vec<Range> {
    if !filter.machines.contains(&Machine::X32) {
        return vec![Range { from: X32_MARK, code: vec![verdict(filter.foreign)] }];
    }
    let shifted = |range: Range| Range { from: range.from + X32_MARK, code: range.code };
    ranges(filter, Machine::X32).into_iter().map(shifted).collect()
}

/// All numbers from 0 on, neighbours with the same code joined.
fn ranges(filter: &Filter, machine: Machine) -> Vec<Range> {
    let mut calls: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
    for rule in &filter.rules {
        if let Some(number) = syscall::number(rule.call, machine) {
            calls.entry(number).or_default().push(rule);
        }
    }
    let mut ranges: Vec<Range> = Vec::new();
    let mut add = |from: u32, code: Vec<Instruction>| match ranges.last() {
        Some(last) if last.code == code => {}
        _ => ranges.push(Range { from, code }),
    };
    let otherwise = vec![verdict(filter.otherwise)];
    let mut next = 0;
    for (number, rules) in calls {
        if number > next {
            add(next, otherwise.clone());
        }
        add(number, leaf(&rules, filter.otherwise));
        next = number + 1;
    }
    add(next, otherwise);
    ranges
}

/// The code of one call.
fn leaf(rules: &[&Rule], otherwise: Verdict) -> Vec<Instruction> {
    let mut code = Vec::new();
    for rule in rules {
        if rule.conditions.is_empty() {
            code.push(verdict(rule.verdict));
            return code;
        }
        code.extend(conditional(rule));
    }
    code.push(verdict(otherwise));
    code
}

/// Instructions that end with the verdict when all conditions hold, and behind it when one does not.
fn conditional(rule: &Rule) -> Vec<Instruction> {
    let mut backwards = vec![verdict(rule.verdict)];
    for condition in rule.conditions.iter().rev() {
        // Both kinds of tests skip what follows when they fail; it is never longer than a near jump reaches.
        let skip = u8::try_from(backwards.len()).unwrap_or(u8::MAX);
        let when = |code: u16, operand: u32| Instruction { code, yes: 0, no: skip, operand };
        let unless = |code: u16, operand: u32| Instruction { code, yes: skip, no: 0, operand };
        let test = match condition.test {
            Test::Is(value) | Test::Has(value) => when(IF_EQUAL, value),
            Test::IsNot(value) => unless(IF_EQUAL, value),
            Test::Above(value) => when(IF_ABOVE, value),
        };
        backwards.push(test);
        if let Test::Has(bits) = condition.test {
            backwards.push(plain(AND, bits));
        }
        backwards.push(plain(LOAD, ARGUMENTS + 8 * u32::from(condition.argument)));
    }
    backwards.reverse();
    backwards
}

/// A search by halves for the range that a number lies in.
fn tree(ranges: &[Range]) -> Vec<Instruction> {
    match ranges {
        [] => Vec::new(),
        [only] => only.code.clone(),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (below, above) = (tree(low), tree(high));
            let border = high.first().map_or(0, |range| range.from);
            let mut code = match u8::try_from(below.len()) {
                Ok(near) => vec![Instruction { code: IF_AT_LEAST, yes: near, no: 0, operand: border }],
                Err(_) => {
                    let test = Instruction { code: IF_AT_LEAST, yes: 0, no: 1, operand: border };
                    vec![test, plain(JUMP, length(&below))]
                }
            };
            code.extend(below);
            code.extend(above);
            code
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const ALL: &[Machine] = &[Machine::X86_64, Machine::X32, Machine::X86];

    /// Runs the instructions as the kernel does.
    pub fn run(code: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut accumulator) = (0, 0_u32);
        loop {
            let instruction = code[at];
            at += 1;
            let skip = |holds: bool| usize::from(if holds { instruction.yes } else { instruction.no });
            match instruction.code {
                LOAD => {
                    accumulator = match instruction.operand {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        offset => arguments[(offset as usize - 16) / 8] as u32,
                    }
                }
                AND => accumulator &= instruction.operand,
                JUMP => at += instruction.operand as usize,
                IF_EQUAL => at += skip(accumulator == instruction.operand),
                IF_ABOVE => at += skip(accumulator > instruction.operand),
                IF_AT_LEAST => at += skip(accumulator >= instruction.operand),
                RETURN => return instruction.operand,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn errno(number: u32) -> u32 {
        0x0005_0000 | number
    }

    const ALLOW: u32 = 0x7fff_0000;

    #[test]
    fn every_call_gets_the_verdict_of_its_rule_on_every_architecture() {
        let rules = ["read", "openat", "clone3", "mount", "accept4"].map(|call| Rule::plain(call, Verdict::Errno(1)));
        let filter = Filter {
            setting: "x",
            rules: rules.to_vec(),
            otherwise: Verdict::Allow,
            foreign: Verdict::Kill,
            machines: ALL,
        };
        let code = assemble(&filter);
        for machine in ALL {
            let mark = if *machine == Machine::X32 { X32_MARK } else { 0 };
            let denied: Vec<u32> =
                filter.rules.iter().map(|rule| syscall::number(rule.call, *machine).unwrap()).collect();
            for number in 0..600 {
                let want = if denied.contains(&number) { errno(1) } else { ALLOW };
                assert_eq!(run(&code, audit(*machine), number | mark, [0; 6]), want, "{machine:?} {number}");
            }
        }
        assert_eq!(run(&code, 0x1234, 0, [0; 6]), 0x8000_0000);
    }

    #[test]
    fn conditions_are_all_asked_and_the_first_rule_counts() {
        let condition = |argument, test| Condition { argument, test };
        let rule = |conditions: &[Condition], error| Rule {
            call: "socket",
            conditions: conditions.to_vec(),
            verdict: Verdict::Errno(error),
        };
        let filter = Filter {
            setting: "x",
            rules: vec![
                rule(&[condition(0, Test::Is(2)), condition(1, Test::Has(0x30))], 10),
                rule(&[condition(0, Test::Above(40))], 11),
                rule(&[condition(0, Test::IsNot(2))], 12),
            ],
            otherwise: Verdict::Allow,
            foreign: Verdict::Allow,
            machines: &[Machine::X86_64],
        };
        let code = assemble(&filter);
        let socket = |family: u64, kind: u64| run(&code, 0xc000_003e, 41, [family, kind, 0, 0, 0, 0]);
        assert_eq!((socket(2, 0x31), socket(2, 0x30)), (errno(10), errno(10)));
        assert_eq!((socket(2, 0x10), socket(41, 0), socket(1, 0)), (ALLOW, errno(11), errno(12)));
        // Only what the kernel looks at is compared.
        assert_eq!(socket(0xffff_ffff_0000_0002, 0x30), errno(10));
    }

    #[test]
    fn a_long_list_is_reached_by_far_jumps() {
        let calls = syscall::group("@known").unwrap();
        let every_second = calls.iter().step_by(2).map(|call| Rule::plain(call, Verdict::Errno(38))).collect();
        let filter = Filter {
            setting: "x",
            rules: every_second,
            otherwise: Verdict::Allow,
            foreign: Verdict::Allow,
            machines: ALL,
        };
        let code = assemble(&filter);
        assert!(code.len() > 600 && code.len() < ferrite_sys::seccomp::LENGTH_MAX, "{}", code.len());
        for (at, call) in calls.iter().enumerate() {
            let Some(number) = syscall::number(call, Machine::X86_64) else { continue };
            let want = if at % 2 == 0 { errno(38) } else { ALLOW };
            assert_eq!(run(&code, 0xc000_003e, number, [0; 6]), want, "{call}");
        }
    }
}
