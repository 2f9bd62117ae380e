//! The initrd of a slot: the early boot program and the kernel modules it may need to reach the root. Pure.
//!
//! Two archives, one behind the other: modules (which change with the kernel only, and are packed hard) and the program
//! (which changes with each of our builds). Kernels unpack both into the same root.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use ferrite_modules::index::{self, Module};
use ferrite_modules::{Catalog, ModuleName};

use crate::cpio::Archive;

const MODULES_LEVEL: i32 = 19;
const PROGRAM_LEVEL: i32 = 12;

/// What the kernel brings: all modules that the image has, with the list of those inside the kernel.
pub struct KernelModules<'a> {
    /// Release, as `uname -r` says it.
    pub release: &'a str,
    /// What each module file says.
    pub modules: &'a [Module],
    /// Text of modules.builtin.
    pub builtin: &'a str,
}

/// Which modules enter the initrd.
#[derive(Debug, PartialEq, Eq)]
pub struct ModulePlan {
    /// Paths below /lib/modules/RELEASE, sorted.
    pub paths: BTreeSet<String>,
    /// What early boot loads whether a device asks or not, in this order.
    pub always: Vec<String>,
    /// What the board wants and this kernel does not have: boards with different kernels share lists.
    pub missing: Vec<String>,
}

/// Chooses the board's modules and all they depend on. A wish of a module (softdep) is met where the kernel has it.
pub fn plan_modules(kernel: &KernelModules, wanted: &[String]) -> ModulePlan {
    let catalog = Catalog::of_modules(kernel.modules, kernel.builtin);
    let missing = wanted.iter().filter(|name| catalog.resolve(name).is_empty()).cloned().collect();
    let steps = catalog.plan_all(wanted.iter().map(String::as_str), &BTreeSet::new());
    let always = wanted.iter().filter(|name| is_always_loaded(kernel, name)).cloned().collect();
    ModulePlan { paths: steps.into_iter().map(|step| step.path).collect(), always, missing }
}

/// A module that no device asks for (no alias with a colon, as in `pci:v0000…`) has to be loaded by name. A watchdog is
/// early boot's own choice, and what the kernel contains needs no loading.
fn is_always_loaded(kernel: &KernelModules, name: &str) -> bool {
    let name = ModuleName::new(name);
    let found = kernel.modules.iter().find(|module| module.name() == name);
    found.is_some_and(|module| {
        !module.path.contains("/watchdog/") && !module.aliases.iter().any(|alias| alias.contains(':'))
    })
}

/// The archive of modules, with index files that speak of these modules only.
pub fn modules_archive(
    kernel: &KernelModules,
    plan: &ModulePlan,
    contents: &BTreeMap<String, Vec<u8>>,
) -> anyhow::Result<Vec<u8>> {
    let folder = format!("lib/modules/{}", kernel.release);
    let chosen: Vec<Module> = kernel.modules.iter().filter(|m| plan.paths.contains(&m.path)).cloned().collect();
    let mut archive = Archive::default();
    for path in &plan.paths {
        let content = contents.get(path).with_context(|| format!("kernel module {path} was not read"))?;
        archive.file(&format!("{folder}/{path}"), 0o644, content.clone());
    }
    archive.file(&format!("{folder}/modules.dep"), 0o644, index::render_dep(&chosen));
    archive.file(&format!("{folder}/modules.alias"), 0o644, index::render_alias(&chosen));
    archive.file(&format!("{folder}/modules.softdep"), 0o644, index::render_softdep(&chosen));
    archive.file(&format!("{folder}/modules.builtin"), 0o644, kernel.builtin);
    let list: String = plan.always.iter().map(|name| format!("{name}\n")).collect();
    archive.file("etc/modules.load", 0o644, list);
    pack(&archive, MODULES_LEVEL)
}

/// The archive of the early boot program.
pub fn program_archive(init: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    archive.file("init", 0o755, init);
    pack(&archive, PROGRAM_LEVEL)
}

/// Both archives as the one file that the boot loader hands over.
pub fn join(modules: &[u8], program: &[u8]) -> Vec<u8> {
    let mut initrd = modules.to_vec();
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(program);
    initrd
}

fn pack(archive: &Archive, level: i32) -> anyhow::Result<Vec<u8>> {
    let bytes = archive.to_bytes();
    let mut encoder = zstd::Encoder::new(Vec::new(), level)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.include_checksum(true)?;
    std::io::copy(&mut bytes.as_slice(), &mut encoder)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, dependencies: &[&str]) -> Module {
        Module {
            path: path.to_string(),
            dependencies: dependencies.iter().map(|name| name.to_string()).collect(),
            ..Module::default()
        }
    }

    fn kernel(modules: &[Module]) -> KernelModules<'_> {
        KernelModules { release: "6.12", modules, builtin: "kernel/fs/ext4/ext4.ko\n" }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_string).collect()
    }

    #[test]
    fn a_module_brings_what_it_depends_on_and_nothing_else() {
        let modules = [module("k/dm-verity.ko", &["dm-mod"]), module("k/dm-mod.ko", &[]), module("k/other.ko", &[])];
        let plan = plan_modules(&kernel(&modules), &words("dm_verity ext4"));
        assert_eq!(Vec::from_iter(plan.paths), ["k/dm-mod.ko", "k/dm-verity.ko"]);
        assert_eq!(plan.always, ["dm_verity"]);
    }

    #[test]
    fn a_module_that_the_kernel_lacks_is_named_and_left_out() {
        let plan = plan_modules(&kernel(&[module("k/nvme.ko", &[])]), &words("ext4 nvme e1000e"));
        assert_eq!(plan.missing, ["e1000e"]);
        assert_eq!(Vec::from_iter(plan.paths), ["k/nvme.ko"]);
    }

    #[test]
    fn a_module_that_a_device_asks_for_and_a_watchdog_are_not_always_loaded() {
        let mut nvme = module("k/nvme.ko", &[]);
        nvme.aliases = vec!["pci:v*".to_string()];
        let mut erofs = module("k/erofs.ko", &[]);
        erofs.aliases = vec!["fs-erofs".to_string()];
        let modules = [nvme, erofs, module("kernel/drivers/watchdog/softdog.ko", &[])];
        let plan = plan_modules(&kernel(&modules), &words("nvme softdog erofs"));
        assert_eq!(plan.always, ["erofs"]);
        assert_eq!(plan.paths.len(), 3);
    }
}
