//! `ferrite-init`: process 1 of the machine, or of a process namespace.

use std::process::ExitCode;

use ferrite_init::{LAST_STAGE, Options, last_stage, run, try_state};

const HELP: &str = "\
usage: ferrite-init [--unit UNIT]
       ferrite-init dump [--root DIR] [--json] [UNIT...]
       ferrite-init plan [--root DIR] UNIT...

The first process of the machine; also runs as process 1 of a namespace:
    unshare --pid --fork --mount-proc ferrite-init --unit x.target

  dump
        load all units below DIR and print everything that is known of them, or
        of the units that are named; needs no running system
  plan
        print the jobs that starting each UNIT would queue on a machine where
        nothing runs yet

  --root DIR
        the root whose unit files are read, instead of /
  --json
        one JSON object a line
  --unit UNIT
        start UNIT instead of default.target
  --version
        print the version

SYSTEMD_UNIT_PATH names the directories of unit files, with colons between.
";

fn main() -> ExitCode {
    let mut options = Options {
        unit_path: std::env::var("SYSTEMD_UNIT_PATH").ok(),
        fstab: std::env::var("SYSTEMD_FSTAB").ok(),
        generator_path: std::env::var("SYSTEMD_GENERATOR_PATH").ok(),
        test_faults: std::env::var_os("FERRITE_TEST_FAULTS").is_some(),
        environment: variables(),
        ..Options::default()
    };
    let first = std::process::id() == 1;
    let mut arguments = std::env::args().skip(1).peekable();
    if !first && arguments.next_if(|argument| argument == "dump").is_some() {
        return ferrite_cli::exit_with(ferrite_init::dump(arguments, options.unit_path.as_deref()));
    }
    if !first && arguments.next_if(|argument| argument == "rescue-shell").is_some() {
        return ferrite_cli::exit_with(ferrite_init::rescue_shell(&arguments.collect::<Vec<_>>()));
    }
    if !first && arguments.next_if(|argument| argument == "plan").is_some() {
        return ferrite_cli::exit_with(ferrite_init::plan(arguments, options.unit_path.as_deref()));
    }
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--unit" => {
                options.unit = arguments.next();
                options.arguments.push(argument);
                options.arguments.extend(options.unit.clone());
            }
            "--state" => options.state = arguments.next().and_then(|number| number.parse().ok()),
            "--recover" => options.recover = arguments.next().and_then(|number| number.parse().ok()),
            LAST_STAGE if first => return ferrite_cli::exit_with(last_stage(&arguments.collect::<Vec<_>>())),
            "--try-state" => {
                let number = arguments.next().and_then(|number| number.parse().ok());
                return ferrite_cli::exit_with(number.map_or(Ok(()), try_state));
            }
            "--version" => {
                println!("ferrite-init {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            // The kernel gives words of its command line that it does not know to process 1.
            _ if first => options.arguments.push(argument),
            _ => {
                print!("{HELP}");
                return ExitCode::from(if argument == "--help" {
                    ferrite_cli::EXIT_OK
                } else {
                    ferrite_cli::EXIT_USAGE
                });
            }
        }
    }
    if !first {
        eprintln!("error: ferrite-init must be process 1, see --help");
        return ExitCode::from(ferrite_cli::EXIT_FAILURE);
    }
    ferrite_cli::exit_with(run(&options))
}

/// The variables whose names and values are text.
fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}
