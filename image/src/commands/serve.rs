//! `ferrite serve`: hands a published directory out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ferrite_image::serve;

/// Serve a published directory over HTTP, for trying things out
///
/// Any web server can hold the directory; this one saves setting one up.
#[derive(Debug, Args)]
pub struct Serve {
    /// The directory
    directory: PathBuf,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value_t = serve::default_address())]
    listen: SocketAddr,
}

impl Serve {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        serve::serve(&self.directory, self.listen, |address| println!("serving on http://{address}/"))?;
        Ok(ExitCode::SUCCESS)
    }
}
