//! The `systemctl` command, and every other one that it is linked as.

fn main() -> std::process::ExitCode {
    ferrite_init::client::main()
}
