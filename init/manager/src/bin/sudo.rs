//! The `sudo` command: everything is in `client/sudo.rs`.

#[path = "../client/sudo.rs"]
mod sudo;

fn main() -> std::process::ExitCode {
    // PID 1 of a namespace (tests) listens elsewhere.
    sudo::main(std::env::args_os(), std::env::var_os("FERRITE_INIT_SOCKET"))
}
