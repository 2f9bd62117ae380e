//! The command line of journalctl. Pure.
//!
//! `-b` and `-n` take the next word only if it can be their value, as in systemd: `words` settles that beforehand.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Lines shown by `-n` without a number, and before `-f`.
const LINES: usize = 10;
/// Lines shown by `-e`, which jumps to the end of a pager that we do not have.
const END_LINES: usize = 1000;
/// Short options that take a value.
const VALUED: &str = "uUStTpgocDFnbM";

/// How entries are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Nov 25 15:04:05 host name[pid]: text.
    #[default]
    Short,
    /// The same with the whole date and the zone.
    ShortFull,
    /// The same with the time in ISO 8601.
    ShortIso,
    /// The same with microseconds.
    ShortIsoPrecise,
    /// As short, with microseconds.
    ShortPrecise,
    /// As short, with seconds since the kernel started.
    ShortMonotonic,
    /// As short, with seconds since 1970.
    ShortUnix,
    /// As short-full, with the unit in place of the program's name.
    WithUnit,
    /// All fields, one a line.
    Verbose,
    /// All fields, for programs and for journals of other machines.
    Export,
    /// One JSON object a line.
    Json,
    /// JSON over several lines.
    JsonPretty,
    /// JSON as server-sent events.
    JsonSse,
    /// JSON text sequences (RFC 7464).
    JsonSeq,
    /// The text alone.
    Cat,
}

impl Output {
    /// Whether remarks may stand between the entries.
    pub fn is_for_people(self) -> bool {
        match self {
            Output::Short
            | Output::ShortFull
            | Output::ShortIso
            | Output::ShortIsoPrecise
            | Output::ShortPrecise
            | Output::ShortMonotonic
            | Output::ShortUnix
            | Output::WithUnit
            | Output::Verbose => true,
            Output::Export | Output::Json | Output::JsonPretty | Output::JsonSse | Output::JsonSeq | Output::Cat => {
                false
            }
        }
    }
}

/// Shows the log.
#[derive(Debug, Parser)]
#[command(name = "journalctl", version, max_term_width = 80)]
pub struct Options {
    /// Only messages with these fields.
    ///
    /// FIELD=VALUE; values of one field are alternatives, and so is what stands on both sides of a '+'. The path of a
    /// program or of a device stands for its messages.
    #[arg(value_name = "MATCH")]
    pub matches: Vec<String>,
    /// Only messages of this unit.
    ///
    /// A name without a type is a service; a pattern such as 'getty@*' is allowed. May be given more than once.
    #[arg(short, long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Only messages of this program.
    #[arg(short = 't', long, value_name = "NAME")]
    pub identifier: Vec<String>,
    /// Only messages of other programs.
    #[arg(short = 'T', long, value_name = "NAME")]
    pub exclude_identifier: Vec<String>,
    /// Only messages of this priority or worse, or of a range.
    ///
    /// emerg, alert, crit, err, warning, notice, info, debug or 0 to 7; a range is written err..info.
    #[arg(short, long, value_name = "RANGE")]
    pub priority: Option<String>,
    /// Only messages of this facility, such as daemon or auth.
    #[arg(long, value_name = "FACILITY", value_delimiter = ',')]
    pub facility: Vec<String>,
    /// Only messages of one start of the machine.
    ///
    /// Without a value the running one; -1 is the one before, 1 the first in the log; or an id, an offset behind it.
    #[arg(short, long, value_name = "BOOT", num_args = 0..=1, default_missing_value = "0", require_equals = true)]
    pub boot: Option<String>,
    /// Only messages of the kernel, of the running boot.
    #[arg(short = 'k', long)]
    pub dmesg: bool,
    /// Only messages from this time on.
    ///
    /// '2026-11-25 15:04:05' (a zone may follow; the time or its seconds may be missing), '15:04', today, yesterday,
    /// now, '1h ago', -30min, @1795619045.
    #[arg(short = 'S', long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// Only messages up to this time.
    #[arg(short = 'U', long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
    /// Only messages whose text fits this regular expression.
    ///
    /// Upper and lower case are the same if the expression has no upper case. No look-around, no back-references.
    #[arg(short, long, value_name = "PATTERN")]
    pub grep: Option<String>,
    /// Whether case counts in --grep.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "yes", require_equals = true)]
    pub case_sensitive: Option<String>,
    /// From the message with this cursor on.
    #[arg(short, long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// From the message after the one with this cursor on.
    #[arg(long, value_name = "CURSOR", conflicts_with = "cursor")]
    pub after_cursor: Option<String>,
    /// After the cursor in this file, which is brought up to date.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cursor", "after_cursor"])]
    pub cursor_file: Option<PathBuf>,
    /// The cursor of the last message stands at the end.
    #[arg(long)]
    pub show_cursor: bool,
    /// Only the last messages; 10 without a number, the first ones with '+'.
    #[arg(short = 'n', long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "10",
          require_equals = true)]
    pub lines: Option<String>,
    /// The last messages, and new ones as they come.
    #[arg(short, long, conflicts_with = "reverse")]
    pub follow: bool,
    /// All messages with --follow.
    #[arg(long)]
    pub no_tail: bool,
    /// Newest first.
    #[arg(short, long)]
    pub reverse: bool,
    /// How messages are printed.
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub output: Output,
    /// Only these fields, in the forms that print fields.
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub output_fields: Vec<String>,
    /// Times in universal time, not in the zone of the machine.
    #[arg(long)]
    pub utc: bool,
    /// Without the name of the machine.
    #[arg(long)]
    pub no_hostname: bool,
    /// The end of the log: the last 1000 messages.
    #[arg(short = 'e', long)]
    pager_end: bool,
    /// Accepted: there are no explanations to add.
    #[arg(short = 'x', long)]
    catalog: bool,
    /// Messages as they are, unprintable and long ones too.
    #[arg(short, long)]
    pub all: bool,
    /// Accepted: messages are always shown in their whole width.
    #[arg(short = 'l', long)]
    full: bool,
    /// Accepted: there is no pager.
    #[arg(long)]
    no_pager: bool,
    /// Accepted: the journal is that of the system.
    #[arg(long)]
    system: bool,
    /// No remarks, such as when there is nothing to show.
    #[arg(short, long)]
    pub quiet: bool,
    /// Journals of all machines that are here.
    #[arg(short, long)]
    pub merge: bool,
    /// The folder of the journal.
    #[arg(short = 'D', long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// A file of the journal, or a pattern.
    #[arg(long, value_name = "FILE", conflicts_with = "directory")]
    pub file: Vec<String>,
    /// The journal below this folder.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["directory", "file"])]
    pub root: Option<PathBuf>,
    /// Shows the boots that the journal knows.
    #[arg(long)]
    pub list_boots: bool,
    /// Shows the values that a field has.
    #[arg(short = 'F', long, value_name = "FIELD")]
    pub field: Option<String>,
    /// Shows the names of all fields.
    #[arg(short = 'N', long)]
    pub fields: bool,
    /// Shows how much disk the journal takes.
    #[arg(long)]
    pub disk_usage: bool,
    /// Removes old files until the rest is not larger than this.
    #[arg(long, value_name = "BYTES")]
    pub vacuum_size: Option<String>,
    /// Removes files that are older than this.
    #[arg(long, value_name = "TIME")]
    pub vacuum_time: Option<String>,
    /// Removes old files until so many are left.
    #[arg(long, value_name = "NUMBER")]
    pub vacuum_files: Option<u32>,
    /// Checks the files.
    #[arg(long)]
    pub verify: bool,
    /// Shows what the files say of themselves.
    #[arg(long)]
    pub header: bool,
    /// Waits until all messages so far are on the disk.
    #[arg(long)]
    pub sync: bool,
    /// Moves the journal in memory to the disk.
    #[arg(long)]
    pub flush: bool,
    /// From now on the journal is in memory.
    #[arg(long)]
    pub relinquish_var: bool,
    /// Begins new files.
    #[arg(long)]
    pub rotate: bool,
    /// The socket of journald, for tests.
    #[arg(long, value_name = "PATH", hide = true, default_value = "/run/systemd/journal/io.systemd.journal")]
    pub control: PathBuf,
}

/// How many entries, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// Every one.
    All,
    /// The last ones.
    Last(usize),
    /// The first ones.
    First(usize),
}

impl Options {
    /// The boot that was asked for.
    pub fn boot_word(&self) -> Option<&str> {
        match self.boot.as_deref() {
            // As in systemd, the end is that of the last boot.
            None if self.dmesg || self.pager_end => Some("0"),
            None | Some("all") => None,
            Some(text) => Some(text),
        }
    }

    /// Which entries.
    pub fn lines(&self) -> Result<Lines, String> {
        match self.lines.as_deref() {
            Some("all") => Ok(Lines::All),
            Some(text) => {
                let wrong = |_| format!("'{text}' is no number of lines: write a number, +number or all");
                match text.strip_prefix('+') {
                    Some(number) => number.parse().map(Lines::First).map_err(wrong),
                    None => text.parse().map(Lines::Last).map_err(wrong),
                }
            }
            None if self.follow && !self.no_tail && self.since.is_none() => Ok(Lines::Last(LINES)),
            None if self.pager_end => Ok(Lines::Last(END_LINES)),
            None => Ok(Lines::All),
        }
    }
}

/// The words of the command line, in a form that leaves no choice: the value of `-b` and `-n` hangs on its option.
pub fn words(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut words = words.peekable();
    out.extend(words.next());
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            out.push(word);
            continue;
        };
        if text == "--" {
            out.push(word);
            out.extend(words.by_ref());
            break;
        }
        let Some((before, option, value)) = optional(text) else {
            out.push(word.clone());
            // The value of an option is no option.
            if takes_next(text) {
                out.extend(words.next());
            }
            continue;
        };
        if !before.is_empty() {
            out.push(format!("-{before}").into());
        }
        let name = if option == 'b' { "--boot" } else { "--lines" };
        let is_value = |next: &OsStr| next.to_str().is_some_and(|next| may_be_value(option, next));
        let value = match value {
            Some(value) => Some(value.to_owned()),
            None => words.next_if(|next| is_value(next)).and_then(|next| next.into_string().ok()),
        };
        out.push(value.map_or_else(|| name.into(), |value| format!("{name}={value}")).into());
    }
    out
}

/// An option with an optional value: the switches before it in the same word, its letter, the value in the same word.
fn optional(text: &str) -> Option<(&str, char, Option<&str>)> {
    match text {
        "--boot" => return Some(("", 'b', None)),
        "--lines" => return Some(("", 'n', None)),
        _ => {}
    }
    let cluster = text.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?;
    let (at, option) = cluster.char_indices().find(|(_, letter)| VALUED.contains(*letter))?;
    let value = cluster.get(at + 1..).filter(|value| !value.is_empty());
    (option == 'b' || option == 'n').then(|| (cluster.get(..at).unwrap_or_default(), option, value))
}

fn takes_next(text: &str) -> bool {
    match text.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
        Some(cluster) => {
            cluster.chars().find(|letter| VALUED.contains(*letter)).is_some_and(|at| cluster.ends_with(at))
        }
        None => ["--since", "--until", "--grep", "--unit", "--identifier"].contains(&text),
    }
}

fn may_be_value(option: char, word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = word.strip_prefix(['-', '+']).unwrap_or(word);
    match option {
        'n' => word == "all" || is_number(word.strip_prefix('+').unwrap_or(word)),
        _ => word == "all" || is_number(unsigned) && unsigned.len() < 10 || super::boots::is_id(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Options {
        Options::try_parse_from(words(line.split(' ').map(OsString::from))).expect("a valid command line")
    }

    #[test]
    fn the_usual_command_lines_are_understood() {
        let options = parsed("journalctl -xeu ssh.service --no-pager");
        assert_eq!(
            (options.unit.as_slice(), options.lines()),
            (&["ssh.service".to_owned()][..], Ok(Lines::Last(1000)))
        );
        for (line, lines) in [
            ("journalctl -n", Lines::Last(10)),
            ("journalctl -n20 -f", Lines::Last(20)),
            ("journalctl -n 20", Lines::Last(20)),
            ("journalctl -n +5", Lines::First(5)),
            ("journalctl -n all -f", Lines::All),
            ("journalctl --lines=all --follow", Lines::All),
            ("journalctl -f --no-tail", Lines::All),
            ("journalctl -fu a", Lines::Last(10)),
            ("journalctl -n _PID=1", Lines::Last(10)),
            ("journalctl", Lines::All),
        ] {
            assert_eq!(parsed(line).lines(), Ok(lines), "{line}");
        }
        assert!(parsed("journalctl -nx").lines().is_err());
        let id = "0123456789abcdef0123456789abcdef";
        for (line, boot) in [
            ("journalctl -b", Some("0")),
            ("journalctl -b -1 -u a", Some("-1")),
            ("journalctl -xb -1", Some("-1")),
            ("journalctl -b-1", Some("-1")),
            ("journalctl -b all", None),
            ("journalctl -k", Some("0")),
            ("journalctl -b _PID=1", Some("0")),
            ("journalctl --boot", Some("0")),
            ("journalctl --boot=-2", Some("-2")),
            (&format!("journalctl -b {id}"), Some(id)),
            (&format!("journalctl -b {id}+1"), Some(&format!("{id}+1"))),
            ("journalctl -u b", None),
        ] {
            assert_eq!(parsed(line).boot_word(), boot, "{line}");
        }
        assert_eq!(parsed("journalctl --since -1h -o short-iso").since.as_deref(), Some("-1h"));
        assert_eq!(parsed("journalctl -b _PID=1 + A=b").matches, ["_PID=1", "+", "A=b"]);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for line in ["journalctl --setup-keys", "journalctl -o paper", "journalctl -f -r", "journalctl --user"] {
            let words = words(line.split(' ').map(OsString::from));
            let error = Options::try_parse_from(words).expect_err("refused").to_string();
            let word = line.split(' ').next_back().expect("a word");
            assert!(error.contains(word) || error.contains("--reverse"), "{line}: {error}");
        }
    }
}
