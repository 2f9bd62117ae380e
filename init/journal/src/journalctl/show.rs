//! Shows entries: goes to the first one that is wanted, then on, and waits for new ones.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_journal_file::{Id128, Reader};
use regex::bytes::{Regex, RegexBuilder};

use super::options::{Lines, Options};
use super::picture::Picture;
use super::place::Place;
use super::record::Record;
use super::watch::Watch;

/// The end of a command line: what was shown.
#[derive(Debug, Default)]
pub struct Shown {
    /// How many entries.
    pub count: u64,
    /// The cursor of the last one.
    pub cursor: Option<String>,
}

/// What is wanted besides matches.
#[derive(Debug)]
pub struct Wanted {
    /// Which entries of all that fit.
    pub lines: Lines,
    /// Not earlier.
    pub since_us: u64,
    /// Not later.
    pub until_us: u64,
    /// The text fits this.
    pub grep: Option<Regex>,
    /// Not of these programs.
    pub exclude: Vec<String>,
    /// The newest first.
    pub reverse: bool,
    /// New entries are waited for.
    pub follow: bool,
    /// From this entry on; `true`: after it.
    pub cursor: Option<(String, bool)>,
}

/// The expression of `--grep`.
pub fn pattern(options: &Options) -> Result<Option<Regex>> {
    let Some(text) = &options.grep else { return Ok(None) };
    let is_sensitive = match options.case_sensitive.as_deref() {
        None => text.chars().any(char::is_uppercase),
        Some(word) => ferrite_unit::value::boolean(word).map_err(|_| anyhow!("'{word}' is neither yes nor no"))?,
    };
    match RegexBuilder::new(text).case_insensitive(!is_sensitive).build() {
        Ok(regex) => Ok(Some(regex)),
        Err(error) => bail!("'{text}' is no regular expression of this version: {error}"),
    }
}

/// Prints entries one after the other.
pub struct Show<'a> {
    /// How they look.
    pub picture: Picture,
    /// Which ones.
    pub wanted: Wanted,
    /// Whether a line stands between boots.
    pub boot_lines: bool,
    out: BufWriter<StdoutLock<'a>>,
    record: Record,
    boot: Option<Id128>,
    buffer: Vec<u8>,
    shown: Shown,
}

impl<'a> Show<'a> {
    /// To standard output.
    pub fn new(picture: Picture, wanted: Wanted, boot_lines: bool, out: StdoutLock<'a>) -> Self {
        Self {
            picture,
            wanted,
            boot_lines,
            out: BufWriter::new(out),
            record: Record::default(),
            boot: None,
            buffer: Vec::new(),
            shown: Shown::default(),
        }
    }

    /// Shows what is there.
    pub fn run(&mut self, reader: &mut Reader) -> Result<()> {
        let mut is_there = self.go_to_first(reader).context("reading the journal")?;
        let limit = match self.wanted.lines {
            Lines::First(count) => count as u64,
            // From a cursor on, the lines count forward; one that follows goes on anyway.
            Lines::Last(count) if self.wanted.reverse || self.wanted.cursor.is_some() && !self.wanted.follow => {
                count as u64
            }
            Lines::All | Lines::Last(_) => u64::MAX,
        };
        while is_there && self.shown.count < limit {
            let us = reader.realtime_us();
            let (is_early, is_late) = (us < self.wanted.since_us, us > self.wanted.until_us);
            let is_over = if self.wanted.reverse { is_early } else { is_late };
            if is_over {
                break;
            }
            if !is_early && !is_late {
                self.one(reader)?;
            }
            is_there = self.step(reader).context("reading the journal")?;
        }
        self.out.flush().context("writing to stdout")
    }

    fn step(&self, reader: &mut Reader) -> io::Result<bool> {
        if self.wanted.reverse { reader.previous() } else { reader.next() }
    }

    /// Goes to the entry that is shown first; `false`: there is none.
    fn go_to_first(&mut self, reader: &mut Reader) -> io::Result<bool> {
        if let Some((cursor, is_after)) = self.wanted.cursor.clone() {
            reader.seek_cursor(&cursor)?;
            let mut is_there = reader.next()?;
            let is_same = is_there && reader.at_cursor(&cursor);
            if self.wanted.reverse && !is_same {
                is_there = reader.previous()?;
            } else if is_same && is_after {
                is_there = self.step(reader)?;
            }
            return Ok(is_there);
        }
        if self.wanted.reverse {
            match self.wanted.until_us {
                u64::MAX => reader.seek_tail(),
                until => reader.seek_realtime(until + 1),
            }
            return reader.previous();
        }
        if let Lines::Last(count) = self.wanted.lines {
            return self.go_back(reader, count);
        }
        match self.wanted.since_us {
            0 => reader.seek_head(),
            since => reader.seek_realtime(since),
        }
        reader.next()
    }

    /// Goes so many wanted entries back from the end.
    fn go_back(&mut self, reader: &mut Reader, count: usize) -> io::Result<bool> {
        match self.wanted.until_us {
            u64::MAX => reader.seek_tail(),
            until => reader.seek_realtime(until + 1),
        }
        let mut left = count;
        while left > 0 {
            if !reader.previous()? {
                reader.seek_head();
                return reader.next();
            }
            if reader.realtime_us() < self.wanted.since_us {
                return reader.next();
            }
            if self.fits(reader)? {
                left -= 1;
            }
        }
        if count == 0 {
            // Stands behind the last entry: there is something only when it comes.
            return reader.next();
        }
        Ok(true)
    }

    /// Whether the entry passes what the reader does not match.
    fn fits(&self, reader: &mut Reader) -> io::Result<bool> {
        if let Some(regex) = &self.wanted.grep {
            match reader.field(b"MESSAGE")? {
                Some(message) if regex.is_match(&message) => {}
                Some(_) | None => return Ok(false),
            }
        }
        if !self.wanted.exclude.is_empty()
            && let Some(name) = reader.field(b"SYSLOG_IDENTIFIER")?
        {
            return Ok(!self.wanted.exclude.iter().any(|known| known.as_bytes() == name));
        }
        Ok(true)
    }

    fn one(&mut self, reader: &mut Reader) -> Result<()> {
        let boot = reader.monotonic().1;
        let before = self.boot.replace(boot);
        if self.boot_lines && before.is_some_and(|before| before != boot) {
            writeln!(self.out, "-- Boot {boot} --").context("writing to stdout")?;
        }
        if !self.fits(reader).context("reading the journal")? {
            return Ok(());
        }
        self.record.read(reader).context("reading the journal")?;
        self.buffer.clear();
        self.picture.add(&self.record, &mut self.buffer);
        self.out.write_all(&self.buffer).context("writing to stdout")?;
        self.shown.count += 1;
        self.shown.cursor = Some(self.record.cursor.clone());
        Ok(())
    }

    /// Shows new entries as they come, until stdout is closed. The cursor is kept in a file if there is one.
    pub fn follow(&mut self, reader: &mut Reader, place: &Place, cursor_file: Option<&Path>) -> Result<()> {
        let watch = Watch::new()?;
        loop {
            let before = self.shown.count;
            place.catch_up(&watch, reader)?;
            while reader.next().context("reading the journal")? {
                let us = reader.realtime_us();
                if us >= self.wanted.since_us && us <= self.wanted.until_us {
                    self.one(reader)?;
                }
            }
            self.out.flush().context("writing to stdout")?;
            if self.shown.count > before {
                self.save_cursor(cursor_file)?;
            }
            watch.wait(None)?;
        }
    }

    /// Leaves the cursor of the last entry in a file.
    pub fn save_cursor(&self, file: Option<&Path>) -> Result<()> {
        match (file, &self.shown.cursor) {
            (Some(file), Some(cursor)) => {
                ferrite_files::replace(
                    file,
                    format!("{cursor}\n").as_bytes(),
                    0o644,
                    ferrite_files::Durability::Volatile,
                )?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A line of our own, behind the entries.
    pub fn remark(&mut self, text: &str) -> Result<()> {
        writeln!(self.out, "{text}").and_then(|()| self.out.flush()).context("writing to stdout")
    }

    /// What was shown.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }
}
