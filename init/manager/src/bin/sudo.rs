//! The `sudo` command: everything is in `client/sudo.rs`.

#[path = "../client/sudo.rs"]
mod sudo;

fn main() -> std::process::ExitCode {
    sudo::main(std::env::args_os())
}
