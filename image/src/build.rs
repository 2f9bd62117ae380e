//! Builds an image: packages, root, kernel, boot loader, disk, and the files that describe them.
//!
//! Everything is made in a scratch folder inside the output folder and renamed at the end, so an output file is always
//! whole, and a build that was stopped leaves the last one in place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_boards::Board;
use indicatif::{BinaryBytes, HumanCount};

use crate::assemble::{self, BootImage, RootImage};
use crate::cache::{Cache, Limits, Pruned};
use crate::kernel::{self, Kernel};
use crate::output::{self, Artefact, BuildRecord, Sizes};
use crate::packages::compose::{self, Composed, Order};
use crate::packages::lock::Lock;
use crate::packages::mirror::MirrorChoice;
use crate::packages::store::{self, Store};
use crate::packages::tools::Tools;
use crate::plan::ImagePlan;
use crate::progress::{Progress, Step};
use crate::tree::{Origin, Tree};
use crate::version::Version;
use crate::workshop::Workshop;
use crate::{convert, manifest, programs, source, updates};

/// The folder of the parts of a slot, below the output folder.
pub const SLOT_FOLDER: &str = "slot";

/// What is to be built.
#[derive(Debug)]
pub struct Request {
    /// Name of a board, or the path of a board file.
    pub board: String,
    /// Version of the image.
    pub version: Version,
    /// How the image is updated.
    pub updates: Updates,
    /// Form of the disk file.
    pub format: Format,
    /// Where packages come from, if not from the archive that the host uses.
    pub mirror: MirrorChoice,
    /// The source tree.
    pub tree: source::SourceTree,
    /// The folder of built programs.
    pub programs: PathBuf,
    /// The cache.
    pub cache: PathBuf,
    /// The output folder.
    pub out: PathBuf,
}

/// How machines with the image are updated.
#[derive(Debug, Clone, Default)]
pub struct Updates {
    /// Serial of the release; 0 for none.
    pub serial: u64,
    /// The key set that machines begin with: its file's name and text.
    pub keys: Option<(String, Vec<u8>)>,
    /// Where releases are published.
    pub server: Option<String>,
    /// The channel.
    pub group: Option<String>,
}

/// Form of the disk file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A sparse file of the disk's bytes.
    Raw,
    /// QEMU's own format.
    Qcow2,
}

/// What came out of a build.
#[derive(Debug)]
pub struct Built {
    /// What build.json says.
    pub record: BuildRecord,
    /// The disk file.
    pub disk: PathBuf,
}

/// The packages of an image, opened.
struct Opened {
    plan: ImagePlan,
    composed: Composed,
    kernel: Kernel,
    tools: Tools,
}

/// Builds the image.
pub fn build(request: &Request, progress: &Progress) -> anyhow::Result<Built> {
    let _lock = output::claim(&request.out)?;
    let scratch = tempfile::Builder::new().prefix(output::SCRATCH).tempdir_in(&request.out)?;
    let cache = Cache::open(&request.cache)?;
    let Opened { plan, mut composed, kernel, tools } = open_packages(request, progress, &cache)?;
    let shop = Workshop { tools: &tools, epoch: plan.epoch, scratch: scratch.path() };
    let initrd = build_initrd(request, progress, &plan, &kernel, &cache)?;
    let root = build_root(request, progress, &plan, &shop, &mut composed.tree, &kernel)?;
    let boot = assemble::make_boot(&plan, &shop, &kernel, &initrd, root.root, &composed.tree)?;
    let disk = build_disk(request, progress, &plan, &shop, (&root, &boot))?;
    let sizes = Sizes {
        files: composed.tree.size_bytes(),
        root: root.root.size,
        kernel: fs::metadata(&boot.kernel_path)?.len(),
        initrd: initrd.len() as u64,
    };
    let artefacts = publish(request, progress, &plan, &composed, (&root, &boot), &disk)?;
    let record = BuildRecord {
        board: plan.board.name.clone(),
        version: plan.version.clone(),
        serial: request.updates.serial,
        epoch: plan.epoch,
        kernel: kernel.release,
        root_hash: root.root.hash.to_string(),
        blocks: root.root.blocks,
        command_line: boot.command_line,
        sizes,
        artefacts,
    };
    let mut text = serde_json::to_vec_pretty(&record)?;
    text.push(b'\n');
    output::write(&request.out, "build.json", &text)?;
    prune(cache, progress);
    Ok(Built { record, disk: request.out.join(disk) })
}

/// Keeps the cache small. The image is whole by now, so a fault is only told.
fn prune(cache: Cache, progress: &Progress) {
    let folder = cache.folder().to_owned();
    match cache.prune(&Limits::default()) {
        Ok(None | Some(Pruned { removed: 0, .. })) => {}
        Ok(Some(Pruned { removed, bytes, left })) => progress.line(format!(
            "cache: {removed} files that no recent build used are removed, {}; {} are left in '{}'",
            BinaryBytes(bytes),
            BinaryBytes(left),
            folder.display()
        )),
        Err(error) => progress.line(format!("note: {error:#}")),
    }
}

/// Reads board and lock file of a source tree, and the lock file beside a board of its own.
pub fn plan(tree: &source::SourceTree, name: &str, version: &Version) -> anyhow::Result<(ImagePlan, Lock)> {
    let board = Board::find(name, &tree.boards())?;
    let mut lock = read_lock(&tree.lock())?;
    if let Some(own) = source::SourceTree::lock_beside(name).filter(|path| path.is_file()) {
        lock.join(read_lock(&own)?);
    }
    Ok((ImagePlan::new(board, version.as_str(), lock.epoch)?, lock))
}

/// Reads a lock file.
pub fn read_lock(path: &Path) -> anyhow::Result<Lock> {
    let text = fs::read_to_string(path).with_context(|| format!("reading '{}'", path.display()))?;
    Lock::parse(&text).with_context(|| format!("reading '{}'", path.display()))
}

fn open_packages(request: &Request, progress: &Progress, cache: &Cache) -> anyhow::Result<Opened> {
    let (plan, lock) = plan(&request.tree, &request.board, &request.version)?;
    let step = progress.step("packages");
    let show = |event: store::Progress<'_>| show_fetch(&step, progress, event);
    let store = Store::new(cache, request.mirror.clone(), &show);
    let rootfs = request.tree.rootfs();
    let order = Order { board: &plan.board, lock: &lock, rootfs: &rootfs, version: &plan.version };
    let composed = compose::compose(&order, &store)?;
    let tools = Tools::open(&store, &lock)?;
    step.note("reading kernel modules");
    let package = &composed.kernel.package;
    let origin: Origin = package.name.as_str().into();
    let kernel = kernel::open(composed.kernel.files.clone(), origin, cache, &package.sha256)?;
    let (count, files) = (composed.packages.len(), composed.tree.len());
    step.done(format!("{count} packages, {files} files, kernel {}", kernel.release));
    Ok(Opened { plan, composed, kernel, tools })
}

fn show_fetch(step: &Step, progress: &Progress, event: store::Progress<'_>) {
    match event {
        store::Progress::Missing { packages, bytes } => {
            progress.line(format!("fetching {packages} packages, {}", BinaryBytes(bytes)));
        }
        store::Progress::Fetched { package } => step.note(format!("fetched {}", package.name)),
        store::Progress::Unpacking { package } => step.note(format!("unpacking {}", package.name)),
    }
}

fn build_initrd(
    request: &Request,
    progress: &Progress,
    plan: &ImagePlan,
    kernel: &Kernel,
    cache: &Cache,
) -> anyhow::Result<Vec<u8>> {
    let step = progress.step("initrd");
    let init = programs::initrd(&request.programs)?;
    let (initrd, modules) = assemble::make_initrd(plan, kernel, init, cache)?;
    if !modules.missing.is_empty() {
        let names = modules.missing.join(", ");
        progress.line(format!("note: kernel {} has no module {names}; left out of the initrd", kernel.release));
    }
    step.done(format!("{}, {} modules", BinaryBytes(initrd.len() as u64), modules.paths.len()));
    Ok(initrd)
}

fn build_root(
    request: &Request,
    progress: &Progress,
    plan: &ImagePlan,
    shop: &Workshop,
    tree: &mut Tree,
    kernel: &Kernel,
) -> anyhow::Result<RootImage> {
    let step = progress.step("root");
    programs::install(tree, &request.programs)?;
    updates::install(tree, plan, &request.updates)?;
    kernel.add_to(tree, &kernel.modules(&plan.board.exclude_modules)?)?;
    let root = assemble::make_root(plan, shop, tree)?;
    step.done(format!("{}, {} blocks", BinaryBytes(root.root.size), HumanCount(root.root.blocks)));
    Ok(root)
}

fn build_disk(
    request: &Request,
    progress: &Progress,
    plan: &ImagePlan,
    shop: &Workshop,
    (root, boot): (&RootImage, &BootImage),
) -> anyhow::Result<String> {
    let step = progress.step("disk");
    let raw = format!("{}.raw", plan.name());
    let raw_path = request.out.join(&raw);
    match request.format {
        Format::Raw => {
            assemble::make_disk(plan, shop, root, boot, &raw_path)?;
            step.done(format!("{}, {} on disk", BinaryBytes(plan.disk.disk_bytes()), on_disk(&raw_path)?));
            Ok(raw)
        }
        Format::Qcow2 => {
            let temporary = shop.scratch.join("disk.raw");
            assemble::make_disk(plan, shop, root, boot, &temporary)?;
            let name = format!("{}.qcow2", plan.name());
            convert::to_qcow2(shop, &temporary, &shop.scratch.join("disk.qcow2"))?;
            let path = output::take(&request.out, &shop.scratch.join("disk.qcow2"), &name)?;
            step.done(on_disk(&path)?);
            Ok(name)
        }
    }
}

fn publish(
    request: &Request,
    progress: &Progress,
    plan: &ImagePlan,
    composed: &Composed,
    (root, boot): (&RootImage, &BootImage),
    disk: &str,
) -> anyhow::Result<Vec<Artefact>> {
    let step = progress.step("sums");
    let out = &request.out;
    let manifest = format!("{}.manifest.json", plan.name());
    let slot = |name: &str| format!("{SLOT_FOLDER}/{name}");
    let parts = [
        (&boot.path, slot("boot-a.img"), "boot partition"),
        (&root.path, slot("root.img"), "root partition"),
        (&boot.kernel_path, slot("ferrite.efi"), "kernel, initrd and command line"),
    ];
    for (path, name, _) in &parts {
        output::take(out, path, name)?;
    }
    // The disk is by far the largest: the rest is summed beside it.
    let (disk_sum, rest) = std::thread::scope(|scope| {
        let disk_sum = scope.spawn(|| output::describe(out, disk, "disk"));
        let rest = || -> anyhow::Result<Vec<Artefact>> {
            output::write(out, &manifest, manifest_text(plan, composed)?.as_bytes())?;
            let mut rest = vec![output::describe(out, &manifest, "manifest")?];
            for (_, name, what) in &parts {
                rest.push(output::describe(out, name, what)?);
            }
            Ok(rest)
        };
        let rest = rest();
        (disk_sum.join(), rest)
    });
    let disk_sum = disk_sum.map_err(|_| anyhow::anyhow!("the thread that sums the disk panicked"))?;
    let mut artefacts = vec![disk_sum?];
    artefacts.extend(rest?);
    output::write(out, "SHA256SUMS", output::sums(&artefacts).as_bytes())?;
    step.done(format!("{} files", artefacts.len() + 2));
    Ok(artefacts)
}

fn manifest_text(plan: &ImagePlan, composed: &Composed) -> anyhow::Result<String> {
    manifest::render(&manifest::Contents {
        board: &plan.board.name,
        version: &plan.version,
        epoch: plan.epoch,
        tree: &composed.tree,
        packages: &composed.packages,
    })
}

fn on_disk(path: &Path) -> anyhow::Result<String> {
    Ok(BinaryBytes(output::allocated(path)?).to_string())
}
