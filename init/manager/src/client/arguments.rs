//! The command line of systemctl. Pure.
//!
//! Options may stand anywhere, as with systemd: before the verb, between units, after them; `--` ends them. What
//! systemd has and we do not is refused by name.

use std::path::PathBuf;

use anyhow::{Result, bail};
use ferrite_unit::zone::Zones;

use super::options::{self, Flag, Order, Takes};

/// `--output=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// Text for people.
    #[default]
    Text,
    /// One line.
    Json,
    /// One line a value.
    JsonPretty,
}

/// A parsed command line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// Where PID 1 listens; not part of the command line.
    pub socket: PathBuf,
    /// `TZ` of the environment.
    pub zone: Option<String>,
    /// `SYSTEMD_UNIT_PATH` of the environment.
    pub unit_path: Option<String>,
    pub verb: String,
    pub operands: Vec<String>,
    pub all: bool,
    pub full: bool,
    pub plain: bool,
    pub no_legend: bool,
    pub quiet: bool,
    pub no_block: bool,
    pub wait: bool,
    pub now: bool,
    pub runtime: bool,
    pub value: bool,
    pub force: u8,
    pub types: Vec<String>,
    pub states: Vec<String>,
    pub properties: Vec<String>,
    pub root: Option<String>,
    pub lines: Option<usize>,
    pub signal: Option<String>,
    pub kill_whom: Option<String>,
    pub what: Vec<String>,
    pub job_mode: Option<String>,
    pub preset_mode: Option<String>,
    pub no_reload: bool,
    pub no_warn: bool,
    pub show_types: bool,
    pub stdin: bool,
    pub drop_in: Option<String>,
    pub timestamp: Option<String>,
    pub output: Output,
    pub after: bool,
    pub before: bool,
    /// The last one of `after`, `before` and `reverse`.
    pub direction: String,
    pub dry_run: bool,
    pub reboot_argument: Option<String>,
    /// The caller's editor, from its environment.
    pub editor: Option<String>,
}

const N: Takes = Takes::Nothing;
const V: Takes = Takes::Value;

/// All options of systemd.
const FLAGS: [Flag; 70] = [
    ('h', "help", N),
    (' ', "version", N),
    (' ', "system", N),
    (' ', "user", N),
    (' ', "global", N),
    ('C', "capsule", V),
    ('H', "host", V),
    ('M', "machine", V),
    ('t', "type", V),
    (' ', "state", V),
    (' ', "failed", N),
    ('p', "property", V),
    ('P', "P", V),
    ('a', "all", N),
    ('l', "full", N),
    ('r', "recursive", N),
    (' ', "reverse", N),
    (' ', "before", N),
    (' ', "after", N),
    (' ', "with-dependencies", N),
    (' ', "job-mode", V),
    (' ', "fail", N),
    (' ', "irreversible", N),
    (' ', "ignore-dependencies", N),
    ('T', "show-transaction", N),
    (' ', "show-types", N),
    (' ', "value", N),
    (' ', "check-inhibitors", V),
    ('i', "i", N),
    (' ', "kill-whom", V),
    (' ', "kill-who", V),
    (' ', "kill-value", V),
    ('s', "signal", V),
    (' ', "what", V),
    (' ', "now", N),
    (' ', "dry-run", N),
    ('q', "quiet", N),
    ('v', "verbose", N),
    (' ', "no-warn", N),
    (' ', "wait", N),
    (' ', "no-block", N),
    (' ', "no-wall", N),
    (' ', "message", V),
    (' ', "no-reload", N),
    (' ', "legend", V),
    (' ', "no-legend", N),
    (' ', "no-pager", N),
    (' ', "no-ask-password", N),
    (' ', "runtime", N),
    ('f', "force", N),
    (' ', "preset-mode", V),
    (' ', "root", V),
    (' ', "image", V),
    (' ', "image-policy", V),
    ('n', "lines", V),
    ('o', "output", V),
    (' ', "firmware-setup", N),
    (' ', "boot-loader-menu", V),
    (' ', "boot-loader-entry", V),
    (' ', "reboot-argument", V),
    (' ', "plain", N),
    (' ', "timestamp", V),
    (' ', "read-only", N),
    (' ', "mkdir", N),
    (' ', "marked", N),
    (' ', "drop-in", V),
    (' ', "when", V),
    (' ', "stdin", N),
    (' ', "no-sync", N),
    ('d', "d", N),
];

/// Options that this version cannot follow.
const REFUSED: [&str; 17] = [
    "show-transaction",
    "kill-value",
    "user",
    "global",
    "capsule",
    "host",
    "machine",
    "image",
    "image-policy",
    "firmware-setup",
    "boot-loader-menu",
    "boot-loader-entry",
    "marked",
    "when",
    "with-dependencies",
    "verbose",
    "no-sync",
];

/// Outputs of the log, which tables take for text.
const LOG_OUTPUTS: [&str; 14] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-delta",
    "short-unix",
    "verbose",
    "export",
    "json-sse",
    "json-seq",
    "cat",
    "with-unit",
];

/// Parses a whole command line, the program's name first: `reboot`, `poweroff`, `halt` and `shutdown` are verbs too.
pub fn parse(words: &[String]) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    let name = words.first().map(|word| word.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
    if matches!(name, "reboot" | "poweroff" | "halt" | "shutdown") {
        arguments.verb = name.to_owned();
    }
    if name == "shutdown" {
        for word in words.iter().skip(1) {
            arguments.shutdown_word(word)?;
        }
        return Ok(arguments);
    }
    let line = options::parse(words, &FLAGS, Order::Anywhere)?;
    for (name, value) in &line.options {
        match value {
            Some(value) => arguments.set(name, value)?,
            None => arguments.flag(name)?,
        }
    }
    for word in line.operands {
        if arguments.verb.is_empty() {
            arguments.verb = word;
        } else {
            arguments.operands.push(word);
        }
    }
    if arguments.verb.is_empty() {
        arguments.verb = "list-units".into();
    }
    Ok(arguments)
}

impl Arguments {
    /// The time zones of the caller.
    pub fn zones(&self) -> Zones {
        Zones::new(self.zone.as_deref(), |path| std::fs::read(path).ok())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        if REFUSED.contains(&name) {
            bail!("Option --{name} is not supported by this version.");
        }
        let list = || value.split(',').filter(|item| !item.is_empty()).map(str::to_owned);
        match name {
            "type" => self.set_types(value)?,
            "state" if value == "help" => self.verb = "help-states".into(),
            "state" => self.states.extend(list()),
            "property" => self.properties.extend(list()),
            "P" => {
                self.properties.extend(list());
                self.value = true;
            }
            "root" => self.root = Some(value.to_owned()),
            "signal" => self.signal = Some(value.to_owned()),
            "kill-whom" | "kill-who" => self.kill_whom = Some(value.to_owned()),
            "what" => self.what.extend(list()),
            "job-mode" if value == "help" => self.verb = "help-job-modes".into(),
            "job-mode" => self.job_mode = Some(value.to_owned()),
            "drop-in" => self.drop_in = Some(value.to_owned()),
            "timestamp" if ferrite_unit::timestamp::Style::parse(value).is_none() => {
                bail!("Invalid value: {value}.");
            }
            "timestamp" => self.timestamp = Some(value.to_owned()),
            "legend" => self.no_legend = !options::boolean("legend", Some(value))?,
            "preset-mode" => self.preset_mode = Some(value.to_owned()),
            "lines" => match value.parse() {
                Ok(lines) => self.lines = Some(lines),
                Err(_) => bail!("Failed to parse lines '{value}'"),
            },
            "output" => self.set_output(value)?,
            "reboot-argument" => self.reboot_argument = Some(value.to_owned()),
            // Nobody is told or asked: there are no inhibitors and no wall messages.
            _ => {}
        }
        Ok(())
    }

    /// A type may be a state of loading, too.
    fn set_types(&mut self, value: &str) -> Result<()> {
        for word in value.split(',').filter(|word| !word.is_empty()) {
            match word {
                "help" => self.verb = "help-types".into(),
                _ if super::unit_names::SUFFIXES.contains(&word) => self.types.push(word.to_owned()),
                _ if super::words::LOAD_STATES.contains(&word) => self.states.push(word.to_owned()),
                _ => bail!("Unknown unit type or load state '{word}'.\nUse -t help to see a list of allowed values."),
            }
        }
        Ok(())
    }

    fn set_output(&mut self, value: &str) -> Result<()> {
        self.output = match value {
            "json" => Output::Json,
            "json-pretty" => Output::JsonPretty,
            _ if LOG_OUTPUTS.contains(&value) => Output::Text,
            _ => bail!("Unknown output '{value}'."),
        };
        Ok(())
    }

    fn flag(&mut self, name: &str) -> Result<()> {
        if REFUSED.contains(&name) {
            bail!("Option --{name} is not supported by this version.");
        }
        match name {
            "all" => self.all = true,
            "full" => self.full = true,
            "plain" => self.plain = true,
            "no-legend" => self.no_legend = true,
            // Who wants little wants no legend either.
            "quiet" => (self.quiet, self.no_legend) = (true, true),
            "no-block" => self.no_block = true,
            "wait" => self.wait = true,
            "now" => self.now = true,
            "runtime" => self.runtime = true,
            "value" => self.value = true,
            "no-reload" => self.no_reload = true,
            "show-types" => self.show_types = true,
            "stdin" => self.stdin = true,
            "no-warn" => self.no_warn = true,
            "force" => self.force = self.force.saturating_add(1),
            "failed" => self.states.push("failed".into()),
            // The last one counts.
            "after" | "before" | "reverse" => {
                (self.after, self.before) = (name == "after" || self.after, name == "before" || self.before);
                self.direction = name.to_owned();
            }
            "dry-run" => self.dry_run = true,
            "fail" | "irreversible" | "ignore-dependencies" => {
                let mode = if name == "irreversible" { "replace-irreversibly" } else { name };
                self.job_mode = Some(mode.to_owned());
            }
            "help" => self.verb = "help-text".into(),
            "version" => self.verb = "version".into(),
            // What these ask for is always so: no pager, the system's PID 1, no wall messages, no password agent.
            _ => {}
        }
        Ok(())
    }

    /// `shutdown -r now`: its letters mean something else.
    fn shutdown_word(&mut self, word: &str) -> Result<()> {
        match word {
            "-r" | "--reboot" => self.operands.insert(0, "reboot".into()),
            "-h" | "-P" | "--poweroff" => self.operands.insert(0, "poweroff".into()),
            "-H" | "--halt" => self.operands.insert(0, "halt".into()),
            "-k" | "-c" => bail!("option '{word}' of shutdown is not supported by this version"),
            "--no-wall" | "--help" => {}
            other if other.starts_with('-') => bail!("shutdown: unrecognized option '{other}'"),
            other => self.operands.push(other.to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Arguments> {
        parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_stand_anywhere() {
        let expected = parsed("systemctl --no-block --job-mode=fail restart a b").expect("valid");
        assert_eq!(expected.operands, ["a", "b"]);
        for line in [
            "systemctl restart --no-block a --job-mode fail b",
            "systemctl restart a b --no-block --no-pager --job-mode=fail",
            "/usr/bin/systemctl --job-mode=fail restart a --no-block -- b",
        ] {
            assert_eq!(parsed(line).expect("valid"), expected, "{line}");
        }
    }

    #[test]
    fn values_may_be_glued_split_or_listed() {
        let show = parsed("systemctl show -pMainPID,Result -p ActiveState --property=Id a").expect("valid");
        assert_eq!(show.properties, ["MainPID", "Result", "ActiveState", "Id"]);
        let list = parsed("systemctl -at service,socket --state=failed -n0").expect("valid");
        assert!(list.all && list.verb == "list-units" && list.lines == Some(0));
        assert_eq!(list.types, ["service", "socket"]);
        assert!(parsed("systemctl show -P MainPID a").expect("valid").value);
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (line, message) in [
            ("systemctl --user status", "Option --user is not supported by this version."),
            ("systemctl -H host status", "Option --host is not supported by this version."),
            ("systemctl --output=foo", "Unknown output 'foo'."),
            ("systemctl --now=1 enable a", "systemctl: option '--now' doesn't allow an argument"),
            ("systemctl show -p", "systemctl: option requires an argument -- 'p'"),
            ("systemctl -n many", "Failed to parse lines 'many'"),
            ("systemctl --frob", "systemctl: unrecognized option '--frob'"),
            (
                "systemctl -t many",
                "Unknown unit type or load state 'many'.\nUse -t help to see a list of allowed values.",
            ),
        ] {
            assert_eq!(parsed(line).expect_err("refused").to_string(), message);
        }
    }

    #[test]
    fn the_name_of_the_program_is_a_verb() {
        assert_eq!(parsed("/sbin/reboot").expect("valid").verb, "reboot");
        assert_eq!(parsed("poweroff -f").expect("valid").force, 1);
        assert_eq!(parsed("shutdown -r now").expect("valid").operands, ["reboot", "now"]);
    }
}
