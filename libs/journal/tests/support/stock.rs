//! The host's journalctl: what it reads of our files, as the export format tells it.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::Path;
use std::process::Command;

use ferrite_journal_file::{Id128, Reader};

use crate::entries::Entry;

/// An entry with its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    pub cursor: String,
    pub entry: Entry,
}

/// Runs the host's journalctl.
pub fn journalctl(arguments: &[&str]) -> std::process::Output {
    let output = Command::new("journalctl").args(arguments).env("SYSTEMD_PAGER", "").output();
    output.expect("journalctl runs (Debian: systemd)")
}

/// What journalctl reads from a file or folder.
pub fn export(path: &Path, arguments: &[&str]) -> Vec<Exported> {
    let place = path.to_str().expect("a path");
    let mut all = vec![if path.is_dir() { "--directory" } else { "--file" }, place, "-q", "-o", "export"];
    all.extend_from_slice(arguments);
    let output = journalctl(&all);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "journalctl {all:?}: {words}");
    parse(&output.stdout)
}

/// Whether journalctl finds the file sound, and its words.
pub fn verify(path: &Path) -> (bool, String) {
    let output = journalctl(&["--verify", "--file", path.to_str().expect("a path")]);
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn parse(mut text: &[u8]) -> Vec<Exported> {
    let mut entries = Vec::new();
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
        let line = &text[..end];
        text = &text[end + 1..];
        if line.is_empty() {
            entries.extend(finish(std::mem::take(&mut fields)));
        } else if let Some(at) = line.iter().position(|byte| *byte == b'=') {
            fields.push((line[..at].to_vec(), line[at + 1..].to_vec()));
        } else {
            let (length, rest) = text.split_at(8);
            let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
            fields.push((line.to_vec(), rest[..length].to_vec()));
            text = &rest[length + 1..];
        }
    }
    entries.extend(finish(fields));
    entries
}

fn finish(fields: Vec<(Vec<u8>, Vec<u8>)>) -> Option<Exported> {
    let address = |name: &str| {
        let (_, value) = fields.iter().find(|(field, _)| field == name.as_bytes())?;
        String::from_utf8(value.clone()).ok()
    };
    let cursor = address("__CURSOR")?;
    let realtime_us = address("__REALTIME_TIMESTAMP")?.parse().ok()?;
    let monotonic_us = address("__MONOTONIC_TIMESTAMP")?.parse().ok()?;
    let boot = cursor.split(';').find_map(|part| Id128::parse(part.strip_prefix("b=")?))?;
    let is_address = |name: &[u8]| name.starts_with(b"__");
    // journalctl tells the boot of the entry's head as a field.
    let mut fields: Vec<_> = fields.into_iter().filter(|(name, _)| !is_address(name)).collect();
    fields.sort();
    fields.dedup();
    Some(Exported { cursor, entry: Entry { realtime_us, monotonic_us, boot, fields } })
}

/// The same from our reader, from where it stands.
pub fn ours(reader: &mut Reader) -> Vec<Exported> {
    let mut entries = Vec::new();
    while reader.next().expect("it reads") {
        let mut entry = crate::entries::current(reader);
        let boot = (b"_BOOT_ID".to_vec(), entry.boot.to_string().into_bytes());
        if !entry.fields.contains(&boot) {
            entry.fields.push(boot);
            entry.fields.sort();
        }
        entries.push(Exported { cursor: reader.cursor(), entry });
    }
    entries
}
