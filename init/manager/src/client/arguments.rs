//! The command line of systemctl. Pure.
//!
//! Options may stand anywhere, as with systemd: before the verb, between units, after them; `--` ends them. What
//! systemd has and we do not is refused by name.

use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use ferrite_unit::zone::Zones;

/// What `--help` prints.
pub const HELP: &str = "\
systemctl [OPTION...] COMMAND...

Asks PID 1 about units and tells it what to do.

Units:
  list-units [PATTERN...]             Loaded units (the default command)
  status [UNIT...]                    State, processes and last log lines
  show [UNIT...]                      Properties, for scripts
  cat UNIT...                         Unit files and drop-ins
  start|stop|restart UNIT...          Start, stop, stop and start
  reload|try-restart UNIT...          Reload; restart only if it runs
  reload-or-restart UNIT...           Reload if possible, else restart
  try-reload-or-restart UNIT...       The same, only if it runs
  isolate UNIT                        Start one unit, stop all others
  kill UNIT...                        Send a signal
  reset-failed [UNIT...]              Forget failures
  is-active|is-failed UNIT...         Say so, and by the exit code
  list-dependencies [UNIT]            What a unit needs

Unit files:
  list-unit-files [PATTERN...]        Files and whether they start at boot
  enable|disable|reenable UNIT...     Start at boot, or not
  mask|unmask UNIT...                 Forbid a unit, allow it again
  is-enabled UNIT...                  Say so, and by the exit code
  get-default, set-default TARGET     The target of the boot

System:
  list-jobs, daemon-reload, daemon-reexec, is-system-running [--wait]
  reboot, poweroff, halt, rescue, emergency, default

Options:
  -a --all               List inactive units too; show empty properties
  -t --type=TYPE         Only units of these types, comma separated
     --state=STATE       Only units in these states, comma separated
     --failed            Short for --state=failed
  -p --property=NAME     Only these properties, comma separated
     --value             Values without names
  -n --lines=N           Log lines in status (10)
  -s --signal=SIGNAL     Signal of kill (SIGTERM)
     --kill-whom=WHOM    main, control or all
     --job-mode=MODE     fail, replace, isolate...
     --no-block          Do not wait for the job
     --wait              Wait until the boot is over (is-system-running)
     --now               enable: start too; disable, mask: stop too
     --runtime           Links in /run, lost at the next boot
     --root=DIR          Edit the unit files of another root
  -f --force             Overwrite links; reboot without stopping units
  -q --quiet             Print less
  -l --full              Do not shorten
     --plain             No dots, no trees
     --no-legend         No heading, no summary
     --no-pager          Accepted: there is no pager
  -h --help, --version
";

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
    pub job_mode: Option<String>,
    pub preset_mode: Option<String>,
    pub no_reload: bool,
    pub no_warn: bool,
    pub show_types: bool,
    pub stdin: bool,
    pub drop_in: Option<String>,
    pub timestamp: Option<String>,
    /// The caller's editor, from its environment.
    pub editor: Option<String>,
}

const SHORT_WITH_VALUE: &str = "tpnsP";
const LONG_WITH_VALUE: [&str; 13] = [
    "type",
    "state",
    "property",
    "root",
    "lines",
    "signal",
    "kill-whom",
    "kill-who",
    "job-mode",
    "preset-mode",
    "drop-in",
    "timestamp",
    "legend",
];

/// Parses a whole command line, the program's name first: `reboot`, `poweroff`, `halt` and `shutdown` are verbs too.
pub fn parse(words: &[String]) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    let name = words.first().map(|word| word.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
    if matches!(name, "reboot" | "poweroff" | "halt" | "shutdown") {
        arguments.verb = name.to_owned();
    }
    let mut rest = words.iter().skip(1);
    let mut options_end = false;
    while let Some(word) = rest.next() {
        if options_end || word == "-" || !word.starts_with('-') {
            arguments.operand(word);
        } else if word == "--" {
            options_end = true;
        } else if let Some(long) = word.strip_prefix("--") {
            arguments.long(long, &mut rest)?;
        } else if arguments.verb == "shutdown" {
            arguments.shutdown_option(word)?;
        } else {
            arguments.short(word, &mut rest)?;
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

    fn operand(&mut self, word: &str) {
        if self.verb.is_empty() {
            self.verb = word.to_owned();
        } else {
            self.operands.push(word.to_owned());
        }
    }

    fn long<'a>(&mut self, option: &str, rest: &mut impl Iterator<Item = &'a String>) -> Result<()> {
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        if LONG_WITH_VALUE.contains(&name) {
            let value = inline.or_else(|| rest.next().cloned());
            return self.set(name, &value.ok_or_else(|| anyhow!("option '--{name}' requires an argument"))?);
        }
        if inline.is_some() && !matches!(name, "output" | "preset-mode" | "host" | "machine" | "image") {
            bail!("option '--{name}' does not take an argument");
        }
        self.flag(name)
    }

    fn short<'a>(&mut self, word: &str, rest: &mut impl Iterator<Item = &'a String>) -> Result<()> {
        let mut letters = word.chars().skip(1);
        while let Some(letter) = letters.next() {
            if SHORT_WITH_VALUE.contains(letter) {
                let inline: String = letters.by_ref().collect();
                let value = if inline.is_empty() { rest.next().cloned() } else { Some(inline) };
                let value = value.ok_or_else(|| anyhow!("option '-{letter}' requires an argument"))?;
                let name = match letter {
                    't' => "type",
                    'n' => "lines",
                    's' => "signal",
                    _ => "property",
                };
                self.value |= letter == 'P';
                return self.set(name, &value);
            }
            let name = match letter {
                'a' => "all",
                'f' => "force",
                'q' => "quiet",
                'l' => "full",
                'h' => "help",
                other => bail!("option '-{other}' is not supported by this version"),
            };
            self.flag(name)?;
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let list = || value.split(',').filter(|item| !item.is_empty()).map(str::to_owned);
        match name {
            "type" => self.types.extend(list()),
            "state" => self.states.extend(list()),
            "property" => self.properties.extend(list()),
            "root" => self.root = Some(value.to_owned()),
            "signal" => self.signal = Some(value.to_owned()),
            "kill-whom" | "kill-who" => self.kill_whom = Some(value.to_owned()),
            "job-mode" => self.job_mode = Some(value.to_owned()),
            "drop-in" => self.drop_in = Some(value.to_owned()),
            "timestamp" => self.timestamp = Some(value.to_owned()),
            "legend" => self.no_legend = !ferrite_unit::value::boolean(value)?,
            "preset-mode" => self.preset_mode = Some(value.to_owned()),
            "lines" => {
                self.lines = Some(value.parse().map_err(|_| anyhow!("number of lines '{value}' is not a number"))?);
            }
            other => bail!("option '--{other}' is not supported by this version"),
        }
        Ok(())
    }

    fn flag(&mut self, name: &str) -> Result<()> {
        match name {
            "all" => self.all = true,
            "full" => self.full = true,
            "plain" => self.plain = true,
            "no-legend" | "legend=false" => self.no_legend = true,
            "quiet" => self.quiet = true,
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
            // What these ask for is always so: no pager, the system's PID 1, no wall messages, no password agent.
            "no-pager" | "system" | "no-wall" | "no-ask-password" => {}
            "help" => self.verb = "help".into(),
            "version" => self.verb = "version".into(),
            other => bail!("option '--{other}' is not supported by this version"),
        }
        Ok(())
    }

    /// `shutdown -r now`: its letters mean something else.
    fn shutdown_option(&mut self, word: &str) -> Result<()> {
        match word {
            "-r" => self.operands.insert(0, "reboot".into()),
            "-h" | "-P" => self.operands.insert(0, "poweroff".into()),
            "-H" => self.operands.insert(0, "halt".into()),
            other => bail!("option '{other}' of shutdown is not supported by this version"),
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
            ("systemctl --user status", "option '--user' is not supported by this version"),
            ("systemctl -H host status", "option '-H' is not supported by this version"),
            ("systemctl --output=json", "option '--output' is not supported by this version"),
            ("systemctl --now=1 enable a", "option '--now' does not take an argument"),
            ("systemctl show -p", "option '-p' requires an argument"),
            ("systemctl -n many", "number of lines 'many' is not a number"),
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
