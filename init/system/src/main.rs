//! `ferrite-system`: most programs of the image in one file, because each alone would carry the same libraries again.
//! The name it is called by decides which one it is. PID 1, cloudinit and the update engine are files of their own.

use std::ffi::OsString;
use std::path::Path;
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
    let called = std::env::args_os().next().unwrap_or_default();
    match program(&called) {
        Some(begin) => begin(),
        None => {
            eprintln!("'{}' is no program of Ferrite, call this one by one of these names:", called.display());
            PROGRAMS.iter().flat_map(|(names, _)| *names).for_each(|name| eprintln!("  {name}"));
            ferrite_init::client::names().for_each(|name| eprintln!("  {name}"));
            ExitCode::from(2)
        }
    }
}

fn program(called: &OsString) -> Option<fn() -> ExitCode> {
    let name = Path::new(called).file_name()?.to_str()?;
    if ferrite_init::client::names().any(|known| known == name) {
        return Some(|| ferrite_init::client::main("systemctl"));
    }
    PROGRAMS.iter().find(|(names, _)| names.contains(&name)).map(|(_, begin)| *begin)
}
