//! `ferrite-bench machines`: Ferrite beside Debian trixie with systemd, each booted in QEMU.
//!
//! Processor seconds of QEMU are what counts: they hold on a busy machine, wall time does not.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::guest::{Candidate, measure};
use crate::{figures, guest, peer, size, tables};

/// What is booted, how often, and where it is put.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder that `ferrite build --board qemu` made
    #[arg(long, default_value = "out/test/qemu")]
    image: PathBuf,
    /// The folder that `ferrite build` made of the same board without etcd
    #[arg(long)]
    image_without_etcd: Option<PathBuf>,
    /// How often each is booted
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Where the peer and the disks are put
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let out = crate::folder(&arguments.out)?;
    let ferrite_disk = only_image(&arguments.image)?;
    let peer = peer::build(&out)?;
    let candidates = [Candidate::ferrite(&ferrite_disk, &out)?, Candidate::peer(&peer, &out)?];
    let mut measured = [Vec::new(), Vec::new()];
    for candidate in &candidates {
        eprintln!("{}: first boot (not counted)", candidate.name);
        guest::settle(candidate)?;
    }
    for round in 0..arguments.rounds {
        for (candidate, results) in candidates.iter().zip(&mut measured) {
            eprintln!("{}: round {} of {}", candidate.name, round + 1, arguments.rounds);
            results.push(measure(candidate)?);
        }
    }
    eprintln!("a guest that does nothing");
    let floor = guest::floor(&peer, &out)?;
    let [ferrite, debian] = measured;
    let sizes = size::measure(&ferrite_disk, arguments.image_without_etcd.as_deref(), &peer)?;
    print!("{}", tables::render(&figures::summary(ferrite), &figures::summary(debian), floor, &sizes));
    Ok(())
}

/// The raw disk that a build left in `folder`.
pub(crate) fn only_image(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("reading '{}': build it with `ferrite build --board qemu`", folder.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .with_context(|| format!("no .raw image in '{}'", folder.display()))
}
