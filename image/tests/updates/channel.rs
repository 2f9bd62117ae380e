//! A machine that updates from a published directory: trusts a first key set, keeps what it learned, has two slots in
//! files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::{Slot, SlotState, envblock};
use ferrite_payload::channel::Expected;
use ferrite_payload::{Hash, KeySet, PartRole};
use ferrite_update_engine::check::{CheckError, News, check};
use ferrite_update_engine::choose::{Choice, Offer, choose};
use ferrite_update_engine::disk::FileDisk;
use ferrite_update_engine::install::{InstallError, Installer, Manner, Outcome};
use ferrite_update_engine::machine::Machine;
use ferrite_update_engine::progress::NotesFile;
use ferrite_update_engine::source::{Repository, Retry};

use crate::workshop::{Workshop, read};

const PARTITION_BYTES: u64 = 1 << 20;

/// A machine that runs release 1 from slot a.
pub struct Client {
    folder: tempfile::TempDir,
    pub machine: Machine,
    pub keys: KeySet,
    /// Number of the last channel document that was believed.
    pub seen: u64,
    pub now: u64,
}

impl Client {
    pub fn new(workshop: &Workshop) -> Client {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (role, part) in [(PartRole::Root, "root.img"), (PartRole::Boot, "boot-a.img")] {
            for slot in Slot::BOTH {
                let content = if slot == Slot::A { workshop.image(1, part) } else { Vec::new() };
                let path = part_path(folder.path(), slot, role);
                fs::write(&path, content).expect("it can be written");
                let file = fs::File::options().write(true).open(&path).expect("it opens");
                file.set_len(PARTITION_BYTES).expect("it grows");
            }
        }
        let mut bootctl = vec![0u8; 32 << 10];
        for at in [4096, 8192] {
            bootctl[at..at + 1024].copy_from_slice(&envblock::render(&SlotState::fresh()));
        }
        fs::write(folder.path().join("bootctl"), bootctl).expect("it can be written");
        let record: serde_json::Value =
            serde_json::from_slice(&read(&workshop.path("out-1/build.json"))).expect("a record");
        let root = record["root_hash"].as_str().and_then(|text| Hash::parse(text).ok()).expect("a root hash");
        let machine = Machine {
            product: "ferrite".into(),
            board: "qemu".into(),
            id: "0123456789abcdef0123456789abcdef".into(),
            running: Slot::A,
            serial: 1,
            root,
            floor: 0,
            blocked: Default::default(),
        };
        let keys = KeySet::parse_trusted(&read(&workshop.path("keys/root.1.json"))).expect("a key set");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        Client { folder, machine, keys, seen: 0, now }
    }

    pub fn check(&self, repository: &mut dyn Repository) -> Result<News, CheckError> {
        let expected = Expected { product: "ferrite", channel: "stable", seen: self.seen, now: self.now, clock: None };
        check(repository, &self.keys, &expected)
    }

    /// What the machine is offered.
    pub fn offer(&self, news: &News) -> Offer {
        match choose(&news.channel, &self.machine, self.now) {
            Choice::Take(offer) => *offer,
            other => panic!("nothing is offered: {other:?}"),
        }
    }

    pub fn install(
        &self,
        repository: &mut dyn Repository,
        news: &News,
        payload: &ferrite_payload::channel::Payload,
    ) -> Result<Outcome, InstallError> {
        let folder = self.folder.path();
        let mut disk = FileDisk::open(Slot::B, |slot, role| part_path(folder, slot, role)).expect("partitions");
        let mut flags = Bootctl::open(&folder.join("bootctl"), Access::Write).expect("flags");
        let cancel = AtomicBool::new(false);
        let retry = Retry { attempts: 4, wait: Duration::from_millis(10) };
        let mut installer = Installer {
            machine: &self.machine,
            release: news.keys.release(),
            disk: &mut disk,
            flags: &mut flags,
            notes: &mut NotesFile(folder.join("progress")),
            manner: Manner { retry, ..Manner::default() },
            cancel: &cancel,
            watch: &mut |_, _| {},
        };
        installer.install(repository.payload(&payload.path).as_mut(), Some(payload.id))
    }

    /// Checks that slot b holds a release and slot a still the first one.
    pub fn assert_installed(&self, workshop: &Workshop, serial: u64) {
        for (slot, serial) in [(Slot::A, 1), (Slot::B, serial)] {
            for (role, part) in [(PartRole::Root, "root.img"), (PartRole::Boot, "boot-a.img")] {
                let image = workshop.image(serial, part);
                let present = read(&part_path(self.folder.path(), slot, role));
                assert!(present[..image.len()] == image[..], "slot {slot} does not hold {part} of {serial}");
            }
        }
    }
}

fn part_path(folder: &Path, slot: Slot, role: PartRole) -> PathBuf {
    folder.join(format!("{}-{slot}", role.word()))
}
