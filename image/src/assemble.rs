//! Makes all artefacts of an image out of its ingredients, in the one order that works: the root's hash is on the
//! command line, the command line is in the boot partition, both are on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_layout::{Part, Record, SlotState};
use uuid::Uuid;

use crate::cache::{Cache, Key};
use crate::disk::{self, Source};
use crate::initrd::{self, KernelModules, ModulePlan};
use crate::kernel::Kernel;
use crate::plan::ImagePlan;
use crate::slot::{self, CommandLine, Root};
use crate::tree::Tree;
use crate::workshop::Workshop;
use crate::{erofs, fat, grub, loader, state};

const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";
const OS_RELEASE: &str = "/usr/lib/os-release";
const STATE_LABEL: &str = "ferrite-state";

/// The root file system of a slot in the scratch folder.
pub struct RootImage {
    /// Hash and sizes.
    pub root: Root,
    /// File system with hash tree.
    pub path: PathBuf,
}

/// The boot partition of a slot in the scratch folder.
pub struct BootImage {
    /// The FAT file system.
    pub path: PathBuf,
    /// The unified kernel image in it, as a file of its own.
    pub kernel_path: PathBuf,
    /// The kernel command line in it.
    pub command_line: String,
}

/// Makes the initrd; its modules come out of the cache while kernel and board stay the same.
pub fn make_initrd(
    plan: &ImagePlan,
    kernel: &Kernel,
    init: Vec<u8>,
    cache: &Cache,
) -> anyhow::Result<(Vec<u8>, ModulePlan)> {
    let modules = kernel.modules(&plan.board.exclude_modules)?;
    let all = KernelModules { release: &kernel.release, modules: &modules, builtin: &kernel.builtin };
    let chosen = initrd::plan_modules(&all, &plan.board.initrd_modules);
    let key = Key::new("initrd-modules").text(&kernel.key).text(&format!("{chosen:?}"));
    let archive = cache.keep(&key, || initrd::modules_archive(&all, &chosen, &kernel.read(&chosen.paths)?))?;
    Ok((initrd::join(&archive, &initrd::program_archive(init)?), chosen))
}

/// Makes the root file system with its hash tree.
pub fn make_root(plan: &ImagePlan, shop: &Workshop, tree: &Tree) -> anyhow::Result<RootImage> {
    let path = shop.scratch.join("root.img");
    // No UUID: overlayfs keeps a handle (UUID and inode) of the image's file with each copied-up file of /etc, and
    // would find another file under the same handle in the next build of the same version.
    let arguments = erofs::arguments(Uuid::nil(), plan.epoch, plan.board.root_compression);
    erofs::make(shop, tree, &arguments, &path)?;
    let root = slot::append_tree(&path, plan.uuid("verity")).context("making the hash tree of the root")?;
    slot::check_root(&root, plan.size(Part::RootA))?;
    Ok(RootImage { root, path })
}

/// Makes the boot partition for a root.
pub fn make_boot(
    plan: &ImagePlan,
    shop: &Workshop,
    kernel: &Kernel,
    initrd: &[u8],
    root: Root,
    tree: &Tree,
) -> anyhow::Result<BootImage> {
    let os_release = tree.read(OS_RELEASE).with_context(|| format!("the image has no {OS_RELEASE}"))??;
    let words = &plan.board.command_line;
    let command_line = CommandLine { root, board: &plan.board.name, version: &plan.version, extra: words }.render();
    let boot = slot::boot_files(&slot::Kernel {
        stub: &shop.read(STUB)?,
        os_release: &os_release,
        release: &kernel.release,
        image: &kernel.image()?,
        initrd,
        command_line: &command_line,
    })?;
    let (path, kernel_path) = (shop.scratch.join("boot-a.img"), shop.scratch.join(slot::KERNEL_FILE));
    let partition = slot::boot_partition(&boot, plan.size(Part::BootA), plan.volume_id(Part::BootA))?;
    fat::make(shop, &partition, &path)?;
    fs::write(&kernel_path, &boot.image).with_context(|| format!("writing '{}'", kernel_path.display()))?;
    Ok(BootImage { path, kernel_path, command_line })
}

/// Makes boot loader, boot control, oem and state, and the disk with slot a filled and slot b empty.
pub fn make_disk(
    plan: &ImagePlan,
    shop: &Workshop,
    root: &RootImage,
    boot: &BootImage,
    path: &Path,
) -> anyhow::Result<()> {
    let scratch = |part: Part| shop.scratch.join(format!("{part}.img"));
    let (esp, control, oem) = (scratch(Part::Esp), scratch(Part::Bootctl), scratch(Part::Oem));
    fat::make(shop, &loader::esp(shop, plan.size(Part::Esp), plan.volume_id(Part::Esp))?, &esp)?;
    let flags = loader::boot_control(
        &SlotState::fresh(),
        &Record::default(),
        plan.size(Part::Bootctl),
        plan.volume_id(Part::Bootctl),
    );
    fat::make(shop, &flags, &control)?;
    fat::make(shop, &loader::oem(&plan.board.name, plan.size(Part::Oem), plan.volume_id(Part::Oem)), &oem)?;
    let state_image = scratch(Part::State);
    let arguments = state::mke2fs_arguments(STATE_LABEL, plan.uuid("state"), plan.uuid("state directories"));
    state::make(shop, &state_image, plan.size(Part::State), &arguments)?;
    let bios = loader::bios_grub(shop)?;
    let core_sector = plan.disk.extent(Part::Bios).first_lba;
    let core = grub::core_on_disk(&bios.core_image, core_sector, plan.size(Part::Bios))?;
    let parts = [
        (Part::Bios, Source::Bytes(core)),
        (Part::Esp, Source::File(esp)),
        (Part::Bootctl, Source::File(control)),
        (Part::BootA, Source::File(boot.path.clone())),
        (Part::RootA, Source::File(root.path.clone())),
        (Part::Oem, Source::File(oem)),
        (Part::State, Source::File(state_image)),
    ];
    disk::assemble(&plan.disk, &grub::boot_code(&bios.boot_image, core_sector)?, &parts, path)
}
