//! The `systemd-id128` command.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main("systemd-id128")
}
