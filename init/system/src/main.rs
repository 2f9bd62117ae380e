//! `ferrite-system`: most programs of the image in one file, because each alone would carry the same libraries again.
//! The name it is called by decides which one it is. PID 1, cloudinit and the update engine are files of their own.

use std::process::ExitCode;

/// A program's names, and where it begins.
type Program = (&'static [&'static str], fn() -> ExitCode);

const PROGRAMS: [Program; 8] = [
    (&["ferrite-devices", "modprobe", "systemd-modules-load"], ferrite_devices::main),
    (
        &[
            "ferrite-host",
            "ferrite-time-sources",
            "systemd-random-seed",
            "systemd-sysctl",
            "systemd-sysusers",
            "systemd-tmpfiles",
        ],
        ferrite_host::main,
    ),
    (&["ferrite-journald"], ferrite_journal::journald::main),
    (&["ferrite-journal-ship"], ferrite_journal::ship::main),
    (&["ferrite-login"], ferrite_login::main),
    (&["ferrite-networkd", "networkctl"], ferrite_network::main),
    (&["ferrite-slots"], ferrite_update_engine::command::main),
    (&["journalctl"], ferrite_journal::journalctl::main),
];

fn main() -> ExitCode {
    let called = ferrite_cli::called();
    match program(&called) {
        Some(begin) => begin(),
        None => {
            eprintln!("'{called}' is no program of Ferrite, call this one by one of these names:");
            PROGRAMS.iter().flat_map(|(names, _)| *names).for_each(|name| eprintln!("  {name}"));
            ferrite_init::client::names().for_each(|name| eprintln!("  {name}"));
            ExitCode::from(ferrite_cli::EXIT_USAGE)
        }
    }
}

fn program(called: &str) -> Option<fn() -> ExitCode> {
    if ferrite_init::client::names().any(|name| name == called) {
        return Some(ferrite_init::client::main);
    }
    PROGRAMS.iter().find(|(names, _)| names.contains(&called)).map(|(_, begin)| *begin)
}
