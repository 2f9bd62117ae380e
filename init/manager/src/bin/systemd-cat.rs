//! The `systemd-cat` command.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main("systemd-cat")
}
