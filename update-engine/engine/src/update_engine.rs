//! `update-engine` and its clients: one program, told apart by the name that it is called by.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use ferrite_notify::Notifier;
use ferrite_update_engine::{client, compatible, daemon};

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let name = |word: &OsString| Path::new(word).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let called = words.first().map(name).unwrap_or_default();
    let second = words.get(1).map(name).unwrap_or_default();
    let mut which = called.as_str();
    if which == "update-engine" && ["ferrite-update", "update_engine_client"].contains(&second.as_str()) {
        words.remove(0);
        which = second.as_str();
    }
    ferrite_cli::exit_with(match which {
        "ferrite-update" => client::run(&client::Arguments::parse_from(words)),
        "update_engine_client" => {
            let words = words.into_iter().map(|word| compatible::with_two_dashes(word.to_string_lossy().into_owned()));
            compatible::run(&compatible::Arguments::parse_from(words))
        }
        _ => run_daemon(words),
    })
}

fn run_daemon(words: Vec<OsString>) -> anyhow::Result<()> {
    let arguments = daemon::Arguments::parse_from(words);
    daemon::run(&arguments, &Notifier::new(std::env::var_os("NOTIFY_SOCKET").as_deref())?)
}
