//! Files that systemd's own program wrote are read as the host's journalctl reads them: all forms of the format.

#[path = "support/entries.rs"]
mod entries;
#[path = "support/stock.rs"]
mod stock;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use entries::{Entry, message};
use ferrite_journal_file::{Reader, verify};
use tempfile::tempdir;

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

fn log() -> Vec<Entry> {
    (0..2000)
        .map(|number| {
            let mut entry = message(number, ["apple", "pear", "plum"][(number % 3) as usize]);
            match number % 100 {
                10 => entry.fields.push((b"LONG".to_vec(), b"many words ".repeat(300 + number as usize))),
                20 => entry.fields.push((b"BINARY".to_vec(), (0..=255).cycle().take(700).collect())),
                30 => entry.fields.extend((0..20).map(|tag| (b"TAG".to_vec(), format!("{tag}").into_bytes()))),
                _ => {}
            }
            entry.fields.sort();
            entry
        })
        .collect()
}

/// The export format, every field as binary.
fn export(log: &[Entry]) -> Vec<u8> {
    let mut text = Vec::new();
    for entry in log {
        let (realtime_us, monotonic_us) = (entry.realtime_us, entry.monotonic_us);
        let head = format!("__REALTIME_TIMESTAMP={realtime_us}\n__MONOTONIC_TIMESTAMP={monotonic_us}\n");
        text.extend_from_slice(head.as_bytes());
        text.extend_from_slice(format!("_BOOT_ID={}\n", entry.boot).as_bytes());
        for (name, value) in entry.fields.iter().filter(|(name, _)| name != b"_BOOT_ID") {
            text.extend_from_slice(name);
            text.push(b'\n');
            text.extend_from_slice(&(value.len() as u64).to_le_bytes());
            text.extend_from_slice(value);
            text.push(b'\n');
        }
        text.push(b'\n');
    }
    text
}

/// Has systemd write a file.
fn write(file: &Path, log: &[Entry], environment: &[(&str, &str)], options: &[&str]) {
    let mut remote = Command::new(REMOTE)
        .args(options)
        .args(["--output", file.to_str().expect("a path"), "-"])
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("systemd-journal-remote runs (Debian: systemd-journal-remote)");
    let text = export(log);
    remote.stdin.take().expect("its input").write_all(&text).expect("it reads");
    let output = remote.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Reads a file of systemd's in all ways.
fn compare(file: &Path, log: &[Entry]) {
    let exported = stock::export(file, &[]);
    let mut reader = Reader::open_files(&[file]).expect("it opens");
    assert_eq!(stock::ours(&mut reader), exported);
    assert_eq!(exported.len(), log.len());
    assert!(exported.iter().map(|exported| &exported.entry).eq(log), "as it was sent");
    reader.seek_tail();
    assert_eq!(entries::rest_backwards(&mut reader).len(), log.len());
    let matches = ["_SYSTEMD_UNIT=pear.service", "PRIORITY=3"];
    for word in matches {
        let (name, value) = word.split_once('=').expect("a match");
        reader.add_match(name.as_bytes(), value.as_bytes());
    }
    reader.seek_head();
    let matched = stock::ours(&mut reader);
    assert!(!matched.is_empty());
    assert_eq!(matched, stock::export(file, &matches));
    assert!(reader.faults().is_empty(), "{:?}", reader.faults());
    assert_eq!(verify(file).expect("it opens"), Ok(()));
}

#[test]
fn every_form_of_the_format_is_read() {
    let folder = tempdir().expect("a folder");
    let log = log();
    let compact = "SYSTEMD_JOURNAL_COMPACT";
    let keyed = "SYSTEMD_JOURNAL_KEYED_HASH";
    let forms: [&[(&str, &str)]; 4] = [
        &[(compact, "1"), (keyed, "1")],
        &[(compact, "0"), (keyed, "1")],
        &[(compact, "0"), (keyed, "0")],
        &[(compact, "1")],
    ];
    for (number, form) in forms.iter().enumerate() {
        for compress in ["--compress=yes", "--compress=no"] {
            let file = folder.path().join(format!("form{number}{compress}.journal"));
            write(&file, &log, form, &[compress]);
            compare(&file, &log);
        }
    }
}

#[test]
fn a_file_of_systemds_and_ours_are_read_as_one() {
    let folder = tempdir().expect("a folder");
    let log = log();
    let (first, second) = log.split_at(900);
    write(&folder.path().join("remote.journal"), first, &[], &["--compress=yes"]);
    entries::write(folder.path(), second);
    assert_eq!(entries::read(folder.path()), log);
    let exported: Vec<Entry> = stock::export(folder.path(), &[]).into_iter().map(|exported| exported.entry).collect();
    assert_eq!(exported, log);
}
