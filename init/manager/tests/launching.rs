//! Processes that PID 1 makes without a copy of its memory: they find what others find, and hang and fail like them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

use ferrite_control::{JobMode, JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, PATIENCE, lines};

/// A setting that changes nothing, and for which a copy is made.
const COPY: &str = "Nice=0";

/// Everything that a process finds but what differs between two processes anyway. The shell itself blocks signals while
/// it starts another program, so that is asked.
const LOOK: &str = "#!/bin/sh
exec > /run/$1 2>&1
tr '\\0' '\\n' < /proc/$$/environ | grep -v INVOCATION_ID | sed \"s/=$$\\$/=PID/\" | sort
grep -E 'Sig(Blk|Ign|Cgt)|Groups|Umask|NoNewPrivs|Cap|Seccomp:' /proc/self/status
grep -v core /proc/$$/limits
cut -d' ' -f5-8 /proc/$$/stat | sed \"s/$$/PID/g\"
cat /proc/$$/oom_score_adj /proc/$$/coredump_filter /proc/$$/timerslack_ns
readlink /proc/$$/cwd /proc/$$/root
for number in 0 1 2 3 4 5 6 7; do echo $number $(readlink /proc/$PPID/fd/$number | sed 's/[0-9]//g'); done
sed \"s/$1/NAME/\" /proc/$$/cgroup
echo $@
";

#[test]
fn a_process_without_a_copy_finds_what_one_with_a_copy_finds() {
    let settings = "Environment=A=1 B=2\nUnsetEnvironment=LANG\nPassEnvironment=FERRITE_A\nUMask=0027\n\
                    WorkingDirectory=/usr\nEnvironmentFile=/run/variables\nOOMScoreAdjust=0\nWatchdogSec=100\n\
                    SyslogIdentifier=name";
    let unit = |name: &str, more: &str| {
        format!("[Service]\nType=oneshot\n{settings}\n{more}\nExecStart=/run/look {name} $A ${{C}}\n")
    };
    let (plain, copy) = (unit("one", ""), unit("two", COPY));
    let machine = Machine::boot_with(
        &[("one.service", &plain), ("two.service", &copy), ("run/look", LOOK), ("run/variables", "C=a b\n")],
        &[("FERRITE_A", "7")],
        // What whoever starts PID 1 ignores is none of its children's business.
        "chmod +x /run/look && trap '' HUP USR1 CHLD",
    );
    for name in ["one", "two"] {
        assert_eq!(machine.job(JobVerb::Start, &format!("{name}.service")), JobOutcome::Done, "{}", machine.log());
    }
    let found = |name: &str| -> Vec<String> {
        lines(&machine.output(&format!("run/{name}"))).into_iter().map(|line| line.replace(name, "NAME")).collect()
    };
    let (one, two) = (found("one"), found("two"));
    assert!(
        one.contains(&"SYSTEMD_EXEC_PID=PID".to_owned()) && one.contains(&"WATCHDOG_PID=PID".to_owned()),
        "{one:?}"
    );
    assert!(one.contains(&"NAME 1 a b".to_owned()) && one.contains(&"/usr".to_owned()), "{one:?}");
    assert_eq!(one, two);
}

#[test]
fn what_fails_before_the_program_is_told_in_the_same_way() {
    let faults = [
        ("missing", "ExecStart=/nonexistent/program", 203, "executing /nonexistent/program: No such file or directory"),
        ("forbidden", "ExecStart=/etc/passwd", 203, "executing /etc/passwd: Permission denied"),
        ("folder", "WorkingDirectory=/nonexistent\nExecStart=/bin/true", 200, "changing to /nonexistent: "),
    ];
    for kind in ["exec", "oneshot", "simple"] {
        let unit = |text: &str, more: &str| format!("[Service]\nType={kind}\n{more}\n{text}\n");
        let mut units = Vec::new();
        for (name, text, ..) in faults {
            units.push((format!("{name}.service"), unit(text, "")));
            units.push((format!("{name}-copy.service"), unit(text, COPY)));
        }
        let list: Vec<(&str, &str)> = units.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let machine = Machine::boot(&list);
        for (name, _, code, reason) in faults {
            let both = [format!("{name}.service"), format!("{name}-copy.service")].map(|unit| {
                let outcome = machine.job(JobVerb::Start, &unit);
                machine.wait_for("the failure", |machine| machine.state(&unit) == "failed failed");
                let details = machine.show(&unit);
                let property = |name: &str| details.properties.get(name).cloned().unwrap_or_default();
                assert!(machine.log().contains(&format!("{unit}: {reason}")), "{}", machine.log());
                (outcome, property("ExecMainStatus"), property("Result"))
            });
            assert_eq!(both[0], both[1], "{kind} {name}");
            assert_eq!((both[0].1.as_str(), both[0].2.as_str()), (code.to_string().as_str(), "exit-code"));
        }
    }
}

#[test]
fn a_process_that_hangs_before_its_program_holds_nobody_up() {
    let machine = Machine::boot(&[
        ("hangs@.service", "[Service]\nExecStart=/bin/sleep infinity\n"),
        ("quiet@.service", "[Service]\nType=exec\nStandardOutput=null\nExecStart=/bin/sleep infinity\n"),
    ]);
    // A journal that takes no one any more.
    let path = machine.output("run/systemd/journal/stdout");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let journal = UnixListener::bind(&path).unwrap();
    let mut queue = Vec::new();
    loop {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        );
        let socket = socket.unwrap();
        match rustix::net::connect(&socket, &rustix::net::SocketAddrUnix::new(&path).unwrap()) {
            Ok(()) => queue.push(socket),
            Err(error) => break assert_eq!(error, rustix::io::Errno::AGAIN),
        }
    }
    for number in 0..5 {
        assert_eq!(machine.job(JobVerb::Start, &format!("hangs@{number}.service")), JobOutcome::Done);
        assert_eq!(machine.job(JobVerb::Start, &format!("quiet@{number}.service")), JobOutcome::Done);
    }
    assert_eq!(names(&machine).get("sleep"), Some(&5), "those that hang are no programs yet");
    // One is ended, PID 1 executes itself, and then there is room.
    assert_eq!(machine.job(JobVerb::Stop, "hangs@1.service"), JobOutcome::Done);
    assert!(matches!(machine.ask(&Request::DaemonReexec).remove(0), Reply::Done), "{}", machine.log());
    assert_eq!(machine.job(JobVerb::Start, "quiet@9.service"), JobOutcome::Done);
    drop(queue);
    let mut streams: Vec<UnixStream> = Vec::new();
    journal.set_nonblocking(true).unwrap();
    machine.wait_for("the programs that hung", |machine| {
        streams.extend(std::iter::from_fn(|| journal.accept().ok()).map(|(stream, _)| stream));
        let names = names(machine);
        names.get("sleep") == Some(&10)
    });
    for number in [0, 2, 3, 4] {
        assert_eq!(machine.state(&format!("hangs@{number}.service")), "active running");
        assert_eq!(machine.job(JobVerb::Stop, &format!("hangs@{number}.service")), JobOutcome::Done);
    }
}

/// The children of PID 1 by name.
fn names(machine: &Machine) -> BTreeMap<String, usize> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", machine.pid)).unwrap_or_default();
    let mut names = BTreeMap::new();
    for pid in children.split_whitespace() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        *names.entry(name.trim().to_owned()).or_default() += 1;
    }
    names
}

#[test]
fn a_thousand_starts_leave_nothing_behind() {
    let machine = Machine::boot(&[
        ("x@.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ("bad@.service", "[Service]\nType=exec\nExecStart=/nonexistent\n"),
    ]);
    let links = |machine: &Machine| -> Vec<PathBuf> {
        let files = fs::read_dir(format!("/proc/{}/fd", machine.pid)).unwrap().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).collect()
    };
    // What is kept ready for a crash is one file, and two for ever once the first was full.
    let is_record = |link: &PathBuf| link.to_string_lossy().contains("memfd:ferrite-record");
    let files = |machine: &Machine| links(machine).iter().filter(|link| !is_record(link)).count();
    let maps = |machine: &Machine| lines(format!("/proc/{}/maps", machine.pid).as_ref()).len();
    let round = |first: usize| {
        for (name, outcome) in [("x", JobOutcome::Done), ("bad", JobOutcome::Failed)] {
            let units = (first..first + 100).map(|number| format!("{name}@{number}.service")).collect();
            match machine
                .ask(&Request::Job { verb: JobVerb::Start, units, mode: JobMode::Replace, wait: true })
                .remove(0)
            {
                Reply::Jobs(reports) => assert!(reports.iter().all(|report| report.outcome == outcome), "{reports:?}"),
                other => panic!("{other:?}"),
            }
        }
        machine.wait_for("the end of all children", |machine| names(machine).is_empty());
    };
    round(0);
    let before = files(&machine);
    let (began, maps_before) = (Instant::now(), maps(&machine));
    (1..5).for_each(|number| round(number * 100));
    assert!(began.elapsed() < PATIENCE * 4);
    machine.wait_for("no file more than before", |machine| files(machine) <= before);
    assert!(links(&machine).iter().filter(|link| is_record(link)).count() <= 2);
    // Four stacks with their guards, and what the allocator maps.
    assert!(maps(&machine) <= maps_before + 16, "{maps_before} {}", maps(&machine));
}
