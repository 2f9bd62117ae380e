//! The `ferrite-journal-ship` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ferrite_cli::exit_with(ferrite_journal::ship::main())
}
