//! `ferrite build`: makes the image of a board.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use ferrite_cli::Table;
use ferrite_image::build::{self, Built, Format, Request, Updates};
use ferrite_image::key_folder::KeyFolder;
use ferrite_image::packages::mirror::MirrorChoice;
use ferrite_image::progress::Progress;
use ferrite_image::source::{self, SourceTree};
use ferrite_image::version::Version;
use ferrite_image::{convert, output};
use ferrite_payload::key_set;
use indicatif::BinaryBytes;

/// Build the image of a board
#[derive(Debug, Args)]
pub struct Build {
    /// Name of a board, or the path of a board file (*.yaml)
    #[arg(long, default_value = "qemu")]
    board: String,
    /// Folder for the image and its files [default: out/BOARD]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Version of the image
    #[arg(long, value_name = "VERSION", default_value = env!("CARGO_PKG_VERSION"))]
    version: Version,
    /// Number that the release is compared by on machines
    ///
    /// Without it the image is of development: every release is newer.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    serial: u64,
    /// Folder of keys, whose newest key set machines trust (ferrite keys)
    ///
    /// An image without keys is not updated.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Address of the published directory that machines update from
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Channel that machines follow [default: stable]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Form of the disk file
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,
    /// Also write the disk compressed with zstd, and show its size
    #[arg(long)]
    compress: bool,
    /// Print build.json and host-dependent sizes instead of a table
    #[arg(long)]
    json: bool,
    /// Folder of the built programs of the image [default: this program's]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    #[command(flatten)]
    source: Source,
}

/// Where the source tree and the packages are.
#[derive(Debug, Args)]
pub struct Source {
    /// Source tree with boards/ and image/rootfs/
    ///
    /// Without it: the tree around the current folder, or around this program.
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// Address of a Debian archive [default: the one the host uses]
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Address of Debian's security archive [default: found from the mirror]
    #[arg(long, value_name = "URL")]
    pub security_mirror: Option<String>,
}

impl Source {
    /// The source tree.
    pub fn tree(&self) -> anyhow::Result<SourceTree> {
        SourceTree::find(self.tree.as_deref())
    }

    /// The archive.
    pub fn mirror(&self) -> MirrorChoice {
        MirrorChoice { main: self.mirror.clone(), security: self.security_mirror.clone() }
    }
}

impl Build {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new();
        let outcome = self.build(&progress);
        progress.finish();
        let (built, compressed) = outcome?;
        if self.json {
            println!("{}", self.as_json(&built, compressed)?);
        } else {
            print!("{}", as_table(&built, compressed)?);
            println!("built in {:.1} s", progress.elapsed().as_secs_f64());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn build(&self, progress: &Progress) -> anyhow::Result<(Built, Option<u64>)> {
        let name = std::path::Path::new(&self.board).file_stem().unwrap_or_default();
        let request = Request {
            board: self.board.clone(),
            version: self.version.clone(),
            updates: Updates {
                serial: self.serial,
                keys: self.keys.as_deref().map(newest_key_set).transpose()?,
                server: self.server.clone(),
                group: self.group.clone(),
            },
            format: self.format,
            mirror: self.source.mirror(),
            tree: self.source.tree()?,
            programs: source::programs(self.programs.as_deref())?,
            cache: source::cache()?,
            out: self.out.clone().unwrap_or_else(|| PathBuf::from("out").join(name)),
        };
        let built = build::build(&request, progress)?;
        if !self.compress {
            return Ok((built, None));
        }
        let step = progress.step("compress");
        let mut target = built.disk.clone().into_os_string();
        target.push(".zst");
        let size = convert::compress(&built.disk, &PathBuf::from(target))?;
        step.done(BinaryBytes(size));
        Ok((built, Some(size)))
    }

    fn as_json(&self, built: &Built, compressed: Option<u64>) -> anyhow::Result<String> {
        let mut value = serde_json::to_value(&built.record)?;
        value["disk"] = built.disk.display().to_string().into();
        value["allocated"] = output::allocated(&built.disk)?.into();
        value["compressed"] = compressed.into();
        Ok(serde_json::to_string_pretty(&value)?)
    }
}

/// The name and the text of the set; its secret keys stay where they are.
fn newest_key_set(folder: &std::path::Path) -> anyhow::Result<(String, Vec<u8>)> {
    let keys = KeyFolder::open(folder)?;
    let (number, text) = keys.sets.last().context("the folder has no key set")?;
    Ok((key_set::file_name(*number), text.clone()))
}

fn as_table(built: &Built, compressed: Option<u64>) -> anyhow::Result<String> {
    let record = &built.record;
    let mut table = Table::without_heading();
    let size = |bytes: u64| BinaryBytes(bytes).to_string();
    table.row(["image".to_string(), built.disk.display().to_string()]);
    table.row(["board, version".to_string(), format!("{}, {}", record.board, record.version)]);
    table.row(["kernel".to_string(), record.kernel.clone()]);
    table.row(["root hash".to_string(), record.root_hash.clone()]);
    table.row(["disk".to_string(), size(record.artefacts.first().map_or(0, |disk| disk.size))]);
    table.row(["disk, allocated".to_string(), size(output::allocated(&built.disk)?)]);
    if let Some(bytes) = compressed {
        table.row(["disk, compressed".to_string(), size(bytes)]);
    }
    table.row(["root with hash tree".to_string(), size(record.sizes.root)]);
    table.row(["kernel with initrd".to_string(), size(record.sizes.kernel)]);
    table.row(["initrd".to_string(), size(record.sizes.initrd)]);
    Ok(table.render())
}
