//! Which filters of system calls a context asks for. Pure.

use ferrite_unit::sandbox::{AddressFamilies, NAMESPACES_ALL, Sandbox, SyscallError};
use ferrite_unit::syscall::{Answer, Machine, SyscallFilter, group};

use super::filter::{Condition, Filter, Rule, Test, Verdict};

/// The architectures whose calls this kernel may take.
#[cfg(target_arch = "x86_64")]
pub const MACHINES: &[Machine] = &[Machine::X86_64, Machine::X32, Machine::X86];
/// The architectures whose calls this kernel may take.
#[cfg(not(target_arch = "x86_64"))]
pub const MACHINES: &[Machine] = &[Machine::Arm64, Machine::Arm];

const EPERM: u16 = 1;
const EAFNOSUPPORT: u16 = 97;
const ENOSYS: u16 = 38;

fn filter(setting: &'static str, rules: Vec<Rule>) -> Filter {
    Filter { setting, rules, otherwise: Verdict::Allow, foreign: Verdict::Allow, machines: MACHINES }
}

fn denied(setting: &'static str, calls: &[&'static str]) -> Filter {
    filter(setting, calls.iter().map(|call| Rule::plain(call, Verdict::Errno(EPERM))).collect())
}

fn denied_group(setting: &'static str, name: &str) -> Filter {
    denied(setting, &group(name).unwrap_or_default())
}

fn when(call: &'static str, conditions: &[(u8, Test)], error: u16) -> Rule {
    let conditions = conditions.iter().map(|(argument, test)| Condition { argument: *argument, test: *test }).collect();
    Rule { call, conditions, verdict: Verdict::Errno(error) }
}

/// All filters but the one of `SystemCallFilter=`, which comes last, in the order they are installed.
/// `persona` is the personality that `LockPersonality=` holds on to.
pub fn filters(sandbox: &Sandbox, persona: u32) -> Vec<Filter> {
    let mut filters = Vec::new();
    if let Some(families) = &sandbox.address_families {
        filters.push(address_families(families));
    }
    if sandbox.restrict_realtime {
        filters.push(realtime());
    }
    if sandbox.restrict_suid_sgid {
        filters.push(set_id_bits());
    }
    if let Some(allowed) = sandbox.restricted_namespaces() {
        filters.push(namespaces(allowed));
    }
    if sandbox.protect_kernel_tunables {
        filters.push(denied("ProtectKernelTunables=", &["_sysctl"]));
    }
    if sandbox.protect_kernel_modules {
        filters.push(denied_group("ProtectKernelModules=", "@module"));
    }
    if sandbox.protect_kernel_logs {
        filters.push(denied("ProtectKernelLogs=", &["syslog"]));
    }
    if sandbox.protect_clock {
        filters.push(denied_group("ProtectClock=", "@clock"));
    }
    if sandbox.private_devices {
        filters.push(denied_group("PrivateDevices=", "@raw-io"));
    }
    if sandbox.protect_hostname {
        filters.push(denied("ProtectHostname=", &["sethostname", "setdomainname"]));
    }
    if !sandbox.syscall_architectures.is_empty() {
        filters.push(architectures(&sandbox.syscall_architectures));
    }
    if sandbox.lock_personality {
        filters.push(filter("LockPersonality=", vec![when("personality", &[(0, Test::IsNot(persona))], EPERM)]));
    }
    if let Some(list) = &sandbox.syscall_log {
        filters.push(logged(list));
    }
    filters
}

/// Denied sockets; on x86 also through the old call for everything, whose other arguments a filter cannot see.
fn address_families(families: &AddressFamilies) -> Filter {
    let deny = |test| when("socket", &[(0, test)], EAFNOSUPPORT);
    let numbers = || families.families.iter().filter_map(|family| u32::try_from(*family).ok());
    let mut rules: Vec<Rule> = match families.allow {
        true => {
            let pass = |number| Rule {
                call: "socket",
                conditions: vec![Condition { argument: 0, test: Test::Is(number) }],
                verdict: Verdict::Allow,
            };
            numbers().map(pass).chain([Rule::plain("socket", Verdict::Errno(EAFNOSUPPORT))]).collect()
        }
        false => numbers().map(|number| deny(Test::Is(number))).collect(),
    };
    // Of `socketcall`: 1 is `socket`, 8 is `socketpair`.
    rules.extend([1, 8].map(|number| when("socketcall", &[(0, Test::Is(number))], EAFNOSUPPORT)));
    filter("RestrictAddressFamilies=", rules)
}

/// Denied policies that take the processor from others: all but other (0), batch (3) and idle (5).
fn realtime() -> Filter {
    let tests = [Test::Is(1), Test::Is(2), Test::Is(4), Test::Above(5)];
    filter("RestrictRealtime=", tests.map(|test| when("sched_setscheduler", &[(1, test)], EPERM)).to_vec())
}

/// Denied files that give their owner's rights to whoever executes them.
fn set_id_bits() -> Filter {
    const SET_USER: u32 = 0o4000;
    const SET_GROUP: u32 = 0o2000;
    const CREATE: u32 = 0o100;
    let mut rules = Vec::new();
    for bit in [SET_USER, SET_GROUP] {
        let has = Test::Has(bit);
        let by_mode: [(&str, u8); 8] = [
            ("chmod", 1),
            ("fchmod", 1),
            ("fchmodat", 2),
            ("fchmodat2", 2),
            ("mkdir", 1),
            ("mkdirat", 2),
            ("mknod", 1),
            ("mknodat", 2),
        ];
        rules.extend(by_mode.map(|(call, argument)| when(call, &[(argument, has)], EPERM)));
        rules.push(when("open", &[(1, Test::Has(CREATE)), (2, has)], EPERM));
        rules.push(when("openat", &[(2, Test::Has(CREATE)), (3, has)], EPERM));
        rules.push(when("creat", &[(1, has)], EPERM));
    }
    // Its mode lies in memory, where a filter cannot look: programs do without it, as on an older kernel.
    rules.push(Rule::plain("openat2", Verdict::Errno(ENOSYS)));
    filter("RestrictSUIDSGID=", rules)
}

/// Denied memory that is or becomes executable after it could be written, for kernels without a switch for it.
pub fn write_execute() -> Filter {
    const WRITE_EXECUTE: u32 = 2 | 4;
    const EXECUTE: u32 = 4;
    const SHARED_EXECUTE: u32 = 0o100_000;
    let rules = vec![
        when("mmap", &[(2, Test::Has(WRITE_EXECUTE))], EPERM),
        when("mmap2", &[(2, Test::Has(WRITE_EXECUTE))], EPERM),
        when("mprotect", &[(2, Test::Has(EXECUTE))], EPERM),
        when("pkey_mprotect", &[(2, Test::Has(EXECUTE))], EPERM),
        when("shmat", &[(2, Test::Has(SHARED_EXECUTE))], EPERM),
    ];
    filter("MemoryDenyWriteExecute=", rules)
}

/// Denied namespaces, made or joined.
fn namespaces(allowed: u64) -> Filter {
    let mut rules = vec![Rule::plain("clone3", Verdict::Errno(ENOSYS))];
    if allowed == 0 {
        rules.push(Rule::plain("setns", Verdict::Errno(EPERM)));
    } else {
        // Without a kind any namespace can be joined.
        rules.push(when("setns", &[(1, Test::Is(0))], EPERM));
    }
    let kinds = (0..32).map(|bit| 1_u32 << bit).filter(|bit| NAMESPACES_ALL & u64::from(*bit) != 0);
    for kind in kinds.chain([0x80]).filter(|kind| allowed & u64::from(*kind) == 0) {
        // The bit of the namespace of time is part of the signal number in `clone`.
        let calls: &[(&str, u8)] =
            if kind == 0x80 { &[("unshare", 0), ("setns", 1)] } else { &[("unshare", 0), ("clone", 0), ("setns", 1)] };
        rules.extend(calls.iter().map(|(call, argument)| when(call, &[(*argument, Test::Has(kind))], EPERM)));
    }
    filter("RestrictNamespaces=", rules)
}

/// The architecture of a name, as unit files have it.
fn machine(name: &str) -> Option<Machine> {
    match name {
        "x86-64" => Some(Machine::X86_64),
        "x86" => Some(Machine::X86),
        "x32" => Some(Machine::X32),
        "arm64" => Some(Machine::Arm64),
        "arm" => Some(Machine::Arm),
        _ => None,
    }
}

/// Only calls of these architectures, and of the native one, without which nothing could be executed.
fn architectures(names: &[String]) -> Filter {
    let has = |wanted: Machine| names.iter().any(|name| machine(name) == Some(wanted));
    let machines: &'static [Machine] = match MACHINES {
        [Machine::X86_64, ..] => match (has(Machine::X32), has(Machine::X86)) {
            (true, true) => &[Machine::X86_64, Machine::X32, Machine::X86],
            (true, false) => &[Machine::X86_64, Machine::X32],
            (false, true) => &[Machine::X86_64, Machine::X86],
            (false, false) => &[Machine::X86_64],
        },
        _ if has(Machine::Arm) => &[Machine::Arm64, Machine::Arm],
        _ => &[Machine::Arm64],
    };
    let (rules, otherwise, foreign) = (Vec::new(), Verdict::Allow, Verdict::Kill);
    Filter { setting: "SystemCallArchitectures=", rules, otherwise, foreign, machines }
}

fn logged(list: &SyscallFilter) -> Filter {
    let (listed, otherwise) = if list.allow { (Verdict::Log, Verdict::Allow) } else { (Verdict::Allow, Verdict::Log) };
    let rules = list.calls.keys().map(|call| Rule::plain(call, listed)).collect();
    Filter { otherwise, ..filter("SystemCallLog=", rules) }
}

/// Calls that x86 also takes through one for several, by its first argument.
const SOCKET_CALLS: [(&str, u32); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];
/// The same of the calls for messages, semaphores and shared memory.
const IPC_CALLS: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The filter of `SystemCallFilter=`.
pub fn system_calls(sandbox: &Sandbox) -> Option<Filter> {
    const SETTING: &str = "SystemCallFilter=";
    let list = sandbox.syscall_filter.as_ref()?;
    let usual = match sandbox.syscall_error {
        SyscallError::Kill => Verdict::Kill,
        SyscallError::Errno(number) => Verdict::Errno(u16::try_from(number).unwrap_or(EPERM)),
    };
    let own = |answer: &Option<Answer>, without: Verdict| match answer {
        None => without,
        Some(Answer::Kill) => Verdict::Kill,
        Some(Answer::Errno(number)) => Verdict::Errno(u16::try_from(*number).unwrap_or(EPERM)),
    };
    if !list.allow {
        // With the call `write` a process that cannot execute its program says so.
        let calls = list.calls.iter().filter(|(call, _)| **call != "write");
        let mut rules: Vec<Rule> = calls.map(|(call, answer)| Rule::plain(call, own(answer, usual))).collect();
        for (several, names) in [("socketcall", SOCKET_CALLS.as_slice()), ("ipc", IPC_CALLS.as_slice())] {
            for (call, number) in names {
                if let Some(answer) = list.calls.get(call) {
                    let conditions = vec![Condition { argument: 0, test: Test::Is(*number) }];
                    rules.push(Rule { call: several, conditions, verdict: own(answer, usual) });
                }
            }
        }
        return Some(filter(SETTING, rules));
    }
    let mut rules: Vec<Rule> =
        list.calls.iter().map(|(call, answer)| Rule::plain(call, own(answer, Verdict::Allow))).collect();
    rules.push(Rule::plain("write", Verdict::Allow));
    let listed = |call: &&'static str| !list.calls.contains_key(call);
    rules.extend(group("@known").unwrap_or_default().into_iter().filter(listed).map(|call| Rule::plain(call, usual)));
    // What this version does not know is newer than it: programs do without, as on an older kernel.
    Some(Filter { otherwise: Verdict::Errno(ENOSYS), ..filter(SETTING, rules) })
}

/// Can the rights that installing filters takes be given up once the last one is installed?
pub fn allows_dropping(sandbox: &Sandbox) -> bool {
    let allows = |call: &str| match &sandbox.syscall_filter {
        None => true,
        Some(list) => list.calls.get(call).map_or(!list.allow, |answer| list.allow && answer.is_none()),
    };
    ["capget", "capset", "prctl"].into_iter().all(allows)
}

#[cfg(test)]
mod tests {
    use ferrite_unit::syscall::{Change, number};

    use super::super::filter::assemble;
    use super::super::filter::tests::run;
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const DENIED: u32 = 0x0005_0001;

    fn native(filter: &Filter, call: &str, arguments: [u64; 6]) -> u32 {
        run(&assemble(filter), 0xc000_003e, number(call, Machine::X86_64).unwrap(), arguments)
    }

    fn one(sandbox: Sandbox) -> Filter {
        let mut filters = filters(&sandbox, 0);
        assert_eq!(filters.len(), 1);
        filters.remove(0)
    }

    #[test]
    fn families_that_are_not_listed_are_denied() {
        let list = |allow, families: &[i32]| {
            let families = AddressFamilies { allow, families: families.to_vec() };
            one(Sandbox { address_families: Some(families), ..Sandbox::default() })
        };
        let socket = |filter: &Filter, family| native(filter, "socket", [family, 0, 0, 0, 0, 0]);
        let (unix, none, no_packet) = (list(true, &[1, 10]), list(true, &[]), list(false, &[17]));
        assert_eq!((socket(&unix, 1), socket(&unix, 10), socket(&unix, 2)), (ALLOW, ALLOW, 0x0005_0061));
        assert_eq!(socket(&none, 1), 0x0005_0061);
        assert_eq!((socket(&no_packet, 17), socket(&no_packet, 2)), (0x0005_0061, ALLOW));
        // The old call of x86 makes no socket at all.
        assert_eq!(run(&assemble(&unix), 0x4000_0003, 102, [1, 0, 0, 0, 0, 0]), 0x0005_0061);
    }

    #[test]
    fn bits_that_give_rights_away_are_denied_wherever_a_mode_is_given() {
        let filter = one(Sandbox { restrict_suid_sgid: true, ..Sandbox::default() });
        assert_eq!(native(&filter, "chmod", [0, 0o4755, 0, 0, 0, 0]), DENIED);
        assert_eq!(native(&filter, "fchmodat", [0, 0, 0o2755, 0, 0, 0]), DENIED);
        assert_eq!(native(&filter, "openat", [0, 0, 0o100, 0o4755, 0, 0]), DENIED);
        assert_eq!(native(&filter, "openat", [0, 0, 0, 0o4755, 0, 0]), ALLOW);
        assert_eq!(native(&filter, "chmod", [0, 0o755, 0, 0, 0, 0]), ALLOW);
        assert_eq!(native(&filter, "openat2", [0; 6]), 0x0005_0026);
    }

    #[test]
    fn namespaces_are_denied_by_kind() {
        const NEW_USER: u64 = 0x1000_0000;
        const NEW_NET: u64 = 0x4000_0000;
        let filter = one(Sandbox { allowed_namespaces: Some(NEW_NET), ..Sandbox::default() });
        assert_eq!(native(&filter, "unshare", [NEW_USER, 0, 0, 0, 0, 0]), DENIED);
        assert_eq!(native(&filter, "unshare", [NEW_NET, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(native(&filter, "clone", [NEW_USER | 17, 0, 0, 0, 0, 0]), DENIED);
        assert_eq!(native(&filter, "setns", [3, 0, 0, 0, 0, 0]), DENIED);
        assert_eq!(native(&filter, "clone3", [0; 6]), 0x0005_0026);
        // A thread is no namespace.
        assert_eq!(native(&filter, "clone", [0x003d_0f00, 0, 0, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn real_time_and_foreign_architectures_are_denied() {
        let filter = one(Sandbox { restrict_realtime: true, ..Sandbox::default() });
        let policy = |policy| native(&filter, "sched_setscheduler", [0, policy, 0, 0, 0, 0]);
        assert_eq!([policy(0), policy(1), policy(2), policy(3), policy(6)], [ALLOW, DENIED, DENIED, ALLOW, DENIED]);
        let filter = one(Sandbox { syscall_architectures: vec!["native".into()], ..Sandbox::default() });
        let code = assemble(&filter);
        assert_eq!(run(&code, 0x4000_0003, 4, [0; 6]), 0x8000_0000);
        assert_eq!(run(&code, 0xc000_003e, 0x4000_0001, [0; 6]), 0x8000_0000);
        assert_eq!(run(&code, 0xc000_003e, 1, [0; 6]), ALLOW);
    }

    fn listed(words: &[(&str, Change)], error: SyscallError) -> Filter {
        let mut list = SyscallFilter::new(words[0].1);
        for (word, change) in words {
            list.word(word, *change).unwrap();
        }
        let sandbox = Sandbox { syscall_filter: Some(list), syscall_error: error, ..Sandbox::default() };
        system_calls(&sandbox).unwrap()
    }

    #[test]
    fn a_list_of_allowed_calls_ends_the_others_and_lacks_what_is_newer() {
        let filter = listed(&[("@system-service", Change::Plain)], SyscallError::Kill);
        assert_eq!(native(&filter, "read", [0; 6]), ALLOW);
        assert_eq!(native(&filter, "mount", [0; 6]), 0x8000_0000);
        assert_eq!(run(&assemble(&filter), 0xc000_003e, 999, [0; 6]), 0x0005_0026);
        assert_eq!(run(&assemble(&filter), 0x4000_0003, 21, [0; 6]), 0x8000_0000);
    }

    #[test]
    fn a_list_of_denied_calls_gives_each_its_error() {
        let words = [("@mount", Change::Inverted), ("chmod:ENOENT", Change::Inverted), ("socket", Change::Inverted)];
        let filter = listed(&words, SyscallError::Errno(1));
        assert_eq!(native(&filter, "mount", [0; 6]), DENIED);
        assert_eq!(native(&filter, "chmod", [0; 6]), 0x0005_0002);
        assert_eq!(native(&filter, "read", [0; 6]), ALLOW);
        assert_eq!(run(&assemble(&filter), 0x4000_0003, 102, [1, 0, 0, 0, 0, 0]), DENIED);
        assert_eq!(run(&assemble(&filter), 0x4000_0003, 102, [3, 0, 0, 0, 0, 0]), ALLOW);
    }
}
