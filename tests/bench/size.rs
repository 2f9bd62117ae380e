//! Sizes on disk and compressed (zstd, level 19), of both candidates.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::machines::only_image;
use crate::peer::Peer;

const LEVEL: i32 = 19;

/// Bytes, allocated and compressed.
pub(crate) struct Sizes {
    pub(crate) ferrite_allocated: u64,
    pub(crate) ferrite_compressed: u64,
    pub(crate) ferrite_without_etcd_compressed: Option<u64>,
    pub(crate) debian_allocated: u64,
    pub(crate) debian_compressed: u64,
}

pub(crate) fn measure(image: &Path, without_etcd: Option<&Path>, peer: &Peer) -> anyhow::Result<Sizes> {
    eprintln!("compressing (zstd -{LEVEL})");
    let second = without_etcd.map(|folder| anyhow::Ok(compressed(&only_image(folder)?)?)).transpose()?;
    Ok(Sizes {
        ferrite_allocated: allocated(image)?,
        ferrite_compressed: compressed(image)?,
        ferrite_without_etcd_compressed: second,
        debian_allocated: allocated(&peer.disk)?,
        debian_compressed: compressed(&peer.root_tar)?,
    })
}

fn allocated(path: &Path) -> anyhow::Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("looking at '{}'", path.display()))?.blocks() * 512)
}

/// The length of the compressed form of a file.
fn compressed(path: &Path) -> anyhow::Result<u64> {
    let counted = CountBytes::default();
    let mut encoder = zstd::Encoder::new(counted, LEVEL)?;
    encoder.multithread(2)?;
    let mut file = File::open(path).with_context(|| format!("opening '{}'", PathBuf::from(path).display()))?;
    std::io::copy(&mut file, &mut encoder).context("compressing")?;
    Ok(encoder.finish()?.count)
}

#[derive(Default)]
struct CountBytes {
    count: u64,
}

impl std::io::Write for CountBytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
