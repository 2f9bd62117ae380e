//! Payloads out of the folders that `ferrite build` fills.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_payload::blocks::Image;
use ferrite_payload::manifest::{Base, PartRole};
use ferrite_payload::pack::{self, Effort, Identity, Input};
use ferrite_payload::{Hash, Manifest, SecretKey};
use serde::Deserialize;

use crate::build::SLOT_FOLDER;

/// A built image: its record and its slot images, open.
pub struct BuiltImage {
    record: Record,
    root: File,
    boot: File,
}

#[derive(Deserialize)]
struct Record {
    board: String,
    version: String,
    /// Absent in a record of another program.
    serial: Option<u64>,
    epoch: u64,
    root_hash: String,
    blocks: u64,
}

/// What a payload is to be.
pub struct Order<'a> {
    /// The product of the key set.
    pub product: &'a str,
    /// Serial of the release.
    pub serial: u64,
    /// Nothing older afterwards.
    pub floor: u64,
    /// Serial of the older release, for a delta.
    pub base_serial: Option<u64>,
    /// Who signs now.
    pub keys: &'a [&'a SecretKey],
    /// How many may sign.
    pub places: usize,
    /// How hard to work.
    pub effort: Effort,
}

impl BuiltImage {
    /// Opens an output folder of `ferrite build`.
    pub fn open(folder: &Path) -> anyhow::Result<BuiltImage> {
        let path = folder.join("build.json");
        let text = fs::read(&path)
            .with_context(|| format!("reading '{}' (is this a folder that `ferrite build` filled?)", path.display()))?;
        let record = serde_json::from_slice(&text).with_context(|| format!("reading '{}'", path.display()))?;
        let open = |name: &str| {
            let path: PathBuf = folder.join(SLOT_FOLDER).join(name);
            File::open(&path).with_context(|| format!("opening '{}'", path.display()))
        };
        Ok(BuiltImage { record, root: open("root.img")?, boot: open("boot-a.img")? })
    }

    fn root_hash(&self) -> anyhow::Result<Hash> {
        Hash::parse(&self.record.root_hash).context("reading root_hash of build.json")
    }
}

/// Makes a payload and puts it in its place when it is whole.
pub fn pack(image: &BuiltImage, base: Option<&BuiltImage>, order: &Order, out: &Path) -> anyhow::Result<Manifest> {
    check_serial(image.record.serial, order.serial, "image")?;
    if let (Some(base), Some(serial)) = (base, order.base_serial) {
        check_serial(base.record.serial, serial, "older image")?;
    }
    let base_identity = match (base, order.base_serial) {
        (Some(base), Some(serial)) => Some(Base { serial, root: base.root_hash()? }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => bail!("a delta needs both the older image and its serial"),
    };
    if let Some(base) = base.filter(|base| base.record.board != image.record.board) {
        bail!("the older image is for board {}, the new one for {}", base.record.board, image.record.board);
    }
    let identity = Identity {
        product: order.product.to_string(),
        board: image.record.board.clone(),
        version: image.record.version.clone(),
        serial: order.serial,
        floor: order.floor,
        created: image.record.epoch,
        base: base_identity,
    };
    let inputs = [
        Input {
            role: PartRole::Root,
            image: opened(&image.root)?,
            verity: Some((image.root_hash()?, image.record.blocks)),
            base: base.map(|base| opened(&base.root)).transpose()?,
        },
        Input {
            role: PartRole::Boot,
            image: opened(&image.boot)?,
            verity: None,
            base: base.map(|base| opened(&base.boot)).transpose()?,
        },
    ];
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let writing = || format!("writing '{}'", out.display());
    let mut blobs = tempfile::tempfile_in(folder).with_context(writing)?;
    let manifest = pack::pack(&identity, &inputs, order.effort, &mut blobs)?;
    std::io::Seek::rewind(&mut blobs)?;
    let mut payload = tempfile::Builder::new().prefix(crate::output::SCRATCH).tempfile_in(folder)?;
    pack::write(&manifest, order.keys, order.places, &mut blobs, &mut payload).with_context(writing)?;
    // A bare file name has no folder that could be synced.
    crate::disk::publish(payload, &folder.join(out.file_name().context("the payload to write has no file name")?))?;
    Ok(manifest)
}

/// A machine that runs another serial than its payload says would install it again and again.
fn check_serial(built: Option<u64>, ordered: u64, what: &str) -> anyhow::Result<()> {
    match built {
        Some(built) if built != ordered => {
            bail!("the {what} was built with serial {built}, not {ordered}: build it with --serial {ordered}")
        }
        Some(_) | None => Ok(()),
    }
}

fn opened(file: &File) -> anyhow::Result<Image<'_>> {
    Ok(Image { bytes: file, size: file.metadata()?.len() })
}
