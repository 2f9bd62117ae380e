//! Random entries go in; the same come out, in both directions, through all matches and seeks.

#[path = "support/entries.rs"]
mod entries;

use entries::{Entry, MACHINE, current, generous, message, read, rest, rest_backwards, write, writer};
use ferrite_journal_file::{Id128, Reader, Writer, verify};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

fn any_entry() -> impl Strategy<Value = Entry> {
    let name = prop::sample::select(vec!["MESSAGE", "PRIORITY", "_SYSTEMD_UNIT", "TAG", "A"]);
    let short = prop::collection::vec(any::<u8>(), 0..40);
    let few = prop::sample::select(vec![b"1".to_vec(), b"2".to_vec(), b"three".to_vec()]);
    let long = (any::<u8>(), 400usize..5000).prop_map(|(byte, length)| vec![byte; length]);
    let value = prop_oneof![8 => few, 4 => short, 1 => long];
    let fields = prop::collection::vec((name.prop_map(|name| name.as_bytes().to_vec()), value), 1..12);
    (fields, 0u64..50, 0u8..3).prop_map(|(mut fields, step, boot)| {
        fields.sort();
        fields.dedup();
        Entry { realtime_us: step, monotonic_us: step, boot: Id128([boot + 1; 16]), fields }
    })
}

/// Entries in the order of time, boot by boot.
fn any_log() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(any_entry(), 1..120).prop_map(|mut entries| {
        entries.sort_by_key(|entry| entry.boot);
        let mut now = 1_000;
        for entry in &mut entries {
            now += entry.realtime_us;
            (entry.realtime_us, entry.monotonic_us) = (now, now);
        }
        entries
    })
}

fn has(entry: &Entry, name: &str, value: &str) -> bool {
    entry.fields.iter().any(|(field, content)| field == name.as_bytes() && content == value.as_bytes())
}

/// A folder with these entries, its writer and a reader; a new file begins behind one of them.
fn written(log: &[Entry], rotate_at: usize) -> (TempDir, Writer, Reader) {
    let folder = tempdir().expect("a folder");
    let mut writer = writer(folder.path());
    for (number, entry) in log.iter().enumerate() {
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if number == rotate_at {
            writer.rotate().expect("it rotates");
        }
    }
    let reader = Reader::open_folders(&[folder.path()]).expect("it opens");
    (folder, writer, reader)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_goes_in_comes_out(log in any_log(), rotate_at in 0usize..120, flush_every in 1usize..30) {
        let folder = tempdir().expect("a folder");
        let mut writer = writer(folder.path());
        for (number, entry) in log.iter().enumerate() {
            writer.stage(&entry.stamp(), &entry.borrowed()).expect("it is written");
            if number % flush_every == 0 {
                writer.flush().expect("it is flushed");
            }
            if number == rotate_at {
                writer.rotate().expect("it rotates");
            }
        }
        writer.rest().expect("it closes");
        for file in entries::files(folder.path()) {
            prop_assert_eq!(verify(&file).expect("it opens"), Ok(()));
        }
        let mut reader = Reader::open_folders(&[folder.path()]).expect("it opens");
        prop_assert_eq!(&rest(&mut reader), &log);
        reader.seek_tail();
        prop_assert_eq!(&rest_backwards(&mut reader), &log);
        prop_assert!(reader.faults().is_empty());
    }

    #[test]
    fn matches_show_what_they_say(log in any_log(), rotate_at in 0usize..120) {
        let (_folder, _writer, mut reader) = written(&log, rotate_at);
        // (PRIORITY=1 or 2, and TAG=three; or MESSAGE=1) and A=2
        reader.add_match(b"PRIORITY", b"1");
        reader.add_match(b"TAG", b"three");
        reader.add_match(b"PRIORITY", b"2");
        reader.add_disjunction();
        reader.add_match(b"MESSAGE", b"1");
        let is_first = |entry: &Entry| {
            (has(entry, "PRIORITY", "1") || has(entry, "PRIORITY", "2")) && has(entry, "TAG", "three")
                || has(entry, "MESSAGE", "1")
        };
        let wanted: Vec<Entry> = log.iter().filter(|entry| is_first(entry)).cloned().collect();
        prop_assert_eq!(&rest(&mut reader), &wanted);
        reader.add_conjunction();
        reader.add_match(b"A", b"2");
        let wanted: Vec<Entry> =
            log.iter().filter(|entry| is_first(entry) && has(entry, "A", "2")).cloned().collect();
        reader.seek_tail();
        prop_assert_eq!(&rest_backwards(&mut reader), &wanted);
        reader.seek_head();
        prop_assert_eq!(&rest(&mut reader), &wanted);
        reader.flush_matches();
        reader.seek_head();
        prop_assert_eq!(rest(&mut reader).len(), log.len());
    }

    #[test]
    fn seeks_stand_where_they_say(log in any_log(), at in any::<prop::sample::Index>(), rotate_at in 0usize..120) {
        let (_folder, _writer, mut reader) = written(&log, rotate_at);
        let wanted = at.get(&log);
        let first = log.iter().position(|entry| entry.realtime_us >= wanted.realtime_us).expect("itself");
        reader.seek_realtime(wanted.realtime_us);
        prop_assert_eq!(&rest(&mut reader), &log[first..]);
        reader.seek_realtime(wanted.realtime_us);
        prop_assert_eq!(&rest_backwards(&mut reader), &log[..first]);
        reader.seek_head();
        let position = at.index(log.len());
        for _ in 0..=position {
            prop_assert!(reader.next().expect("it reads"));
        }
        let cursor = reader.cursor();
        reader.seek_cursor(&cursor).expect("a cursor");
        prop_assert_eq!(&rest(&mut reader), &log[position..]);
        reader.seek_cursor(&cursor).expect("a cursor");
        prop_assert!(reader.next().expect("it reads") && reader.at_cursor(&cursor));
        if position > 0 {
            prop_assert!(reader.previous().expect("it reads"));
            prop_assert_eq!(&current(&mut reader), &log[position - 1]);
            prop_assert!(reader.next().expect("it reads"));
        }
        prop_assert_eq!(&current(&mut reader), &log[position]);
    }
}

#[test]
fn a_time_of_a_boot_is_found_by_its_monotonic_clock() {
    let folder = tempdir().expect("a folder");
    let boot = |number: u8| Id128([number; 16]);
    let log: Vec<Entry> = (0..60)
        .map(|number| {
            let mut entry = message(number, "clock");
            entry.boot = boot(1 + (number / 20) as u8);
            entry.monotonic_us = number % 20 * 10;
            entry.fields.retain(|(name, _)| name != b"_BOOT_ID");
            entry.fields.push((b"_BOOT_ID".to_vec(), entry.boot.to_string().into_bytes()));
            entry.fields.sort();
            entry
        })
        .collect();
    write(folder.path(), &log);
    let mut reader = Reader::open_folders(&[folder.path()]).expect("it opens");
    reader.seek_monotonic(boot(2), 45);
    assert_eq!(rest(&mut reader), log[25..]);
    reader.seek_monotonic(boot(2), 1000);
    assert_eq!(rest(&mut reader), log[40..], "after the end of a boot comes the next boot");
    reader.seek_monotonic(boot(9), 0);
    assert_eq!(rest(&mut reader), []);
}

#[test]
fn values_and_names_are_listed_once() {
    let folder = tempdir().expect("a folder");
    let mut writer = writer(folder.path());
    for number in 0..30 {
        let entry = message(number, ["b", "a"][(number % 2) as usize]);
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if number == 15 {
            writer.rotate().expect("it rotates");
        }
    }
    let mut reader = Reader::open_folders(&[folder.path()]).expect("it opens");
    let units = reader.unique(b"_SYSTEMD_UNIT").expect("values");
    assert_eq!(units, [b"a.service".to_vec(), b"b.service".to_vec()]);
    assert_eq!(reader.unique(b"NONE").expect("values"), Vec::<Vec<u8>>::new());
    let names = reader.field_names().expect("names");
    assert_eq!(names.len(), 13);
    assert!(names.contains(&b"_SOURCE_REALTIME_TIMESTAMP".to_vec()));
    reader.seek_tail();
    assert!(reader.previous().expect("it reads"));
    assert_eq!(reader.field(b"_SYSTEMD_UNIT").expect("a field"), Some(b"a.service".to_vec()));
    assert_eq!(reader.field(b"NONE").expect("a field"), None);
    assert_eq!(reader.seqnum(), 30);
}

#[test]
fn a_reader_that_stays_sees_what_comes_and_what_was_rotated() {
    let folder = tempdir().expect("a folder");
    let mut writer = writer(folder.path());
    let log: Vec<Entry> = (0..40).map(|number| message(number, ["x", "y"][(number % 2) as usize])).collect();
    let mut all = Reader::open_folders(&[folder.path()]).expect("it opens");
    let mut some = Reader::open_folders(&[folder.path()]).expect("it opens");
    some.add_match(b"_SYSTEMD_UNIT", b"y.service");
    let (mut seen, mut matched) = (Vec::new(), Vec::new());
    for (number, entry) in log.iter().enumerate() {
        writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written");
        if number % 9 == 0 {
            writer.rotate().expect("it rotates");
        }
        assert!(all.refresh().expect("it looks"));
        assert!(some.refresh().expect("it looks"));
        seen.extend(rest(&mut all));
        matched.extend(rest(&mut some));
        assert_eq!(seen.len(), number + 1);
    }
    assert_eq!(seen, log);
    assert_eq!(
        matched,
        log.iter().filter(|entry| has(entry, "_SYSTEMD_UNIT", "y.service")).cloned().collect::<Vec<_>>()
    );
    drop(writer);
    all.refresh().expect("it looks");
    assert!(!all.next().expect("it reads"));
}

#[test]
fn numbers_go_on_over_restarts_rotations_and_other_machines() {
    let folder = tempdir().expect("a folder");
    let log: Vec<Entry> = (0..50).map(|number| message(number, "unit")).collect();
    let mut ids = Vec::new();
    for (number, entry) in log.iter().enumerate() {
        let mut writer = writer(folder.path());
        assert_eq!(writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written"), number as u64 + 1);
        if number % 10 == 3 {
            writer.rotate().expect("it rotates");
        }
        ids.push(writer.position().0);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(read(folder.path()), log);
    let (other, notes) = Writer::open(folder.path(), Id128([9; 16]), generous()).expect("it opens");
    assert_eq!(other.position().1, 50);
    assert!(matches!(notes.as_slice(), [ferrite_journal_file::Note::Rotated { .. }]), "{notes:?}");
    assert_ne!(MACHINE, Id128([9; 16]));
}

#[test]
fn what_is_no_entry_is_refused_and_harms_nothing() {
    let folder = tempdir().expect("a folder");
    let mut writer = writer(folder.path());
    let stamp = message(1, "x").stamp();
    let many: Vec<(&[u8], &[u8])> = vec![(b"A", b"b"); 1025];
    let wrong: [&[(&[u8], &[u8])]; 4] = [&[], &[(b"", b"x")], &[(b"A=B", b"x")], &many];
    for fields in wrong {
        let error = writer.append(&stamp, fields).expect_err("it is refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
    }
    let huge = vec![b'x'; 65 << 20];
    assert!(writer.append(&stamp, &[(b"MESSAGE", &huge)]).is_err());
    let entry = message(2, "x");
    assert_eq!(writer.append(&entry.stamp(), &entry.borrowed()).expect("it is written"), 1);
    assert_eq!(read(folder.path()), [entry]);
}
