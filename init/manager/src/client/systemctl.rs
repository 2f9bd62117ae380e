//! `systemctl`: asks PID 1, shows the answers, edits links.
//!
//! Renderers are pure functions over the answers and the time; `verbs` decides which question belongs to which verb.

use std::process::ExitCode;

use super::arguments::{Arguments, parse};
use super::{Caller, verbs};

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    let arguments = caller.words().and_then(|words| parse(&words));
    let run = |arguments| {
        let variable = |name| caller.variable(name).map(str::to_owned);
        let (zone, unit_path) = (variable("TZ"), variable("SYSTEMD_UNIT_PATH"));
        let editor = ["SYSTEMD_EDITOR", "EDITOR", "VISUAL"].into_iter().find_map(variable).filter(|e| !e.is_empty());
        verbs::run(&Arguments { socket: caller.socket(), zone, unit_path, editor, ..arguments }, caller)
    };
    match arguments.and_then(run) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(verbs::exit_code_of(&error))
        }
    }
}
