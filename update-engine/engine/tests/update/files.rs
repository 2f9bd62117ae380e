//! An install onto real files, with the real notes file and the flags in a file of their own.

use std::fs::{self, File};
use std::sync::atomic::AtomicBool;

use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::slots::Choice;
use ferrite_layout::{Slot, SlotState, envblock};
use ferrite_payload::PartRole;
use ferrite_update_engine::disk::FileDisk;
use ferrite_update_engine::install::{Installer, Manner, Outcome};
use ferrite_update_engine::progress::NotesFile;
use ferrite_update_engine::source::{FileSource, Source};

use crate::release::{Release, role};

#[test]
fn a_payload_from_a_file_lands_in_files_and_starts_next() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |slot: Slot, role: PartRole| folder.path().join(format!("{}-{slot}", role.word()));
    let (old, new) = (Release::new(1), Release::new(2));
    for role in [PartRole::Root, PartRole::Boot] {
        fs::write(path(Slot::A, role), old.part(role)).expect("it can be written");
        let target = File::create(path(Slot::B, role)).expect("it can be made");
        target.set_len(1 << 20).expect("it grows");
    }
    let mut bootctl = vec![0u8; 32 << 10];
    for at in [4096, 8192] {
        bootctl[at..at + 1024].copy_from_slice(&envblock::render(&SlotState::fresh()));
    }
    let bootctl_path = folder.path().join("bootctl");
    fs::write(&bootctl_path, bootctl).expect("it can be written");
    let payload = folder.path().join("delta.fup");
    fs::write(&payload, new.payload(Some(&old))).expect("it can be written");
    let mut disk = FileDisk::open(Slot::B, path).expect("the partitions are there");
    let mut flags = Bootctl::open(&bootctl_path, Access::Write).expect("it opens");
    let (machine, release, cancel) = (old.machine(Slot::A), role(), AtomicBool::new(false));
    let mut seen = Vec::new();
    let mut installer = Installer {
        machine: &machine,
        release: &release,
        disk: &mut disk,
        flags: &mut flags,
        notes: &mut NotesFile(folder.path().join("progress")),
        manner: Manner::default(),
        cancel: &cancel,
        watch: &mut |done, all| seen.push((done, all)),
    };
    let mut source: Box<dyn Source> = Box::new(FileSource(payload));
    let outcome = installer.install(source.as_mut(), None).expect("it is installed");
    assert_eq!(outcome, Outcome::Installed { slot: Slot::B, serial: 2 });
    assert!(seen.last().is_some_and(|(done, all)| done == all));
    for role in [PartRole::Root, PartRole::Boot] {
        let written = fs::read(path(Slot::B, role)).expect("it can be read");
        assert_eq!(&written[..new.part(role).len()], new.part(role));
        assert_eq!(fs::read(path(Slot::A, role)).expect("it can be read"), old.part(role));
    }
    let choice = flags.read().expect("it can be read").flags().map(|flags| flags.choose());
    assert!(matches!(choice, Some(Choice::Try(Slot::B, _))), "{choice:?}");
    let missing = FileDisk::open(Slot::B, |_, _| folder.path().join("absent")).expect_err("nothing is there");
    assert!(missing.to_string().contains("absent"), "{missing}");
}
