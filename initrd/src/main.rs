//! `/init` of the initramfs.

use std::process::ExitCode;

use ferrite_initrd::boot::Boot;
use ferrite_initrd::{failure, tool};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((tool::CHROOT, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        eprintln!("error: {:#}", tool::become_tool(rest));
        return ExitCode::FAILURE;
    }
    if std::process::id() != 1 {
        eprintln!("error: ferrite-initrd is started by the kernel, as /init of an initramfs");
        return ExitCode::from(2);
    }
    std::panic::set_hook(Box::new(|panic| failure::on_panic(&panic.to_string())));
    match Boot::begin() {
        Ok(mut boot) => match boot.run() {
            Ok(never) => match never {},
            Err(failure) => failure::end(boot, &failure),
        },
        Err(error) => failure::end_without_log(&error),
    }
}
