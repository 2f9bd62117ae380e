//! What units share with others and what they leave behind: namespaces, messages, the log, the end of the machine.

use std::fs;

use ferrite_control::{JobOutcome, JobVerb};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, lines};

#[test]
fn units_join_the_tmp_and_the_network_of_another_one() {
    let service = |more: &str, script: &str| {
        format!(
            "[Unit]\n{more}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nPrivateTmp=yes\nPrivateNetwork=yes\n\
             ExecStart=/bin/sh -c '{script}'\n"
        )
    };
    let see = |name: &str| format!("readlink /proc/self/ns/net > /run/{name}; ls /tmp >> /run/{name}");
    let machine = Machine::boot(&[
        ("a.service", &service("", &format!("touch /tmp/mark; {}", see("a")))),
        ("b.service", &service("JoinsNamespaceOf=a.service", &see("b"))),
        ("c.service", &service("", &see("c"))),
    ]);
    for unit in ["a.service", "b.service", "c.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done, "{}", machine.log());
    }
    let said = |name: &str| lines(&machine.output(&format!("run/{name}")));
    assert_eq!(said("b"), said("a"));
    assert_eq!(said("a")[1..], ["mark"]);
    assert!(said("c").len() == 1 && said("c")[0] != said("a")[0]);
    // What is shared stays as long as anybody has it, whoever made it.
    assert_eq!(machine.job(JobVerb::Stop, "a.service"), JobOutcome::Done);
    assert!(machine.output("run/ferrite/shared/a.service").exists());
    machine.ask(&ferrite_control::Request::DaemonReexec);
    assert_eq!(machine.job(JobVerb::Restart, "a.service"), JobOutcome::Done);
    assert_eq!(said("a"), said("b"));
    assert_eq!(machine.job(JobVerb::Stop, "a.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Stop, "b.service"), JobOutcome::Done);
    assert!(!machine.output("run/ferrite/shared/a.service").exists());
}

#[test]
fn messages_of_the_user_go_with_its_last_unit() {
    const USER: &str = "54321";
    let make = "ipcmk -M 4096 >/dev/null; ipcmk -S 2 >/dev/null; ipcmk -Q >/dev/null; touch /dev/shm/of-54321";
    let unit = |remove: &str, script: &str| {
        format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nUser={USER}\nRemoveIPC={remove}\n\
             ExecStart=/bin/sh -c '{script}'\n"
        )
    };
    let machine = Machine::boot(&[
        ("a.service", &unit("yes", make)),
        ("b.service", &unit("yes", "true")),
        ("keeps.service", &unit("no", "true")),
    ]);
    let left = || {
        let of_kind = |kind: &str| {
            let text = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap();
            text.lines().filter(|line| line.split_whitespace().any(|word| word == USER)).count()
        };
        [of_kind("shm"), of_kind("sem"), of_kind("msg"), usize::from(fs::exists("/dev/shm/of-54321").unwrap())]
    };
    for unit in ["a.service", "b.service", "keeps.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done, "{}", machine.log());
    }
    assert_eq!(left(), [1, 1, 1, 1]);
    for unit in ["a.service", "keeps.service"] {
        assert_eq!(machine.job(JobVerb::Stop, unit), JobOutcome::Done);
        assert_eq!(left(), [1, 1, 1, 1]);
    }
    assert_eq!(machine.job(JobVerb::Stop, "b.service"), JobOutcome::Done);
    assert_eq!(left(), [0, 0, 0, 0]);
}

#[test]
fn whoever_keeps_the_log_is_told_what_a_unit_wants() {
    let unit = "[Service]\nLogLevelMax=warning\nLogRateLimitIntervalSec=5s\nLogRateLimitBurst=7\n\
                ExecStart=/bin/sleep 1000\n";
    let machine = Machine::boot(&[("x.service", unit), ("y.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    let wish = |name: &str| fs::read_link(machine.output(&format!("run/systemd/units/{name}:x.service"))).ok();
    let wishes = || ["log-level-max", "log-rate-limit-interval", "log-rate-limit-burst"].map(wish);
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "y.service"), JobOutcome::Done);
    assert_eq!(wishes(), ["4", "5000000", "7"].map(|text| Some(text.into())));
    // Beside the three wishes, which run of the two units this is.
    assert_eq!(fs::read_dir(machine.output("run/systemd/units")).unwrap().count(), 5);
    assert_eq!(wish("invocation"), Some(machine.show("x.service").invocation_id.into()));
    assert_eq!(machine.job(JobVerb::Stop, "x.service"), JobOutcome::Done);
    assert_eq!(wishes(), [None, None, None]);
}

#[test]
fn a_random_part_of_the_run_time_is_added() {
    let machine = Machine::boot(&[
        ("plain.service", "[Service]\nExecStart=/bin/sleep 1000\nRuntimeMaxSec=1ms\n"),
        (
            "longer.service",
            "[Service]\nExecStart=/bin/sleep 1000\nRuntimeMaxSec=1ms\nRuntimeRandomizedExtraSec=10000h\n",
        ),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "longer.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "plain.service"), JobOutcome::Done);
    machine.wait_for("its end", |machine| machine.state("plain.service") == "failed failed");
    assert_eq!(machine.show("plain.service").result, "timeout");
    assert_eq!(machine.state("longer.service"), "active running");
}

#[test]
fn the_end_that_a_failure_asks_for_has_a_word_for_the_firmware() {
    let mut machine = Machine::boot(&[
        ("reboot.target", "[Unit]\nDefaultDependencies=no\n"),
        ("x.service", "[Unit]\nFailureAction=reboot\nRebootArgument=to-setup\n[Service]\nExecStart=/bin/false\n"),
    ]);
    let _ = machine.send(&machine::start("x.service"));
    machine.wait_for("the end", |_| true);
    let ended = machine.child.wait().unwrap();
    assert!(ended.success(), "{}", machine.log());
    assert!(machine.log().contains("asks for Reboot with 'to-setup'"), "{}", machine.log());
}

#[test]
fn a_unit_that_runs_too_long_for_its_new_settings_ends() {
    let service = "[Service]\nExecStart=/bin/sleep 1000\n";
    let machine = Machine::boot(&[("x.service", &format!("{service}RuntimeMaxSec=1000h\n")), ("y.service", service)]);
    for unit in ["x.service", "y.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    machine.write_unit("x.service", service);
    machine.write_unit("y.service", &format!("{service}RuntimeMaxSec=1ms\n"));
    machine.ask(&ferrite_control::Request::DaemonReload);
    machine.wait_for("its end", |machine| machine.state("y.service") == "failed failed");
    assert_eq!(machine.show("y.service").result, "timeout");
    assert_eq!(machine.state("x.service"), "active running");
}

#[test]
fn what_is_bound_to_a_service_that_restarts_directly_does_not_notice() {
    let service = |mode: &str| format!("[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartMode={mode}\n");
    let bound = |to: &str| {
        format!("[Unit]\nBindsTo={to}\nAfter={to}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n")
    };
    let machine = Machine::boot(&[
        ("direct.service", &service("direct")),
        ("normal.service", &service("normal")),
        ("a.service", &bound("direct.service")),
        ("b.service", &bound("normal.service")),
    ]);
    for unit in ["a.service", "b.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    let first = machine.show("a.service").invocation_id;
    for unit in ["direct.service", "normal.service"] {
        let pid = machine.show(unit).main_pid.unwrap();
        nix::sys::signal::kill(in_machine(&machine, pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        machine.wait_for("its restart", |machine| {
            let details = machine.show(unit);
            details.restarts == 1 && details.summary.sub == "running" && details.main_pid != Some(pid)
        });
    }
    machine.wait_for("the stop", |machine| machine.state("b.service") == "inactive dead");
    assert_eq!(
        (machine.state("a.service").as_str(), machine.show("a.service").invocation_id),
        ("active exited", first)
    );
}

/// The number that a process of a machine has out here.
fn in_machine(machine: &Machine, pid: i32) -> nix::unistd::Pid {
    let inside = |path: &std::path::Path| {
        let text = fs::read_to_string(path.join("status")).ok()?;
        let numbers: Vec<i32> = text
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))?
            .split_whitespace()
            .flat_map(str::parse)
            .collect();
        let namespace = fs::read_link(path.join("ns/pid")).ok()?;
        let own = fs::read_link(format!("/proc/{}/ns/pid", machine.pid)).ok()?;
        (namespace == own && numbers.last() == Some(&pid)).then(|| numbers[0])
    };
    let found = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| inside(&entry.path()));
    nix::unistd::Pid::from_raw(found.expect("the process is there"))
}

#[test]
fn a_job_that_is_asked_for_without_its_order_does_not_wait_any_longer() {
    let machine = Machine::boot_with(
        &[
            ("slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read x < /run/gate'\n"),
            (
                "x.service",
                "[Unit]\nAfter=slow.service\nWants=slow.service\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
            ),
        ],
        &[],
        "mkfifo /run/gate",
    );
    let waiting = machine.send(&machine::start("x.service"));
    machine.wait_for("the first", |machine| machine.state("slow.service") == "activating start");
    let units = vec!["x.service".to_owned()];
    let mode = ferrite_control::JobMode::IgnoreDependencies;
    let wish = ferrite_control::Request::Job { verb: JobVerb::Start, units, mode, wait: true };
    assert_eq!(machine::outcome(machine.ask(&wish).remove(0)), JobOutcome::Done);
    assert_eq!(machine::outcome(machine.answer(waiting)), JobOutcome::Done);
    assert_eq!(machine.state("slow.service"), "activating start");
}

#[test]
fn processes_belong_to_their_unit_and_not_to_the_slice_above() {
    let forks = "[Service]\nType=forking\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'sleep 0 & exit 0'\n";
    let tells = "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/bin/sh -c 'python3 /run/tell.py & wait; exec \
                 sleep 1000'\n";
    let tell = "import os, socket\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', \
                os.environ['NOTIFY_SOCKET'])\n";
    let machine = Machine::boot(&[
        ("first.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ("forks@.service", forks),
        ("tells.service", tells),
        ("run/tell.py", tell),
    ]);
    // From here on the slice is known, and before what comes.
    assert_eq!(machine.job(JobVerb::Start, "first.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "tells.service"), JobOutcome::Done, "{}", machine.log());
    let units: Vec<String> = (0..50).map(|number| format!("forks@{number}.service")).collect();
    let mode = ferrite_control::JobMode::Replace;
    let wish = ferrite_control::Request::Job { verb: JobVerb::Start, units: units.clone(), mode, wait: true };
    machine.ask(&wish);
    let known = |unit: &String| machine.show(unit).properties["ExecMainCode"] == "1";
    // A daemon that ends together with the process that started it may be seen second, and is nobody's then.
    let unknown = units.iter().filter(|unit| !known(unit)).count();
    assert!(unknown < units.len() / 5, "{unknown} ends were not seen\n{}", machine.log());
}
