//! `ferrite plan`: shows the disk that `ferrite build` would make, without making anything.

use std::process::ExitCode;

use clap::Args;
use ferrite_image::build;
use ferrite_image::version::Version;

use super::build::Source;

/// Show the disk that would be built for a board
#[derive(Debug, Args)]
pub struct Plan {
    /// Name of a board, or the path of a board file (*.yaml)
    #[arg(long, default_value = "qemu")]
    board: String,
    /// Version of the image
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    version: Version,
    #[command(flatten)]
    source: Source,
}

impl Plan {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (plan, _) = build::plan(&self.source.tree()?, &self.board, &self.version)?;
        print!("{plan}");
        Ok(ExitCode::SUCCESS)
    }
}
