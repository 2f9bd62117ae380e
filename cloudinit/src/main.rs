//! ferrite-cloudinit: makes a machine what its cloud-config says.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ferrite_cloudinit::ApplyInputs;

/// Makes a machine what its cloud-config says
#[derive(Parser)]
#[command(name = "ferrite-cloudinit", version)]
struct Arguments {
    /// Work below this folder instead of /
    ///
    /// Nothing outside of it is read or changed; the datasources of this machine are not asked.
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find the user-data and apply it
    ///
    /// Exit code 0: done, 2: something was left out, 1: the user-data cannot be used.
    Apply {
        /// Read the user-data from this file
        #[arg(long, value_name = "FILE")]
        user_data: Option<PathBuf>,
        /// Read the meta-data from this file
        #[arg(long, value_name = "FILE")]
        meta_data: Option<PathBuf>,
    },
    /// Show what was applied at this boot
    Status,
    /// Check a document and print all its faults
    Validate {
        /// The document
        file: PathBuf,
    },
    /// Print what apply would do with a document
    Plan {
        /// The document
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = arguments.root;
    let outcome = match arguments.command {
        Command::Apply { user_data, meta_data } => {
            ferrite_cloudinit::apply(&ApplyInputs { root, user_data, meta_data })
        }
        Command::Status => ferrite_cloudinit::show_status(&root),
        Command::Validate { file } => ferrite_cloudinit::validate(&file),
        Command::Plan { file } => ferrite_cloudinit::plan_file(&root, &file),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => ferrite_cli::exit_with(Err(error)),
    }
}
