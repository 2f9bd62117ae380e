//! Files with flipped bytes: the reader never panics, never loops, and what it reads ends.

#[path = "support/entries.rs"]
mod entries;

use std::fs;

use entries::{files, message, write};
use ferrite_journal_file::{Reader, Writer, verify};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::tempdir;

/// What fails is printed whole, and kept nowhere.
fn config(cases: u32) -> Config {
    Config { failure_persistence: None, ..Config::with_cases(cases) }
}

/// Does everything that a reader can do with a file.
fn use_all(path: &std::path::Path, entries: u64) {
    let Ok(mut reader) = Reader::open_files(&[path]) else { return };
    let limit = entries * 4 + 1000;
    for backward in [false, true] {
        if backward {
            reader.seek_tail()
        } else {
            reader.seek_head()
        }
        let mut count = 0;
        while if backward { reader.previous() } else { reader.next() }.expect("it reads") {
            reader.fields(|_, _| {}).expect("fields");
            count += 1;
            assert!(count < limit, "an entry comes again and again");
        }
    }
    reader.seek_realtime(1_700_000_000_100_000);
    reader.next().expect("it reads");
    let cursor = reader.cursor();
    if !cursor.is_empty() {
        reader.seek_cursor(&cursor).expect("its own cursor");
    }
    reader.boots().expect("boots");
    reader.unique(b"_SYSTEMD_UNIT").expect("values");
    reader.field_names().expect("names");
    reader.seek_monotonic(ferrite_journal_file::Id128([0xb0; 16]), 5);
    reader.previous().expect("it reads");
    reader.add_match(b"_SYSTEMD_UNIT", b"one.service");
    reader.add_match(b"PRIORITY", b"3");
    reader.seek_head();
    let mut count = 0;
    while reader.next().expect("it reads") {
        count += 1;
        assert!(count < limit, "an entry comes again and again");
    }
    let _ = verify(path).expect("it opens");
}

#[test]
fn flipped_bytes_are_survived() {
    let folder = tempdir().expect("a folder");
    let count = 150;
    let log: Vec<_> = (0..count).map(|number| message(number, ["one", "two"][(number % 2) as usize])).collect();
    write(folder.path(), &log);
    let image = fs::read(&files(folder.path())[0]).expect("the file");
    let end = image.iter().rposition(|byte| *byte != 0).expect("content");
    // Places that hold something: zeros in hash tables are most of the file, and change little.
    let places: Vec<usize> = (0..end).filter(|at| image[*at] != 0).collect();
    let path = folder.path().join("flipped.bin");
    let long = std::env::var_os("FERRITE_LONG").is_some();
    let mut runner = TestRunner::new(config(if long { 20_000 } else { 250 }));
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12);
    let outcome = runner.run(&(flips, 0u8..3, any::<bool>()), |(flips, state, in_header)| {
        let mut image = image.clone();
        for (at, byte) in &flips {
            let place = places[at.index(places.len())];
            image[place] = *byte;
        }
        if in_header {
            let (at, byte) = flips[0];
            image[at.index(272)] = byte;
        }
        image[16] = state;
        fs::write(&path, &image).expect("an image");
        use_all(&path, count);
        Ok(())
    });
    outcome.expect("every flip");
}

#[test]
fn a_writer_that_finds_a_damaged_file_goes_on() {
    let folder = tempdir().expect("a folder");
    let count = 150;
    let log: Vec<_> = (0..count).map(|number| message(number, ["one", "two"][(number % 2) as usize])).collect();
    write(folder.path(), &log);
    let current = folder.path().join(ferrite_journal_file::CURRENT);
    let image = fs::read(&current).expect("the file");
    let end = image.iter().rposition(|byte| *byte != 0).expect("content");
    let places: Vec<usize> = (0..end).filter(|at| image[*at] != 0).collect();
    let mut runner = TestRunner::new(config(if std::env::var_os("FERRITE_LONG").is_some() { 5000 } else { 60 }));
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40);
    let outcome = runner.run(&flips, |flips| {
        let folder = tempdir().expect("a folder");
        let mut image = image.clone();
        for (at, byte) in &flips {
            image[places[at.index(places.len())]] = *byte;
        }
        fs::write(folder.path().join(ferrite_journal_file::CURRENT), &image).expect("an image");
        let (mut writer, _) = Writer::open(folder.path(), entries::MACHINE, entries::generous()).expect("it opens");
        let more: Vec<_> = (count..count + 20).map(|number| message(number, "one")).collect();
        for entry in &more {
            writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        }
        let all = entries::read(folder.path());
        // Damage may hide entries behind it, but never without a word.
        let is_damaged = || files(folder.path()).iter().any(|file| verify(file).expect("it opens").is_err());
        let flipped: Vec<_> = flips.iter().map(|(at, byte)| (places[at.index(places.len())], *byte)).collect();
        let are_there = more.iter().all(|entry| all.contains(entry));
        prop_assert!(are_there || is_damaged(), "{:?} of {} bytes", flipped, end);
        Ok(())
    });
    outcome.expect("every flip");
}
