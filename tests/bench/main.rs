//! `ferrite-bench`: Ferrite beside Debian trixie with systemd, measured in one run, printed as tables.
//!
//! Processor seconds of QEMU are what counts: they hold on a busy machine, wall time does not. Needs root, because
//! the peer is installed by Debian's own tools, which run maintainer scripts.

mod figures;
mod guest;
mod peer;
mod size;
mod tables;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;

use crate::guest::{Candidate, measure};

/// Measures Ferrite beside Debian trixie with systemd.
#[derive(Parser)]
#[command(name = "ferrite-bench")]
struct Arguments {
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

fn main() -> ExitCode {
    if waiting::is_wanted() {
        waiting::wait();
    }
    ferrite_cli::exit_with(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(nix_is_root(), "the peer is installed by maintainer scripts, which need root: run this as root");
    std::fs::create_dir_all(&arguments.out).with_context(|| format!("making '{}'", arguments.out.display()))?;
    // useradd and chroot want whole paths.
    let out = arguments.out.canonicalize().with_context(|| format!("finding '{}'", arguments.out.display()))?;
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

/// Whether this process is root, told by who owns its own folder of /proc.
fn nix_is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The raw disk that a build left in `folder`.
fn only_image(folder: &Path) -> anyhow::Result<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("reading '{}': build it with `ferrite build --board qemu`", folder.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "raw"))
        .with_context(|| format!("no .raw image in '{}'", folder.display()))
}
