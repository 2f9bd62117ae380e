//! The power button: what a person, a hypervisor or a cloud presses so that the machine is switched off in order.
//!
//! `has_key` and `pressed` are pure; [`Buttons`] holds the open input devices. A press only asks PID 1, which stops all
//! units as for `systemctl poweroff`; pressing again while it does so changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ferrite_control::{Client, ClientError, Request, SOCKET_PATH, ShutdownAction};

use crate::uevent::Action;

/// From the kernel's `input-event-codes.h`.
const EV_KEY: u16 = 1;
const KEY_POWER: u16 = 116;
const KEY_POWER2: u16 = 0x164;
const KEY_RESTART: u16 = 0x198;
/// The value of a key that goes down; 0 is up, 2 is held.
const DOWN: i32 = 1;
/// `struct input_event` of 64-bit machines: two words of time, type, code, value.
const EVENT_BYTES: usize = 24;
const EVENTS_A_READ: usize = 64;

/// What a button asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Switch the machine off.
    Off,
    /// Restart it.
    Restart,
}

/// Whether the kernel's bitmap of keys (words of 64 bits in hex, the highest first) has a key.
fn has_key(bitmap: &str, key: u16) -> bool {
    let word = bitmap.split_whitespace().rev().nth(usize::from(key / 64));
    word.and_then(|word| u64::from_str_radix(word, 16).ok()).is_some_and(|word| word >> (key % 64) & 1 == 1)
}

/// The first wish among raw events.
fn pressed(events: &[u8]) -> Option<Wish> {
    events.as_chunks::<EVENT_BYTES>().0.iter().find_map(|event| {
        let [.., t0, t1, c0, c1, v0, v1, v2, v3] = *event;
        let (kind, code) = (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([c0, c1]));
        if kind != EV_KEY || i32::from_le_bytes([v0, v1, v2, v3]) != DOWN {
            return None;
        }
        match code {
            KEY_POWER | KEY_POWER2 => Some(Wish::Off),
            KEY_RESTART => Some(Wish::Restart),
            _ => None,
        }
    })
}

/// The open input devices that have such a key, by the name of their node.
#[derive(Debug)]
pub(crate) struct Buttons {
    root: PathBuf,
    devices: BTreeMap<String, File>,
}

impl Buttons {
    /// Opens those that are there.
    pub(crate) fn open(root: &Path) -> Self {
        let mut buttons = Self { root: root.to_path_buf(), devices: BTreeMap::new() };
        buttons.scan();
        buttons
    }

    /// Looks at all input devices again.
    pub(crate) fn scan(&mut self) {
        for path in crate::coldplug::entries(&self.root.join("sys/class/input")) {
            if let Some(name) = path.file_name() {
                self.update(&format!("input/{}", name.to_string_lossy()), Action::Add);
            }
        }
    }

    /// An input device came or went.
    pub(crate) fn update(&mut self, node: &str, action: Action) {
        let Some(name) = node.strip_prefix("input/").filter(|name| name.starts_with("event")) else { return };
        match action {
            Action::Remove => drop(self.devices.remove(node)),
            Action::Add if !self.devices.contains_key(node) => {
                let keys = self.root.join("sys/class/input").join(name).join("device/capabilities/key");
                let keys = std::fs::read_to_string(keys).unwrap_or_default();
                if ![KEY_POWER, KEY_POWER2, KEY_RESTART].iter().any(|key| has_key(&keys, *key)) {
                    return;
                }
                let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
                let path = self.root.join("dev").join(node);
                match File::options().read(true).custom_flags(nonblocking).open(&path) {
                    Ok(file) => drop(self.devices.insert(node.to_owned(), file)),
                    Err(error) => {
                        eprintln!("warning: opening '{}': {error}, its power button does nothing", path.display());
                    }
                }
            }
            Action::Add | Action::Change | Action::Other => {}
        }
    }

    /// What is waited for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.values().map(AsFd::as_fd)
    }

    /// Reads what waits in all devices.
    pub(crate) fn read(&mut self) -> Option<Wish> {
        let mut wish = None;
        self.devices.retain(|_, device| {
            let mut events = [0; EVENT_BYTES * EVENTS_A_READ];
            loop {
                match device.read(&mut events) {
                    Ok(0) => return false,
                    Ok(length) => wish = wish.or_else(|| pressed(events.get(..length).unwrap_or_default())),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return true,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    // The device went away; the message about it follows.
                    Err(_) => return false,
                }
            }
        });
        wish
    }
}

/// Asks PID 1.
pub(crate) fn ask(wish: Wish) {
    let (action, word) = match wish {
        Wish::Off => (ShutdownAction::Poweroff, "switching the machine off"),
        Wish::Restart => (ShutdownAction::Reboot, "restarting the machine"),
    };
    eprintln!("the power button was pressed, {word}");
    let asked = || -> Result<(), ClientError> {
        Client::connect(Path::new(SOCKET_PATH))?
            .ask(&Request::Shutdown { action, force: 0, argument: None })
            .map(|_| ())
    };
    if let Err(error) = asked() {
        eprintln!("error: {word}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        let mut bytes = vec![0xff; 16];
        bytes.extend(kind.to_le_bytes());
        bytes.extend(code.to_le_bytes());
        bytes.extend(value.to_le_bytes());
        bytes
    }

    #[test]
    fn the_key_is_found_in_the_kernels_bitmap() {
        let button = "8000 10000000000000 0";
        let keyboard = "402000002 3803078f800d001 feffffdfffefffff fffffffffffffffe";
        let mouse = "1f0000 0 0 0 0";
        assert!(has_key(button, KEY_POWER) && has_key(keyboard, KEY_POWER));
        assert!(!has_key(mouse, KEY_POWER));
        assert!(has_key(keyboard, 1) && !has_key(keyboard, 0));
        assert!(!has_key(button, KEY_RESTART));
        assert!(!has_key("", KEY_POWER));
    }

    #[test]
    fn only_a_key_that_goes_down_counts() {
        let quiet = [event(0, 0, 0), event(EV_KEY, KEY_POWER, 0), event(EV_KEY, 30, DOWN)].concat();
        assert_eq!(pressed(&quiet), None);
        assert_eq!(pressed(&[quiet.clone(), event(EV_KEY, KEY_POWER, DOWN)].concat()), Some(Wish::Off));
        assert_eq!(pressed(&event(EV_KEY, KEY_RESTART, DOWN)), Some(Wish::Restart));
        assert_eq!(pressed(&event(EV_KEY, KEY_POWER, DOWN)[..20]), None);
    }

    #[test]
    fn only_devices_with_the_key_are_opened_and_they_go_when_they_end() {
        let root = tempfile::tempdir().unwrap();
        for (name, keys) in [("event0", "1f0000 0 0 0 0"), ("event1", "10000000000000 0")] {
            let device = root.path().join("sys/class/input").join(name).join("device/capabilities");
            std::fs::create_dir_all(&device).unwrap();
            std::fs::write(device.join("key"), keys).unwrap();
            std::fs::create_dir_all(root.path().join("dev/input")).unwrap();
            std::fs::write(root.path().join("dev/input").join(name), event(EV_KEY, KEY_POWER, DOWN)).unwrap();
        }
        let mut buttons = Buttons::open(root.path());
        assert_eq!(buttons.devices.keys().collect::<Vec<_>>(), ["input/event1"]);
        assert_eq!(buttons.descriptors().count(), 1);
        assert_eq!(buttons.read(), Some(Wish::Off));
        assert_eq!(buttons.descriptors().count(), 0);
        buttons.scan();
        buttons.update("input/event1", Action::Remove);
        assert_eq!(buttons.descriptors().count(), 0);
    }
}
