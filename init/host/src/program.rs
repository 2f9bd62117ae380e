//! The program behind `systemd-tmpfiles`, `systemd-sysusers`, `systemd-sysctl`, `systemd-random-seed` and
//! `ferrite-time-sources`: the name it is called by decides.

use std::process::ExitCode;

use crate::Environment;

/// The program, by the name it is called by.
pub fn main() -> ExitCode {
    let environment = Environment {
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into),
        source_date_epoch: std::env::var("SOURCE_DATE_EPOCH").ok(),
        arguments: std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect(),
    };
    crate::run(&ferrite_cli::called(), &environment)
}
