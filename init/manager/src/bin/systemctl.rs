//! The `systemctl` command: everything is in `client/systemctl.rs`.

#[path = "../client/systemctl.rs"]
mod systemctl;

fn main() -> std::process::ExitCode {
    systemctl::main(std::env::args_os())
}
