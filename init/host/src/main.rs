//! The `ferrite-host` program: everything is in the library.

fn main() -> std::process::ExitCode {
    ferrite_host::main()
}
