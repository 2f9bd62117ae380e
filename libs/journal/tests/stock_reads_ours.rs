//! The host's journalctl reads and verifies what we write.

#[path = "support/entries.rs"]
mod entries;
#[path = "support/stock.rs"]
mod stock;

use entries::{Entry, files, message, write, writer};
use ferrite_journal_file::{Reader, verify};
use tempfile::tempdir;

/// Entries of all kinds: long ones, binary ones, repeated fields.
fn mixed(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|number| {
            let mut entry = message(number, ["apple", "pear", "plum"][(number % 3) as usize]);
            match number % 50 {
                10 => entry.fields.push((b"LONG".to_vec(), b"words ".repeat(200 + number as usize))),
                20 => entry.fields.push((b"BINARY".to_vec(), (0..=255).cycle().take(3000).collect())),
                30 => entry.fields.extend((0..20).map(|tag| (b"TAG".to_vec(), format!("{tag}").into_bytes()))),
                40 => entry.fields.push((b"EMPTY".to_vec(), Vec::new())),
                _ => {}
            }
            entry.fields.sort();
            entry
        })
        .collect()
}

#[test]
fn every_entry_is_exported_as_it_was_written() {
    let folder = tempdir().expect("a folder");
    let entries = mixed(3000);
    write(folder.path(), &entries);
    let file = &files(folder.path())[0];
    let exported = stock::export(file, &[]);
    assert_eq!(exported.len(), entries.len());
    for (exported, entry) in exported.iter().zip(&entries) {
        assert_eq!(exported.entry, *entry);
    }
    let (is_sound, words) = stock::verify(file);
    assert!(is_sound, "{words}");
    assert_eq!(verify(file).expect("it opens"), Ok(()));
    let mut reader = Reader::open_files(&[file]).expect("it opens");
    assert_eq!(stock::ours(&mut reader), exported);
}

#[test]
fn a_file_that_is_being_written_is_read_up_to_the_last_flush() {
    let folder = tempdir().expect("a folder");
    let mut writer = writer(folder.path());
    let entries = mixed(500);
    for (number, entry) in entries.iter().enumerate() {
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if number % 100 == 0 {
            let exported = stock::export(folder.path(), &[]);
            assert_eq!(exported.len(), number + 1);
            assert_eq!(exported[number].entry, *entry);
        }
    }
}

#[test]
fn matches_find_the_same_entries() {
    let folder = tempdir().expect("a folder");
    write(folder.path(), &mixed(2000));
    let cases: [&[&str]; 5] = [
        &["_SYSTEMD_UNIT=apple.service"],
        &["_SYSTEMD_UNIT=apple.service", "_SYSTEMD_UNIT=plum.service", "PRIORITY=3"],
        &["_SYSTEMD_UNIT=pear.service", "PRIORITY=3", "+", "TAG=7"],
        &["_SYSTEMD_UNIT=none.service"],
        &["EMPTY="],
    ];
    for case in cases {
        let mut reader = Reader::open_folders(&[folder.path()]).expect("it opens");
        for word in case {
            match word.split_once('=') {
                Some((name, value)) => reader.add_match(name.as_bytes(), value.as_bytes()),
                None => reader.add_disjunction(),
            }
        }
        let ours = stock::ours(&mut reader);
        assert_eq!(ours, stock::export(folder.path(), case), "{case:?}");
        assert_eq!(ours.is_empty(), case[0].contains("none"), "{case:?}");
    }
}

#[test]
fn rotated_files_are_read_in_one_order_and_each_is_sound() {
    let folder = tempdir().expect("a folder");
    let entries = mixed(1000);
    let mut writer = writer(folder.path());
    for (number, entry) in entries.iter().enumerate() {
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if number % 300 == 299 {
            writer.rotate().expect("it rotates");
        }
    }
    writer.rest().expect("it closes");
    assert_eq!(files(folder.path()).len(), 4);
    for file in files(folder.path()) {
        let (is_sound, words) = stock::verify(&file);
        assert!(is_sound, "{words}");
    }
    let exported: Vec<Entry> = stock::export(folder.path(), &[]).into_iter().map(|exported| exported.entry).collect();
    assert_eq!(exported, entries);
    assert_eq!(entries::read(folder.path()), entries);
}

#[test]
fn a_cursor_of_either_is_understood_by_the_other() {
    let folder = tempdir().expect("a folder");
    write(folder.path(), &mixed(300));
    let exported = stock::export(folder.path(), &[]);
    let mut reader = Reader::open_folders(&[folder.path()]).expect("it opens");
    reader.seek_cursor(&exported[123].cursor).expect("a cursor");
    assert!(reader.next().expect("it reads"));
    assert!(reader.at_cursor(&exported[123].cursor));
    assert_eq!(reader.cursor(), exported[123].cursor);
    let after = format!("--after-cursor={}", reader.cursor());
    assert_eq!(stock::export(folder.path(), &[&after]), exported[124..]);
}

#[test]
fn list_boots_names_what_boots_names() {
    let folder = tempdir().expect("a folder");
    let mut entries = mixed(90);
    for (number, entry) in entries.iter_mut().enumerate() {
        entry.boot.0 = [1 + (number / 30) as u8; 16];
        entry.fields.retain(|(name, _)| name != b"_BOOT_ID");
        entry.fields.push((b"_BOOT_ID".to_vec(), entry.boot.to_string().into_bytes()));
        entry.fields.sort();
    }
    write(folder.path(), &entries);
    let mut reader = Reader::open_folders(&[folder.path()]).expect("it opens");
    let boots = reader.boots().expect("boots");
    let output = stock::journalctl(&["-q", "--list-boots", "--directory", folder.path().to_str().expect("a path")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let named: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|id| id.len() == 32)
        .map(str::to_string)
        .collect();
    assert_eq!(boots.iter().map(|boot| boot.id.to_string()).collect::<Vec<_>>(), named, "{text}");
    assert_eq!((boots[1].first_us, boots[1].last_us), (entries[30].realtime_us, entries[59].realtime_us));
}
