//! The `systemd-run` command.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main("systemd-run")
}
