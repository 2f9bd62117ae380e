//! What the command does besides showing entries: sizes, old files, checks, orders to journald.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_journal_file::{Bounds, Reader, Vacuumed};
use ferrite_unit::{amount, timespan};

use super::options::Options;
use super::place::Place;
use super::text::bytes;
use crate::journald::{Order, method};

/// How long journald may take for an order; a disk may be slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// Does what the options order; `true`: nothing is to be shown afterwards.
pub fn act(options: &Options, place: &Place, now_us: u64, out: &mut Vec<u8>) -> Result<bool> {
    let orders = [
        (options.flush, Order::FlushToVar),
        (options.relinquish_var, Order::RelinquishVar),
        (options.sync, Order::Synchronize),
        (options.rotate, Order::Rotate),
    ];
    let mut is_done = false;
    for (_, order) in orders.into_iter().filter(|(wanted, _)| *wanted) {
        tell(&options.control, order)?;
        is_done = true;
    }
    if let Some(bounds) = bounds(options, now_us)? {
        vacuum(place, &bounds, options.quiet)?;
        is_done = true;
    }
    if options.disk_usage {
        let usage = place.open()?.usage();
        out.extend_from_slice(
            format!("Archived and active journals take up {} in the file system.\n", bytes(usage)).as_bytes(),
        );
        is_done = true;
    }
    if options.header {
        for file in place.files() {
            header(&file, out)?;
        }
        is_done = true;
    }
    if let Some(name) = &options.field {
        for value in place.open()?.unique(name.as_bytes()).context("reading the journal")? {
            out.extend_from_slice(&value);
            out.push(b'\n');
        }
        is_done = true;
    }
    if options.fields {
        for name in place.open()?.field_names().context("reading the journal")? {
            out.extend_from_slice(&name);
            out.push(b'\n');
        }
        is_done = true;
    }
    Ok(is_done)
}

/// Checks all files; `false`: one is damaged.
pub fn verify(place: &Place) -> Result<bool> {
    let mut is_good = true;
    for file in place.files() {
        match ferrite_journal_file::verify(&file).with_context(|| format!("reading '{}'", file.display()))? {
            Ok(()) => eprintln!("PASS: {}", file.display()),
            Err(fault) => {
                is_good = false;
                eprintln!("FAIL: {} ({fault})", file.display());
            }
        }
    }
    Ok(is_good)
}

fn tell(socket: &Path, order: Order) -> Result<()> {
    let name = method(order);
    let what = || format!("asking journald for {name}");
    let mut stream = UnixStream::connect(socket).with_context(what)?;
    stream.set_read_timeout(Some(PATIENCE)).with_context(what)?;
    stream.write_all(format!("{{\"method\":\"{name}\",\"parameters\":{{}}}}\0").as_bytes()).with_context(what)?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).with_context(what)? == 1 && byte != [0] {
        answer.extend_from_slice(&byte);
    }
    let value: serde_json::Value = serde_json::from_slice(&answer).with_context(what)?;
    match value.get("error") {
        None => Ok(()),
        Some(error) => bail!("journald refused {name}: {error}"),
    }
}

fn bounds(options: &Options, now_us: u64) -> Result<Option<Bounds>> {
    let max_use = match &options.vacuum_size {
        Some(text) => {
            let size = amount::size(text, 1024);
            Some(size.map_err(|_| anyhow!("'{text}' is no size: write one such as 500M or 1G"))?)
        }
        None => None,
    };
    let oldest_us = match &options.vacuum_time {
        Some(text) => {
            let span = timespan::parse(text);
            let span = span.map_err(|_| anyhow!("'{text}' is no time: write one such as 2days or 1month"))?;
            Some(now_us.saturating_sub(span))
        }
        None => None,
    };
    let bounds = Bounds { max_use, oldest_us, max_files: options.vacuum_files };
    Ok((bounds != Bounds::default()).then_some(bounds))
}

fn vacuum(place: &Place, bounds: &Bounds, quiet: bool) -> Result<()> {
    if let Place::Files(_) = place {
        bail!("old files are removed from folders, not from single files")
    }
    for folder in place.folders().iter().filter(|folder| folder.is_dir()) {
        let Vacuumed { bytes: freed, .. } = ferrite_journal_file::vacuum(folder, bounds)
            .with_context(|| format!("removing old files in '{}'", folder.display()))?;
        if !quiet {
            let freed = bytes(freed);
            eprintln!("Vacuuming done, freed {freed} of archived journals from {}.", folder.display());
        }
    }
    Ok(())
}

/// What can be told of a file without systemd's inner numbers.
fn header(file: &Path, out: &mut Vec<u8>) -> Result<()> {
    let mut reader = Reader::open_files(&[file]).with_context(|| format!("opening '{}'", file.display()))?;
    let mut line = |name: &str, value: String| out.extend_from_slice(format!("{name}: {value}\n").as_bytes());
    line("File path", file.display().to_string());
    line("Disk usage", bytes(reader.usage()));
    let mut count: u64 = 0;
    let mut ends: Option<[(u64, u64); 2]> = None;
    reader.seek_head();
    while reader.next().context("reading the journal")? {
        count += 1;
        let here = (reader.seqnum(), reader.realtime_us());
        ends = Some([ends.map_or(here, |[first, _]| first), here]);
    }
    line("Entry objects", count.to_string());
    if let Some([(first, first_us), (last, last_us)]) = ends {
        line("Sequential number ID", reader.seqnum_id().to_string());
        line("Head sequential number", first.to_string());
        line("Tail sequential number", last.to_string());
        line("Head realtime timestamp", first_us.to_string());
        line("Tail realtime timestamp", last_us.to_string());
    }
    out.push(b'\n');
    Ok(())
}
