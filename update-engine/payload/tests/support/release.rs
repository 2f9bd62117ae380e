//! Small releases for tests: images with text-like bytes, zeros and noise, older and newer ones, and the keys.

use std::io::Cursor;

use crate::noise::noise;
use ferrite_payload::blocks::Image;
use ferrite_payload::manifest::Base;
use ferrite_payload::pack::{self, Effort, Identity, Input};
use ferrite_payload::{Hash, Manifest, PartRole, Role, SecretKey};

/// The images of a release.
#[derive(Clone)]
pub struct Release {
    pub serial: u64,
    pub root: Vec<u8>,
    pub boot: Vec<u8>,
}

impl Release {
    pub fn first() -> Release {
        let text: Vec<u8> = (0..6000).flat_map(|line| format!("line {line} of a file\n").into_bytes()).collect();
        let mut root = [text, noise(1, 200_000), vec![0; 300_000], noise(2, 100_000)].concat();
        root.resize(root.len().next_multiple_of(4096), 0);
        let mut boot = noise(3, 70_000);
        boot.resize(256 << 10, 0);
        Release { serial: 10, root, boot }
    }

    /// A later one: a few files changed, one grew, so that what follows moved.
    pub fn next(&self) -> Release {
        let mut root = self.root.clone();
        root[5_000..5_040].copy_from_slice(&noise(self.serial, 40));
        let place = 280 * 1024;
        root.splice(place..place, noise(self.serial + 1, 8192));
        let mut boot = self.boot.clone();
        boot[1000..3000].copy_from_slice(&noise(self.serial + 2, 2000));
        Release { serial: self.serial + 1, root, boot }
    }

    fn inputs<'a>(&'a self, base: Option<&'a Release>) -> [Input<'a>; 2] {
        let image = |bytes: &'a Vec<u8>| Image { bytes, size: bytes.len() as u64 };
        [
            Input {
                role: PartRole::Root,
                image: image(&self.root),
                verity: Some((Hash::of(&self.root), 2)),
                base: base.map(|base| image(&base.root)),
            },
            Input {
                role: PartRole::Boot,
                image: image(&self.boot),
                verity: None,
                base: base.map(|base| image(&base.boot)),
            },
        ]
    }

    pub fn identity(&self, base: Option<&Release>) -> Identity {
        Identity {
            product: "ferrite".into(),
            board: "qemu".into(),
            version: format!("1.{}", self.serial),
            serial: self.serial,
            floor: 1,
            created: 1_700_000_000,
            base: base.map(|base| Base { serial: base.serial, root: Hash::of(&base.root) }),
        }
    }

    /// Manifest and blobs.
    pub fn pack(&self, base: Option<&Release>, threads: usize) -> (Manifest, Vec<u8>) {
        let mut blobs = Vec::new();
        let effort = Effort { level: 3, threads };
        let manifest = pack::pack(&self.identity(base), &self.inputs(base), effort, &mut blobs);
        (manifest.expect("it is packed"), blobs)
    }

    /// The payload, signed by keys 1 and 2.
    pub fn payload(&self, base: Option<&Release>) -> Vec<u8> {
        let (manifest, blobs) = self.pack(base, 2);
        seal(&manifest, &blobs, &[1, 2])
    }
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// Two of the keys 1, 2 and 3.
pub fn role() -> Role {
    Role::new("release", 2, (1..=3).map(|seed| key(seed).public()).collect()).expect("a role")
}

pub fn seal(manifest: &Manifest, blobs: &[u8], seeds: &[u8]) -> Vec<u8> {
    let keys: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
    let mut payload = Vec::new();
    let keys: Vec<&SecretKey> = keys.iter().collect();
    pack::write(manifest, &keys, 3, &mut Cursor::new(blobs), &mut payload).expect("it is written");
    payload
}
