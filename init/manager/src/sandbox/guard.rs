//! Which devices the processes of a unit may use (`DevicePolicy=`, `DeviceAllow=`), as a program for the kernel. Pure
//! but for `rules`, which looks devices up.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use ferrite_sys::bpf::Instruction;
use ferrite_unit::resources::{DeviceAllow, DevicePolicy, Resources};

use super::assembler::{AND_32, IF_NOT, IF_NOT_REGISTER, LOAD_WORD, MOVE_32, SHIFT_RIGHT_32, end, instruction, rule};

/// Devices that give nobody anything, which every policy but the strict one allows.
const HARMLESS: [(&str, bool); 9] = [
    ("/dev/null", true),
    ("/dev/zero", true),
    ("/dev/full", true),
    ("/dev/random", true),
    ("/dev/urandom", true),
    ("/dev/tty", true),
    ("/dev/ptmx", true),
    ("/dev/pts/ptmx", false),
    ("char-pts", false),
];

/// A kind of devices and what may be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Is it a device of blocks?
    pub block: bool,
    /// The major number; none: any.
    pub major: Option<u32>,
    /// The minor number; none: any.
    pub minor: Option<u32>,
    /// 1 make, 2 read, 4 write.
    pub access: i32,
}

/// Are devices limited at all?
pub fn limits(resources: &Resources) -> bool {
    resources.device_policy != DevicePolicy::Auto || !resources.devices.is_empty()
}

/// The rules of a unit; what is not there allows nothing.
pub fn rules(resources: &Resources) -> Vec<Rule> {
    let kinds = fs::read_to_string("/proc/devices").unwrap_or_default();
    let harmless = HARMLESS.iter().filter(|_| resources.device_policy != DevicePolicy::Strict);
    let harmless = harmless.map(|(device, make)| DeviceAllow {
        device: (*device).to_owned(),
        read: true,
        write: true,
        make: *make,
    });
    harmless.chain(resources.devices.iter().cloned()).flat_map(|device| rules_of(&device, &kinds)).collect()
}

fn rules_of(device: &DeviceAllow, kinds: &str) -> Vec<Rule> {
    let bit = |has: bool, bit: i32| if has { bit } else { 0 };
    let access = bit(device.make, 1) | bit(device.read, 2) | bit(device.write, 4);
    let class = match (device.device.strip_prefix("block-"), device.device.strip_prefix("char-")) {
        (Some(pattern), _) => Some((true, pattern)),
        (_, Some(pattern)) => Some((false, pattern)),
        (None, None) => None,
    };
    match class {
        Some((block, "*")) => vec![Rule { block, major: None, minor: None, access }],
        Some((block, pattern)) => majors(kinds, block, pattern)
            .into_iter()
            .map(|major| Rule { block, major: Some(major), minor: None, access })
            .collect(),
        None => {
            let Ok(status) = fs::metadata(&device.device) else { return Vec::new() };
            let block = status.file_type().is_block_device();
            if !block && !status.file_type().is_char_device() {
                return Vec::new();
            }
            let part = |number: u64| u32::try_from(number).ok();
            let (major, minor) = (nix::sys::stat::major(status.rdev()), nix::sys::stat::minor(status.rdev()));
            vec![Rule { block, major: part(major), minor: part(minor), access }]
        }
    }
}

/// The major numbers of a name in /proc/devices; `*` stands for any text.
fn majors(kinds: &str, block: bool, pattern: &str) -> Vec<u32> {
    let mut in_blocks = false;
    let mut found = Vec::new();
    for line in kinds.lines() {
        if line.ends_with(':') {
            in_blocks = line.starts_with("Block");
            continue;
        }
        let mut words = line.split_whitespace();
        if let (Some(number), Some(name)) = (words.next().and_then(|word| word.parse().ok()), words.next())
            && in_blocks == block
            && matches(pattern, name)
        {
            found.push(number);
        }
    }
    found
}

/// Does a name fit a pattern with `*` and `?`?
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => {
            pattern.len() == name.len()
                && pattern.bytes().zip(name.bytes()).all(|(one, other)| one == b'?' || one == other)
        }
        Some((head, tail)) => {
            let fits = name.get(..head.len()).is_some_and(|start| matches(head, start));
            fits && (head.len()..=name.len()).any(|at| name.get(at..).is_some_and(|rest| matches(tail, rest)))
        }
    }
}

/// The program: 1 allows, 0 denies.
pub fn program(rules: &[Rule]) -> Vec<Instruction> {
    // Register 2: the kind, 3: what is wanted, 4 and 5: the numbers; 1 is what the kernel hands over, then free.
    let mut code = vec![
        instruction(LOAD_WORD, 0x12, 0, 0),
        instruction(AND_32, 0x02, 0, 0xffff),
        instruction(LOAD_WORD, 0x13, 0, 0),
        instruction(SHIFT_RIGHT_32, 0x03, 0, 16),
        instruction(LOAD_WORD, 0x14, 4, 0),
        instruction(LOAD_WORD, 0x15, 8, 0),
    ];
    for wanted in rules {
        let mut tests = vec![instruction(IF_NOT, 0x02, 0, if wanted.block { 1 } else { 2 })];
        if wanted.access != 7 {
            tests.push(instruction(MOVE_32, 0x31, 0, 0));
            tests.push(instruction(AND_32, 0x01, 0, wanted.access));
            tests.push(instruction(IF_NOT_REGISTER, 0x31, 0, 0));
        }
        let number = |register: u8, number: Option<u32>| {
            number.map(|number| instruction(IF_NOT, register, 0, i32::try_from(number).unwrap_or(-1)))
        };
        tests.extend([number(0x04, wanted.major), number(0x05, wanted.minor)].into_iter().flatten());
        rule(&mut code, tests, 1);
    }
    end(&mut code, 0);
    code
}

#[cfg(test)]
mod tests {
    use super::super::assembler::{EXIT, MOVE};
    use super::*;

    /// Runs the program as the kernel does.
    fn allows(code: &[Instruction], block: bool, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | if block { 1 } else { 2 }, major, minor];
        let (mut at, mut registers) = (0, [0_u32; 6]);
        loop {
            let now = code[at];
            at += 1;
            let (to, from) = (usize::from(now.registers & 15), usize::from(now.registers >> 4));
            let jump = |holds: bool| if holds { now.offset as usize } else { 0 };
            match now.code {
                LOAD_WORD => registers[to] = context[now.offset as usize / 4],
                MOVE => registers[to] = now.immediate as u32,
                MOVE_32 => registers[to] = registers[from],
                AND_32 => registers[to] &= now.immediate as u32,
                SHIFT_RIGHT_32 => registers[to] >>= now.immediate,
                IF_NOT => at += jump(registers[to] != now.immediate as u32),
                IF_NOT_REGISTER => at += jump(registers[to] != registers[from]),
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn only_what_a_rule_names_is_allowed() {
        let rules = [
            Rule { block: false, major: Some(1), minor: Some(3), access: 7 },
            Rule { block: false, major: Some(136), minor: None, access: 6 },
            Rule { block: true, major: None, minor: None, access: 2 },
        ];
        let code = program(&rules);
        assert!(allows(&code, false, 7, 1, 3) && !allows(&code, false, 2, 1, 4) && !allows(&code, true, 4, 1, 3));
        assert!(allows(&code, false, 6, 136, 9) && !allows(&code, false, 1, 136, 9));
        assert!(allows(&code, true, 2, 8, 0) && !allows(&code, true, 6, 8, 0));
        assert!(!allows(&program(&[]), false, 2, 1, 3));
    }

    #[test]
    fn kinds_are_found_by_pattern() {
        let kinds = "Character devices:\n  1 mem\n136 pts\n253 rtc\n\nBlock devices:\n  7 loop\n  1 mem\n";
        assert_eq!((majors(kinds, false, "pt?"), majors(kinds, true, "*")), (vec![136], vec![7, 1]));
        assert!(matches("a*c*", "abcd") && !matches("a*x", "abc") && matches("*", ""));
    }
}
