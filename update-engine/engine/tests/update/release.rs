//! Small releases for tests: images with a real verity tree, older and newer ones, payloads and keys.

use std::io::Cursor;

use ferrite_layout::verity::{BLOCK_BYTES, HashTree};
use ferrite_layout::{Slot, SlotState};
use ferrite_payload::blocks::Image;
use ferrite_payload::channel::{Payload, Release as Listed};
use ferrite_payload::manifest::Base;
use ferrite_payload::pack::{self, Effort, Identity, Input};
use ferrite_payload::{Hash, Manifest, PartRole, Role, SecretKey, Verified};
use ferrite_update_engine::machine::Machine;

use crate::noise::noise;

/// The images of a release.
#[derive(Clone, PartialEq)]
pub struct Release {
    pub serial: u64,
    pub root: Vec<u8>,
    pub boot: Vec<u8>,
    /// What it makes the floor.
    pub floor: u64,
    data_blocks: u64,
    hash: Hash,
}

fn sealed(serial: u64, data: Vec<u8>, boot: Vec<u8>) -> Release {
    let data_blocks = (data.len() / BLOCK_BYTES) as u64;
    let tree = HashTree::build(&mut data.as_slice(), data_blocks, &[], [7; 16]).expect("a tree");
    let mut root = data;
    tree.write_to(&mut root).expect("memory can be written");
    let hash = Hash::from_bytes(*tree.root.as_bytes());
    Release { serial, root, boot, floor: 1, data_blocks, hash }
}

impl Release {
    /// A release of about 300 KiB whose parts are of many pieces: noise between zeros.
    pub fn new(serial: u64) -> Release {
        let piece = |index: u64| [noise(100 * serial + index, 20_480), vec![0; 65_536]].concat();
        let same = |index: u64| noise(index, 16_384);
        let data = [piece(1), same(1), piece(2), same(2), noise(serial, 12_288)].concat();
        let boot = [noise(serial + 50, 8192), vec![0; 65_536], same(3), vec![0; 8192]].concat();
        sealed(serial, data, boot)
    }

    pub fn root_hash(&self) -> Hash {
        self.hash
    }

    pub fn part(&self, role: PartRole) -> &[u8] {
        match role {
            PartRole::Root => &self.root,
            PartRole::Boot => &self.boot,
        }
    }

    /// What the payload says of itself.
    pub fn identity(&self, base: Option<&Release>) -> Identity {
        Identity {
            product: "ferrite".into(),
            board: "qemu".into(),
            version: format!("1.{}", self.serial),
            serial: self.serial,
            floor: self.floor,
            created: 1_700_000_000,
            base: base.map(|base| Base { serial: base.serial, root: base.hash }),
        }
    }

    /// Manifest and blobs.
    pub fn pack_as(&self, identity: &Identity, base: Option<&Release>) -> (Manifest, Vec<u8>) {
        fn image(bytes: &Vec<u8>) -> Image<'_> {
            Image { bytes, size: bytes.len() as u64 }
        }
        let inputs = [
            Input {
                role: PartRole::Root,
                image: image(&self.root),
                verity: Some((self.hash, self.data_blocks)),
                base: base.map(|base| image(&base.root)),
            },
            Input {
                role: PartRole::Boot,
                image: image(&self.boot),
                verity: None,
                base: base.map(|base| image(&base.boot)),
            },
        ];
        let mut blobs = Vec::new();
        let manifest = pack::pack(identity, &inputs, Effort { level: 3, threads: 1 }, &mut blobs);
        (manifest.expect("it is packed"), blobs)
    }

    /// The payload, signed.
    pub fn payload(&self, base: Option<&Release>) -> Vec<u8> {
        let (manifest, blobs) = self.pack_as(&self.identity(base), base);
        seal(&manifest, &blobs)
    }

    /// A machine that runs this release.
    pub fn machine(&self, running: Slot) -> Machine {
        Machine {
            product: "ferrite".into(),
            board: "qemu".into(),
            id: "0123456789abcdef0123456789abcdef".into(),
            running,
            serial: self.serial,
            root: self.hash,
            floor: 0,
            blocked: Default::default(),
        }
    }
}

/// The entry of a release in a channel document, with its payload.
pub fn listed(serial: u64, payload: &[u8]) -> Listed {
    let size_bytes = payload.len() as u64;
    Listed {
        board: "qemu".into(),
        version: format!("1.{serial}"),
        serial,
        minimum: 0,
        full: Payload { path: format!("payloads/{serial}.fup"), size_bytes, id: verified(payload).id() },
        deltas: Vec::new(),
        rollout: None,
        withdrawn: false,
        urgent: false,
    }
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub fn role() -> Role {
    Role::new("release", 2, (1..=3).map(|seed| key(seed).public()).collect()).expect("a role")
}

pub fn seal(manifest: &Manifest, blobs: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    pack::write(manifest, &[&key(1), &key(2)], 2, &mut Cursor::new(blobs), &mut payload).expect("it is written");
    payload
}

pub fn verified(payload: &[u8]) -> Verified {
    Verified::read(&mut &*payload, &role()).expect("it is good")
}

/// Both slots good, this one first.
pub fn both_good(first: Slot) -> SlotState {
    let other = SlotState::fresh().install_done(Slot::B).mark_good(Slot::B);
    if first == Slot::B { other } else { other.install_done(Slot::A).mark_good(Slot::A) }
}
