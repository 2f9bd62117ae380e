//! The `ferrite-devices` program: everything is in the library.

fn main() -> std::process::ExitCode {
    ferrite_devices::main()
}
