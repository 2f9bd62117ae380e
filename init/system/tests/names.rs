//! Each name of the one program is the program that it says.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

fn called(name: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    symlink(env!("CARGO_BIN_EXE_ferrite-system"), &path).expect("linked");
    Command::new(&path).args(arguments).output().expect("it runs")
}

#[test]
fn every_name_is_the_program_that_it_says() {
    for (name, word) in [
        ("ferrite-devices", "coldplug"),
        ("ferrite-journal-ship", "cursor"),
        ("ferrite-journald", "--run-dir"),
        ("ferrite-login", "banner"),
        ("ferrite-networkd", "wait-online"),
        ("ferrite-slots", "mark-good"),
        ("journalctl", "--follow"),
        ("modprobe", "kernel modules"),
        ("networkctl", "status"),
        ("sudo", "group sudo"),
        ("systemctl", "daemon-reload"),
        ("systemd-analyze", "critical-chain"),
        ("systemd-cat", "journal"),
        ("systemd-modules-load", "modules-load.d"),
        ("systemd-random-seed", "save"),
        ("systemd-sysctl", "--prefix"),
        ("systemd-sysusers", "--replace"),
        ("systemd-tmpfiles", "--create"),
        ("timedatectl", "set-timezone"),
    ] {
        let output = called(name, &["--help"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(word), "{name}: {output:?}");
    }
}

#[test]
fn an_unknown_name_is_told_the_known_ones() {
    let output = called("unknown", &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("journalctl") && text.contains("systemctl"), "{text}");
}
