//! The daemon: follows the kernel's messages about devices.
//!
//! It begins with the devices that are there. The socket is opened before the first look at sysfs, so that nothing
//! falls between the two. When the kernel says that messages were lost, everything is looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use ferrite_notify::Notifier;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};
use rustix::event::{PollFd, PollFlags, poll};

use crate::block::{self, BlockDevice};
use crate::coldplug::Present;
use crate::power_button::{self, Buttons};
use crate::uevent::{self, Action, Uevent};
use crate::{coldplug, disk_links, permissions};

/// The multicast group of the kernel's own messages.
const KERNEL_GROUP: u32 = 1;
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Aliases handed to one loader; more go to the next.
const ALIASES_A_LOAD: usize = 256;
/// Aliases remembered as handled; past it the memory starts anew.
const MAX_REMEMBERED: usize = 10_000;

/// All block devices that are there, by name.
#[derive(Debug)]
pub(crate) struct Disks {
    root: PathBuf,
    devices: BTreeMap<String, BlockDevice>,
}

/// Runs for ever.
pub fn monitor(root: &Path, notifier: &Notifier) -> anyhow::Result<()> {
    let socket = open_socket().context("opening the kernel's device messages")?;
    let Present { mut disks, aliases: mut loaded } = coldplug::present(root);
    if let Err(error) = notifier.ready(&format!("{} block devices", disks.len())) {
        eprintln!("warning: telling PID 1 that the device manager is ready: {error}");
    }
    let mut buttons = Buttons::open(root);
    loop {
        wait(&socket, &buttons).context("waiting for device messages")?;
        if let Some(wish) = buttons.read() {
            power_button::ask(wish);
        }
        match receive(&socket)? {
            Some(events) => {
                handle(root, &events, &mut disks, &mut loaded);
                for event in events.iter().filter(|event| event.subsystem == "input") {
                    if let Some(node) = &event.node {
                        buttons.update(node, event.action);
                    }
                }
            }
            None => {
                eprintln!("warning: the kernel lost device messages, looking at all devices again");
                load_new(coldplug::aliases(root), &mut loaded);
                disks.scan_all();
                disks.update_links();
                buttons.scan();
            }
        }
    }
}

/// Until the kernel says something or a button is pressed.
fn wait(socket: &OwnedFd, buttons: &Buttons) -> rustix::io::Result<()> {
    let mut files = vec![PollFd::new(socket, PollFlags::IN)];
    let pressed = buttons.descriptors().map(|button| PollFd::from_borrowed_fd(button, PollFlags::IN));
    files.extend(pressed);
    rustix::io::retry_on_intr(|| poll(&mut files, None)).map(|_| ())
}

fn open_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
    // Needs CAP_NET_ADMIN; without it the default buffer must do.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

/// All messages that wait; `None` when some were lost.
fn receive(socket: &OwnedFd) -> anyhow::Result<Option<Vec<Uevent>>> {
    let mut events = Vec::new();
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    loop {
        match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut buffer) {
            // Only the kernel sends from port 0; anyone may try.
            Ok((length, Some(sender))) if sender.pid() == 0 => {
                events.extend(uevent::parse(buffer.get(..length).unwrap_or_default()));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(Some(events)),
            Err(Errno::ENOBUFS) => return Ok(None),
            Err(error) => return Err(error).context("receiving device messages"),
        }
    }
}

fn handle(root: &Path, events: &[Uevent], disks: &mut Disks, loaded: &mut BTreeSet<String>) {
    let added = events.iter().filter(|event| event.action == Action::Add);
    load_new(added.filter_map(|event| event.modalias.clone()), loaded);
    let group_file = std::fs::read_to_string(root.join("etc/group")).unwrap_or_default();
    let mut disks_changed = false;
    for event in events {
        let Some(node) = &event.node else {
            continue;
        };
        if event.action == Action::Add
            && let Some(permission) = permissions::wanted(node, &event.subsystem)
        {
            // The device may be gone again; then there is nothing to set.
            let _ = permissions::apply(&root.join("dev"), node, permission, &group_file);
        }
        if event.subsystem == "block" {
            disks_changed |= disks.update(node, event.action);
        }
    }
    if disks_changed {
        disks.update_links();
    }
}

fn load_new(aliases: impl IntoIterator<Item = String>, loaded: &mut BTreeSet<String>) {
    if loaded.len() > MAX_REMEMBERED {
        loaded.clear();
    }
    let new: Vec<String> = aliases.into_iter().filter(|alias| loaded.insert(alias.clone())).collect();
    for aliases in new.chunks(ALIASES_A_LOAD) {
        let mut arguments = vec!["load"];
        arguments.extend(aliases.iter().map(String::as_str));
        if let Err(error) = run_self(&arguments) {
            eprintln!("warning: loading modules: {error:#}, going on without them");
        }
    }
}

/// Another process of this program, which gives its memory back when it ends.
fn run_self(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("/proc/self/exe").args(arguments).status().context("starting ferrite-devices")?;
    if !status.success() {
        bail!("ferrite-devices {} ended with {status}", arguments.first().unwrap_or(&""));
    }
    Ok(())
}

impl Disks {
    /// Knows no device yet.
    pub(crate) fn open(root: &Path) -> Self {
        Self { root: root.to_path_buf(), devices: BTreeMap::new() }
    }

    /// How many devices are known.
    pub(crate) fn len(&self) -> usize {
        self.devices.len()
    }

    /// Looks at all block devices.
    pub(crate) fn scan_all(&mut self) {
        self.devices.clear();
        for path in coldplug::entries(&self.root.join("sys/class/block")) {
            let name = path.file_name().map(|name| name.to_string_lossy().replace('!', "/"));
            if let Some(device) = name.and_then(|name| block::read(&self.root, &name)) {
                self.devices.insert(device.name.clone(), device);
            }
        }
    }

    /// Looks at one device again; returns whether anything is new.
    fn update(&mut self, name: &str, action: Action) -> bool {
        let found = match action {
            Action::Add | Action::Change => block::read(&self.root, name),
            Action::Remove => None,
            Action::Other => return false,
        };
        match found {
            Some(device) => self.devices.insert(name.to_string(), device.clone()) != Some(device),
            None => self.devices.remove(name).is_some(),
        }
    }

    /// Makes /dev/disk agree with the devices.
    pub(crate) fn update_links(&self) {
        let disk = self.root.join("dev/disk");
        for change in disk_links::plan(&disk_links::current(&disk), &disk_links::wanted(self.devices.values())) {
            if let Err(error) = disk_links::apply(&disk, &change) {
                eprintln!("warning: {change:?}: {error}, going on");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_messages_can_be_listened_to() {
        let socket = open_socket().unwrap();
        assert_eq!(receive(&socket).unwrap().map(|_| ()), Some(()));
    }

    #[test]
    fn a_removed_device_takes_its_links_with_it() {
        let root = tempfile::tempdir().unwrap();
        let mut disks = Disks::open(root.path());
        let device = BlockDevice { name: "vda1".into(), partition_name: Some("x".into()), ..BlockDevice::default() };
        disks.devices.insert("vda1".into(), device);
        disks.update_links();
        let link = root.path().join("dev/disk/by-partlabel/x");
        assert!(link.is_symlink());
        assert!(disks.update("vda1", Action::Remove));
        disks.update_links();
        assert!(!link.is_symlink());
    }
}
