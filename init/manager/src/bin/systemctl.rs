//! The `systemctl` command: everything is in `client/systemctl.rs`.

#[path = "../client/systemctl.rs"]
mod systemctl;

fn main() -> std::process::ExitCode {
    // PID 1 of a namespace (tests) listens elsewhere.
    systemctl::main(std::env::args_os(), std::env::var_os("FERRITE_INIT_SOCKET"))
}
