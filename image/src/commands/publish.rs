//! `ferrite publish`: makes or renews the directory that machines update from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use ferrite_cli::Table;
use ferrite_image::key_folder::KeyFolder;
use ferrite_image::publish::{self, Changes};
use ferrite_payload::channel::Rollout;

/// Make or renew a static directory that machines update from
///
/// Without payloads the channel document is signed again, which it needs before
/// it expires.
#[derive(Debug, Args)]
pub struct Publish {
    /// The directory, for any web server
    directory: PathBuf,
    /// Payloads to add (*.fup)
    payloads: Vec<PathBuf>,
    /// Folder of keys
    #[arg(long, value_name = "DIR", default_value = "keys")]
    keys: PathBuf,
    /// Name of the channel
    #[arg(long, default_value = "stable")]
    channel: String,
    /// Days until machines stop believing the document
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=366))]
    days: u64,
    /// How many of the machines take the new releases
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=100))]
    percent: u32,
    /// Over how many hours they do
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=2160))]
    hours: u32,
    /// Machines do not wait for their turn
    #[arg(long)]
    urgent: bool,
    /// Machines with an older serial take another release first
    #[arg(long, value_name = "SERIAL", default_value_t = 0)]
    minimum: u64,
    /// Serial of a release that nobody is to take any more
    #[arg(long, value_name = "SERIAL")]
    withdraw: Vec<u64>,
}

impl Publish {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let keys = KeyFolder::open(&self.keys)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("reading the clock")?.as_secs();
        let whole = self.percent == 100 && self.hours == 0;
        let rollout = Rollout { start: now, hours: self.hours, percent: self.percent };
        let changes = Changes {
            now,
            days: self.days,
            rollout: (!whole).then_some(rollout),
            urgent: self.urgent,
            minimum: self.minimum,
            withdraw: self.withdraw,
        };
        let payloads: Vec<&Path> = self.payloads.iter().map(PathBuf::as_path).collect();
        let document = publish::publish(&self.directory, &keys, &self.channel, &payloads, &changes)?;
        let mut table = Table::with_heading(["BOARD", "VERSION", "SERIAL", "FULL", "DELTAS", "STATE"]);
        for release in &document.releases {
            let state = match (release.withdrawn, release.rollout) {
                (true, _) => "withdrawn".to_string(),
                (false, Some(rollout)) => format!("{} % over {} h", rollout.percent, rollout.hours),
                (false, None) => "for all".to_string(),
            };
            table.row([
                release.board.clone(),
                release.version.clone(),
                release.serial.to_string(),
                release.full.size_bytes.to_string(),
                release.deltas.len().to_string(),
                state,
            ]);
        }
        print!("{}", table.render());
        println!("channel {}, document {}, holds for {} days", document.channel, document.number, self.days);
        Ok(ExitCode::SUCCESS)
    }
}
