//! Large releases: the engine's memory does not grow with them, and nothing breaks at 2 and at 4 GiB.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use ferrite_layout::Slot;
use ferrite_payload::limits::OP_OUTPUT_BYTES_MAX;
use ferrite_payload::{Hash, Manifest, Op, OpKind, Part, PartRole};
use sha2::{Digest, Sha256};

use crate::machine::Machine;
use crate::noise::noise;
use crate::release::{Release, seal};

const MIB: u64 = 1 << 20;
/// Of an operation, the longest there may be; the first one is half as long, so that others lie across each GiB.
const PIECE: u64 = OP_OUTPUT_BYTES_MAX as u64;
/// What is promised.
const PEAK_KIB_MAX: u64 = 32 << 10;

/// A root of zeros with noise, which cannot be made smaller, at its beginning, across each of its GiB and at its end.
struct Sparse {
    size: u64,
    manifest: Manifest,
    blobs: Vec<u8>,
    islands: Vec<(u64, Vec<u8>)>,
}

impl Sparse {
    fn new(size: u64) -> Sparse {
        let identity = Release::new(2).identity(None);
        let mut manifest = Release::new(2).pack_as(&identity, None).0;
        (manifest.parts, manifest.ops) = (Vec::new(), Vec::new());
        let mut sparse = Sparse { size, manifest, blobs: Vec::new(), islands: Vec::new() };
        let mut hasher = Sha256::new();
        let zeros = vec![0; PIECE as usize];
        let zeros_sum = Hash::of(&zeros);
        let (mut offset, mut length) = (0, PIECE / 2);
        while offset < size {
            let end = (offset + length).min(size);
            // Enough of them in a row for each buffer to hold one.
            let is_island = offset < 2 * PIECE || end == size || (offset >> 30) != (end >> 30);
            if is_island {
                let bytes = noise(offset + 1, (end - offset) as usize);
                hasher.update(&bytes);
                sparse.push(0, offset, &bytes);
                sparse.islands.push((offset, bytes));
            } else {
                hasher.update(&zeros);
                sparse.push_zeros(offset, zeros_sum);
            }
            (offset, length) = (end, PIECE);
        }
        let boot = noise(7, 8192);
        sparse.push(1, 0, &boot);
        for (role, size_bytes, sha256) in [
            (PartRole::Root, size, Hash::from_bytes(hasher.finalize().into())),
            (PartRole::Boot, boot.len() as u64, Hash::of(&boot)),
        ] {
            let (verity_root, verity_blocks, base_bytes) = (Hash::default(), 0, 0);
            sparse.manifest.parts.push(Part { role, size_bytes, sha256, verity_root, verity_blocks, base_bytes });
        }
        sparse
    }

    fn push(&mut self, part: u8, offset: u64, bytes: &[u8]) {
        let blob = zstd::bulk::compress(bytes, 1).expect("it is compressed");
        self.manifest.ops.push(Op {
            part,
            kind: OpKind::Zstd,
            offset,
            length: bytes.len() as u32,
            base_offset: 0,
            base_length: 0,
            blob_length: blob.len() as u32,
            blob_sha256: Hash::of(&blob),
            sha256: Hash::of(bytes),
        });
        self.blobs.extend_from_slice(&blob);
    }

    /// A whole piece of them.
    fn push_zeros(&mut self, offset: u64, sha256: Hash) {
        let blob_sha256 = Hash::default();
        let (kind, length) = (OpKind::Zero, PIECE as u32);
        let (base_offset, base_length, blob_length) = (0, 0, 0);
        let op = Op { part: 0, kind, offset, length, base_offset, base_length, blob_length, blob_sha256, sha256 };
        self.manifest.ops.push(op);
    }

    /// Installs it with an engine of its own, whose peak of memory is returned.
    fn install(&self) -> u64 {
        let mut machine = Machine::new(&Release::new(1));
        machine.configure("SERVER=disabled\nREBOOT_STRATEGY=off\n");
        let root = machine.path("dev/vda7");
        File::options().write(true).open(&root).expect("it opens").set_len(self.size).expect("it grows");
        fs::write(machine.path("large.fup"), seal(&self.manifest, &self.blobs)).expect("it is written");
        machine.start();
        let (good, text) = machine.update(&["install", "/large.fup"]);
        assert!(good && text.contains("1.2 was installed"), "{text}");
        let root = File::open(&root).expect("it opens");
        for (offset, bytes) in &self.islands {
            let mut found = vec![0; bytes.len()];
            root.read_exact_at(&mut found, *offset).expect("it is there");
            assert!(found == *bytes, "noise at {offset}");
        }
        assert_eq!(machine.flags().order.first(), Slot::B);
        machine.peak_kib()
    }
}

#[test]
fn a_release_of_more_than_4_gib_takes_no_more_memory_than_a_small_one() {
    let more = if std::env::var_os("FERRITE_LONG").is_some() { vec![250 * MIB, 2560 * MIB] } else { Vec::new() };
    let small = Sparse::new(64 * MIB).install();
    for size in more.into_iter().chain([4200 * MIB + 512]) {
        let large = Sparse::new(size).install();
        eprintln!("peak of {size} bytes: {large} KiB, of 64 MiB: {small} KiB");
        assert!(large < small + 1024, "{size} bytes: {large} KiB, not {small} KiB");
        assert!(large <= PEAK_KIB_MAX, "{size} bytes: {large} KiB");
    }
}
