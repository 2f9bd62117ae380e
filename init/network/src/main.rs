//! The `ferrite-networkd` program: everything is in the library.

fn main() -> std::process::ExitCode {
    ferrite_network::main()
}
