//! Device units: active as long as the device node or the entry in sysfs is there.
//!
//! Nodes and links of /dev are watched with inotify. Sysfs tells of nothing that way: there the kernel's own messages
//! are a reason to look again. Nobody starts or stops a device; a start job waits until it comes.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use ferrite_unit::path::Watch;
use ferrite_unit::{UnitKind, UnitName};
use nix::libc;
use nix::sys::socket::NetlinkAddr;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::jobs::{Active, JobResult, UnitId};
use crate::kinds::{KindEvent, KindState, Watched};
use crate::path_watch::PathWatch;

/// How long a start job waits for a device, unless the unit says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// `NETLINK_KOBJECT_UEVENT` and its group of messages of the kernel.
const UEVENTS: (i32, u32) = (15, 1);
/// Messages taken before the devices are looked at.
const MESSAGES_MAX: usize = 4096;

/// Is the device there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum DeviceState {
    #[default]
    Dead,
    Plugged,
}

impl DeviceState {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self {
            DeviceState::Dead => "dead",
            DeviceState::Plugged => "plugged",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self {
            DeviceState::Dead => Active::Inactive,
            DeviceState::Plugged => Active::Active,
        }
    }
}

/// The watch of a device below /dev, and the key of its file.
#[derive(Debug)]
pub struct DeviceWatch {
    watch: PathWatch,
    key: u64,
}

/// The place of a device in the file system, told by the name of its unit.
pub fn place(name: &UnitName) -> Option<String> {
    ferrite_unit::escape::unescape_path(name.stem()).filter(|_| name.kind() == UnitKind::Device)
}

/// Where sysfs tells of a device.
pub fn sysfs_path(name: &UnitName) -> Option<String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let place = place(name)?;
    let found = if place.starts_with("/sys/") {
        sysfs_places(&place).into_iter().find_map(|path| std::fs::canonicalize(path).ok())?
    } else {
        let node = std::fs::metadata(&place).ok()?;
        let class = match node.file_type() {
            kind if kind.is_block_device() => "block",
            kind if kind.is_char_device() => "char",
            _ => return None,
        };
        let number = node.rdev();
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        std::fs::canonicalize(format!("/sys/dev/{class}/{major}:{minor}")).ok()?
    };
    found.to_str().map(str::to_owned)
}

/// Places in sysfs that device managers make up are in one of two directories.
fn sysfs_places(path: &str) -> Vec<String> {
    let made_up = path.strip_prefix("/sys/subsystem/").and_then(|rest| rest.split_once("/devices/"));
    match made_up {
        Some((subsystem, name)) => {
            vec![format!("/sys/class/{subsystem}/{name}"), format!("/sys/bus/{subsystem}/devices/{name}")]
        }
        None => vec![path.to_owned()],
    }
}

/// Is the device there?
fn is_present(path: &str) -> bool {
    if path.starts_with("/sys/") {
        return sysfs_places(path).iter().any(|place| std::path::Path::new(place).exists());
    }
    let kind = std::fs::metadata(path).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_block_device() || kind.is_char_device())
}

impl Engine {
    /// A unit is new in the table.
    pub fn kind_added(&mut self, id: UnitId) {
        if !matches!(self.kind_state(id), Some(KindState::Device(_))) {
            return;
        }
        let path = self.units.get(id).and_then(|runtime| place(&runtime.unit.name)).unwrap_or_default();
        self.watch_device(id, &path);
        if is_present(&path) {
            let now = self.now_us();
            self.set_kind(id, KindState::Device(DeviceState::Plugged));
            if let Some(runtime) = self.units.get_mut(id) {
                let times = &mut runtime.times;
                (times.change, times.inactive_exit, times.active_enter) = (now, now, now);
            }
        }
    }

    /// Waits for the device to come or go.
    fn watch_device(&mut self, id: UnitId, path: &str) {
        self.unwatch_device(id);
        if path.starts_with("/sys/") {
            return self.listen_for_devices();
        }
        let key = self.kinds.watch(Watched::Device(id));
        let watched = PathWatch::new(Watch::Exists, path).and_then(|watch| {
            self.epoll.add(&watch.file, key)?;
            Ok(DeviceWatch { watch, key })
        });
        match watched {
            Ok(watch) => drop(self.kinds.devices.insert(id, watch)),
            Err(error) => {
                self.kinds.unwatch(key);
                self.log.warning(&format!("watching {path}: {error}, its unit stays as it is"));
            }
        }
    }

    /// Stops watching, before the unit is forgotten.
    pub fn unwatch_device(&mut self, id: UnitId) {
        if let Some(DeviceWatch { watch, key }) = self.kinds.devices.remove(&id) {
            // The file is closed right afterwards.
            let _ = self.epoll.remove(&watch.file);
            self.kinds.unwatch(key);
        }
    }

    /// The directories or the node of a device changed.
    pub fn device_ready(&mut self, id: UnitId) {
        let Some(path) = self.units.get(id).and_then(|runtime| place(&runtime.unit.name)) else { return };
        if let Some(device) = self.kinds.devices.get(&id) {
            device.watch.take(Watch::Exists);
        }
        // What is watched hangs on what is there.
        self.watch_device(id, &path);
        self.look_at_device(id);
    }

    fn look_at_device(&mut self, id: UnitId) {
        let Some(KindState::Device(before)) = self.kind_state(id) else { return };
        let path = self.units.get(id).and_then(|runtime| place(&runtime.unit.name)).unwrap_or_default();
        let after = if is_present(&path) { DeviceState::Plugged } else { DeviceState::Dead };
        if before != after {
            self.set_kind(id, KindState::Device(after));
            self.changed(id, before.active());
        }
    }

    /// Takes one event of a device: its start waits, and its stop means nothing.
    pub fn device_event(&mut self, id: UnitId, event: KindEvent) {
        match event {
            KindEvent::Start => self.look_at_device(id),
            KindEvent::Stop => {
                if let Some(job) = self.units.get(id).and_then(|runtime| runtime.job) {
                    self.finish_job(job, JobResult::Invalid);
                }
            }
            _ => {}
        }
    }

    /// Opens the kernel's messages about devices.
    fn listen_for_devices(&mut self) {
        if self.kinds.uevents.is_some() {
            return;
        }
        let key = self.kinds.watch(Watched::Uevents);
        let opened = ferrite_sys::socket::make(libc::AF_NETLINK, libc::SOCK_RAW, UEVENTS.0).and_then(|socket| {
            ferrite_sys::socket::bind(&socket, &NetlinkAddr::new(0, UEVENTS.1))?;
            self.epoll.add(&socket, key)?;
            Ok(socket)
        });
        match opened {
            Ok(socket) => self.kinds.uevents = Some(socket),
            Err(error) => {
                self.kinds.unwatch(key);
                self.log.warning(&format!("listening for devices: {error}, those of sysfs are seen late"));
            }
        }
    }

    /// The kernel tells of devices: all that are not below /dev are looked at.
    pub fn uevents_ready(&mut self) {
        if let Some(socket) = &self.kinds.uevents {
            drain(socket);
        }
        let of_sysfs = |name: &UnitName| place(name).is_some_and(|path| path.starts_with("/sys/"));
        let ids: Vec<UnitId> =
            self.units.iter().filter(|(_, runtime)| of_sysfs(&runtime.unit.name)).map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.look_at_device(id));
    }
}

/// Takes the messages; what they say is looked up anyway, so that lost ones do not matter.
fn drain(socket: &OwnedFd) {
    let mut buffer = [0_u8; 8192];
    for _ in 0..MESSAGES_MAX {
        match rustix::io::read(socket, &mut buffer) {
            Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_names() {
        let at = |name: &str| place(&UnitName::parse(name).unwrap());
        assert_eq!(at("dev-disk-by\\x2duuid-5.device").as_deref(), Some("/dev/disk/by-uuid/5"));
        assert_eq!(at("dev-sda.swap"), None);
        assert_eq!(
            sysfs_places("/sys/subsystem/net/devices/eth0"),
            ["/sys/class/net/eth0", "/sys/bus/net/devices/eth0"]
        );
        assert!(is_present("/dev/null") && !is_present("/dev/shm") && is_present("/sys/subsystem/net/devices/lo"));
    }
}
