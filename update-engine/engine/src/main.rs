//! The `ferrite-slots` program: everything is in the library.

fn main() -> std::process::ExitCode {
    ferrite_update_engine::command::main()
}
