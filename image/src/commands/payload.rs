//! `ferrite payload`: packs, signs and shows payloads.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use ferrite_cli::Table;
use ferrite_image::key_folder::KeyFolder;
use ferrite_image::release::{self, BuiltImage, Order};
use ferrite_payload::pack::{self, Effort, LEVEL_RELEASE};
use ferrite_payload::{Manifest, OpKind, Verified};

/// Pack, sign and show payloads
#[derive(Debug, Args)]
pub struct PayloadCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Pack(Pack),
    /// Add signatures of the release keys at hand
    Sign {
        /// The payload
        payload: PathBuf,
        /// Folder of keys
        #[arg(long, value_name = "DIR", default_value = "keys")]
        keys: PathBuf,
    },
    /// Check the signatures of a payload and show what it is
    Show {
        /// The payload
        payload: PathBuf,
        /// Folder of keys
        #[arg(long, value_name = "DIR", default_value = "keys")]
        keys: PathBuf,
    },
}

/// Make a payload of a built image
#[derive(Debug, Args)]
struct Pack {
    /// Folder that `ferrite build` filled
    image: PathBuf,
    /// The payload to write (*.fup)
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// Number of the release; a newer one has a higher number
    #[arg(long)]
    serial: u64,
    /// After this release has booted well, nothing below this serial
    #[arg(long, value_name = "SERIAL", default_value_t = 0)]
    floor: u64,
    /// Folder of an older release's image, for a delta
    #[arg(long, value_name = "DIR", requires = "base_serial")]
    base: Option<PathBuf>,
    /// Serial of the older release
    #[arg(long, value_name = "SERIAL", requires = "base")]
    base_serial: Option<u64>,
    /// Folder of keys
    #[arg(long, value_name = "DIR", default_value = "keys")]
    keys: PathBuf,
    /// zstd's level: 3 is quick
    #[arg(long, default_value_t = LEVEL_RELEASE, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
}

impl PayloadCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.verb {
            Verb::Pack(pack) => pack.run()?,
            Verb::Sign { payload, keys } => {
                let keys = KeyFolder::open(&keys)?;
                let opening = || format!("signing '{}'", payload.display());
                let mut file = OpenOptions::new().read(true).write(true).open(&payload).with_context(opening)?;
                for key in keys.secrets(keys.current.release()) {
                    pack::add_signature(&mut file, key).with_context(opening)?;
                }
                file.sync_all().with_context(opening)?;
            }
            Verb::Show { payload, keys } => {
                let keys = KeyFolder::open(&keys)?;
                let opening = || format!("reading '{}'", payload.display());
                let mut file = File::open(&payload).with_context(opening)?;
                let verified = Verified::read(&mut file, keys.current.release()).with_context(opening)?;
                print!("{}", table(verified.manifest(), verified.total_bytes()));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Pack {
    fn run(self) -> anyhow::Result<()> {
        let keys = KeyFolder::open(&self.keys)?;
        let role = keys.current.release();
        let secrets = keys.secrets(role);
        let image = BuiltImage::open(&self.image)?;
        let base = self.base.as_deref().map(BuiltImage::open).transpose()?;
        let order = Order {
            product: keys.current.product(),
            serial: self.serial,
            floor: self.floor,
            base_serial: self.base_serial,
            keys: &secrets,
            places: role.keys().len(),
            effort: Effort {
                level: self.level,
                threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            },
        };
        let manifest = release::pack(&image, base.as_ref(), &order, &self.out)?;
        print!("{}", table(&manifest, self.out.metadata()?.len()));
        if secrets.len() < role.threshold() {
            let (have, need) = (secrets.len(), role.threshold());
            println!("signed by {have} of {need} keys: sign it where the others are (ferrite payload sign)");
        }
        Ok(())
    }
}

fn table(manifest: &Manifest, total: u64) -> String {
    let mut table = Table::without_heading();
    let count = |kind| manifest.ops.iter().filter(|op| op.kind == kind).count();
    let base = manifest.base.map_or("full".to_string(), |base| format!("delta from serial {}", base.serial));
    table.row(["product, board".to_string(), format!("{}, {}", manifest.product, manifest.board)]);
    table.row(["version, serial".to_string(), format!("{}, {}", manifest.version, manifest.serial)]);
    table.row(["floor".to_string(), manifest.floor.to_string()]);
    table.row(["kind".to_string(), base]);
    table.row(["payload".to_string(), format!("{total} bytes for {}", manifest.output_bytes())]);
    let operations = format!(
        "{} zero, {} copy, {} zstd, {} patch",
        count(OpKind::Zero),
        count(OpKind::Copy),
        count(OpKind::Zstd),
        count(OpKind::Patch)
    );
    table.row(["operations".to_string(), operations]);
    table.render()
}
