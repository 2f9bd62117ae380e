//! The `systemd-escape` command.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main("systemd-escape")
}
