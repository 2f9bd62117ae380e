//! `systemd-analyze`: what the boot took, checks of the small languages and of unit files. The table of contents.
//!
//! What needs no PID 1 works on any machine.

mod blame;
mod boot;
mod calendar;
mod capability;
mod cat_config;
mod chain;
mod compare_versions;
mod condition;
mod coverage;
mod dot;
mod dump;
mod exit_status;
mod filesystems;
mod loading;
pub mod log_control;
mod nearest;
mod picture;
mod plot;
mod security;
mod syscall_filter;
mod time;
mod timespan;
mod timestamp;
mod unit_files;
mod unit_paths;
mod verify;

use std::process::ExitCode;

use anyhow::{Result, bail};
use ferrite_control::Client;
use ferrite_unit::calendar::CalendarSpec;
use ferrite_unit::zone::Zones;

use super::options::{Flag, Line, Order, Takes, parse};
use super::style::Colour;
use super::{Caller, finish, print};
use crate::clock::wall_us;

const HELP: &str = "\
systemd-analyze [OPTIONS...] COMMAND ...

Profile the boot, check unit files, calendar events and times.

Boot:
  [time]                     Print time required to boot the machine
  blame                      Print list of units ordered by time to start
  critical-chain [UNIT...]   Print a tree of the units that were waited for
  plot                       Output a picture of the boot in SVG

Units:
  dot [UNIT...]              Output the graph of units for graphviz' dot
  dump [PATTERN...]          Output everything that PID 1 knows
  coverage [PATTERN...]      List directives that are refused or done in part
  verify FILE...             Check unit files for correctness
  condition CONDITION...     Evaluate conditions and asserts
  security [UNIT...]         Assess how much services may do
  cat-config NAME|PATH...    Show configuration file and drop-ins
  unit-paths                 List load directories for units
  unit-files [PATTERN...]    List files and symlinks for units

Words of unit files:
  exit-status [STATUS...]    List exit status definitions
  capability [CAP...]        List capability definitions
  syscall-filter [NAME...]   List syscalls in seccomp filters
  filesystems [NAME...]      List groups of file systems
  compare-versions VERSION1 [OP] VERSION2
                             Compare two version strings

Calendar and times:
  calendar SPEC...           Validate repetitive calendar time events
  timestamp TIMESTAMP...     Validate a timestamp
  timespan SPAN...           Validate a time span

PID 1:
  service-watchdogs [BOOL]   Get or set whether silent services are ended
  log-level [LEVEL]          Get or set what is logged
  log-target [TARGET]        Get or set where it is logged

Options:
     --fuzz=SECONDS          With critical-chain: also print units that were up
                             so much earlier than the last one
     --order                 With dot: only in which order units start
     --require               With dot: only what units need
     --from-pattern=GLOB     With dot: only edges that begin at such units
     --to-pattern=GLOB       With dot: only edges that end at such units
     --scale-svg=FACTOR      With plot: stretch the axis
     --detailed              With plot: write when each unit was started
     --table                 With plot: output a table instead of a picture
     --json=pretty|short|off With plot, coverage, security: output JSON
     --no-legend             Leave headings and sums out
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
  -m --mask                  With capability: the word is a mask, in hexadecimal
     --user                  With unit-paths: of a user's manager
     --global                With unit-paths: of the managers of all users
     --no-pager              Accepted: there is no pager
     --system                Accepted: there is only the system's manager
  -q --quiet                 Do not emit hints
  -h --help                  Show this help
     --version               Show package version
";

const FLAGS: &[Flag] = &[
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    ('q', "quiet", Takes::Nothing),
    (' ', "fuzz", Takes::Value),
    (' ', "order", Takes::Nothing),
    (' ', "require", Takes::Nothing),
    (' ', "from-pattern", Takes::Value),
    (' ', "to-pattern", Takes::Value),
    (' ', "root", Takes::Value),
    (' ', "scale-svg", Takes::Value),
    (' ', "detailed", Takes::Nothing),
    (' ', "table", Takes::Nothing),
    (' ', "json", Takes::Value),
    (' ', "recursive-errors", Takes::Value),
    (' ', "man", Takes::Maybe),
    (' ', "instance", Takes::Value),
    (' ', "unit", Takes::Value),
    (' ', "tldr", Takes::Nothing),
    (' ', "offline", Takes::Value),
    (' ', "threshold", Takes::Value),
    (' ', "no-legend", Takes::Nothing),
    (' ', "iterations", Takes::Value),
    (' ', "base-time", Takes::Value),
    (' ', "no-pager", Takes::Nothing),
    (' ', "system", Takes::Nothing),
    (' ', "user", Takes::Nothing),
    (' ', "global", Takes::Nothing),
    ('m', "mask", Takes::Nothing),
];

/// A verb: its name, how many words may follow it, and what it does.
type Verb = (&'static str, (usize, usize), fn(&Call<'_>) -> Result<u8>);

/// Any number of words.
const ANY: usize = usize::MAX;

/// All verbs. The first one is meant when none is named.
const VERBS: &[Verb] = &[
    ("time", (0, 0), time::run),
    ("blame", (0, 0), blame::run),
    ("critical-chain", (0, ANY), chain::run),
    ("plot", (0, 0), plot::run),
    ("dot", (0, ANY), dot::run),
    ("dump", (0, ANY), dump::run),
    ("coverage", (0, ANY), coverage::run),
    ("verify", (1, ANY), verify::run),
    ("condition", (0, ANY), condition::run),
    ("security", (0, ANY), security::run),
    ("cat-config", (1, ANY), cat_config::run),
    ("unit-paths", (0, 0), unit_paths::run),
    ("unit-files", (0, ANY), unit_files::run),
    ("exit-status", (0, ANY), exit_status::run),
    ("capability", (0, ANY), capability::run),
    ("syscall-filter", (0, ANY), syscall_filter::run),
    ("filesystems", (0, ANY), filesystems::run),
    ("compare-versions", (2, 3), compare_versions::run),
    ("calendar", (1, ANY), calendar::run),
    ("timestamp", (1, ANY), timestamp::run),
    ("timespan", (1, ANY), timespan::run),
    ("service-watchdogs", (0, 1), service_watchdogs),
    ("log-level", (0, 1), log_control::run),
    ("log-target", (0, 1), log_control::run),
    ("get-log-level", (0, 0), log_control::run),
    ("get-log-target", (0, 0), log_control::run),
    ("set-log-level", (1, 1), log_control::run),
    ("set-log-target", (1, 1), log_control::run),
];

/// Verbs that look at another root when they are told to.
const ROOTED: &[&str] = &["cat-config", "verify", "condition", "security", "unit-files", "coverage"];

/// Verbs that ask a manager, of which there is but one.
const ASKING: &[&str] = &["time", "blame", "critical-chain", "plot", "dot", "dump", "security", "service-watchdogs"];

/// What every verb gets.
struct Call<'a> {
    caller: &'a Caller,
    line: Line,
    zones: Zones,
    now_us: u64,
    colour: Colour,
}

impl Call<'_> {
    /// The word that the verb is called by.
    fn verb(&self) -> &str {
        self.line.operands.first().map_or("time", String::as_str)
    }

    /// The words after the verb.
    fn operands(&self) -> &[String] {
        self.line.operands.get(1..).unwrap_or_default()
    }

    /// A connection to PID 1.
    fn connect(&self) -> Result<Client> {
        Ok(Client::connect(&self.caller.socket())?)
    }
}

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    finish(caller.words().and_then(|words| run(caller, &words)))
}

fn run(caller: &Caller, words: &[String]) -> Result<u8> {
    let line = parse(words, FLAGS, Order::Anywhere)?;
    if line.has("help") {
        return print(HELP);
    }
    if line.has("version") {
        return super::print_version();
    }
    let call = Call { caller, line, zones: caller.zones(), now_us: wall_us(), colour: Colour::of_stdout() };
    let (_, (least, most), verb) = find(call.verb())?;
    if call.line.has("global") && call.verb() != "unit-paths" {
        bail!("Option --global only makes sense with verb unit-paths.");
    }
    if call.line.has("user") && ASKING.contains(&call.verb()) {
        bail!("there is no manager of a user here, only that of the system");
    }
    if call.line.has("root") && !ROOTED.contains(&call.verb()) {
        bail!("Option --root is only supported for {} right now.", ROOTED.join(", "));
    }
    match call.operands().len() {
        count if count < *least => bail!("Too few arguments."),
        count if count > *most => bail!("Too many arguments."),
        _ => verb(&call),
    }
}

/// `service-watchdogs`: the verb of systemctl by its old name.
fn service_watchdogs(call: &Call<'_>) -> Result<u8> {
    super::manager_verbs::service_watchdogs(&mut call.connect()?, call.operands())
}

/// The verb of a name.
fn find(name: &str) -> Result<&'static Verb> {
    if let Some(verb) = VERBS.iter().find(|(known, _, _)| *known == name) {
        return Ok(verb);
    }
    match nearest::nearest(name, VERBS.iter().map(|(known, _, _)| *known)) {
        Some(meant) => bail!("Unknown command verb '{name}', did you mean '{meant}'?"),
        None => bail!("Unknown command verb '{name}'."),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_but_the_old_names_is_in_the_help() {
        for (name, _, _) in VERBS.iter().filter(|(name, _, _)| !name.starts_with("get-") && !name.starts_with("set-")) {
            let found = HELP.lines().any(|line| line.trim_start().trim_start_matches('[').starts_with(name));
            assert!(found, "{name}");
        }
        assert!(HELP.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn an_unknown_verb_is_refused_with_what_was_perhaps_meant() {
        let words = |name: &str| find(name).map(|_| ()).expect_err("unknown").to_string();
        assert_eq!(words("blam"), "Unknown command verb 'blam', did you mean 'blame'?");
        assert_eq!(words("critical"), "Unknown command verb 'critical', did you mean 'critical-chain'?");
        assert_eq!(words("xyzzy-no-such-verb"), "Unknown command verb 'xyzzy-no-such-verb'.");
        assert!(find("time").is_ok());
    }
}
