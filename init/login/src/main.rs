//! The `ferrite-login` program: everything is in the library.

fn main() -> std::process::ExitCode {
    ferrite_login::main()
}
