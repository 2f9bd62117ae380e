//! The images that tests boot: built once by the `ferrite` command, shared by all tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::gate;

/// A board that tests boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// Virtual machines; Debian's cloud kernel.
    Qemu,
    /// Real hardware; Debian's generic kernel.
    Metal,
    /// The board qemu with packaged services, in tests/boards.
    Services,
}

impl Board {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Metal => "metal",
            Self::Services => "services",
        }
    }

    /// What `ferrite build --board` knows it by.
    fn argument(self) -> PathBuf {
        match self {
            Self::Qemu | Self::Metal => self.name().into(),
            Self::Services => tree().join("tests/boards/services.yaml"),
        }
    }

    /// The raw image of the board, built if there is none.
    pub fn image(self) -> anyhow::Result<PathBuf> {
        let folder = image_folder().join(self.name());
        if let Some(image) = newest_image(&folder, self.name()) {
            return Ok(image);
        }
        gate::alone(&format!("build-{}", self.name()), || {
            if newest_image(&folder, self.name()).is_none() {
                build(self, &folder)?;
            }
            Ok(())
        })?;
        newest_image(&folder, self.name()).with_context(|| format!("the build left no image in '{}'", folder.display()))
    }
}

/// The root of the source tree.
pub fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The `ferrite` command.
pub fn ferrite() -> anyhow::Result<PathBuf> {
    program("ferrite")
}

/// A program of ours for the build host.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let folders = ["target/x86_64-unknown-linux-gnu/release", "target/release"];
    let built = folders.iter().map(|folder| tree().join(folder).join(name));
    let newest = built.filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file))).max();
    newest.map(|(_, file)| file).with_context(|| format!("the program {name} is not built: run `make build`"))
}

/// The newest raw image of a board in a folder.
pub fn newest_image(folder: &Path, board: &str) -> Option<PathBuf> {
    let prefix = format!("ferrite-{board}-");
    let images = fs::read_dir(folder).ok()?.flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(&prefix) && name.ends_with(".raw")
    });
    images.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok()).map(|entry| entry.path())
}

fn image_folder() -> PathBuf {
    std::env::var_os("FERRITE_TEST_IMAGE_DIR").map_or_else(|| tree().join("out/test"), PathBuf::from)
}

fn build(board: Board, folder: &Path) -> anyhow::Result<()> {
    let output = Command::new(ferrite()?)
        .args(["build", "--board"])
        .arg(board.argument())
        .arg("--out")
        .arg(folder)
        .current_dir(tree())
        .output()
        .context("starting ferrite")?;
    if !output.status.success() {
        bail!(
            "building the image of board {} failed: {}",
            board.name(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
