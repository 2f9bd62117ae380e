//! Two slots on loop devices over files of a tmpfs: a disk that costs nothing, so that only the programs are compared.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use ferrite_layout::{Slot, SlotState, envblock};
use ferrite_payload::PartRole;

use super::{Image, file_size};

/// One partition of a slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) role: PartRole,
    /// Its name in the folder of a build.
    pub(super) file: &'static str,
}

pub(super) const PARTS: [Part; 2] =
    [Part { role: PartRole::Root, file: "root.img" }, Part { role: PartRole::Boot, file: "boot-a.img" }];

/// The slots.
pub(super) struct Target {
    folder: tempfile::TempDir,
    devices: Vec<(Slot, PartRole, PathBuf)>,
}

impl Target {
    /// Slot a with what runs, slot b with ones.
    pub(super) fn new(image: &Image, running: &Image) -> anyhow::Result<Target> {
        let folder = tempfile::Builder::new().prefix("ferrite-bench-").tempdir_in("/dev/shm")?;
        let mut target = Target { folder, devices: Vec::new() };
        for slot in Slot::BOTH {
            for part in PARTS {
                let size = file_size(&image.part(part.file)).max(file_size(&running.part(part.file)));
                let path = target.path(&format!("{}-{slot}", part.role.word()));
                fs::write(&path, vec![0xff; size.next_multiple_of(1 << 20) as usize])?;
                let output = Command::new("losetup").args(["--find", "--show"]).arg(&path).output();
                let output = output.context("running losetup (Debian: mount)")?;
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                ensure!(output.status.success(), "making a loop device: {}", said.trim());
                let device = PathBuf::from(String::from_utf8(output.stdout)?.trim());
                target.devices.push((slot, part.role, device));
            }
        }
        for part in PARTS {
            copy(&running.part(part.file), target.device(Slot::A, part.role))?;
        }
        Ok(target)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn device(&self, slot: Slot, role: PartRole) -> &Path {
        let found = self.devices.iter().find(|(of, part, _)| *of == slot && *part == role);
        found.map_or(Path::new(""), |(_, _, device)| device)
    }

    /// Flags of a machine that runs slot a, and no note of an install; slot b is full of ones.
    pub(super) fn reset(&self) -> anyhow::Result<()> {
        let mut flags = vec![0u8; 32 << 10];
        for at in [4096, 8192] {
            flags[at..at + 1024].copy_from_slice(&envblock::render(&SlotState::fresh()));
        }
        fs::write(self.path("bootctl"), flags)?;
        for part in PARTS {
            // A device that lost its pages to zeros would be slower for the next one.
            let mut device = File::options().read(true).write(true).open(self.device(Slot::B, part.role))?;
            let size = device.seek(SeekFrom::End(0))?;
            device.rewind()?;
            std::io::copy(&mut std::io::repeat(0xff).take(size), &mut device)?;
            device.sync_all()?;
        }
        match fs::remove_file(self.path("progress")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Whether slot b holds the image.
    pub(super) fn compare(&self, image: &Image) -> anyhow::Result<()> {
        for part in PARTS {
            let (wanted, device) = (image.part(part.file), self.device(Slot::B, part.role));
            let size = file_size(&wanted).to_string();
            let output = Command::new("cmp").args(["-n", &size]).arg(&wanted).arg(device).output()?;
            ensure!(output.status.success(), "what was written is wrong: {}", String::from_utf8_lossy(&output.stdout));
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        for (_, _, device) in &self.devices {
            // It is the end of the bench; a device that stays is seen in `losetup`.
            let _ = Command::new("losetup").arg("-d").arg(device).status();
        }
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut device = File::options().write(true).open(to)?;
    std::io::copy(&mut File::open(from)?, &mut device).with_context(|| format!("copying '{}'", from.display()))?;
    device.sync_all()?;
    Ok(())
}
