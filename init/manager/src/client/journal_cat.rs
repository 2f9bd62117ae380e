//! `systemd-cat`: runs a command with its output going to the journal, or copies standard input there.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::Caller;
use super::options::{Flag, Order, Takes, boolean, parse};

const HELP: &str = "\
systemd-cat [OPTIONS...] COMMAND ...

Execute process with stdout/stderr connected to the journal.

  -h --help                      Show this help
     --version                   Show package version
  -t --identifier=STRING         Set syslog identifier
  -p --priority=PRIORITY         Set priority value (0..7)
     --stderr-priority=PRIORITY  Set priority value (0..7) used for stderr
     --level-prefix=BOOL         Control whether level prefix shall be parsed
";

const FLAGS: [Flag; 6] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    ('t', "identifier", Takes::Value),
    ('p', "priority", Takes::Value),
    (' ', "stderr-priority", Takes::Value),
    (' ', "level-prefix", Takes::Value),
];

const JOURNAL: &str = "/run/systemd/journal/stdout";
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const INFO: usize = 6;

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(&words)))
}

fn run(words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::First)?;
    if let Some(told) = super::told(&line, HELP) {
        return told;
    }
    let level_of = |name: &str, what: &str| match line.value(name) {
        None => Ok(None),
        Some(text) => match level(text) {
            Some(level) => Ok(Some(level)),
            None => bail!("Failed to parse {what}priority value."),
        },
    };
    let priority = level_of("priority", "")?.unwrap_or(INFO);
    let error_priority = level_of("stderr-priority", "stderr ")?.unwrap_or(priority);
    let prefix = line.value("level-prefix").map_or(Ok(true), |text| boolean("level-prefix", Some(text)))?;
    let identifier = line.value("identifier").unwrap_or("");
    let output = connect(identifier, priority, prefix)?;
    let error =
        if error_priority == priority { output.try_clone()? } else { connect(identifier, error_priority, prefix)? };
    let mut command = match line.operands.as_slice() {
        [] => Command::new("/bin/cat"),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        }
    };
    let status = rustix::fs::fstat(error.as_fd())?;
    command.env("JOURNAL_STREAM", format!("{}:{}", status.st_dev, status.st_ino));
    let failure = command.stdout(std::os::fd::OwnedFd::from(output)).stderr(std::os::fd::OwnedFd::from(error)).exec();
    Err(failure).context("Failed to execute process")
}

fn level(text: &str) -> Option<usize> {
    match text.parse() {
        Ok(number) => Some(number).filter(|number| *number < LEVELS.len()),
        Err(_) => LEVELS.iter().position(|name| *name == text),
    }
}

/// A stream whose lines the journal takes under this name and level.
fn connect(identifier: &str, level: usize, prefix: bool) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(JOURNAL).context("Failed to create stream fd")?;
    // Identifier, unit, level, whether lines begin with a level, and three copies that we do not ask for.
    let header = format!("{}\n\n{level}\n{}\n0\n0\n0\n", identifier.replace('\n', " "), u8::from(prefix));
    stream.write_all(header.as_bytes()).context("Failed to create stream fd")?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_numbers() {
        assert_eq!((level("err"), level("3"), level("debug")), (Some(3), Some(3), Some(7)));
        assert_eq!((level("8"), level("loud"), level("-1")), (None, None, None));
    }
}
