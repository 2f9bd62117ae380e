//! `systemd-analyze`: checks of the small languages and of unit files, and what the boot took. The table of contents.
//!
//! What needs no PID 1 works on any machine.

mod calendar;
mod capability;
mod cat_config;
mod compare_versions;
mod condition;
mod exit_status;
mod loading;
mod security;
mod syscall_filter;
mod table;
mod timespan;
mod timestamp;
mod unit_files;
mod unit_paths;
mod verify;

use std::process::ExitCode;

use anyhow::{Result, bail};
use ferrite_unit::calendar::CalendarSpec;
use ferrite_unit::zone::Zones;

use super::options::{Flag, Line, Order, Takes, parse};
use super::style::Colour;
use super::{Caller, finish, print};
use crate::clock::wall_us;

const HELP: &str = "\
systemd-analyze [OPTIONS...] COMMAND ...

Profile the boot, check unit files, calendar events and times.

Commands:
  calendar SPEC...           Validate repetitive calendar time events
  timestamp TIMESTAMP...     Validate a timestamp
  timespan SPAN...           Validate a time span
  verify FILE...             Check unit files for correctness
  condition CONDITION...     Evaluate conditions and asserts
  security [UNIT...]         Assess how much services may do
  cat-config NAME|PATH...    Show configuration file and drop-ins
  unit-paths                 List load directories for units
  unit-files [PATTERN...]    List files and symlinks for units
  exit-status [STATUS...]    List exit status definitions
  capability [CAP...]        List capability definitions
  syscall-filter [NAME...]   List syscalls in seccomp filters
  compare-versions VERSION1 [OP] VERSION2
                             Compare two version strings

Options:
     --iterations=N          Show the specified number of iterations
     --base-time=TIMESTAMP   Calculate calendar times relative to this time
     --root=PATH             Operate on an alternate filesystem root
     --recursive-errors=MODE Whose ignored settings count: yes, no, one
     --man[=BOOL]            Check that manual pages exist
     --instance=NAME         Instance of templates (test_instance)
     --unit=UNIT             Evaluate the conditions of this unit
     --tldr                  Skip comments and empty lines
     --offline=BOOL          Assess unit files, not loaded units
     --threshold=N           Exit with 1 when the exposure, in tenths,
                             is above N
     --json=pretty|short|off Show the assessment as JSON
     --no-pager              Accepted: there is no pager
  -q --quiet                 Do not emit hints
  -h --help                  Show this help
     --version               Show package version
";

const FLAGS: [Flag; 15] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    ('q', "quiet", Takes::Nothing),
    (' ', "iterations", Takes::Value),
    (' ', "base-time", Takes::Value),
    (' ', "no-pager", Takes::Nothing),
    (' ', "root", Takes::Value),
    (' ', "recursive-errors", Takes::Value),
    (' ', "man", Takes::Maybe),
    (' ', "instance", Takes::Value),
    (' ', "unit", Takes::Value),
    (' ', "tldr", Takes::Nothing),
    (' ', "offline", Takes::Value),
    (' ', "threshold", Takes::Value),
    (' ', "json", Takes::Value),
];

/// What every verb gets.
struct Call<'a> {
    caller: &'a Caller,
    line: Line,
    zones: Zones,
    now_us: u64,
    colour: Colour,
}

impl Call<'_> {
    /// The words after the verb.
    fn operands(&self) -> &[String] {
        self.line.operands.get(1..).unwrap_or_default()
    }
}

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    finish(caller.words().and_then(|words| run(caller, &words)))
}

fn run(caller: &Caller, words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    if line.has("help") {
        return print(HELP);
    }
    if line.has("version") {
        return super::print_version();
    }
    let call = Call { caller, line, zones: caller.zones(), now_us: wall_us(), colour: Colour::of_stdout() };
    match call.line.operands.first().map_or("time", String::as_str) {
        "calendar" => calendar::run(&call),
        "timestamp" => timestamp::run(&call),
        "timespan" => timespan::run(&call),
        "verify" => verify::run(&call),
        "condition" => condition::run(&call),
        "security" => security::run(&call),
        "cat-config" => cat_config::run(&call),
        "unit-paths" => unit_paths::run(&call),
        "unit-files" => unit_files::run(&call),
        "exit-status" => exit_status::run(&call),
        "capability" => capability::run(&call),
        "syscall-filter" => syscall_filter::run(&call),
        "compare-versions" => compare_versions::run(&call),
        other => bail!("Unknown command verb '{other}'."),
    }
}

/// What a word that was refused may have been meant as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Calendar,
    Timestamp,
    Timespan,
}

/// Lines that say which other verb would understand a word, each after a newline.
fn hint(call: &Call<'_>, text: &str, refused: Language) -> String {
    let understood = |language: Language| match language {
        Language::Calendar => CalendarSpec::parse(text, &call.zones).is_ok(),
        Language::Timestamp => ferrite_unit::timestamp::parse(text, call.now_us, &call.zones).is_ok(),
        Language::Timespan => ferrite_unit::timespan::parse(text).is_ok(),
    };
    let line = |language: Language| {
        let (words, verb) = match language {
            Language::Calendar => ("calendar specification", "calendar"),
            Language::Timestamp => ("timestamp", "timestamp"),
            Language::Timespan => ("timespan", "timespan"),
        };
        format!("\nHint: this expression is a valid {words}. Use 'systemd-analyze {verb} \"{text}\"' instead?")
    };
    let all = [Language::Calendar, Language::Timestamp, Language::Timespan];
    all.into_iter().filter(|language| *language != refused && understood(*language)).map(line).collect()
}

/// Runs a check for each word, an empty line between them; the first fault is the exit code.
fn each(call: &Call<'_>, check: impl Fn(&Call<'_>, &str) -> Result<String>) -> Result<u8> {
    let operands = call.operands();
    if operands.is_empty() {
        bail!("Too few arguments.");
    }
    let mut code = 0;
    for (number, text) in operands.iter().enumerate() {
        match check(call, text) {
            Ok(text) => drop(print(&text)?),
            Err(error) => {
                eprintln!("{error:#}");
                code = 1;
            }
        }
        if number + 1 < operands.len() {
            print("\n")?;
        }
    }
    Ok(code)
}
