//! The command line of `systemd-run`, and what goes together in it. Pure.

use anyhow::{Result, anyhow, bail};

use super::options::{Flag, Line, Order, Takes, boolean, parse};

pub const HELP: &str = "\
systemd-run [OPTIONS...] COMMAND [ARGUMENTS...]

Run the specified command in a transient scope or service.

  -h --help                       Show this help
     --version                    Show package version
     --scope                      Run this as scope rather than service
  -u --unit=UNIT                  Run under the specified unit name
  -p --property=NAME=VALUE        Set service or scope unit property
     --description=TEXT           Description for unit
     --slice=SLICE                Run in the specified slice
     --slice-inherit              Inherit the slice
     --expand-environment=BOOL    Control expansion of environment variables
     --no-block                   Do not wait until operation finished
  -r --remain-after-exit          Leave service around until explicitly stopped
     --wait                       Wait until service stopped again
     --send-sighup                Send SIGHUP when terminating
     --service-type=TYPE          Service type
     --uid=USER                   Run as system user
     --gid=GROUP                  Run as system group
     --nice=NICE                  Nice level
     --working-directory=PATH     Set working directory
  -d --same-dir                   Inherit working directory from caller
  -E --setenv=NAME[=VALUE]        Set environment variable
  -t --pty                        Run service on pseudo TTY as STDIN/STDOUT/
                                  STDERR
  -P --pipe                       Pass STDIN/STDOUT/STDERR directly to service
  -q --quiet                      Suppress information messages during runtime
  -G --collect                    Unload unit after it ran, even when failed
  -S --shell                      Invoke a $SHELL interactively
     --job-mode=MODE              Specify how to deal with already queued jobs
     --ignore-failure             Ignore the exit status of the invoked process

Path options:
     --path-property=NAME=VALUE   Set path unit property

Socket options:
     --socket-property=NAME=VALUE Set socket unit property

Timer options:
     --on-active=SECONDS          Run after SECONDS delay
     --on-boot=SECONDS            Run SECONDS after machine was booted up
     --on-startup=SECONDS         Run SECONDS after systemd activation
     --on-unit-active=SECONDS     Run SECONDS after the last activation
     --on-unit-inactive=SECONDS   Run SECONDS after the last deactivation
     --on-calendar=SPEC           Realtime timer
     --on-timezone-change         Run when the timezone changes
     --on-clock-change            Run when the realtime clock jumps
     --timer-property=NAME=VALUE  Set timer unit property
";

const FLAGS: [Flag; 45] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    (' ', "no-ask-password", Takes::Nothing),
    (' ', "no-pager", Takes::Nothing),
    (' ', "system", Takes::Nothing),
    (' ', "user", Takes::Nothing),
    ('H', "host", Takes::Value),
    ('M', "machine", Takes::Value),
    (' ', "scope", Takes::Nothing),
    ('u', "unit", Takes::Value),
    ('p', "property", Takes::Value),
    (' ', "description", Takes::Value),
    (' ', "slice", Takes::Value),
    (' ', "slice-inherit", Takes::Nothing),
    (' ', "expand-environment", Takes::Value),
    (' ', "no-block", Takes::Nothing),
    ('r', "remain-after-exit", Takes::Nothing),
    (' ', "wait", Takes::Nothing),
    (' ', "send-sighup", Takes::Nothing),
    (' ', "service-type", Takes::Value),
    (' ', "uid", Takes::Value),
    (' ', "gid", Takes::Value),
    (' ', "nice", Takes::Value),
    (' ', "working-directory", Takes::Value),
    ('d', "same-dir", Takes::Nothing),
    ('E', "setenv", Takes::Value),
    ('t', "pty", Takes::Nothing),
    ('P', "pipe", Takes::Nothing),
    ('q', "quiet", Takes::Nothing),
    ('G', "collect", Takes::Nothing),
    ('S', "shell", Takes::Nothing),
    (' ', "job-mode", Takes::Value),
    (' ', "ignore-failure", Takes::Nothing),
    (' ', "background", Takes::Value),
    (' ', "path-property", Takes::Value),
    (' ', "socket-property", Takes::Value),
    (' ', "timer-property", Takes::Value),
    (' ', "on-active", Takes::Value),
    (' ', "on-boot", Takes::Value),
    (' ', "on-startup", Takes::Value),
    (' ', "on-unit-active", Takes::Value),
    (' ', "on-unit-inactive", Takes::Value),
    (' ', "on-calendar", Takes::Value),
    (' ', "on-timezone-change", Takes::Nothing),
    (' ', "on-clock-change", Takes::Nothing),
];

/// What the processes of the service are connected to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stdio {
    /// What services have.
    #[default]
    Unit,
    /// The caller's own three descriptors.
    Pipe,
    /// A terminal of their own.
    Pty,
    /// The terminal if the caller has one, else its descriptors.
    Auto,
}

/// What starts the service, if not the command itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Path,
    Socket,
    Timer,
}

impl Trigger {
    pub fn suffix(self) -> &'static str {
        match self {
            Trigger::Path => "path",
            Trigger::Socket => "socket",
            Trigger::Timer => "timer",
        }
    }
}

/// A command line that makes sense.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Options {
    pub scope: bool,
    pub unit: Option<String>,
    pub properties: Vec<String>,
    pub description: Option<String>,
    pub slice: Option<String>,
    pub slice_inherit: bool,
    pub expand_environment: Option<bool>,
    pub no_block: bool,
    pub remain_after_exit: bool,
    pub wait: bool,
    pub send_sighup: bool,
    pub service_type: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub nice: Option<i32>,
    pub working_directory: Option<String>,
    pub same_dir: bool,
    pub environment: Vec<String>,
    pub stdio: Stdio,
    pub quiet: bool,
    pub collect: bool,
    pub shell: bool,
    pub ignore_failure: bool,
    pub job_mode: Option<String>,
    pub trigger: Option<Trigger>,
    /// Settings of the triggering unit.
    pub trigger_properties: Vec<String>,
    pub command: Vec<String>,
}

/// What the line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    Help,
    Version,
    Run(Box<Options>),
}

/// Parses the words, the program's name first.
pub fn wish(words: &[String]) -> Result<Wish> {
    let line = parse(words, &FLAGS, Order::First)?;
    if line.has("help") {
        return Ok(Wish::Help);
    }
    if line.has("version") {
        return Ok(Wish::Version);
    }
    for name in ["user", "host", "machine"] {
        // The machine itself is named so.
        if line.has(name) && !(name == "machine" && line.value(name) == Some(".host")) {
            bail!("option '--{name}' is not supported by this version");
        }
    }
    let mut options = Options::default();
    for (name, value) in &line.options {
        options.take(name, value.as_deref().unwrap_or_default())?;
    }
    options.command.clone_from(&line.operands);
    options.check(&line)?;
    Ok(Wish::Run(Box::new(options)))
}

impl Options {
    fn take(&mut self, name: &str, value: &str) -> Result<()> {
        let owned = || Some(value.to_owned());
        match name {
            "scope" => self.scope = true,
            "unit" => self.unit = owned(),
            "property" => self.properties.push(assignment(value)?),
            "description" => self.description = owned(),
            "slice" => self.slice = owned(),
            "slice-inherit" => self.slice_inherit = true,
            "expand-environment" => self.expand_environment = Some(boolean("expand-environment", Some(value))?),
            "no-block" => self.no_block = true,
            "remain-after-exit" => self.remain_after_exit = true,
            "wait" => self.wait = true,
            "send-sighup" => self.send_sighup = true,
            "service-type" if value.is_empty() => bail!("Invalid service type: "),
            "service-type" => self.service_type = owned(),
            "uid" => self.uid = owned(),
            "gid" => self.gid = owned(),
            "nice" => {
                let nice = value.parse().ok().filter(|nice| (-20..=19).contains(nice));
                self.nice = Some(nice.ok_or_else(|| anyhow!("Failed to parse nice value: {value}"))?);
            }
            "working-directory" => self.working_directory = owned().filter(|path| !path.is_empty()),
            "same-dir" => self.same_dir = true,
            "setenv" => self.environment.push(variable(value)?),
            "pty" => self.stdio = if self.stdio == Stdio::Unit { Stdio::Pty } else { both(self.stdio, Stdio::Pty) },
            "pipe" => self.stdio = if self.stdio == Stdio::Unit { Stdio::Pipe } else { both(self.stdio, Stdio::Pipe) },
            "quiet" => self.quiet = true,
            "collect" => self.collect = true,
            "shell" => self.shell = true,
            "ignore-failure" => self.ignore_failure = true,
            "job-mode" => self.job_mode = owned(),
            name => self.take_trigger(name, value)?,
        }
        Ok(())
    }

    fn take_trigger(&mut self, name: &str, value: &str) -> Result<()> {
        let (trigger, property) = match name {
            "path-property" => (Some(Trigger::Path), assignment(value)?),
            "socket-property" => (Some(Trigger::Socket), assignment(value)?),
            "timer-property" => {
                let starts = ["OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec"];
                let key = value.split('=').next().unwrap_or_default();
                let is_start = key == "OnCalendar" || starts.contains(&key);
                (is_start.then_some(Trigger::Timer), assignment(value)?)
            }
            "on-timezone-change" => (Some(Trigger::Timer), "OnTimezoneChange=yes".to_owned()),
            "on-clock-change" => (Some(Trigger::Timer), "OnClockChange=yes".to_owned()),
            "on-active" | "on-boot" | "on-startup" | "on-unit-active" | "on-unit-inactive" | "on-calendar" => {
                let directive = match name {
                    "on-active" => "OnActiveSec",
                    "on-boot" => "OnBootSec",
                    "on-startup" => "OnStartupSec",
                    "on-unit-active" => "OnUnitActiveSec",
                    "on-unit-inactive" => "OnUnitInactiveSec",
                    _ => "OnCalendar",
                };
                if value.is_empty() {
                    bail!("Failed to parse {directive}= value: ");
                }
                (Some(Trigger::Timer), format!("{directive}={value}"))
            }
            // Passwords are not asked for, there is no pager, and colours are left alone.
            _ => return Ok(()),
        };
        match (self.trigger, trigger) {
            (Some(known), Some(new)) if known != new => {
                bail!("Only single trigger (path, socket, timer) unit can be created.")
            }
            (_, Some(new)) => self.trigger = Some(new),
            (_, None) => {}
        }
        self.trigger_properties.push(property);
        Ok(())
    }

    /// Refuses what does not go together.
    fn check(&mut self, line: &Line) -> Result<()> {
        if self.shell {
            if !self.command.is_empty() {
                bail!("If --shell is used, no command line is expected.");
            }
            if !self.scope {
                self.stdio = if self.stdio == Stdio::Unit { Stdio::Auto } else { self.stdio };
                self.same_dir |= self.working_directory.is_none();
                self.service_type.get_or_insert_with(|| "exec".into());
                self.wait = true;
            }
            self.collect = true;
        } else if self.command.first().is_none_or(String::is_empty) && (self.unit.is_none() || self.trigger.is_none()) {
            bail!("Command line to execute required.");
        }
        let with_stdio = self.stdio != Stdio::Unit;
        for (is_wrong, message) in [
            (
                self.scope && (self.remain_after_exit || self.service_type.is_some()),
                "--remain-after-exit and --service-type= are not supported in --scope mode.",
            ),
            (
                with_stdio && (self.trigger.is_some() || self.scope),
                "--pty/--pipe is not compatible in timer or --scope mode.",
            ),
            (with_stdio && self.no_block, "--pty/--pipe is not compatible with --no-block."),
            (self.scope && self.trigger.is_some(), "Path, socket or timer options are not supported in --scope mode."),
            (
                line.has("timer-property") && self.trigger != Some(Trigger::Timer),
                "--timer-property= has no effect without any other timer options.",
            ),
            (self.wait && self.no_block, "--wait may not be combined with --no-block."),
            (self.wait && self.trigger.is_some(), "--wait may not be combined with path, socket or timer operations."),
            (self.wait && self.scope, "--wait may not be combined with --scope."),
        ] {
            if is_wrong {
                bail!(message);
            }
        }
        Ok(())
    }
}

fn both(old: Stdio, new: Stdio) -> Stdio {
    if old == new { old } else { Stdio::Auto }
}

fn assignment(text: &str) -> Result<String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        Some(_) | None => bail!("Not an assignment: {text}"),
    }
}

/// `NAME=value`, or a name that is taken over from the caller.
fn variable(text: &str) -> Result<String> {
    let name = text.split('=').next().unwrap_or_default();
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_fine) {
        bail!("Cannot assign environment variable {text}: Invalid argument");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options> {
        match wish(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())? {
            Wish::Run(options) => Ok(*options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_end_where_the_command_begins() {
        let found = options("systemd-run -r --unit=x -E A=1 ls -l --wait").expect("valid");
        assert_eq!(found.command, ["ls", "-l", "--wait"]);
        assert!(found.remain_after_exit && !found.wait);
        assert_eq!((found.unit.as_deref(), found.environment.as_slice()), (Some("x"), &["A=1".to_owned()][..]));
    }

    #[test]
    fn timers_paths_and_sockets_exclude_each_other() {
        let timer = options("systemd-run --on-active=10 --timer-property=AccuracySec=1s true").expect("valid");
        assert_eq!(timer.trigger, Some(Trigger::Timer));
        assert_eq!(timer.trigger_properties, ["OnActiveSec=10", "AccuracySec=1s"]);
        assert!(options("systemd-run --unit=x --path-property=PathExists=/x").is_ok());
        for (line, message) in [
            ("systemd-run", "Command line to execute required."),
            ("systemd-run --on-boot= true", "Failed to parse OnBootSec= value: "),
            ("systemd-run --on-boot=1 --path-property=A=b true", "Only single trigger"),
            ("systemd-run --timer-property=A=b true", "--timer-property= has no effect"),
            ("systemd-run --scope --wait true", "--wait may not be combined with --scope."),
            ("systemd-run --pty --no-block true", "--pty/--pipe is not compatible with --no-block."),
            ("systemd-run -p x true", "Not an assignment: x"),
            ("systemd-run --nice=99 true", "Failed to parse nice value: 99"),
            ("systemd-run --setenv=1A=b true", "Cannot assign environment variable 1A=b: Invalid argument"),
            ("systemd-run --shell true", "If --shell is used, no command line is expected."),
            ("systemd-run --user true", "option '--user' is not supported by this version"),
        ] {
            assert!(options(line).expect_err("refused").to_string().starts_with(message), "{line}");
        }
    }

    #[test]
    fn a_shell_is_interactive_and_waited_for() {
        let shell = options("systemd-run -S").expect("valid");
        assert!(shell.wait && shell.collect && shell.same_dir && shell.stdio == Stdio::Auto);
        assert_eq!(options("systemd-run -t -P x").expect("valid").stdio, Stdio::Auto);
    }
}
