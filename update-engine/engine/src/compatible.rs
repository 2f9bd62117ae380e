//! `update_engine_client`: the command that users of CoreOS know, with its options and its words.

use std::path::PathBuf;

use anyhow::bail;
use clap::Parser;

use crate::places::{Places, SOCKET_PATH};
use crate::protocol::{Operation, Request, Status};
use crate::talk::Talk;

/// Ask the update engine, in the words of CoreOS
///
/// Options may begin with one dash. `ferrite-update` says more.
#[derive(Debug, Parser)]
#[command(name = "update_engine_client", version, max_term_width = 80, arg_required_else_help = true)]
pub struct Arguments {
    /// Show what the engine is at
    #[arg(long)]
    status: bool,
    /// Look for an update in the background (root)
    ///
    /// One that is found is installed.
    #[arg(long = "check_for_update")]
    check_for_update: bool,
    /// Look for an update, install it, wait for the end (root)
    #[arg(long)]
    update: bool,
    /// Stop what is under way and give up what waits for a restart (root)
    #[arg(long = "reset_status")]
    reset_status: bool,
    /// Print the status whenever it changes
    #[arg(long = "watch_for_updates")]
    watch_for_updates: bool,
    /// Say with the exit code 0 that a release waits for a restart
    #[arg(long = "is_reboot_needed")]
    is_reboot_needed: bool,
    /// Restart if a release waits for it (root)
    #[arg(long)]
    reboot: bool,
    /// Go back to the other slot, with a restart (root)
    #[arg(long)]
    rollback: bool,
    /// Say with the exit code 0 that there is a slot to go back to
    #[arg(long = "can_rollback")]
    can_rollback: bool,
    /// Print the channel
    #[arg(long = "show_channel")]
    show_channel: bool,
    /// Folder that stands for the root of the machine
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// `-status` is `--status`.
pub fn with_two_dashes(word: String) -> String {
    match word.strip_prefix('-') {
        Some(rest) if rest.len() > 1 && !rest.starts_with('-') => format!("--{rest}"),
        Some(_) | None => word,
    }
}

/// Does what the command line says.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut talk = Talk::connect(&Places::below(&arguments.root).path(SOCKET_PATH))?;
    if arguments.reset_status {
        println!("{}", talk.order(&Request::Reset)?);
    }
    if arguments.check_for_update {
        println!("{}", talk.order(&Request::Update)?);
    }
    if arguments.update {
        let mut last = String::new();
        let status = talk.follow(&Request::Update, |status| {
            let text = text(status);
            if text != last {
                println!("{text}");
                last = text;
            }
        })?;
        println!("{}", text(&status));
        if let Some(error) = status.error {
            bail!("{error}");
        }
    }
    if arguments.reboot {
        println!("{}", talk.order(&Request::Reboot)?);
    }
    if arguments.rollback {
        println!("{}", talk.order(&Request::Rollback)?);
    }
    if arguments.status {
        println!("{}", text(&talk.status(None)?));
    }
    if arguments.show_channel {
        println!("{}", talk.status(None)?.group);
    }
    if arguments.is_reboot_needed && !talk.status(None)?.reboot_pending {
        bail!("no release waits for a restart");
    }
    if arguments.can_rollback && !can_roll_back(&talk.status(None)?) {
        bail!("the other slot is not marked good: there is nothing to go back to");
    }
    if arguments.watch_for_updates { watch(&mut talk) } else { Ok(()) }
}

/// Prints until the engine or the reader is gone.
fn watch(talk: &mut Talk) -> anyhow::Result<()> {
    let mut seen = None;
    loop {
        let status = talk.status(seen)?;
        if seen != Some(status.revision) {
            println!("{}", text(&status));
        }
        seen = Some(status.revision);
    }
}

fn can_roll_back(status: &Status) -> bool {
    status.slots.iter().any(|slot| !slot.running && slot.state == "good")
}

/// The lines of `-status`.
pub fn text(status: &Status) -> String {
    let version = status.new_version.as_deref().filter(|_| status.operation != Operation::Idle).unwrap_or("0.0.0");
    let size = if status.operation == Operation::Idle { 0 } else { status.new_size };
    format!(
        "LAST_CHECKED_TIME={}\nPROGRESS={:.6}\nCURRENT_OP={}\nNEW_VERSION={version}\nNEW_SIZE={size}",
        status.last_check.unwrap_or(0),
        if matches!(status.operation, Operation::Downloading | Operation::Verifying) { status.progress } else { 0.0 },
        status.operation.word(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_has_the_lines_that_scripts_read() {
        let idle =
            "LAST_CHECKED_TIME=0\nPROGRESS=0.000000\nCURRENT_OP=UPDATE_STATUS_IDLE\nNEW_VERSION=0.0.0\nNEW_SIZE=0";
        assert_eq!(text(&Status::default()), idle);
        let status = Status {
            operation: Operation::NeedReboot,
            last_check: Some(7),
            new_version: Some("1.2".into()),
            new_size: 9,
            progress: 1.0,
            ..Status::default()
        };
        let wanted = "LAST_CHECKED_TIME=7\nPROGRESS=0.000000\nCURRENT_OP=UPDATE_STATUS_UPDATED_NEED_REBOOT\n\
                      NEW_VERSION=1.2\nNEW_SIZE=9";
        assert_eq!(text(&status), wanted);
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let words = ["-status", "--status", "-h", "-", "x"].map(|word| with_two_dashes(word.to_string()));
        assert_eq!(words, ["--status", "--status", "-h", "-", "x"]);
    }
}
