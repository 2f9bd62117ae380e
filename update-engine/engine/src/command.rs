//! The command line of `ferrite-slots`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand, ValueEnum};
use ferrite_layout::record::Stage;

use crate::change::{self, Change, Outcome};
use crate::paths::Paths;
use crate::places::Places;
use crate::status;

/// Show and change which slot of the disk is started
///
/// A disk holds the system twice, in slots a and b. A new slot is on trial for
/// three starts until it is marked good; if it is not, the machine returns to
/// the other slot by itself.
#[derive(Debug, Parser)]
#[command(name = "ferrite-slots", version, max_term_width = 80)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show both slots, what starts next, and the last fallback
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say that the running slot booted well (root)
    ///
    /// It keeps being started without trial. The system does this by itself when
    /// boot-complete.target is reached; doing it again changes nothing.
    MarkGood,
    /// Mark the running slot good once it deserves it (root)
    ///
    /// A slot under test must stay healthy for a minute: the units that
    /// boot-complete.target needs, the checks in /etc/ferrite/healthcheck.d and
    /// /usr/lib/ferrite/healthcheck.d, the state partition, and the default route
    /// if there was one before. If it is not, the machine restarts. Set SETTLE
    /// and CONFIRM_TIMEOUT in /etc/coreos/update.conf.
    Confirm,
    /// Note in the boot record how far this start got (root)
    Stage {
        /// How far
        stage: StageArgument,
    },
    /// Note in the boot record why this start fails (root)
    ///
    /// The reason is shown at login after the machine fell back.
    RecordFailure {
        /// A short text
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StageArgument {
    /// PID 1 of the root started services
    Init,
}

/// The program.
pub fn main() -> ExitCode {
    ferrite_cli::exit_with(run(&Arguments::parse()))
}

/// Does what the command line says.
fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let paths = Paths::default();
    match &arguments.verb {
        Verb::Status { json } => {
            let snapshot = paths.read_snapshot()?;
            if *json {
                println!("{:#}", status::json(&snapshot));
            } else {
                print!("{}", status::text(&snapshot));
            }
            Ok(())
        }
        Verb::Confirm => {
            need_root("confirm")?;
            crate::confirm::confirm(&Places::below(Path::new("/")))
        }
        Verb::MarkGood => change_as_root("mark-good", &paths, &Change::MarkGood),
        Verb::Stage { stage } => {
            let stage = match stage {
                StageArgument::Init => Stage::Init,
            };
            change_as_root("stage", &paths, &Change::Reach(stage))
        }
        Verb::RecordFailure { reason } => change_as_root("record-failure", &paths, &Change::Fail(reason.clone())),
    }
}

fn change_as_root(verb: &str, paths: &Paths, change: &Change) -> anyhow::Result<()> {
    need_root(verb)?;
    match change::apply(paths, change)? {
        Outcome::Changed(text) | Outcome::Unchanged(text) => println!("{text}"),
    }
    Ok(())
}

fn need_root(verb: &str) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("{verb} changes the boot control partition and needs root: sudo ferrite-slots {verb}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn help_is_at_most_80_columns_wide() {
        let mut command = Arguments::command();
        command.build();
        let mut helps = vec![command.render_long_help().to_string(), command.render_help().to_string()];
        helps.extend(command.get_subcommands_mut().map(|verb| verb.render_long_help().to_string()));
        for line in helps.iter().flat_map(|help| help.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
