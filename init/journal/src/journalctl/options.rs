//! The command line of journalctl. Pure.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Lines shown by `-n` without a number, and before `-f`.
const LINES: usize = 10;
/// Lines shown by `-e`, which jumps to the end of a pager that we do not have.
const END_LINES: usize = 1000;

/// How entries are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Nov 25 15:04:05 host name[pid]: text.
    #[default]
    Short,
    /// The same with the time in ISO 8601.
    ShortIso,
    /// The same with microseconds.
    ShortPrecise,
    /// The same with seconds since the kernel started.
    ShortMonotonic,
    /// The same with seconds since 1970.
    ShortUnix,
    /// The text alone.
    Cat,
    /// One JSON object a line.
    Json,
}

impl Output {
    /// Whether remarks may stand between the entries.
    pub fn is_for_people(self) -> bool {
        match self {
            Output::Short
            | Output::ShortIso
            | Output::ShortPrecise
            | Output::ShortMonotonic
            | Output::ShortUnix
            | Output::Cat => true,
            Output::Json => false,
        }
    }
}

/// Which start of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// 0 the running one, -1 the one before, 1 the first in the log.
    Offset(i64),
    /// By its id.
    Id(String),
}

/// Shows the log.
#[derive(Debug, Parser)]
#[command(name = "journalctl", version, max_term_width = 80)]
pub struct Options {
    /// Only messages of this unit.
    ///
    /// A name without a type is a service; a pattern such as 'getty@*' is allowed. May be given more than once.
    #[arg(short, long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Only messages of this program.
    #[arg(short = 't', long, value_name = "NAME")]
    pub identifier: Vec<String>,
    /// Only messages of this priority or worse, or of a range.
    ///
    /// emerg, alert, crit, err, warning, notice, info, debug or 0 to 7; a range is written err..info.
    #[arg(short, long, value_name = "RANGE")]
    pub priority: Option<String>,
    /// Only messages of one start of the machine.
    ///
    /// Without a value the running one; -1 is the one before, 1 the first in the log; or an id.
    #[arg(short, long, value_name = "BOOT", num_args = 0..=1, default_missing_value = "0",
          allow_negative_numbers = true)]
    boot: Option<String>,
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
    /// Only messages with this text in them.
    ///
    /// Upper and lower case are the same if the text has no upper case. No regular expressions.
    #[arg(short, long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Only the last messages; 10 without a number.
    #[arg(short = 'n', long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "10")]
    lines: Option<String>,
    /// The last messages, and new ones as they come.
    #[arg(short, long, conflicts_with = "reverse")]
    pub follow: bool,
    /// Newest first.
    #[arg(short, long)]
    pub reverse: bool,
    /// How messages are printed.
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub output: Output,
    /// Times in universal time, not in the zone of the machine.
    #[arg(long)]
    pub utc: bool,
    /// The end of the log: the last 1000 messages.
    #[arg(short = 'e', long)]
    pager_end: bool,
    /// Accepted: there are no explanations to add.
    #[arg(short = 'x', long)]
    catalog: bool,
    /// Accepted: messages are always shown whole.
    #[arg(short, long)]
    all: bool,
    /// Accepted: there is no pager.
    #[arg(long)]
    no_pager: bool,
    /// No remarks when there is nothing to show.
    #[arg(short, long)]
    pub quiet: bool,
    /// The folder of the log.
    #[arg(short = 'D', long, value_name = "DIR", default_value = ferrite_control::log_files::LOG_DIRECTORY)]
    pub directory: PathBuf,
}

impl Options {
    /// The boot that was asked for.
    pub fn boot(&self) -> Option<Boot> {
        match self.boot.as_deref() {
            None if self.dmesg => Some(Boot::Offset(0)),
            None | Some("all") => None,
            Some(text) => Some(match text.parse() {
                Ok(offset) if text.len() < 10 => Boot::Offset(offset),
                Ok(_) | Err(_) => Boot::Id(text.replace('-', "")),
            }),
        }
    }

    /// How many entries at most.
    pub fn line_limit(&self) -> Option<usize> {
        match self.lines.as_deref() {
            Some("all") => None,
            // clap has no validator for "a number or all"; what is neither counts as the usual number.
            Some(text) => Some(text.parse().unwrap_or(LINES)),
            None if self.follow => Some(LINES),
            None if self.pager_end => Some(END_LINES),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Options {
        Options::try_parse_from(line.split(' ')).expect("a valid command line")
    }

    #[test]
    fn the_usual_command_lines_are_understood() {
        let options = parsed("journalctl -xeu ssh.service --no-pager");
        assert_eq!((options.unit.as_slice(), options.line_limit()), (&["ssh.service".to_owned()][..], Some(1000)));
        assert_eq!(parsed("journalctl -n").line_limit(), Some(10));
        assert_eq!(parsed("journalctl -n20 -f").line_limit(), Some(20));
        assert_eq!(parsed("journalctl -n 20").line_limit(), Some(20));
        assert_eq!(parsed("journalctl -n all -f").line_limit(), None);
        assert_eq!(parsed("journalctl -fu a").line_limit(), Some(10));
        assert_eq!(parsed("journalctl -b").boot(), Some(Boot::Offset(0)));
        assert_eq!(parsed("journalctl -b -1 -u a").boot(), Some(Boot::Offset(-1)));
        assert_eq!(parsed("journalctl -k").boot(), Some(Boot::Offset(0)));
        assert_eq!(parsed("journalctl --since -1h -o short-iso").since.as_deref(), Some("-1h"));
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(parsed(&format!("journalctl -b {id}")).boot(), Some(Boot::Id(id.into())));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for line in ["journalctl --vacuum-size=1M", "journalctl -o verbose", "journalctl -f -r", "journalctl _PID=1"] {
            let error = Options::try_parse_from(line.split(' ')).expect_err("refused").to_string();
            let word = line.split(' ').next_back().expect("a word");
            let name = word.split('=').next().expect("a name");
            assert!(error.contains(name), "{line}: {error}");
        }
    }
}
