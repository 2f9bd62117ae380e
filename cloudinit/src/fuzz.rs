//! Random documents for every reader: none panics, none takes long, and what is decoded stays within its limit.
//!
//! Mutations of documents that are right reach deeper than random bytes. Seconds here, minutes with `FERRITE_LONG=1`.
//! A failure prints the seed of the document.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::{self, Sources};
use crate::facts::Facts;
use crate::{meta, mime, network, plan, report, template};

const SEEDS: [&str; 8] = [
    include_str!("../tests/seeds/config"),
    include_str!("../tests/seeds/coreos"),
    include_str!("../tests/seeds/message"),
    include_str!("../tests/seeds/template"),
    include_str!("../tests/seeds/archive"),
    include_str!("../tests/seeds/include"),
    include_str!("../tests/seeds/network-2"),
    include_str!("../tests/seeds/network-1"),
];
const PIECES: [&str; 28] = [
    "\n",
    ":",
    " ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "'",
    "\"",
    "|\n",
    "#",
    "\u{fe}",
    "\t",
    "--B\n",
    "=",
    "%",
    "{{",
    "}}",
    "{% ",
    "null",
    "yes",
    "0x",
    "\\",
];

/// A small generator; the same seed gives the same documents.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    fn document(&mut self) -> Vec<u8> {
        let mut bytes = SEEDS[self.below(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=self.below(12) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
                2 => {
                    let end = (at + self.below(20)).min(bytes.len());
                    bytes.drain(at..end);
                }
                3 => {
                    let from = self.below(bytes.len() + 1);
                    let part = bytes[from..(from + self.below(60)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())].repeat(1 + self.below(3));
                    bytes.splice(at..at, piece.into_bytes());
                }
            }
        }
        bytes
    }
}

fn nobody(url: &str) -> Result<Vec<u8>, String> {
    if url.len().is_multiple_of(2) { Ok(format!("#include\n{url}x\n").into_bytes()) } else { Err("no".into()) }
}

/// Everything that reads, and the planner behind it.
fn read_all(bytes: &[u8]) {
    let _faults = config::validate(bytes).render("f", &String::from_utf8_lossy(bytes));
    for format in
        [network::Format::CloudInit, network::Format::OpenStack, network::Format::DigitalOcean, network::Format::Ec2]
    {
        let _network = network::read(bytes, format);
    }
    let text = String::from_utf8_lossy(bytes);
    let _parts = (mime::is_message(&text), mime::split(&text));
    let _text = template::render(&text, &template::Variables::examples());
    let (meta, _) = meta::read(bytes);
    let environment = BTreeMap::new();
    let sources = Sources { user_data: bytes, vendor_data: bytes, meta: &meta, environment: &environment };
    let (config, _, _) = config::read(&sources, Some(nobody));
    let plan = plan::plan(&config, &meta, &Facts::default());
    let _shown = format!("{plan}{}", report::json(&plan, &[]));
}

#[test]
fn random_documents_are_read_or_refused_in_time() {
    let long = std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1");
    let budget = Duration::from_secs(if long { 600 } else { 5 });
    let started = Instant::now();
    let mut seed = 1u64;
    while started.elapsed() < budget {
        let bytes = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).document();
        let began = Instant::now();
        let outcome = std::panic::catch_unwind(|| read_all(&bytes));
        assert!(outcome.is_ok(), "seed {seed} panics: {:?}", String::from_utf8_lossy(&bytes));
        // Generous for a busy machine without optimisation; a document takes milliseconds.
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "seed {seed} is slow: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        seed += 1;
    }
    assert!(seed > 10, "only {seed} documents were read");
}
