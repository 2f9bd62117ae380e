//! What is huge, before a process 1 that may take only a little more memory than it has: it is refused by name or cut,
//! and process 1 answers on. An allocation that fails would make it crash, which its log would tell.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request, encode};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

#[allow(dead_code)]
#[path = "support/harmless.rs"]
mod harmless;
use harmless::status_kib;

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";
/// What it may take beyond what it has.
const ROOM_KIB: u64 = 64 * 1024;
/// A file that does not fit into that.
const HUGE: u64 = 1 << 30;

/// A file of so many zeros that takes no space.
fn sparse(machine: &Machine, name: &str, size: u64) {
    let path = machine.output(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

/// Limits the address space of process 1 to what it has and a little more.
fn limit(machine: &Machine) {
    let bytes = (status_kib(machine, "VmSize") + ROOM_KIB) * 1024;
    let words = [format!("--pid={}", machine.pid), format!("--as={bytes}")];
    assert!(std::process::Command::new("prlimit").args(words).status().unwrap().success());
}

fn is_well(machine: &Machine) {
    assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())], "{}", machine.log());
    let log = machine.log();
    assert!(!log.contains("PID 1 crashed") && !log.contains("has a bug"), "{log}");
}

#[test]
fn huge_files_of_the_machine_say_nothing() {
    let service = "[Service]\nType=oneshot\nUser=nobody\nExecStart=/bin/true\n";
    let root = "[Service]\nType=oneshot\nExecStart=/bin/true\n";
    let machine = Machine::boot_with(
        &[("user.service", service), ("t.service", root)],
        &[],
        "truncate -s 1G @/huge && for f in passwd group os-release; do mount --bind @/huge /etc/$f || true; done",
    );
    limit(&machine);
    assert_eq!(machine.job(JobVerb::Start, "user.service"), JobOutcome::Failed);
    assert_eq!(machine.show("user.service").properties["ExecMainStatus"], "217", "{}", machine.log());
    assert_eq!(machine.job(JobVerb::Start, "t.service"), JobOutcome::Done);
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    is_well(&machine);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    is_well(&machine);
}

/// A service whose settings name a huge file of the folder of the machine.
fn service(machine: &Machine, name: &str, settings: &str) {
    let place = machine.directory.path().to_str().unwrap();
    let settings = settings.replace('@', place);
    machine.write_unit(name, &format!("[Service]\nType=oneshot\nExecStart=/bin/true\n{settings}\n"));
}

#[test]
fn a_huge_unit_file_is_refused() {
    let machine = Machine::boot(&[("s.service", SLEEPER), ("dropped.service", SLEEPER), ("many.service", SLEEPER)]);
    limit(&machine);
    sparse(&machine, "units/huge.service", HUGE);
    assert_eq!(machine.show("huge.service").summary.load, "error");
    assert_eq!(machine.job(JobVerb::Start, "huge.service"), JobOutcome::Refused);
    assert!(machine.log().contains("huge.service"), "{}", machine.log());
    sparse(&machine, "units/dropped.service.d/x.conf", HUGE);
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    is_well(&machine);
    // Each of them is small enough, all of them together are not.
    let text = format!("[Service]\n{}", format!("Environment=\"A={}\"\n", "x".repeat(100_000)).repeat(9));
    fs::create_dir(machine.output("units/many.service.d")).unwrap();
    for number in 0..100 {
        fs::write(machine.output(&format!("units/many.service.d/{number}.conf")), &text).unwrap();
    }
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done], "{}", machine.log());
    is_well(&machine);
    assert_eq!(machine.show("many.service").summary.load, "error", "{}", machine.log());
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
}

#[test]
fn huge_files_that_settings_name_fail_their_unit() {
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    sparse(&machine, "huge", HUGE);
    let words = format!("A={}\n", "x".repeat(1000)).repeat(1000);
    for number in 0..100 {
        fs::create_dir_all(machine.output("many")).unwrap();
        fs::write(machine.output(&format!("many/{number}")), &words).unwrap();
    }
    service(&machine, "one.service", "EnvironmentFile=@/huge");
    service(&machine, "optional.service", "EnvironmentFile=-@/huge");
    service(&machine, "many.service", "EnvironmentFile=@/many/*");
    service(&machine, "input.service", "StandardInput=file:@/huge");
    service(&machine, "secret.service", "LoadCredential=x:@/huge");
    machine.write_unit(
        "pid.service",
        &format!(
            "[Service]\nType=forking\nTimeoutStartSec=2\nPIDFile={}\nExecStart=/bin/sh -c 'sleep 1000 &'\n",
            machine.output("huge").display()
        ),
    );
    limit(&machine);
    for (unit, outcome) in [
        ("one.service", JobOutcome::Failed),
        ("optional.service", JobOutcome::Done),
        ("many.service", JobOutcome::Failed),
        ("input.service", JobOutcome::Done),
        ("secret.service", JobOutcome::Failed),
        ("pid.service", JobOutcome::Failed),
    ] {
        assert_eq!(machine.job(JobVerb::Start, unit), outcome, "{unit}\n{}", machine.log());
        is_well(&machine);
    }
    for (unit, file) in [("one.service", "/huge"), ("many.service", "/many/")] {
        let log = machine.log();
        let line = log.lines().find(|line| line.contains(unit) && line.contains(file));
        assert!(line.is_some_and(|line| line.contains("longer than")), "{log}");
    }
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
}

#[test]
fn huge_messages_are_cut_or_refused_and_their_files_closed() {
    let script = "import os,socket\n\
        s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM)\n\
        s.connect(os.environ['NOTIFY_SOCKET'])\n\
        f=os.open('/dev/null',os.O_RDONLY)\n\
        big=b'STATUS='+b'x'*100000\n\
        for i in range(200):\n\
        \ttry: socket.send_fds(s,[big if i%2 else b'X=y'],[f]*(1+i%60))\n\
        \texcept OSError: pass\n\
        for i in range(200): socket.send_fds(s,[b'FDSTORE=1\\nFDNAME='+b'n'*3000],[f])\n\
        s.send(b'READY=1\\nSTATUS=whole')\n";
    let machine = Machine::boot(&[(
        "n.service",
        "[Service]\nType=notify\nNotifyAccess=all\nFileDescriptorStoreMax=0\nRemainAfterExit=yes\n\
         ExecStart=/usr/bin/python3 /run/say.py\n",
    )]);
    fs::write(machine.output("run/say.py"), script).unwrap();
    let open = || fs::read_dir(format!("/proc/{}/fd", machine.pid)).unwrap().count();
    let before = open();
    limit(&machine);
    assert_eq!(machine.job(JobVerb::Start, "n.service"), JobOutcome::Done, "{}", machine.log());
    assert_eq!(machine.show("n.service").status_text, "whole");
    machine.wait_for("closed files", |_| open() <= before + 2);
    is_well(&machine);
}

#[test]
fn an_environment_that_grows_is_bounded() {
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    limit(&machine);
    let mut refused = 0;
    for number in 0..150 {
        let set = vec![format!("V{number}={}", "x".repeat(200_000))];
        match machine.ask(&Request::SetEnvironment { set, unset: Vec::new() }).remove(0) {
            Reply::Done => {}
            Reply::Error { message, .. } => {
                assert!(message.contains("bytes"), "{message}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!((100..150).contains(&refused), "{refused} refused");
    is_well(&machine);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done], "{}", machine.log());
    is_well(&machine);
}

#[test]
fn clients_that_read_nothing_share_a_bounded_room() {
    // Each answer is long: there are many units with long names and descriptions.
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    for number in 0..1000 {
        let text = format!("[Unit]\nDescription={}\n[Service]\nExecStart=/bin/true\n", "d".repeat(4000));
        machine.write_unit(&format!("{}{number}.service", "n".repeat(200)), &text);
    }
    let all: Vec<String> = (0..1000).map(|number| format!("{}{number}.service", "n".repeat(200))).collect();
    let target = format!("[Unit]\nWants={}\n", all.join(" "));
    machine.write_unit("all.target", &target);
    assert_eq!(machine.show("all.target").summary.load, "loaded");
    limit(&machine);
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
        stream.write_all(&encode(&Request::ListUnits, 1 << 20).unwrap()).unwrap();
        silent.push(stream);
        is_well(&machine);
    }
    drop(silent);
    is_well(&machine);
}
