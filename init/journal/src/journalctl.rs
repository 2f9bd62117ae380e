//! The command: chooses entries, prints them, waits for new ones.
//!
//! `options` and `when` read the command line, `matches` and `boots` say which entries, `picture` and `machine_form`
//! how they look: all pure. `show`, `actions` and this file read and write.

mod actions;
mod boots;
pub(crate) mod machine_form;
mod matches;
pub(crate) mod options;
mod picture;
pub(crate) mod place;
pub(crate) mod record;
mod show;
mod text;
pub(crate) mod watch;
mod when;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use ferrite_journal_file::{Id128, Reader};
use ferrite_unit::zone::Zones;

use matches::Term;
use options::{Lines, Options};
use picture::{Colour, Picture};
use place::Place;
use show::{Show, Wanted};

/// Runs the command and gives its exit code.
pub fn main() -> ExitCode {
    let options = Options::parse_from(options::words(std::env::args_os()));
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
    let place = Place::of(options)?;
    if options.verify {
        return Ok(u8::from(!actions::verify(&place)?));
    }
    let mut text = Vec::new();
    let is_done = actions::act(options, &place, now_us, &mut text)?;
    if options.list_boots {
        text.extend_from_slice(list_boots(options, &place, zones)?.as_bytes());
    }
    if is_done || options.list_boots {
        io::stdout().lock().write_all(&text).context("writing to stdout")?;
        return Ok(0);
    }
    let wanted = wanted(options, zones, now_us)?;
    let mut reader = place.open()?;
    let boot = match options.boot_word() {
        None => None,
        Some(word) => Some(find_boot(options, word, &mut reader)?.to_string()),
    };
    add_matches(options, boot.as_deref(), &mut reader)?;
    show_entries(options, zones, &place, wanted, &mut reader)
}

fn show_entries(options: &Options, zones: &Zones, place: &Place, wanted: Wanted, reader: &mut Reader) -> Result<u8> {
    let stdout = io::stdout();
    let picture = Picture {
        output: options.output,
        colour: if stdout.is_terminal() { Colour::On } else { Colour::Off },
        zone: zones.local().clone(),
        all: options.all,
        no_hostname: options.no_hostname,
        fields: options.output_fields.iter().cloned().collect(),
        field_order: options.output_fields.clone(),
    };
    let has_remarks = !options.quiet && options.output.is_for_people();
    let mut show = Show::new(picture, wanted, has_remarks && !options.merge, stdout.lock());
    show.run(reader)?;
    if show.shown().count == 0 && has_remarks && !options.follow {
        show.remark("-- No entries --")?;
    }
    show.save_cursor(options.cursor_file.as_deref())?;
    for (path, fault) in reader.faults() {
        eprintln!("'{}' is damaged ({fault}), showing what can be read of it", path.display());
    }
    if options.follow {
        show.follow(reader, place, options.cursor_file.as_deref())?;
    }
    if options.show_cursor
        && let Some(cursor) = show.shown().cursor.clone()
    {
        show.remark(&format!("-- cursor: {cursor}"))?;
    }
    Ok(u8::from(show.shown().count == 0 && options.grep.is_some()))
}

fn wanted(options: &Options, zones: &Zones, now_us: u64) -> Result<Wanted> {
    let moment = |text: &Option<String>, otherwise: u64| match text {
        Some(text) => when::parse(text, now_us, zones),
        None => Ok(otherwise),
    };
    let lines = options.lines().map_err(anyhow::Error::msg)?;
    let (since_us, until_us) = (moment(&options.since, 0)?, moment(&options.until, u64::MAX)?);
    if since_us > until_us {
        bail!("--since= must be before --until=");
    }
    let cursor = match (&options.cursor, &options.after_cursor, &options.cursor_file) {
        (Some(cursor), _, _) => Some((cursor.clone(), false)),
        (_, Some(cursor), _) => Some((cursor.clone(), true)),
        // Without the file everything is new.
        (_, _, Some(file)) => std::fs::read_to_string(file).ok().map(|text| (text.trim().to_owned(), true)),
        (None, None, None) => None,
    };
    // As in systemd, the last lines that fit a pattern are shown newest first.
    let is_search = options.grep.is_some() && matches!(lines, Lines::Last(_)) && !options.follow;
    Ok(Wanted {
        lines,
        since_us,
        until_us,
        grep: show::pattern(options)?,
        exclude: options.exclude_identifier.clone(),
        reverse: options.reverse || is_search && cursor.is_none(),
        follow: options.follow,
        cursor: cursor.filter(|(text, _)| !text.is_empty()),
    })
}

fn find_boot(options: &Options, word: &str, reader: &mut Reader) -> Result<Id128> {
    let is_own = options.directory.is_none() && options.file.is_empty() && options.root.is_none();
    let running = is_own.then(crate::journald::boot_id);
    boots::find(word, running, || reader.boots().context("reading the journal"))
}

fn list_boots(options: &Options, place: &Place, zones: &Zones) -> Result<String> {
    let boots = place.open()?.boots().context("reading the journal")?;
    Ok(boots::table(&boots, zones.local(), !options.quiet))
}

fn add_matches(options: &Options, boot: Option<&str>, reader: &mut Reader) -> Result<()> {
    let mut unique = |name: &str| -> Result<Vec<String>> {
        let values = reader.unique(name.as_bytes()).context("reading the journal")?;
        Ok(values.into_iter().filter_map(|value| String::from_utf8(value).ok()).collect())
    };
    for term in matches::terms(options, boot, &mut unique)? {
        match term {
            Term::Match(name, value) => reader.add_match(name.as_bytes(), &value),
            Term::Or => reader.add_disjunction(),
            Term::And => reader.add_conjunction(),
        }
    }
    Ok(())
}

fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}
