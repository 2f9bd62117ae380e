//! What every stage that runs a program needs: the private tools, the date of the image, a folder for passing files.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::packages::tools::Tools;

/// Given to each stage.
#[derive(Clone, Copy)]
pub struct Workshop<'a> {
    /// Programs and boot artefacts of Debian.
    pub tools: &'a Tools,
    /// The time that every file of the image is dated, in seconds since 1970.
    pub epoch: u64,
    /// A folder that is removed after the build.
    pub scratch: &'a Path,
}

impl Workshop<'_> {
    /// Reads a file of the tool packages.
    pub fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let file = self.tools.path(path);
        fs::read(&file).with_context(|| format!("reading '{}' of the tool packages", file.display()))
    }
}

/// Runs a command to its end; a failure shows what it printed.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = command.output().with_context(|| format!("starting '{line}'"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("'{line}' failed ({}): {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}
