//! The `sudo` command.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main("sudo")
}
