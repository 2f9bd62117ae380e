//! Random documents for everything that reads them: none panics, none takes long, memory stays within a limit, and what
//! is promised of every document holds (`properties`).
//!
//! A minute here; `FERRITE_FUZZ_SECONDS` says how long, `FERRITE_FUZZ_SEED` where to begin. A failure prints both.

mod chance;
mod properties;
mod seeds;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::{config, datasource, meta, mime, network, template};
use chance::Chance;
use seeds::Seeds;

/// What one reader may hold of one document of at most 1 MiB, besides the document; docs/cloud-config.md says so.
pub(crate) const MAX_MEMORY_BYTES: u64 = 128 << 20;
/// Generous for a program that is not optimised; a usual document takes a millisecond of it.
const MAX_PROCESSOR_TIME: Duration = Duration::from_secs(20);
/// A document that does not end at all ends the test. A busy machine is no reason.
const MAX_WALL_TIME: Duration = Duration::from_secs(300);
const USUAL_SECONDS: u64 = 60;
const SHOWN_BYTES: usize = 600;

/// A reader, by name.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 8] = [
    ("validate", |bytes| {
        let faults = config::validate(bytes);
        let _shown = (faults.render("f", &String::from_utf8_lossy(bytes)), faults.to_string());
    }),
    ("network", properties::network_files_are_understood),
    ("message", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _parts = (mime::is_message(&text), mime::split(&text));
    }),
    ("template", |bytes| {
        let _text = template::render(&String::from_utf8_lossy(bytes), &template::Variables::examples());
    }),
    ("meta-data", |bytes| {
        let (meta, _) = meta::read(bytes);
        let _variables = template::Variables::new(&meta.values, template::Missing::Fails);
    }),
    ("datasource", datasource::read_anything),
    ("plan", properties::plan_is_sound),
    ("wireguard", |bytes| {
        let _device = network::wireguard::quick("wg0", &String::from_utf8_lossy(bytes), (1, 1));
    }),
];

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// What is read now, for the watch.
struct Now {
    seed: AtomicU64,
    since: Mutex<Instant>,
}

/// Ends the test when one document takes for ever; a thread cannot be stopped from outside.
fn watch(now: &Arc<Now>) {
    let now = Arc::downgrade(now);
    std::thread::spawn(move || {
        while let Some(now) = now.upgrade() {
            let elapsed = now.since.lock().unwrap().elapsed();
            if elapsed > MAX_WALL_TIME {
                eprintln!("FERRITE_FUZZ_SEED={} does not end", now.seed.load(Ordering::Relaxed));
                std::process::abort();
            }
            drop(now);
            std::thread::park_timeout(Duration::from_secs(1));
        }
    });
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Reads one document with one reader; `Err` says what is wrong.
fn read((name, reader): Target, bytes: &[u8]) -> Result<(), String> {
    let begin = processor_time();
    let mut outcome = Ok(());
    let memory = allocation_counter::measure(|| outcome = std::panic::catch_unwind(|| reader(bytes)));
    let used = processor_time() - begin;
    match outcome {
        Err(_) => Err(format!("{name} panics")),
        Ok(()) if used > MAX_PROCESSOR_TIME => Err(format!("{name} takes {used:?}")),
        Ok(()) if memory.bytes_max > MAX_MEMORY_BYTES => Err(format!("{name} takes {} bytes", memory.bytes_max)),
        Ok(()) => Ok(()),
    }
}

#[test]
fn random_documents_are_read_or_refused_in_time() {
    let usual = if std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1") { 600 } else { USUAL_SECONDS };
    let budget = Duration::from_secs(number("FERRITE_FUZZ_SECONDS", usual));
    let first = number("FERRITE_FUZZ_SEED", 1);
    let seeds = Seeds::read();
    let now = Arc::new(Now { seed: AtomicU64::new(first), since: Mutex::new(Instant::now()) });
    watch(&now);
    let started = Instant::now();
    let mut seed = first;
    while started.elapsed() < budget {
        let bytes = Chance::of(seed).document(&seeds);
        now.seed.store(seed, Ordering::Relaxed);
        *now.since.lock().unwrap() = Instant::now();
        for target in TARGETS {
            if let Err(what) = read(target, &bytes) {
                let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]);
                panic!("FERRITE_FUZZ_SEED={seed}: {what}, {} bytes:\n{shown}", bytes.len());
            }
        }
        seed += 1;
    }
    println!("{} documents, the next is FERRITE_FUZZ_SEED={seed}", seed - first);
    assert!(seed > first + 10, "only {} documents were read", seed - first);
}
