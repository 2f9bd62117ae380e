//! The `systemd-analyze` command.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main("systemd-analyze")
}
