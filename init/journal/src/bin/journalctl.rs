//! The `journalctl` command: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ferrite_journal::journalctl::main()
}
