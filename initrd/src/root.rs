//! The root: checked against its hash, mounted read-only behind dm-verity.
//!
//! A corrupt block is an I/O error for whoever reads it, here and later: never served, and PID 1 can still write down
//! what happened, which it could not if the kernel restarted the machine on the spot.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use ferrite_layout::Part;
use ferrite_layout::corruption::ROOT_MAPPING;
use ferrite_layout::verity::{self, Superblock};
use ferrite_sys::dm::{Mapper, Target};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::command_line::WantedRoot;
use crate::early_mounts::SYSROOT;
use crate::find::Found;
use crate::stage::{At, Failure, Stage, Verdict};

/// The program that takes over.
pub const INIT: &str = "/usr/lib/ferrite/ferrite-init";

const CORRUPT: &str = "C";
const CHUNK: usize = 128 << 10;

/// A mounted root.
#[derive(Debug)]
pub struct Root {
    device: String,
    wanted: WantedRoot,
    superblock: Superblock,
}

/// Sets the device up and mounts it.
pub fn open(found: &Found, wanted: WantedRoot) -> Result<Root, Failure> {
    let slot = found.place.slot;
    let device = found.disk.device(Part::root_of(slot));
    let device = device.ok_or_else(|| anyhow!("disk '{}' has no root partition for slot {slot}", found.disk.path()));
    let device = device.at(Stage::Root)?;
    let superblock = check(&device, wanted)?;
    let root = Root { device, wanted, superblock };
    let node = root.create().at(Stage::Root)?;
    let mounted = mount(&node, SYSROOT, "erofs", MountFlags::RDONLY, c"");
    mounted.map_err(|error| root.failure(error, "mounting it"))?;
    root.read_init()?;
    Ok(root)
}

/// Compares superblock and top hash with what was asked for.
fn check(device: &str, wanted: WantedRoot) -> Result<Superblock, Failure> {
    let file = File::open(device).with_context(|| format!("opening '{device}'")).at(Stage::Root)?;
    verity::probe(&file, wanted.data_blocks, &wanted.hash).map_err(|error| {
        let verdict = match error {
            verity::VerityError::Io(_) => Verdict::Unknown,
            _ => Verdict::CorruptRoot,
        };
        Failure { stage: Stage::Root, verdict, error: anyhow!(error).context(format!("checking '{device}'")) }
    })
}

impl Root {
    /// One line for the console.
    pub fn describe(&self) -> String {
        let hash = self.wanted.hash.to_string();
        let short = hash.get(..12).unwrap_or(&hash);
        format!("{}, {} blocks verified by {short}", self.device, self.wanted.data_blocks)
    }

    /// Path of the partition.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Fails if the kernel has seen a corrupt block, be it by reading ahead of what early boot wanted.
    pub fn check(&self) -> Result<(), Failure> {
        let status = Mapper::open().and_then(|mapper| mapper.status(ROOT_MAPPING));
        let status = status.context("asking the verity device for its status").at(Stage::Root)?;
        match status.starts_with(CORRUPT) {
            true => Err(self.failure(Errno::IO, "reading ahead")),
            false => Ok(()),
        }
    }

    fn create(&self) -> anyhow::Result<PathBuf> {
        let parameters = self.superblock.target_parameters(&self.device, &self.wanted.hash, &[]);
        let target = Target { kind: "verity", sectors: self.superblock.target_sectors(), parameters: &parameters };
        let mapper = Mapper::open().context("opening the device mapper: is module dm-mod in this initrd?")?;
        let made = mapper.create(ROOT_MAPPING, &target);
        made.with_context(|| format!("making a verity device over '{}'", self.device))
    }

    /// Reads the program that takes over to its end, so that a corrupt one is found while it can be told.
    fn read_init(&self) -> Result<(), Failure> {
        let mut file = File::open(format!("{SYSROOT}{INIT}")).map_err(|error| self.io_failure(error))?;
        let mut chunk = vec![0u8; CHUNK];
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io_failure(error)),
            }
        }
    }

    fn io_failure(&self, error: std::io::Error) -> Failure {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        self.failure(errno, &format!("reading '{INIT}'"))
    }

    fn failure(&self, errno: Errno, doing: &str) -> Failure {
        let corrupt = matches!(errno, Errno::IO | Errno::UCLEAN | Errno::INVAL | Errno::BADMSG);
        let (verdict, what) = match corrupt {
            true => (Verdict::CorruptRoot, "does not match its hash, or cannot be read"),
            false => (Verdict::Unknown, "is not usable"),
        };
        let error = anyhow!(errno).context(doing.to_owned()).context(format!("'{}' {what}", self.device));
        Failure { stage: Stage::Root, verdict, error }
    }
}
