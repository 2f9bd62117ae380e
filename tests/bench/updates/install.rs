//! Ferrite's own installs, each in a process of its own, with its two halves apart: writing, and reading back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, ensure};
use ferrite_layout::Slot;
use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_payload::{KeySet, PartRole, Verified};
use ferrite_update_engine::disk::FileDisk;
use ferrite_update_engine::install::{Installer, Manner};
use ferrite_update_engine::machine::Machine;
use ferrite_update_engine::progress::NotesFile;
use ferrite_update_engine::source::FileSource;

use super::Image;
use super::cost::{Cost, cpu_of, peak_of};
use super::target::{PARTS, Target};
use super::writers::{Rows, Writer};

/// One install in a process of its own.
#[derive(Debug, clap::Args)]
pub struct InstallArguments {
    payload: PathBuf,
    /// Folder of flags and notes
    folder: PathBuf,
    /// Root and boot of slot a, root and boot of slot b
    devices: Vec<PathBuf>,
}

/// A full payload.
pub(super) struct Full(pub(super) PathBuf);

/// A delta.
pub(super) struct Delta {
    pub(super) name: String,
    pub(super) payload: PathBuf,
}

impl Writer for Full {
    fn name(&self) -> String {
        "Ferrite, full payload".to_string()
    }

    fn prepare(&mut self, _: &Image, _: &Target) -> anyhow::Result<()> {
        Ok(())
    }

    fn write(&mut self, target: &Target) -> anyhow::Result<Rows> {
        let [whole, written] = run(&self.0, target)?;
        let back = Cost { wall: whole.wall - written.wall, cpu: whole.cpu - written.cpu, rss_kib: whole.rss_kib };
        let part = |name: &str| format!("  of it {name}");
        Ok(vec![(self.name(), whole), (part("checked and written"), written), (part("flushed and read back"), back)])
    }
}

impl Writer for Delta {
    fn name(&self) -> String {
        format!("Ferrite, delta '{}'", self.name)
    }

    fn prepare(&mut self, _: &Image, _: &Target) -> anyhow::Result<()> {
        Ok(())
    }

    fn write(&mut self, target: &Target) -> anyhow::Result<Rows> {
        let [whole, _] = run(&self.payload, target)?;
        Ok(vec![(self.name(), whole)])
    }
}

/// The whole of it, and the part of it until everything is written.
fn run(payload: &Path, target: &Target) -> anyhow::Result<[Cost; 2]> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("install-payload").arg(payload).arg(target.path(""));
    for slot in Slot::BOTH {
        command.args(PARTS.map(|part| target.device(slot, part.role)));
    }
    let output = command.output()?;
    ensure!(output.status.success(), "install: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let values: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, cpu, written_wall, written_cpu, rss_kib] = values[..] else { anyhow::bail!("install says '{text}'") };
    Ok([Cost { wall, cpu, rss_kib }, Cost { wall: written_wall, cpu: written_cpu, rss_kib }])
}

/// Installs, then prints seconds and CPU seconds, the same until all was written, and peak memory in KiB.
pub fn install(arguments: &InstallArguments) -> anyhow::Result<()> {
    let keys = arguments.payload.with_file_name("keys").join("root.1.json");
    let keys = KeySet::parse_trusted(&fs::read(keys)?)?;
    let verified = Verified::read(&mut File::open(&arguments.payload)?, keys.release())?;
    let manifest = verified.manifest();
    let machine = Machine {
        product: manifest.product.clone(),
        board: manifest.board.clone(),
        id: String::new(),
        running: Slot::A,
        serial: 1,
        root: manifest.base.map_or(Default::default(), |base| base.root),
        floor: 0,
        blocked: Default::default(),
    };
    drop(verified);
    let path = |slot, role: PartRole| {
        let at = usize::from(slot == Slot::B) * 2 + usize::from(role == PartRole::Boot);
        arguments.devices.get(at).cloned().unwrap_or_default()
    };
    let begin = Instant::now();
    let mut disk = FileDisk::open(Slot::B, path)?;
    let mut flags = Bootctl::open(&arguments.folder.join("bootctl"), Access::Write)?;
    let cancel = AtomicBool::new(false);
    let mut written = None;
    let mut installer = Installer {
        machine: &machine,
        release: keys.release(),
        disk: &mut disk,
        flags: &mut flags,
        notes: &mut NotesFile(arguments.folder.join("progress")),
        manner: Manner::default(),
        cancel: &cancel,
        watch: &mut |done, all| {
            if done == all {
                written = cpu_of("self").ok().map(|cpu| (begin.elapsed().as_secs_f64(), cpu));
            }
        },
    };
    installer.install(&mut FileSource(arguments.payload.clone()), None)?;
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_of("self")?);
    let (written_wall, written_cpu) = written.context("the last operation was not seen")?;
    println!("{wall} {cpu} {written_wall} {written_cpu} {}", peak_of("self")?);
    Ok(())
}
