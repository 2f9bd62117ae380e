//! How fast the journal is written and read, and how large it gets, beside the host's own programs.
//!
//!     cargo bench -p ferrite-journal-file                 256 MiB
//!     cargo bench -p ferrite-journal-file -- 1024 DIR     1 GiB, in a folder of DIR that stays
//!
//! Never part of `make test`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ferrite_journal_file::{Id128, Limits, Reader, Stamp, Writer};

const MACHINE: Id128 = Id128([0x4d; 16]);
const BOOT: Id128 = Id128([0xb0; 16]);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mebibytes: u64 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(256);
    let kept = arguments.get(1).map(|parent| Path::new(parent).join("journal"));
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = kept.unwrap_or_else(|| temporary.path().join("journal"));
    bursts(temporary.path());
    let (entries, seconds) = fill(&folder, mebibytes << 20);
    let bytes: u64 = fs::read_dir(&folder)
        .expect("a folder")
        .map(|item| item.expect("an entry").metadata().expect("metadata").len())
        .sum();
    println!("written                {entries} entries in {seconds:.2} s: {:.0} a second", entries as f64 / seconds);
    println!("on disk                {:.0} bytes an entry ({} MiB)", bytes as f64 / entries as f64, bytes >> 20);
    memory();
    tail(&folder);
    scan(&folder, entries);
    stock(&folder);
}

fn limits() -> Limits {
    Limits { max_use: 1 << 40, keep_free: 0, max_file_size: 128 << 20, max_files: 10_000 }
}

/// An entry of twelve fields, two of which no other entry has.
fn write(writer: &mut Writer, number: u64, burst: bool) {
    let realtime_us = 1_700_000_000_000_000 + number * 37;
    let unit = format!("service-{}", number % 97 * 7 % 40);
    let stamp = Stamp { realtime_us, monotonic_us: number * 37, boot: BOOT };
    let fields: [(&[u8], &[u8]); 12] = [
        (
            b"MESSAGE",
            &format!("GET /index/{number}.html took {} ms for 10.0.0.{}", number % 300, number % 250).into_bytes(),
        ),
        (b"PRIORITY", if number.is_multiple_of(100) { b"3" } else { b"6" }),
        (b"SYSLOG_IDENTIFIER", unit.as_bytes()),
        (b"_BOOT_ID", b"b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"),
        (b"_COMM", unit.as_bytes()),
        (b"_HOSTNAME", b"machine"),
        (b"_MACHINE_ID", b"4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d"),
        (b"_PID", &(1000 + number % 40).to_string().into_bytes()),
        (b"_SOURCE_REALTIME_TIMESTAMP", &(realtime_us - 20).to_string().into_bytes()),
        (b"_SYSTEMD_UNIT", &format!("{unit}.service").into_bytes()),
        (b"_TRANSPORT", b"stdout"),
        (b"_UID", b"0"),
    ];
    let outcome = if burst { writer.stage(&stamp, &fields) } else { writer.append(&stamp, &fields) };
    outcome.expect("it is written");
}

/// Entries a second for groups of entries that become visible together.
fn bursts(parent: &Path) {
    for size in [1, 8, 64, 512] {
        let folder = parent.join(format!("burst-{size}"));
        let (mut writer, _) = Writer::open(&folder, MACHINE, limits()).expect("it opens");
        let (started, before) = (Instant::now(), cpu_seconds());
        let count = 150_000;
        for number in 0..count {
            write(&mut writer, number, true);
            if number % size == 0 {
                writer.flush().expect("it is flushed");
            }
        }
        writer.flush().expect("it is flushed");
        let rate = count as f64 / started.elapsed().as_secs_f64();
        let cpu = count as f64 / (cpu_seconds() - before);
        println!("visible in groups of {size:<4} {rate:.0} entries a second, {cpu:.0} a second of the processor");
        drop(writer);
        fs::remove_dir_all(folder).expect("it is removed");
    }
}

fn fill(folder: &Path, bytes: u64) -> (u64, f64) {
    let (mut writer, _) = Writer::open(folder, MACHINE, limits()).expect("it opens");
    let started = Instant::now();
    let mut number = 0;
    while number % 20_000 != 0 || number == 0 || writer.usage() < bytes {
        write(&mut writer, number, true);
        number += 1;
        if number.is_multiple_of(64) {
            writer.flush().expect("it is flushed");
        }
    }
    // One unit that hardly logs, somewhere in the middle of what is old.
    writer.flush().expect("it is flushed");
    (number, started.elapsed().as_secs_f64())
}

/// Time on a processor so far: what counts on a machine that does other things too.
fn cpu_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/schedstat").expect("/proc");
    text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn memory() {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default();
    println!("memory of the writer   {line}");
}

fn time(what: &str, work: impl FnOnce() -> u64) -> Duration {
    let started = Instant::now();
    let count = work();
    let elapsed = started.elapsed();
    println!("{what:<22} {:.1} ms ({count} entries)", elapsed.as_secs_f64() * 1e3);
    elapsed
}

fn tail(folder: &Path) {
    time("-u X -n 20", || {
        let mut reader = Reader::open_folders(&[folder]).expect("it opens");
        reader.add_match(b"_SYSTEMD_UNIT", b"service-7.service");
        reader.seek_tail();
        let (mut count, mut bytes) = (0, 0);
        while count < 20 && reader.previous().expect("it reads") {
            reader.fields(|_, value| bytes += value.len()).expect("fields");
            count += 1;
        }
        assert!(bytes > 0);
        count
    });
}

fn scan(folder: &Path, entries: u64) {
    let elapsed = time("all fields of all", || {
        let mut reader = Reader::open_folders(&[folder]).expect("it opens");
        let (mut count, mut bytes) = (0, 0);
        while reader.next().expect("it reads") {
            reader.fields(|_, value| bytes += value.len()).expect("fields");
            count += 1;
        }
        assert!(bytes > 0);
        assert_eq!(count, entries);
        count
    });
    println!("                       {:.0} entries a second", entries as f64 / elapsed.as_secs_f64());
}

fn stock(folder: &Path) {
    let run = |arguments: &[&str]| {
        let output =
            Command::new("journalctl").arg("--directory").arg(folder).args(arguments).stderr(Stdio::null()).output();
        let lines = output.map_or(0, |output| output.stdout.iter().filter(|byte| **byte == b'\n').count());
        lines as u64
    };
    time("journalctl -u X -n 20", || run(&["_SYSTEMD_UNIT=service-7.service", "-n", "20", "-o", "short"]));
    time("journalctl -o cat", || run(&["-o", "cat"]));
}
