//! `systemctl`: asks PID 1, shows the answers, edits links. The table of contents of the command.
//!
//! Renderers are pure functions over the answers and the time; `verbs` decides which question belongs to which verb.

mod arguments;
mod cat;
mod dependencies;
mod jobs;
mod links;
mod listing;
mod logs;
mod power;
mod processes;
mod show;
mod spans;
mod status;
mod style;
mod unit_names;
mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::Arguments;
use ferrite_cli::error_line;
use ferrite_control::SOCKET_PATH;

/// Runs the command and gives its exit code.
pub fn main(words: impl Iterator<Item = OsString>, socket: Option<OsString>) -> ExitCode {
    let words: Result<Vec<String>, OsString> = words.map(OsString::into_string).collect();
    let arguments = match words {
        Ok(words) => arguments::parse(&words),
        Err(word) => Err(anyhow::anyhow!("argument '{}' is not valid UTF-8", word.to_string_lossy())),
    };
    let socket = socket.map_or_else(|| PathBuf::from(SOCKET_PATH), PathBuf::from);
    match arguments.and_then(|arguments| verbs::run(&Arguments { socket, ..arguments })) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{}", error_line(&error));
            ExitCode::from(verbs::exit_code_of(&error))
        }
    }
}
