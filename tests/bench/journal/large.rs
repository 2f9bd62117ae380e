//! A large journal of many services, and how long the last messages of one of them take.
//!
//! Our writer makes it, in systemd's format; both readers are asked for the same in the same files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ferrite_journal_file::{Id128, Limits, Stamp, Writer};

use super::daemon::Kind;
use super::result::Search;

const MACHINE: Id128 = Id128([0x4d; 16]);
const BOOT: Id128 = Id128([0xb0; 16]);
const FILE_BYTES: u64 = 128 << 20;
const SERVICES: u64 = 40;
/// Entries between two looks at the size.
const STRIDE: u64 = 20_000;
/// How often each reader is asked.
const TIMES: u32 = 20;
const WANTED: usize = 20;

/// The folder of a journal of at least this size; one that is there is used again.
pub(crate) fn journal(out: &Path, bytes: u64) -> anyhow::Result<PathBuf> {
    let folder = out.join(format!("large-{bytes}"));
    if !folder.exists() {
        eprintln!("writing a journal of {} MiB", bytes >> 20);
        let new = out.join("new");
        let _ = fs::remove_dir_all(&new); // It may not be there.
        fill(&new, bytes).context("writing a large journal")?;
        fs::rename(&new, &folder).context("keeping the large journal")?;
    }
    Ok(folder)
}

fn fill(folder: &Path, bytes: u64) -> anyhow::Result<()> {
    let limits = Limits { max_use: 2 * bytes, keep_free: 0, max_file_size: FILE_BYTES, max_files: 1000 };
    let (mut writer, _) = Writer::open(folder, MACHINE, limits)?;
    let mut number = 0;
    while number == 0 || writer.usage() < bytes {
        for _ in 0..STRIDE {
            write(&mut writer, number)?;
            number += 1;
        }
        writer.flush()?;
    }
    Ok(writer.rest()?)
}

/// An entry of twelve fields, two of which no other entry has.
fn write(writer: &mut Writer, number: u64) -> anyhow::Result<()> {
    let realtime_us = 1_700_000_000_000_000 + number * 37;
    let stamp = Stamp { realtime_us, monotonic_us: number * 37, boot: BOOT };
    let unit = format!("service-{}", number % 97 * 7 % SERVICES);
    let texts = [
        ("MESSAGE", format!("GET /index/{number}.html took {} ms for 10.0.0.{}", number % 300, number % 250)),
        ("PRIORITY", if number.is_multiple_of(100) { "3" } else { "6" }.to_owned()),
        ("SYSLOG_IDENTIFIER", unit.clone()),
        ("_BOOT_ID", BOOT.to_string()),
        ("_COMM", unit.clone()),
        ("_HOSTNAME", "machine".to_owned()),
        ("_MACHINE_ID", MACHINE.to_string()),
        ("_PID", (1000 + number % SERVICES).to_string()),
        ("_SOURCE_REALTIME_TIMESTAMP", (realtime_us - 20).to_string()),
        ("_SYSTEMD_UNIT", format!("{unit}.service")),
        ("_TRANSPORT", "stdout".to_owned()),
        ("_UID", "0".to_owned()),
    ];
    let fields: Vec<(&[u8], &[u8])> = texts.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    writer.stage(&stamp, &fields)?;
    Ok(())
}

/// `journalctl -u X -n 20`, the files in the kernel's cache.
pub(crate) fn search(kind: &Kind, folder: &Path) -> anyhow::Result<Search> {
    let ask = || -> anyhow::Result<Duration> {
        let started = Instant::now();
        let output = Command::new(&kind.reader)
            .args(["-q", "--no-pager", "-u", "service-7", "-n", &WANTED.to_string(), "--directory"])
            .arg(folder)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting '{}'", kind.reader.display()))?;
        let wall = started.elapsed();
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        ensure!(lines == WANTED, "{lines} lines: {}", String::from_utf8_lossy(&output.stderr));
        Ok(wall)
    };
    ask()?;
    let before = used_by_children()?;
    let mut walls = (0..TIMES).map(|_| ask()).collect::<anyhow::Result<Vec<_>>>()?;
    let used = used_by_children()?.saturating_sub(before) / TIMES;
    walls.sort_unstable();
    Ok(Search { wall: walls.get(walls.len() / 2).copied().unwrap_or_default(), used })
}

/// Processor time of children that were waited for.
fn used_by_children() -> anyhow::Result<Duration> {
    super::result::used_by_children(&fs::read_to_string("/proc/self/stat")?)
}
