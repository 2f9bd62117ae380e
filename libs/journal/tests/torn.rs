//! Crashes and power cuts: what was synced is there, whole and in order; no file is unreadable.

#[path = "support/entries.rs"]
mod entries;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use entries::{Entry, files, message, read, writer};
use ferrite_journal_file::{CURRENT, Note, Reader, Writer};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::tempdir;

const SECTOR: usize = 512;
const PAGE: usize = 4096;

fn log(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|number| {
            let mut entry = message(number, ["one", "two", "three"][(number % 3) as usize]);
            if number % 40 == 7 {
                entry.fields.push((b"LONG".to_vec(), b"a long story ".repeat(100)));
                entry.fields.sort();
            }
            entry
        })
        .collect()
}

/// How many cases: a sample in `make test`, more in `make test-long`.
fn cases(few: u32, many: u32) -> u32 {
    if std::env::var_os("FERRITE_LONG").is_some() { many } else { few }
}

/// A file that is read holds the first `synced` entries, and of the others nothing that was not written.
fn check(path: &Path, log: &[Entry], synced: usize) {
    let mut reader = Reader::open_files(&[path]).expect("the file is readable");
    let mut next = 0;
    while reader.next().expect("it reads") {
        let number = reader.seqnum() as usize - 1;
        let entry = entries::current(&mut reader);
        if number < synced {
            assert_eq!(number, next, "no synced entry is missing");
            assert_eq!(entry, log[number]);
            next += 1;
        }
        assert!(entry.fields.iter().all(|field| log[number].fields.contains(field)), "{entry:?}");
    }
    assert_eq!(next, synced);
    for unit in ["one", "two", "three"] {
        let mut reader = Reader::open_files(&[path]).expect("the file is readable");
        reader.add_match(b"_SYSTEMD_UNIT", format!("{unit}.service").as_bytes());
        let mut numbers = Vec::new();
        while reader.next().expect("it reads") {
            numbers.push(reader.seqnum() as usize - 1);
        }
        let field = (b"_SYSTEMD_UNIT".to_vec(), format!("{unit}.service").into_bytes());
        let wanted = (0..synced).filter(|number| log[*number].fields.contains(&field));
        assert!(wanted.eq(numbers.into_iter().filter(|number| *number < synced)));
    }
}

#[test]
fn a_power_cut_that_loses_any_sectors_keeps_what_was_synced() {
    cut(SECTOR, |_| ());
}

/// The kernel writes whole pages; what is missing of them then is no damage.
#[test]
fn a_power_cut_that_loses_any_pages_leaves_a_file_without_damage() {
    cut(PAGE, |torn| {
        assert_eq!(ferrite_journal_file::verify(torn).expect("the file is readable"), Ok(()));
        let reader = Reader::open_files(&[torn]).expect("the file is readable");
        assert_eq!(reader.faults(), []);
    });
}

/// Pieces of a file, each as it was synchronised or as it was written afterwards.
fn cut(piece_bytes: usize, check_more: impl Fn(&Path)) {
    let folder = tempdir().expect("a folder");
    let log = log(900);
    let mut writer = writer(folder.path());
    let current = folder.path().join(CURRENT);
    let mut images = vec![(0, fs::read(&current).expect("the file"))];
    for (number, entry) in log.iter().enumerate() {
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if [0, 1, 5, 100, 101, 511, 700, 899].contains(&number) {
            writer.sync().expect("it is synced");
            images.push((number + 1, fs::read(&current).expect("the file")));
        }
    }
    let torn = folder.path().join("torn.bin");
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases(60, 2000)) });
    let strategy = (0..images.len() - 1, any::<u64>(), 1u32..100);
    let outcome = runner.run(&strategy, |(at, seed, percent)| {
        let ((synced, before), (_, after)) = (&images[at], &images[at + 1]);
        let mut image = before.clone();
        image.resize(after.len(), 0);
        let mut state = seed | 1;
        for (old, new) in image.chunks_mut(piece_bytes).zip(after.chunks(piece_bytes)) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (state >> 33) % 100 < u64::from(percent) {
                old.copy_from_slice(new);
            }
        }
        // The state that was synced first: the file is being written.
        image[16] = 1;
        let growth = (after.len() - before.len()) as u64;
        if growth > 0 && seed % 2 == 0 {
            // The file was longer in memory than on the disk.
            image.truncate(before.len() + (state % (growth + 1)) as usize);
        }
        fs::write(&torn, &image).expect("an image");
        check(&torn, &log, *synced);
        check_more(&torn);
        Ok(())
    });
    outcome.expect("every cut");
}

#[test]
fn a_file_that_is_shorter_is_read_as_far_as_it_goes() {
    let folder = tempdir().expect("a folder");
    let log = log(120);
    let mut writer = writer(folder.path());
    for entry in &log {
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
    }
    let path = folder.path().join("short.bin");
    fs::copy(folder.path().join(CURRENT), &path).expect("a copy");
    let file = OpenOptions::new().write(true).open(&path).expect("the copy");
    let image = fs::read(&path).expect("the copy");
    let end = image.iter().rposition(|byte| *byte != 0).expect("content") as u64;
    // Byte by byte where entries are, coarser in the hash tables.
    let step = if cases(0, 1) == 1 { 1 } else { 37 };
    let mut length = end;
    let mut most = log.len();
    while length >= 272 {
        file.set_len(length).expect("it is cut");
        let mut reader = Reader::open_files(&[&path]).expect("the file is readable");
        let found = entries::rest(&mut reader);
        assert!(found.len() <= most, "{} entries at {length}", found.len());
        assert_eq!(found, log[..found.len()], "at {length}");
        most = found.len();
        length -= if most > 0 { step } else { (length / 50).max(1) };
    }
    assert_eq!(most, 0);
}

#[test]
fn a_file_that_was_not_closed_is_set_aside_and_another_goes_on() {
    let folder = tempdir().expect("a folder");
    let log = log(60);
    for (number, entry) in log.iter().enumerate() {
        let (mut writer, notes) = Writer::open(folder.path(), entries::MACHINE, entries::generous()).expect("it opens");
        let is_expected = match notes.as_slice() {
            [] => number == 0,
            [Note::SetAside { entries: 1, file, .. }] => file.extension().is_some_and(|name| name == "journal~"),
            _ => false,
        };
        assert!(is_expected, "{notes:?}");
        assert_eq!(writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written"), number as u64 + 1);
        // As a crash would leave it.
        std::mem::forget(writer);
    }
    assert_eq!(read(folder.path()), log);
    assert_eq!(files(folder.path()).len(), log.len());
}

#[test]
fn whatever_is_left_as_the_current_file_a_new_one_begins() {
    let folder = tempdir().expect("a folder");
    let contents: [&[u8]; 4] = [b"", b"LPKSHHRH", &[0; 4096], b"not a journal"];
    for content in contents {
        fs::write(folder.path().join(CURRENT), content).expect("a file");
        fs::write(folder.path().join("system.journal.new"), content).expect("a file");
        let mut writer = writer(folder.path());
        let entry = message(1, "x");
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        assert!(read(folder.path()).contains(&entry));
    }
}

/// In a process of its own: writes, and says which entries are flushed, until it is killed.
#[test]
fn writes_until_killed() {
    let Some(folder) = std::env::var_os("JOURNAL_OF_THE_KILLED") else { return };
    let mut writer = writer(Path::new(&folder));
    let first = writer.position().1;
    for number in first.. {
        let entry = message(number, "killed");
        writer.stage(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if number % 5 == 0 {
            writer.flush().expect("it is flushed");
            println!("flushed {number}");
        }
        if number % 1500 == 1499 {
            writer.rotate().expect("it rotates");
        }
    }
}

#[test]
fn a_writer_that_is_killed_leaves_everything_that_was_flushed() {
    let folder = tempdir().expect("a folder");
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(cases(6, 100)) });
    let program = std::env::current_exe().expect("this test");
    let outcome = runner.run(&(1usize..800), |lines| {
        let mut child = Command::new(&program)
            .args(["--exact", "writes_until_killed", "--nocapture"])
            .env("JOURNAL_OF_THE_KILLED", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let said = output
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("flushed ").and_then(|(_, number)| number.parse::<u64>().ok()));
        let last = said.take(lines).last().expect("it writes");
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
        let entries = read(folder.path());
        prop_assert!(entries.len() as u64 > last);
        for (number, entry) in entries.iter().enumerate() {
            prop_assert_eq!(entry, &message(number as u64, "killed"));
        }
        Ok(())
    });
    outcome.expect("every kill");
}

#[test]
fn a_hole_in_the_middle_hides_only_what_was_there() {
    let folder = tempdir().expect("a folder");
    let log = log(400);
    entries::write(folder.path(), &log);
    let path = folder.path().join(CURRENT);
    let image = fs::read(&path).expect("the file");
    let end = image.iter().rposition(|byte| *byte != 0).expect("content");
    let file = OpenOptions::new().write(true).open(&path).expect("the file");
    // Past the hash tables and the values that all entries share.
    file.write_all_at(&[0; 4096], (end as u64 - 60_000) & !4095).expect("a hole");
    let mut reader = Reader::open_files(&[&path]).expect("the file is readable");
    let found = entries::rest(&mut reader);
    let whole = found.iter().filter(|entry| log.contains(entry)).count();
    assert!((300..400).contains(&whole), "{whole} entries are whole");
    assert!(!reader.faults().is_empty());
    assert!(matches!(ferrite_journal_file::verify(&path), Ok(Err(_))));
}
