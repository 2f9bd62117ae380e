//! Which entries are shown. Pure.

use std::ops::RangeInclusive;

use anyhow::{Result, anyhow, bail};
use ferrite_control::log_line::{LogEntry, LogSource};
use ferrite_control::pattern::matches;
use ferrite_unit::zone::Zones;

use super::options::Options;
use super::when;

const PRIORITIES: [&[&str]; 8] = [
    &["emerg", "panic", "0"],
    &["alert", "1"],
    &["crit", "2"],
    &["err", "error", "3"],
    &["warning", "warn", "4"],
    &["notice", "5"],
    &["info", "6"],
    &["debug", "7"],
];
const TYPES: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"];

/// The conditions of a command line.
#[derive(Debug)]
pub struct Filter {
    units: Vec<String>,
    identifiers: Vec<String>,
    priorities: RangeInclusive<u8>,
    boot_id: Option<String>,
    kernel_only: bool,
    since_us: u64,
    until_us: u64,
    grep: Option<(String, Case)>,
}

#[derive(Debug, PartialEq)]
enum Case {
    Same,
    Ignored,
}

impl Filter {
    /// The conditions of the options; the boot was looked up already.
    pub fn new(options: &Options, boot_id: Option<String>, now_us: u64, zones: &Zones) -> Result<Self> {
        let moment = |text: &Option<String>, otherwise: u64| match text {
            Some(text) => when::parse(text, now_us, zones),
            None => Ok(otherwise),
        };
        let grep = match &options.grep {
            None => None,
            Some(text) if text.contains(['\\', '[', '*', '|', '^', '$', '+', '?', '(', '{']) => {
                bail!("regular expressions such as '{text}' are not supported by this version: give plain text")
            }
            Some(text) if text.chars().any(char::is_uppercase) => Some((text.clone(), Case::Same)),
            Some(text) => Some((text.clone(), Case::Ignored)),
        };
        Ok(Self {
            units: options.unit.iter().map(|word| full_name(word)).collect(),
            identifiers: options.identifier.clone(),
            priorities: options.priority.as_deref().map_or(Ok(0..=7), priorities)?,
            boot_id,
            kernel_only: options.dmesg,
            since_us: moment(&options.since, 0)?,
            until_us: moment(&options.until, u64::MAX)?,
            grep,
        })
    }

    /// Whether an entry is shown.
    pub fn fits(&self, entry: &LogEntry) -> bool {
        let any = |words: &[String], fits: &dyn Fn(&String) -> bool| words.is_empty() || words.iter().any(fits);
        self.priorities.contains(&entry.priority)
            && (self.since_us..=self.until_us).contains(&entry.realtime_us)
            && self.boot_id.as_ref().is_none_or(|id| entry.boot_id == *id)
            && (!self.kernel_only || (entry.source == LogSource::Kernel && entry.pid == 0))
            && any(&self.units, &|unit| matches(unit, &entry.unit))
            && any(&self.identifiers, &|name| *name == entry.identifier)
            && self.has_text(&entry.message)
    }

    fn has_text(&self, message: &str) -> bool {
        match &self.grep {
            None => true,
            Some((text, Case::Same)) => message.contains(text),
            Some((text, Case::Ignored)) => message.to_lowercase().contains(text),
        }
    }
}

fn full_name(word: &str) -> String {
    let has_type = word.rsplit_once('.').is_some_and(|(_, end)| TYPES.contains(&end) || end.contains('*'));
    if has_type { word.to_owned() } else { format!("{word}.service") }
}

fn priorities(text: &str) -> Result<RangeInclusive<u8>> {
    let number = |word: &str| {
        let position = PRIORITIES.iter().position(|names| names.contains(&word));
        position
            .map(|number| number as u8)
            .ok_or_else(|| anyhow!("'{word}' is no priority: write err, warning or 0 to 7"))
    };
    match text.split_once("..") {
        None => Ok(0..=number(text)?),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            Ok(first.min(last)..=first.max(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn filter(line: &str) -> Result<Filter> {
        Filter::new(&Options::try_parse_from(line.split(' ')).expect("valid"), None, 100_000_000, &Zones::utc())
    }

    fn entry() -> LogEntry {
        LogEntry {
            realtime_us: 50_000_000,
            priority: 4,
            unit: "getty@tty1.service".into(),
            identifier: "agetty".into(),
            message: "Hello World".into(),
            ..LogEntry::default()
        }
    }

    #[test]
    fn every_condition_can_take_and_refuse() {
        for (line, expected) in [
            ("journalctl", true),
            ("journalctl -u getty@tty1", true),
            ("journalctl -u getty@*", true),
            ("journalctl -u ssh -u getty@tty1.service", true),
            ("journalctl -u ssh", false),
            ("journalctl -t agetty", true),
            ("journalctl -t login", false),
            ("journalctl -p warning", true),
            ("journalctl -p 3", false),
            ("journalctl -p err..debug", true),
            ("journalctl -p debug..notice", false),
            ("journalctl -k", false),
            ("journalctl -S @50 -U @50", true),
            ("journalctl -S @51", false),
            ("journalctl -U -60s", false),
            ("journalctl -g hello", true),
            ("journalctl -g hELLO", false),
        ] {
            assert_eq!(filter(line).expect(line).fits(&entry()), expected, "{line}");
        }
    }

    #[test]
    fn wrong_values_are_errors() {
        assert!(filter("journalctl -p loud").expect_err("no priority").to_string().contains("'loud' is no priority"));
        assert!(filter("journalctl -g a.*b").expect_err("refused").to_string().contains("regular expressions"));
        assert!(filter("journalctl -S soon").is_err());
    }
}
