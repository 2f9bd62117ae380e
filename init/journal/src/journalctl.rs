//! The command: chooses entries, prints them, follows the file that grows.
//!
//! `options` and `when` read the command line, `filter` says which entries, `picture` how they look: all pure. `follow`
//! and this file read.

mod filter;
mod follow;
mod options;
mod picture;
mod when;

use std::collections::VecDeque;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use ferrite_control::log_files::LogFiles;
use ferrite_control::log_line::LogEntry;
use ferrite_unit::zone::Zones;

use filter::Filter;
use options::{Boot, Options};
use picture::{Colour, Picture};

/// Runs the command and gives its exit code.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let variable = if options.utc { Some("UTC".to_owned()) } else { std::env::var("TZ").ok() };
    let zones = Zones::new(variable.as_deref(), |path| std::fs::read(path).ok());
    match run(&options, &zones) {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", ferrite_cli::error_line(&error));
            ExitCode::from(ferrite_cli::EXIT_FAILURE)
        }
    }
}

/// `journalctl | head`: the reader went away, which is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let source = error.root_cause().downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(options: &Options, zones: &Zones) -> Result<u8> {
    let now_us = now_us();
    let boot_id = match options.boot() {
        None => None,
        Some(boot) => Some(find_boot(options, &boot)?),
    };
    let filter = Filter::new(options, boot_id, now_us, zones)?;
    let files = open(options)?;
    let mut from = files.newest();
    let stdout = io::stdout();
    let colour = if stdout.is_terminal() { Colour::On } else { Colour::Off };
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut picture = Picture::new(options.output, colour, host, zones.local().clone());
    let mut out = BufWriter::new(stdout.lock());
    let mut shown: u64 = 0;
    {
        let mut show = |entry: &LogEntry| -> io::Result<()> {
            shown += 1;
            out.write_all(picture.entry(entry).as_bytes())
        };
        match (options.line_limit(), options.reverse) {
            (Some(limit), true) => files.backward().filter(|e| filter.fits(e)).take(limit).try_for_each(|e| show(&e)),
            (None, true) => files.backward().filter(|e| filter.fits(e)).try_for_each(|e| show(&e)),
            (Some(limit), false) => newest(files, &filter, limit).iter().try_for_each(&mut show),
            (None, false) => files.forward().filter(|e| filter.fits(e)).try_for_each(|e| show(&e)),
        }
        .context("writing to stdout")?;
    }
    if shown == 0 && !options.quiet && !options.follow && options.output.is_for_people() {
        out.write_all(b"-- No entries --\n").context("writing to stdout")?;
    }
    out.flush().context("writing to stdout")?;
    if options.follow {
        follow::follow(&options.directory, from.take(), |entry| {
            if filter.fits(&entry) {
                out.write_all(picture.entry(&entry).as_bytes())?;
            }
            out.flush()
        })?;
    }
    Ok(u8::from(shown == 0 && options.grep.is_some()))
}

/// The last entries that fit, oldest first.
fn newest(files: LogFiles, filter: &Filter, limit: usize) -> VecDeque<LogEntry> {
    let mut found = VecDeque::new();
    for entry in files.backward().filter(|entry| filter.fits(entry)).take(limit) {
        found.push_front(entry);
    }
    found
}

fn open(options: &Options) -> Result<LogFiles> {
    match LogFiles::open(&options.directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!(
                "the log in '{}' may be read by root and by group adm only: try 'sudo journalctl'",
                options.directory.display()
            )
        }
        result => result.with_context(|| format!("opening the log in '{}'", options.directory.display())),
    }
}

/// The id of a boot: the running one, a number back from it, or an id itself.
fn find_boot(options: &Options, boot: &Boot) -> Result<String> {
    let offset = match boot {
        Boot::Id(id) => return Ok(id.clone()),
        Boot::Offset(0) => return Ok(crate::journald::boot_id()),
        Boot::Offset(offset) => *offset,
    };
    let mut boots: Vec<String> = Vec::new();
    for entry in open(options)?.forward() {
        if boots.last() != Some(&entry.boot_id) && !boots.contains(&entry.boot_id) {
            boots.push(entry.boot_id);
        }
    }
    let running = crate::journald::boot_id();
    let index = if offset > 0 {
        offset - 1
    } else {
        let last = boots.iter().position(|id| *id == running).unwrap_or(boots.len());
        i64::try_from(last).unwrap_or(0) + offset
    };
    match usize::try_from(index).ok().and_then(|index| boots.get(index)) {
        Some(id) => Ok(id.clone()),
        None => bail!("the log has no boot {offset}"),
    }
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
