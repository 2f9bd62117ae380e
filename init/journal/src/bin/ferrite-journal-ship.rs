//! The `ferrite-journal-ship` program: everything is in the library.

fn main() -> std::process::ExitCode {
    ferrite_journal::ship::main()
}
