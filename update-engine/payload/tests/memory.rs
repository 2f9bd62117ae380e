//! Hostile bytes for a minute (`FERRITE_FUZZ_SECONDS`; `FERRITE_LONG=1`: ten million at least), and how much memory
//! they make the reader take. A program of its own, because its allocator counts; what zstd takes in C is not in the
//! count. `FERRITE_FUZZ_SEED` repeats a run.

#[path = "support/noise.rs"]
mod noise;
#[path = "support/release.rs"]
mod release;

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferrite_payload::decode::{BaseReader, Decoder};
use ferrite_payload::limits::{OP_DELTA_BYTES_MAX, OP_OUTPUT_BYTES_MAX, OP_SOURCE_BYTES_MAX};
use ferrite_payload::open::Prefix;
use ferrite_payload::{Channel, Hash, KeySet, Manifest, Op, OpKind, Verified};
use noise::noise;
use peak_alloc::PeakAlloc;
use release::{Release, role};

#[global_allocator]
static COUNTED: PeakAlloc = PeakAlloc;

/// What reading may take (UPDATE.md asks for so much of a whole install).
const MEMORY_MAX: usize = 32 << 20;

/// Most bytes at a time that something took.
fn taken(work: impl FnOnce()) -> usize {
    let before = COUNTED.current_usage();
    COUNTED.reset_peak_usage();
    work();
    COUNTED.peak_usage().saturating_sub(before)
}

/// Chances that can be repeated.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }

    /// Changes a few places: bits, numbers at the edge, pieces doubled, cut out, lost.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const EDGES: [u64; 8] = [0, 1, 0x7f, 0xffff, 0x7fff_ffff, u32::MAX as u64, i64::MAX as u64, u64::MAX];
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let edge = EDGES[self.below(EDGES.len())].to_le_bytes();
            let width = [1, 2, 4, 8][self.below(4)];
            match self.below(8) {
                0..=2 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (edge[0] % 8)),
                3..=5 => bytes.iter_mut().skip(at).zip(&edge[..width]).for_each(|(byte, new)| *byte = *new),
                6 => bytes.truncate(at + 1),
                _ => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let place = self.below(bytes.len());
                    bytes.splice(place..place, piece);
                }
            }
        }
    }
}

struct Zeros;

impl BaseReader for Zeros {
    fn read_base(&mut self, _: u8, _: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }
}

fn op(kind: OpKind, blob: &[u8], length: u32) -> Op {
    let base_length = if kind == OpKind::Patch { OP_SOURCE_BYTES_MAX } else { 0 };
    let (blob_length, blob_sha256) = (blob.len() as u32, Hash::of(blob));
    Op {
        part: 0,
        kind,
        offset: 0,
        length,
        base_offset: 0,
        base_length,
        blob_length,
        blob_sha256,
        sha256: Hash::default(),
    }
}

#[test]
fn hostile_bytes_neither_panic_nor_take_more_memory_than_is_promised() {
    let everything = std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1");
    let least: u64 = if everything { 10_000_000 } else { 200_000 };
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let time = Duration::from_secs(number("FERRITE_FUZZ_SECONDS").unwrap_or(60));
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let seed = number("FERRITE_FUZZ_SEED").unwrap_or(clock).max(1);
    println!("FERRITE_FUZZ_SEED={seed}");
    let first = Release::first();
    let second = first.next();
    let manifest = second.pack(Some(&first), 1).0.to_bytes().expect("it is good");
    let payload = second.payload(Some(&first));
    let documents = [
        br#"{"signed":"{\"format\":1,\"number\":1}","signatures":[{"key":"00","signature":"00"}]}"#.to_vec(),
        [b"{\"signed\":\"".as_slice(), &b"[".repeat(400), b"\",\"signatures\":[]}"].concat(),
    ];
    let role = role();
    let mut chance = Chance(seed);
    let (mut read, mut peak, mut executions) = (0u64, 0, 0);
    let mut bytes = Vec::new();
    let begin = Instant::now();
    while executions < least || begin.elapsed() < time {
        let execution = executions;
        executions += 1;
        bytes.clear();
        match execution % 64 {
            0 => bytes.extend_from_slice(&payload),
            1 => bytes.extend_from_slice(&documents[chance.below(2)]),
            _ => bytes.extend_from_slice(&manifest),
        }
        chance.mutate(&mut bytes);
        peak = peak.max(taken(|| match execution % 64 {
            0 => {
                let prefix = bytes.first_chunk().map(Prefix::parse);
                let believed =
                    prefix.is_some_and(|prefix| prefix.is_ok()) && Verified::read(&mut bytes.as_slice(), &role).is_ok();
                // A change behind the head is found by the sums.
                read += u64::from(believed);
            }
            1 => {
                assert!(KeySet::parse_trusted(&bytes).is_err());
                assert!(Channel::parse_any_time(&bytes, &role).is_err());
            }
            _ => {
                if let Ok(manifest) = Manifest::parse(&bytes) {
                    read += 1;
                    assert_eq!(manifest.to_bytes().as_deref(), Ok(bytes.as_slice()));
                }
            }
        }));
    }
    println!("{executions} executions, {read} were read, {peak} bytes of memory at most");
    assert!(read > executions / 1000, "changes that are found at once test little: {read}");
    assert!(peak <= MEMORY_MAX, "{peak} bytes");
    largest_operations_stay_below_the_promise();
}

/// Those that a full payload and a delta may have, and a bomb. No test of its own, as the count is of the process.
fn largest_operations_stay_below_the_promise() {
    for (kind, length) in [(OpKind::Zstd, OP_OUTPUT_BYTES_MAX), (OpKind::Patch, OP_DELTA_BYTES_MAX)] {
        let largest = zstd::bulk::compress(&noise(1, length as usize), 3).expect("it is compressed");
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).expect("it is compressed");
        let mut decoder = Decoder::default();
        let peak = taken(|| {
            // One is written while the other is made.
            let mut outputs = [vec![0; length as usize], vec![0; length as usize]];
            for (blob, output) in [&largest, &bomb].into_iter().zip(&mut outputs) {
                assert!(decoder.decode(0, &op(kind, blob, length), blob, &mut Zeros, output).is_err());
            }
        });
        println!("the largest operations of kind {kind:?} take {peak} bytes");
        assert!(peak + largest.len() <= MEMORY_MAX, "{peak} bytes");
    }
}
