//! Limits of size and space: rotation, removal of the oldest, a disk that is full.

#[path = "support/entries.rs"]
mod entries;

use std::fs;
use std::path::Path;
use std::process::Command;

use entries::{MACHINE, files, message, read, write};
use ferrite_journal_file::{Bounds, CURRENT, Limits, Reader, Writer, vacuum, verify};
use tempfile::tempdir;

const MIB: u64 = 1 << 20;

#[test]
fn the_journal_stays_within_its_limits_and_keeps_the_newest() {
    let folder = tempdir().expect("a folder");
    let limits = Limits { max_use: 8 * MIB, keep_free: 0, max_file_size: MIB, max_files: 100 };
    let (mut writer, _) = Writer::open(folder.path(), MACHINE, limits).expect("it opens");
    let count = 40_000;
    for number in 0..count {
        let entry = message(number, "many");
        writer.stage(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if number % 1000 == 0 {
            writer.sync().expect("it is synced");
            assert!(writer.usage() <= 8 * MIB, "{} bytes", writer.usage());
        }
    }
    writer.rest().expect("it closes");
    let entries = read(folder.path());
    assert!(entries.len() > 8_000, "{}", entries.len());
    let first = count - entries.len() as u64;
    for (number, entry) in (first..).zip(&entries) {
        assert_eq!(*entry, message(number, "many"));
    }
    for file in files(folder.path()) {
        assert!(fs::metadata(&file).expect("metadata").len() <= MIB, "{file:?}");
        assert_eq!(verify(&file).expect("it opens"), Ok(()));
    }
}

#[test]
fn no_more_files_are_kept_than_allowed() {
    let folder = tempdir().expect("a folder");
    let limits = Limits { max_use: 64 * MIB, keep_free: 0, max_file_size: MIB, max_files: 3 };
    let (mut writer, _) = Writer::open(folder.path(), MACHINE, limits).expect("it opens");
    for number in 0..10 {
        let entry = message(number, "few");
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        writer.rotate().expect("it rotates");
        writer.vacuum().expect("it vacuums");
    }
    assert_eq!(files(folder.path()).len(), 4);
    assert_eq!(read(folder.path()), (7..10).map(|number| message(number, "few")).collect::<Vec<_>>());
}

#[test]
fn vacuum_removes_the_oldest_by_size_number_or_time() {
    let folder = tempdir().expect("a folder");
    for number in 0..6 {
        write(folder.path(), &[message(number, "old")]);
        entries::writer(folder.path()).rotate().expect("it rotates");
    }
    assert_eq!(files(folder.path()).len(), 7);
    let nothing = vacuum(folder.path(), &Bounds::default()).expect("it vacuums");
    assert_eq!(nothing.files, 0);
    let by_number = Bounds { max_files: Some(5), ..Bounds::default() };
    assert_eq!(vacuum(folder.path(), &by_number).expect("it vacuums").files, 2);
    let by_time = Bounds { oldest_us: Some(message(4, "old").realtime_us), ..Bounds::default() };
    assert_eq!(vacuum(folder.path(), &by_time).expect("it vacuums").files, 2);
    assert_eq!(read(folder.path()), [message(4, "old"), message(5, "old")]);
    let by_size = Bounds { max_use: Some(1), ..Bounds::default() };
    let removed = vacuum(folder.path(), &by_size).expect("it vacuums");
    assert_eq!(removed.files, 2);
    assert!(removed.bytes > 0);
    assert_eq!(files(folder.path()), [folder.path().join(CURRENT)], "what is written stays");
}

#[test]
fn a_message_of_any_size_fits_or_is_refused() {
    let folder = tempdir().expect("a folder");
    let limits = Limits { max_use: 64 * MIB, keep_free: 0, max_file_size: 4 * MIB, max_files: 100 };
    let (mut writer, _) = Writer::open(folder.path(), MACHINE, limits).expect("it opens");
    let stamp = message(0, "x").stamp();
    // Noise does not shrink.
    let mut state = 1u64;
    let mut noise = |length: usize| -> Vec<u8> {
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        (0..length).map(step).collect()
    };
    let sizes = [1 << 20, 3 << 20, 3 << 20, 1 << 20, 100];
    for size in sizes {
        writer.append(&stamp, &[(b"MESSAGE", &noise(size))]).expect("it is written");
    }
    let error = writer.append(&stamp, &[(b"MESSAGE", &noise(63 << 20))]).expect_err("it cannot fit");
    assert!(!error.to_string().is_empty());
    writer.append(&stamp, &[(b"MESSAGE", b"after")]).expect("it is written");
    let mut reader = Reader::open_folders(&[folder.path()]).expect("it opens");
    let mut lengths = Vec::new();
    while reader.next().expect("it reads") {
        lengths.push(reader.field(b"MESSAGE").expect("a field").map_or(0, |value| value.len()));
    }
    assert_eq!(lengths, sizes.into_iter().chain([5]).collect::<Vec<_>>());
}

/// In a namespace of its own, where the folder is a file system of 3 MiB.
#[test]
fn on_a_small_disk() {
    let Some(folder) = std::env::var_os("SMALL_DISK") else { return };
    let folder = Path::new(&folder);
    let journal = folder.join("journal");
    let limits = Limits { max_use: 64 * MIB, keep_free: 0, max_file_size: 4 * MIB, max_files: 100 };
    let (mut writer, _) = Writer::open(&journal, MACHINE, limits).expect("it opens");
    let count = 20_000;
    for number in 0..count {
        let entry = message(number, "small");
        writer.stage(&entry.stamp(), &entry.borrowed()).expect("the oldest make room");
        if number % 100 == 0 {
            writer.flush().expect("it is flushed");
        }
    }
    writer.flush().expect("it is flushed");
    let newest = |count: u64| {
        let entries = read(&journal);
        assert!(entries.len() > 500, "{}", entries.len());
        let first = count - entries.len() as u64;
        assert!(entries.iter().eq((first..count).map(|number| message(number, "small")).collect::<Vec<_>>().iter()));
    };
    newest(count);
    // Someone else takes all that is left.
    let filler = folder.join("filler");
    let mut bytes = 4 * MIB;
    while bytes > 0 {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&filler).expect("a file");
        if std::io::Write::write_all(&mut file, &vec![1; bytes as usize]).is_err() {
            bytes /= 2;
        }
    }
    let mut number = count;
    let failed = loop {
        let entry = message(number, "small");
        match writer.append(&entry.stamp(), &entry.borrowed()) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
        assert!(number < count + 100_000, "a full disk is noticed, or the oldest make room for ever");
        if number > count + 30_000 {
            break std::io::ErrorKind::StorageFull.into();
        }
    };
    assert_eq!(failed.kind(), std::io::ErrorKind::StorageFull, "{failed}");
    let entries = read(&journal);
    assert_eq!(entries.last(), Some(&message(number - 1, "small")));
    fs::remove_file(&filler).expect("it is removed");
    for _ in 0..1000 {
        let entry = message(number, "small");
        writer.append(&entry.stamp(), &entry.borrowed()).expect("there is room again");
        number += 1;
    }
    writer.rest().expect("it closes");
    assert_eq!(read(&journal).last(), Some(&message(number - 1, "small")));
    for file in files(&journal) {
        assert_eq!(verify(&file).expect("it opens"), Ok(()), "{file:?}");
    }
}

#[test]
fn a_full_disk_loses_no_file_and_is_forgotten_when_there_is_room() {
    let folder = tempdir().expect("a folder");
    let script = r#"mount -t tmpfs -o size=3m none "$SMALL_DISK" && exec "$0" --exact on_a_small_disk --nocapture"#;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this test"))
        .env("SMALL_DISK", folder.path())
        .output()
        .expect("unshare runs (Debian: util-linux)");
    let words = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && words.contains("1 passed"), "{words}");
}
