//! Mounts, swap and slices in PID 1's own namespaces.

use std::fs;
use std::process::Command;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

/// Runs a command in the name spaces of process 1; the kernel makes no mount for processes from elsewhere.
fn inside(machine: &Machine, words: &[&str]) {
    let pid = machine.pid.to_string();
    let status = Command::new("nsenter").args(["-t", &pid, "-m", "-p"]).args(words).status().unwrap();
    assert!(status.success(), "{words:?}\n{}", machine.log());
}

#[test]
fn a_mount_is_made_changed_and_taken_away() {
    let machine = Machine::boot(&[
        (
            "run-here.mount",
            "[Mount]\nWhat=tmpfs\nWhere=/run/here\nType=tmpfs\nOptions=size=1m,mode=0710,x-y\nDirectoryMode=0700\n",
        ),
        ("run-bad.mount", "[Mount]\nWhat=/nonexistent\nWhere=/run/bad\nType=ext4\n"),
        ("run-bind.mount", "[Mount]\nWhat=/run/source/deep\nWhere=/run/bind\nOptions=bind,ro\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "run-here.mount"), JobOutcome::Done);
    assert_eq!(machine.state("run-here.mount"), "active mounted");
    let table = || fs::read_to_string(format!("/proc/{}/mountinfo", machine.pid)).unwrap();
    let line = |place: &str| table().lines().find(|line| line.contains(&format!(" {place} "))).unwrap_or("").to_owned();
    assert!(line("/run/here").contains("size=1024k"), "{}", line("/run/here"));
    machine.write_unit("run-here.mount", "[Mount]\nWhat=tmpfs\nWhere=/run/here\nType=tmpfs\nOptions=size=2m,ro\n");
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert_eq!(machine.job(JobVerb::Reload, "run-here.mount"), JobOutcome::Done);
    assert!(line("/run/here").contains("size=2048k") && line("/run/here").contains(" ro,"), "{}", line("/run/here"));
    assert_eq!(machine.job(JobVerb::Stop, "run-here.mount"), JobOutcome::Done);
    assert_eq!((machine.state("run-here.mount"), line("/run/here")), ("inactive dead".into(), String::new()));
    assert_eq!(machine.job(JobVerb::Start, "run-bad.mount"), JobOutcome::Failed);
    assert_eq!(machine.show("run-bad.mount").result, "exit-code");
    assert_eq!(machine.job(JobVerb::Start, "run-bind.mount"), JobOutcome::Done);
    assert!(line("/run/bind").contains(" ro,"), "{}", line("/run/bind"));
    assert!(machine.output("run/source/deep").is_dir());
}

#[test]
fn what_others_mount_and_unmount_is_seen_and_takes_along_what_is_bound_to_it() {
    let machine = Machine::boot(&[(
        "user.service",
        "[Unit]\nBindsTo=run-other.mount\nAfter=run-other.mount\n[Service]\nExecStart=/bin/sleep 1000\n",
    )]);
    assert_eq!(machine.show("run-other.mount").summary.load, "not-found");
    inside(&machine, &["mkdir", "/run/other"]);
    inside(&machine, &["mount", "-t", "tmpfs", "thing", "/run/other"]);
    machine.wait_for("mount", |machine| machine.state("run-other.mount") == "active mounted");
    let details = machine.show("run-other.mount");
    assert_eq!(details.summary.load, "loaded");
    assert_eq!((details.properties["What"].as_str(), details.properties["Type"].as_str()), ("thing", "tmpfs"));
    assert_eq!(machine.job(JobVerb::Start, "user.service"), JobOutcome::Done);
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.state("run-other.mount"), "active mounted");
    assert_eq!(machine.show("run-other.mount").summary.load, "loaded");
    inside(&machine, &["umount", "/run/other"]);
    machine.wait_for("end", |machine| machine.state("user.service") == "inactive dead");
    machine.wait_for("oblivion", |machine| machine.show("run-other.mount").summary.load == "not-found");
}

#[test]
fn a_thousand_mounts_are_not_a_thousand_looks() {
    let machine = Machine::boot(&[]);
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", machine.pid)).unwrap();
        let fields: Vec<u64> =
            stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2).map(|f| f.parse().unwrap()).collect();
        fields.iter().sum::<u64>()
    };
    let before = ticks();
    let script = "mkdir /run/m; for i in $(seq 300); do mount -t tmpfs x /run/m; umount /run/m; done; touch /run/done";
    inside(&machine, &["sh", "-c", script]);
    machine.wait_for("end", |machine| machine.output("run/done").exists());
    machine.wait_for("oblivion", |machine| machine.show("run-m.mount").summary.load == "not-found");
    assert!(ticks() - before < 100, "{} ticks", ticks() - before);
}

#[test]
fn swap_space_that_cannot_be_used_fails_and_a_slice_makes_its_group() {
    let machine = Machine::boot(&[
        ("run-none.swap", "[Swap]\nWhat=/run/none\nTimeoutSec=5\n"),
        ("some.slice", "[Slice]\nTasksMax=17\n"),
        ("run-x.swap", "[Swap]\nWhat=/run/y\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "run-none.swap"), JobOutcome::Failed);
    assert_eq!(
        (machine.state("run-none.swap"), machine.show("run-none.swap").result),
        ("failed failed".into(), "exit-code".into())
    );
    assert_eq!(machine.show("run-x.swap").summary.load, "bad-setting");
    assert_eq!(machine.job(JobVerb::Start, "some.slice"), JobOutcome::Done);
    let group = machine.groups().map(|groups| groups.join("some.slice"));
    assert!(group.iter().all(|group| group.is_dir()), "{group:?}");
    assert_eq!(machine.job(JobVerb::Stop, "some.slice"), JobOutcome::Done);
    assert!(!group.iter().any(|group| group.exists()), "{group:?}");
}

#[test]
fn a_mount_is_made_on_access_and_taken_away_when_it_is_idle() {
    let machine = Machine::boot(&[
        ("run-auto.automount", "[Automount]\nTimeoutIdleSec=1\nDirectoryMode=0711\n"),
        ("run-auto.mount", "[Mount]\nWhat=tmpfs\nWhere=/run/auto\nType=tmpfs\n"),
        ("run-broken.automount", "[Automount]\n"),
        ("run-broken.mount", "[Mount]\nWhat=/nonexistent\nWhere=/run/broken\nType=ext4\n"),
        ("run-alone.automount", "[Automount]\n"),
        ("run-wrong.automount", "[Automount]\nWhere=/run/other\n"),
    ]);
    assert_eq!(machine.show("run-wrong.automount").summary.load, "bad-setting");
    if !std::path::Path::new("/dev/autofs").exists() {
        assert_eq!(machine.job(JobVerb::Start, "run-auto.automount"), JobOutcome::Failed);
        assert!(machine.log().contains("makes no mounts on access"), "{}", machine.log());
        return;
    }
    assert_eq!(machine.job(JobVerb::Start, "run-auto.automount"), JobOutcome::Done);
    assert_eq!(machine.state("run-auto.automount"), "active waiting");
    assert_eq!(machine.state("run-auto.mount"), "inactive dead");
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    inside(&machine, &["touch", "/run/auto/file"]);
    assert_eq!(machine.state("run-auto.mount"), "active mounted");
    machine.wait_for("running", |machine| machine.state("run-auto.automount") == "active running");
    machine.wait_for("idle end", |machine| machine.state("run-auto.mount") == "inactive dead");
    machine.wait_for("waiting", |machine| machine.state("run-auto.automount") == "active waiting");
    inside(&machine, &["touch", "/run/auto/file"]);
    assert_eq!(machine.job(JobVerb::Stop, "run-auto.automount"), JobOutcome::Done);
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", machine.pid)).unwrap();
    assert!(!table.contains("/run/auto "), "{table}");
    // Who waits for a mount that fails is told so.
    assert_eq!(machine.job(JobVerb::Start, "run-broken.automount"), JobOutcome::Done);
    let pid = machine.pid.to_string();
    let status = Command::new("nsenter").args(["-t", &pid, "-m", "-p", "ls", "/run/broken/"]).status().unwrap();
    assert!(!status.success());
    assert_eq!(machine.state("run-broken.automount"), "active waiting");
    assert_eq!(machine.job(JobVerb::Start, "run-alone.automount"), JobOutcome::Failed);
}
