//! What settings of a context imply: of each other, and of the unit's control group. Pure.

use crate::capability::{CapabilitySet, number};
use crate::directories::Directories;
use crate::exec::Exec;
use crate::name::{UnitKind, UnitName};
use crate::resources::{Amount, DeviceAllow, DevicePolicy, TASKS_SHARE, Totals};
use crate::sandbox::{
    KeyringMode, PrivateTmp, ProcSubset, Propagation, ProtectControlGroups, ProtectHome, ProtectProc, ProtectSystem,
    Sandbox,
};
use crate::unit::{Config, Unit};

/// Fills in what is implied. Once, after all entries were taken.
pub(crate) fn complete(unit: &mut Unit, totals: &Totals) {
    let name = unit.name.clone();
    if name.kind() != UnitKind::Slice {
        unit.resources.tasks_max.get_or_insert(totals.tasks(Amount::Share(TASKS_SHARE)));
    }
    let Some(exec) = exec_of(&mut unit.config) else { return };
    let keyring = if name.kind() == UnitKind::Service { KeyringMode::Private } else { KeyringMode::Shared };
    exec.sandbox.keyring_mode.get_or_insert(keyring);
    bounding_set(&mut exec.sandbox);
    if exec.sandbox.dynamic_user {
        dynamic_user(exec, &name);
    }
    for directories in [&mut exec.runtime, &mut exec.state, &mut exec.cache, &mut exec.logs, &mut exec.configuration] {
        Directories::sort(directories);
    }
    let (private, images, clock) = {
        let sandbox = &exec.sandbox;
        let images = sandbox.mounts.root_image.is_some() || !sandbox.mounts.mount_images.is_empty();
        (sandbox.private_devices, images, sandbox.protect_clock)
    };
    let encrypted = exec.sandbox.set_credentials.iter().any(|c| c.encrypted)
        || exec.sandbox.load_credentials.iter().any(|c| c.encrypted);
    if private && unit.resources.device_policy == DevicePolicy::Auto {
        unit.resources.device_policy = DevicePolicy::Closed;
    }
    // What is named here would close all other devices, so only where they are closed already.
    if unit.resources.device_policy == DevicePolicy::Auto && unit.resources.devices.is_empty() {
        return;
    }
    let mut allow = |device: &str, rights: &str| {
        let has = |right| rights.contains(right);
        let entry = DeviceAllow { device: device.into(), read: has('r'), write: has('w'), make: has('m') };
        unit.resources.devices.insert(0, entry);
    };
    if images {
        ["/dev/loop-control", "/dev/mapper/control"].iter().for_each(|device| allow(device, "rw"));
        ["block-loop", "block-blkext", "block-device-mapper"].iter().for_each(|device| allow(device, "rwm"));
    }
    if clock {
        allow("char-rtc", "r");
    }
    if encrypted {
        allow("char-tpm", "rw");
    }
}

/// The context of a unit's processes.
fn exec_of(config: &mut Config) -> Option<&mut Exec> {
    match config {
        Config::Service(service) => Some(&mut service.exec),
        Config::Mount(mount) => Some(&mut mount.exec),
        Config::Socket(socket) => Some(&mut socket.exec),
        Config::Swap(swap) => Some(&mut swap.exec),
        Config::Target
        | Config::Slice(_)
        | Config::Timer(_)
        | Config::Path(_)
        | Config::Automount(_)
        | Config::Scope(_)
        | Config::Device => None,
    }
}

/// Takes the capabilities away that would undo a protection.
fn bounding_set(sandbox: &mut Sandbox) {
    let protections: [(bool, &[&str]); 4] = [
        (sandbox.private_devices, &["cap_mknod", "cap_sys_rawio"]),
        (sandbox.protect_kernel_modules, &["cap_sys_module"]),
        (sandbox.protect_kernel_logs, &["cap_syslog"]),
        (sandbox.protect_clock, &["cap_sys_time", "cap_wake_alarm"]),
    ];
    for (_, names) in protections.iter().filter(|(on, _)| *on) {
        let bits = names.iter().filter_map(|name| number(name)).fold(0, |bits, number| bits | 1 << number);
        let have = sandbox.bounding_set.unwrap_or(CapabilitySet::ALL);
        sandbox.bounding_set = Some(have.without(CapabilitySet::from_bits(bits)));
    }
}

/// A user that exists only as long as the unit must leave nothing behind.
fn dynamic_user(exec: &mut Exec, name: &UnitName) {
    let user = exec.user.get_or_insert_with(|| dynamic_name(name)).clone();
    exec.group.get_or_insert(user);
    let sandbox = &mut exec.sandbox;
    if sandbox.private_tmp == PrivateTmp::No {
        sandbox.private_tmp = PrivateTmp::Disconnected;
    }
    if sandbox.protect_home == ProtectHome::No {
        sandbox.protect_home = ProtectHome::ReadOnly;
    }
    sandbox.protect_system = ProtectSystem::Strict;
    sandbox.remove_ipc = true;
    sandbox.no_new_privileges = true;
    sandbox.restrict_suid_sgid = true;
}

/// Names that every system takes for a user.
fn is_strict_user(name: &str) -> bool {
    name.len() <= 31
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// The name of a unit's own user: its prefix, or a digest of it.
fn dynamic_name(unit: &UnitName) -> String {
    let prefix = unit.prefix();
    if is_strict_user(prefix) { prefix.to_owned() } else { format!("_du{:016x}", digest(prefix.as_bytes())) }
}

/// SipHash-2-4 with the key that systemd uses here, so that both choose the same name.
fn digest(data: &[u8]) -> u64 {
    #[allow(deprecated)]
    let mut hasher = std::hash::SipHasher::new_with_keys(0x964e_5828_e6af_1a58, 0xec07_928c_3bf5_4eb4);
    std::hash::Hasher::write(&mut hasher, data);
    std::hash::Hasher::finish(&hasher)
}

impl Exec {
    /// The interfaces of the kernel are mounted anew below `RootDirectory=`.
    pub fn mounts_api_vfs(&self) -> bool {
        let mounts = &self.sandbox.mounts;
        mounts.api_vfs.unwrap_or(mounts.root_directory.is_some() || mounts.root_image.is_some())
    }

    /// The sockets of the log are shown below `RootDirectory=`.
    pub fn binds_log_sockets(&self) -> bool {
        let mounts = &self.sandbox.mounts;
        let own_root = mounts.root_directory.is_some() || mounts.root_image.is_some();
        self.sandbox.logging.namespace.is_some()
            || mounts
                .bind_log_sockets
                .unwrap_or_else(|| self.mounts_api_vfs() || (own_root && self.sandbox.private_devices))
    }

    /// The five kinds of directories.
    pub fn all_directories(&self) -> [&Directories; 5] {
        [&self.runtime, &self.state, &self.cache, &self.logs, &self.configuration]
    }

    /// Do the processes need a view of their own of the file systems, `PrivateTmp=connected` aside?
    pub fn needs_mount_namespace(&self) -> bool {
        let (sandbox, mounts) = (&self.sandbox, &self.sandbox.mounts);
        let lists = [&mounts.read_write, &mounts.read_only, &mounts.inaccessible, &mounts.exec, &mounts.no_exec];
        let written = lists.iter().any(|list| !list.is_empty())
            || mounts.root_image.is_some()
            || !mounts.bind.is_empty()
            || !mounts.temporary.is_empty()
            || !mounts.mount_images.is_empty()
            || !mounts.extension_images.is_empty()
            || !mounts.extension_directories.is_empty()
            || matches!(mounts.propagation, Some(Propagation::Slave | Propagation::Private));
        let network = sandbox.private_network || sandbox.network_namespace_path.is_some();
        let protections = sandbox.private_tmp == PrivateTmp::Disconnected
            || sandbox.private_devices
            || mounts.private_mounts.unwrap_or(network)
            || sandbox.protect_system != ProtectSystem::No
            || sandbox.protect_home != ProtectHome::No
            || sandbox.protect_kernel_tunables
            || sandbox.protect_kernel_modules
            || sandbox.protect_kernel_logs
            || sandbox.protect_control_groups != ProtectControlGroups::No
            || sandbox.protect_proc != ProtectProc::Default
            || sandbox.proc_subset != ProcSubset::All
            || sandbox.private_ipc
            || sandbox.ipc_namespace_path.is_some()
            || sandbox.private_pids;
        let kept = [&self.state, &self.cache, &self.logs].iter().any(|directories| !directories.items.is_empty());
        let any = self.all_directories().iter().any(|directories| !directories.items.is_empty());
        let read_only = self.all_directories().iter().any(|list| list.items.iter().any(|item| item.read_only));
        written
            || protections
            || (mounts.root_directory.is_some() && (self.mounts_api_vfs() || any))
            || (sandbox.dynamic_user && kept)
            || self.binds_log_sockets()
            || read_only
    }
}

/// Why this context cannot be had, if it cannot.
pub(crate) fn verify(unit: &Unit) -> Result<(), String> {
    let Some(exec) = unit.exec() else { return Ok(()) };
    let directory = exec.working_directory.as_deref().unwrap_or("/");
    if exec.sandbox.dynamic_user && directory == "~" {
        return Err("WorkingDirectory=~ does not go with DynamicUser=yes, refusing".into());
    }
    if exec.sandbox.private_pids && unit.name.kind() != UnitKind::Service {
        return Err("PrivatePIDs= is for services only, refusing".into());
    }
    let below =
        |folder: &str| directory.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if ["/proc", "/sys", "/dev"].into_iter().any(below) && exec.needs_mount_namespace() {
        return Err(format!("WorkingDirectory={directory} does not go with a mount namespace, refusing"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_user_is_called_as_the_unit_or_by_a_digest() {
        for (unit, user) in [("foo.service", "foo"), ("a-b@x.service", "a-b")] {
            assert_eq!(dynamic_name(&UnitName::parse(unit).unwrap()), user);
        }
        let long = dynamic_name(&UnitName::parse("a.b.service").unwrap());
        assert!(long.starts_with("_du") && long.len() == 19, "{long}");
    }

    #[test]
    fn the_digest_is_siphash_2_4() {
        // The keys of this function differ from those of the published vectors; the algorithm is theirs.
        #[allow(deprecated)]
        let mut hasher = std::hash::SipHasher::new_with_keys(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
        std::hash::Hasher::write(&mut hasher, &(0..15).collect::<Vec<u8>>());
        assert_eq!(std::hash::Hasher::finish(&hasher), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn protections_take_capabilities_away() {
        let mut sandbox = Sandbox { protect_clock: true, ..Sandbox::default() };
        bounding_set(&mut sandbox);
        let set = sandbox.bounding_set.unwrap();
        assert!(!set.has(25) && !set.has(35) && set.has(21));
    }
}
