//! The directory that a web server hands out: key sets, payloads, one channel document a channel.
//!
//! Order matters to machines that look while it is written: payloads first, then key sets, then the channel document,
//! each put in its place by one rename.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, bail};
use ferrite_payload::channel::{Channel, Delta, Payload, Release, Rollout};
use ferrite_payload::limits::CHANNEL_BYTES_MAX;
use ferrite_payload::{Hash, Verified, key_set};

use crate::key_folder::KeyFolder;
use crate::output;

/// Folder of the payloads.
const PAYLOADS: &str = "payloads";
/// Folder of the channel documents.
const CHANNELS: &str = "channel";
const DAY_SECONDS: u64 = 24 * 3600;

/// What is to change.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The time.
    pub now: u64,
    /// For how long the document holds.
    pub days: u64,
    /// Who takes the new releases when.
    pub rollout: Option<Rollout>,
    /// Nobody waits for a turn.
    pub urgent: bool,
    /// Machines below this serial take another release first.
    pub minimum: u64,
    /// Serials that nobody is to take any more.
    pub withdraw: Vec<u64>,
}

/// Brings the directory to its new state; returns the document.
pub fn publish(
    folder: &Path,
    keys: &KeyFolder,
    channel: &str,
    payloads: &[&Path],
    changes: &Changes,
) -> anyhow::Result<Channel> {
    for name in [PAYLOADS, CHANNELS] {
        let path = folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("creating '{}'", path.display()))?;
    }
    let channels = folder.join(CHANNELS);
    let file = format!("{channel}.json");
    let mut document = read_channel(&channels.join(&file), keys, channel)?;
    let mut added = Vec::new();
    for path in payloads {
        added.push(add_payload(folder, keys, path).with_context(|| format!("publishing '{}'", path.display()))?);
    }
    // A delta belongs to the release of its full payload, which may come with it.
    added.sort_by_key(|(verified, _)| verified.manifest().base.is_some());
    for (verified, payload) in added {
        list(&mut document, &verified, payload, changes)?;
    }
    for serial in &changes.withdraw {
        let mut found = document.releases.iter_mut().filter(|release| release.serial == *serial).peekable();
        if found.peek().is_none() {
            bail!("channel {channel} has no release with serial {serial} to withdraw");
        }
        found.for_each(|release| release.withdrawn = true);
    }
    document.releases.sort_by(|one, other| (one.serial, &one.board).cmp(&(other.serial, &other.board)));
    document.number += 1;
    document.issued = changes.now;
    document.expires = changes.now + changes.days * DAY_SECONDS;
    let text = document.seal(&keys.quorum(keys.current.channel())?)?;
    for (number, bytes) in &keys.sets {
        output::write(folder, &key_set::file_name(*number), bytes)?;
    }
    output::write(&channels, &file, text.as_bytes())?;
    Ok(document)
}

fn read_channel(path: &Path, keys: &KeyFolder, channel: &str) -> anyhow::Result<Channel> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Channel::empty(keys.current.product(), channel));
        }
        file => file.and_then(|file| file.take(CHANNEL_BYTES_MAX + 1).read_to_end(&mut bytes)),
    }
    .with_context(|| format!("reading '{}'", path.display()))?;
    let read = Channel::parse_any_time(&bytes, keys.current.channel());
    // After a rotation of the channel key, the document is still signed by the old one.
    let earlier = || -> anyhow::Result<Channel> {
        let (_, earlier) = keys.sets.split_last().context("there are no key sets")?;
        Ok(Channel::parse_any_time(&bytes, crate::key_folder::walk(earlier)?.channel())?)
    };
    read.or_else(|error| earlier().map_err(|_| error)).with_context(|| format!("reading '{}'", path.display()))
}

/// Checks a payload to its last byte, as machines will, and copies it.
fn add_payload(folder: &Path, keys: &KeyFolder, path: &Path) -> anyhow::Result<(Verified, Payload)> {
    let mut reader = BufReader::new(File::open(path)?);
    let verified = Verified::read(&mut reader, keys.current.release())?;
    let manifest = verified.manifest();
    if manifest.product != keys.current.product() {
        bail!("it is for product {}, the keys are for {}", manifest.product, keys.current.product());
    }
    for (index, op) in manifest.ops.iter().enumerate().filter(|(_, op)| op.kind.has_blob()) {
        let mut blob = vec![0; op.blob_length as usize];
        reader.read_exact(&mut blob).with_context(|| format!("reading operation {index}"))?;
        if Hash::of(&blob) != op.blob_sha256 {
            bail!("its bytes of operation {index} are not the signed ones");
        }
    }
    if reader.read(&mut [0])? != 0 {
        bail!("it is longer than its manifest says");
    }
    let from = manifest.base.map(|base| format!("-from-{}", base.serial)).unwrap_or_default();
    let name = format!("{}-{}-{}{from}.fup", manifest.board, manifest.version, manifest.serial);
    let target = folder.join(PAYLOADS).join(&name);
    let mut copy = tempfile::Builder::new().prefix(output::SCRATCH).tempfile_in(folder.join(PAYLOADS))?;
    std::io::copy(&mut File::open(path)?, &mut copy)?;
    crate::disk::publish(copy, &target)?;
    let payload = Payload { path: format!("{PAYLOADS}/{name}"), size_bytes: verified.total_bytes(), id: verified.id() };
    Ok((verified, payload))
}

fn list(document: &mut Channel, verified: &Verified, payload: Payload, changes: &Changes) -> anyhow::Result<()> {
    let manifest = verified.manifest();
    let same = |release: &&mut Release| release.board == manifest.board && release.serial == manifest.serial;
    let listed = document.releases.iter_mut().find(same);
    match (manifest.base, listed) {
        (None, Some(release)) => release.full = payload,
        (None, None) => document.releases.push(Release {
            board: manifest.board.clone(),
            version: manifest.version.clone(),
            serial: manifest.serial,
            minimum: changes.minimum,
            full: payload,
            deltas: Vec::new(),
            rollout: changes.rollout,
            withdrawn: false,
            urgent: changes.urgent,
        }),
        (Some(base), Some(release)) => {
            release.deltas.retain(|delta| delta.from != base.serial);
            release.deltas.push(Delta { from: base.serial, payload });
            release.deltas.sort_by_key(|delta| delta.from);
        }
        (Some(_), None) => {
            bail!("serial {} is only there as a delta: publish its full payload too", manifest.serial)
        }
    }
    Ok(())
}
