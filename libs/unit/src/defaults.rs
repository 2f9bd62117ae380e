//! What a unit is linked to by its kind and by its other settings, as systemd does it. Pure.
//!
//! The order in which targets follow what they pull in is not here: it depends on the other units (`graph`).

use crate::dependency::{Dependency, Origin};
use crate::exec::Exec;
use crate::load::DeviceUnits;
use crate::name::{UnitKind, UnitName};
use crate::sandbox::PrivateTmp;
use crate::service::ServiceType;
use crate::unit::{Config, MountNeed, Unit};

use Dependency::{After, Before, Conflicts, InSlice, Requires, Triggers, Wants};

/// Adds relations to a unit.
struct Linker<'a> {
    unit: &'a mut Unit,
    devices: DeviceUnits,
}

/// Adds what follows from the settings. Call once, after all entries were taken.
pub(crate) fn extras(unit: &mut Unit, devices: DeviceUnits) {
    let config = unit.config.clone();
    let mut linker = Linker { unit, devices };
    match &config {
        Config::Service(service) => {
            linker.exec(&service.exec, service.exec.uses_journal());
            linker.default_slice();
            linker.service_defaults();
            if service.kind == ServiceType::Dbus && service.bus_name.is_some() {
                linker.add(&[Requires, After], "dbus.socket", Origin::File);
            }
        }
        Config::Mount(mount) => {
            linker.exec(&mount.exec, mount.exec.uses_journal());
            linker.default_slice();
            linker.mount(mount);
        }
        Config::Socket(socket) => linker.socket(socket),
        Config::Swap(swap) => linker.swap(swap),
        Config::Timer(timer) => linker.timer(timer),
        Config::Path(path) => linker.path(path),
        Config::Automount(automount) => linker.automount(automount),
        Config::Slice(_) => {
            if let Some(parent) = parent_slice(&linker.unit.name) {
                linker.unit.add(InSlice, parent, Origin::Implicit);
            }
            linker.until_shutdown();
        }
        Config::Scope(_) => {
            linker.default_slice();
            linker.until_shutdown();
        }
        Config::Target => {
            if linker.unit.name.as_str() != "shutdown.target" {
                linker.until_shutdown();
            }
        }
        Config::Device => {}
    }
}

/// Adds the relations to the slice; for a unit without faults.
pub(crate) fn slice(unit: &mut Unit) {
    let is_slice = match unit.name.kind() {
        UnitKind::Slice => true,
        UnitKind::Service | UnitKind::Socket | UnitKind::Mount | UnitKind::Swap | UnitKind::Scope => false,
        UnitKind::Target | UnitKind::Device | UnitKind::Automount | UnitKind::Timer | UnitKind::Path => return,
    };
    let origin = if is_slice { Origin::Implicit } else { Origin::File };
    if let Some(parent) = unit.slice() {
        unit.add(After, parent.clone(), origin);
        unit.add(Requires, parent, origin);
    }
}

/// `a.slice` for `a-b.slice`, the root slice for `a.slice`, nothing for the root slice.
pub(crate) fn parent_slice(name: &UnitName) -> Option<UnitName> {
    if name.as_str() == "-.slice" {
        return None;
    }
    match name.stem().rsplit_once('-') {
        Some((parent, _)) if !parent.is_empty() => UnitName::parse(&format!("{parent}.slice")).ok(),
        _ => UnitName::parse("-.slice").ok(),
    }
}

const NETWORK_FILE_SYSTEMS: [&str; 18] = [
    "afs",
    "ceph",
    "cifs",
    "gfs",
    "gfs2",
    "ncp",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    "davfs",
    "glusterfs",
    "lustre",
    "sshfs",
];

/// Does a file system of this type come over the network?
pub(crate) fn is_network_file_system(kind: &str) -> bool {
    NETWORK_FILE_SYSTEMS.contains(&kind.strip_prefix("fuse.").unwrap_or(kind))
}

/// Is it likely the path of a device?
fn is_device_path(path: &str) -> bool {
    let below = |directory| path.strip_prefix(directory).is_some_and(|rest: &str| !rest.trim_matches('/').is_empty());
    below("/dev/") || below("/sys/")
}

impl Linker<'_> {
    fn add(&mut self, dependencies: &[Dependency], other: &str, origin: Origin) {
        // The names here are ours and well formed, or too long to be a unit.
        if let Ok(name) = UnitName::parse(other) {
            for dependency in dependencies {
                self.unit.add(*dependency, name.clone(), origin);
            }
        }
    }

    fn requires_mounts(&mut self, path: &str, origin: Origin) {
        self.unit.need_mounts(MountNeed::Requires, path, origin);
    }

    fn wants_mounts(&mut self, path: &str) {
        self.unit.need_mounts(MountNeed::Wants, path, Origin::File);
    }

    fn until_shutdown(&mut self) {
        if self.unit.default_dependencies {
            self.add(&[Before, Conflicts], "shutdown.target", Origin::Default);
        }
    }

    fn after_sysinit(&mut self) {
        self.add(&[After, Requires], "sysinit.target", Origin::Default);
    }

    /// What the context of the processes needs.
    fn exec(&mut self, exec: &Exec, journal: bool) {
        if let Some(directory) = exec.working_directory.as_deref().filter(|d| d.starts_with('/')) {
            match exec.working_directory_optional {
                true => self.wants_mounts(directory),
                false => self.requires_mounts(directory, Origin::File),
            }
        }
        let mounts = &exec.sandbox.mounts;
        for path in [&mounts.root_directory, &mounts.root_image].into_iter().flatten() {
            self.wants_mounts(path);
        }
        let bases = [
            ("/run", &exec.runtime),
            ("/var/lib", &exec.state),
            ("/var/cache", &exec.cache),
            ("/var/log", &exec.logs),
            ("/etc", &exec.configuration),
        ];
        for (base, directories) in bases {
            for name in directories.paths() {
                self.requires_mounts(&format!("{base}/{name}"), Origin::File);
            }
        }
        // /var may lie on the root, which is writable once it was remounted.
        if [&exec.state, &exec.cache, &exec.logs].into_iter().any(|directories| !directories.items.is_empty()) {
            self.add(&[After], "systemd-remount-fs.service", Origin::File);
        }
        if exec.sandbox.private_tmp == PrivateTmp::Connected {
            self.wants_mounts("/tmp");
            self.wants_mounts("/var/tmp");
            self.add(&[After], "systemd-tmpfiles-setup.service", Origin::File);
        }
        if mounts.root_image.is_some() {
            self.add(&[After], "systemd-udevd.service", Origin::File);
        }
        match &exec.sandbox.logging.namespace {
            Some(namespace) => {
                let units = ["systemd-journald@N.socket", "systemd-journald-varlink@N.socket"];
                for unit in units.into_iter().chain(["systemd-journald-sync@N.service"]) {
                    self.add(&[After, Requires], &unit.replacen('N', namespace, 1), Origin::File);
                }
            }
            None if journal => self.add(&[After], "systemd-journald.socket", Origin::File),
            None => {}
        }
    }

    fn default_slice(&mut self) {
        if let Some(slice) = self.unit.slice() {
            self.unit.add(InSlice, slice, Origin::SliceProperty);
        }
    }

    fn service_defaults(&mut self) {
        if self.unit.default_dependencies {
            self.after_sysinit();
            self.add(&[After], "basic.target", Origin::Default);
            self.until_shutdown();
        }
    }

    /// The unit that this one starts.
    fn triggers(&mut self, other: Option<UnitName>, origin: Origin) {
        if let Some(other) = other {
            self.unit.add(Before, other.clone(), origin);
            self.unit.add(Triggers, other, origin);
        }
    }

    fn socket(&mut self, socket: &crate::socket::Socket) {
        let service = socket.activates(&self.unit.name);
        self.triggers(service, Origin::Implicit);
        for path in socket.listen.iter().filter_map(crate::socket::Listen::path) {
            self.requires_mounts(path, Origin::File);
        }
        if let Some(device) = socket.bind_to_device.as_deref().filter(|device| *device != "lo") {
            let path = format!("/sys/subsystem/net/devices/{device}");
            self.device(&path, &[Dependency::BindsTo], Origin::File);
        }
        let lists = [&socket.start_pre, &socket.start_post, &socket.stop_pre, &socket.stop_post];
        if lists.into_iter().any(|list| !list.is_empty()) {
            self.exec(&socket.exec, socket.exec.uses_journal());
        }
        self.default_slice();
        if self.unit.default_dependencies {
            self.add(&[Before], "sockets.target", Origin::Default);
            self.after_sysinit();
            self.until_shutdown();
        }
    }

    fn timer(&mut self, timer: &crate::timer::Timer) {
        let origin = if timer.unit.is_some() { Origin::File } else { Origin::Implicit };
        let other = timer.activates(&self.unit.name);
        self.triggers(other, origin);
        if timer.persistent {
            self.requires_mounts("/var/lib/systemd/timers", Origin::File);
        }
        if self.unit.default_dependencies {
            self.add(&[Before], "timers.target", Origin::Default);
            self.after_sysinit();
            if timer.has_calendar() {
                self.add(&[After], "time-sync.target", Origin::Default);
                self.add(&[After], "time-set.target", Origin::Default);
            }
            self.until_shutdown();
        }
    }

    fn path(&mut self, path: &crate::path::PathUnit) {
        let origin = if path.unit.is_some() { Origin::File } else { Origin::Implicit };
        let other = path.activates(&self.unit.name);
        self.triggers(other, origin);
        for (_, place) in &path.watches {
            self.requires_mounts(place, Origin::File);
        }
        if self.unit.default_dependencies {
            self.add(&[Before], "paths.target", Origin::Default);
            self.after_sysinit();
            self.until_shutdown();
        }
    }

    fn automount(&mut self, automount: &crate::automount::Automount) {
        let other = automount.activates(&self.unit.name);
        self.triggers(other, Origin::Implicit);
        if let Some((parent, _)) = automount.where_.rsplit_once('/') {
            self.requires_mounts(if parent.is_empty() { "/" } else { parent }, Origin::Implicit);
        }
        if self.unit.default_dependencies {
            self.add(&[Before], "local-fs.target", Origin::Default);
            self.add(&[After], "local-fs-pre.target", Origin::Default);
            self.add(&[Before, Conflicts], "umount.target", Origin::Default);
        }
    }

    /// Links the unit to a device, as far as there are device units.
    fn device(&mut self, path: &str, dependencies: &[Dependency], origin: Origin) {
        if self.devices == DeviceUnits::Present
            && is_device_path(path)
            && let Some(stem) = crate::escape::escape_path(path)
        {
            self.add(&[After], &format!("{stem}.device"), origin);
            self.add(dependencies, &format!("{stem}.device"), origin);
        }
    }

    fn block_device(&mut self, path: &str, origin: Origin) {
        if self.devices == DeviceUnits::Present
            && path.starts_with("/dev/")
            && let Some(instance) = crate::escape::escape_path(path)
        {
            self.add(&[After], &format!("blockdev@{instance}.target"), origin);
        }
    }

    fn mount(&mut self, mount: &crate::mount::Mount) {
        // The root is there without a file; then nothing is known of it.
        let from_file = self.unit.fragment.is_some();
        if from_file && !mount.is_bind() && mount.where_ != "/" && !matches!(&*mount.what, "/dev/root" | "/dev/nfs") {
            let bound = mount.option("x-systemd.device-bound").map(|value| match value {
                None | Some("") => true,
                Some(value) => crate::value::boolean(value).unwrap_or(false),
            });
            let dependencies: &[Dependency] = match bound {
                Some(true) => &[Dependency::BindsTo],
                Some(false) => &[Requires],
                None => &[Requires, Dependency::StopPropagatedFrom],
            };
            if is_device_path(&mount.what) {
                self.device(&mount.what, dependencies, Origin::MountFile);
                self.block_device(&mount.what, Origin::MountFile);
            }
        }
        if mount.where_ != "/"
            && let Some((parent, _)) = mount.where_.rsplit_once('/')
        {
            self.requires_mounts(if parent.is_empty() { "/" } else { parent }, Origin::Implicit);
        }
        let network = mount.is_network();
        if from_file && mount.what.starts_with('/') && (mount.is_bind() || mount.has_option("loop") || !network) {
            self.requires_mounts(&mount.what, Origin::File);
        }
        if from_file && self.unit.default_dependencies && !mount.is_extrinsic() {
            self.mount_defaults(mount, network);
        }
    }

    fn mount_defaults(&mut self, mount: &crate::mount::Mount, network: bool) {
        let origin = Origin::MountFile;
        let (after, before) = match network {
            true => ("remote-fs-pre.target", "remote-fs.target"),
            false => ("local-fs-pre.target", "local-fs.target"),
        };
        if !mount.may_fail() {
            self.add(&[Before], before, origin);
        }
        self.add(&[After], after, origin);
        self.add(&[Before, Conflicts], "umount.target", origin);
        if mount.kind.as_deref() == Some("tmpfs") {
            // What lies in it may have been swapped out.
            self.add(&[After], "swap.target", origin);
        }
        if network {
            self.add(&[After], "network.target", origin);
            self.add(&[Wants, After], "network-online.target", origin);
        }
    }

    fn swap(&mut self, swap: &crate::swap::Swap) {
        self.requires_mounts(&swap.what, Origin::Implicit);
        if is_device_path(&swap.what) {
            self.device(&swap.what, &[Requires], Origin::File);
            self.block_device(&swap.what, Origin::File);
        } else {
            self.add(&[After], "systemd-remount-fs.service", Origin::File);
        }
        self.exec(&swap.exec, swap.exec.uses_journal());
        self.default_slice();
        if !self.unit.default_dependencies {
            return;
        }
        self.add(&[Before], "swap.target", Origin::Default);
        self.add(&[Before, Conflicts], "umount.target", Origin::Default);
    }
}
