//! The `systemd-notify` command.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main("systemd-notify")
}
