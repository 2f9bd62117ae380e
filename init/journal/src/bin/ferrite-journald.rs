//! The `ferrite-journald` daemon: everything is in the library.

fn main() -> std::process::ExitCode {
    ferrite_journal::journald::main()
}
