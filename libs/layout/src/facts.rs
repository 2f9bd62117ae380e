//! `/run/ferrite/boot`: what early boot found out, for everybody. Pure.
//!
//! One `key=value` a line; unknown keys are skipped.

use std::fmt::Write as _;
use std::time::Duration;

use crate::keyvalue;
use crate::record::Fallback;
use crate::slots::Slot;

/// Where the facts lie.
pub const FACTS_PATH: &str = "/run/ferrite/boot";

/// How the machine was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Firmware {
    /// Legacy BIOS.
    #[default]
    Bios,
    /// UEFI.
    Uefi,
}

/// What became of the state partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateKind {
    /// Mounted as it was.
    #[default]
    Ok,
    /// A new file system was made.
    Created,
    /// In memory: nothing survives the next reboot.
    Volatile,
}

/// The facts of this boot. A text that is empty is not written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootFacts {
    /// Name of the board.
    pub board: String,
    /// Version of the image.
    pub version: String,
    /// The slot that runs; `None` when there are none (network boot).
    pub slot: Option<Slot>,
    /// How the machine was started.
    pub firmware: Firmware,
    /// Root hash, 64 hexadecimal digits.
    pub root_hash: String,
    /// The whole disk.
    pub disk: String,
    /// Partition of the root.
    pub root_device: String,
    /// Boot control partition.
    pub bootctl_device: String,
    /// State partition.
    pub state_device: String,
    /// OEM partition.
    pub oem_device: String,
    /// What became of the state partition.
    pub state: StateKind,
    /// Why, when it is not `Ok`.
    pub state_reason: String,
    /// Whether this is the first boot of this disk.
    pub first_boot: bool,
    /// Whether the slot was good at this start; `None` when the flags could not be read.
    pub slot_good: Option<bool>,
    /// Tries left of a slot under test.
    pub tries_left: u8,
    /// Starts in a row without boot-complete, this one included.
    pub starts: u32,
    /// The last fallback.
    pub fallback: Option<Fallback>,
    /// Name of the watchdog, or empty.
    pub watchdog: String,
    /// What went wrong without stopping the boot.
    pub warnings: Vec<String>,
    /// Time from the start of the kernel to the start of early boot.
    pub until_initrd: Duration,
    /// Time until the root was mounted.
    pub until_root: Duration,
    /// Time until the switch to the root.
    pub until_switch: Duration,
}

impl BootFacts {
    /// The text of the file.
    pub fn render(&self) -> String {
        let yes_no = |yes: bool| if yes { "yes" } else { "no" };
        let mut lines: Vec<(&str, String)> = vec![
            ("board", self.board.clone()),
            ("version", self.version.clone()),
            ("slot", self.slot.map_or("none", Slot::letter).to_string()),
            ("firmware", if self.firmware == Firmware::Bios { "bios" } else { "uefi" }.to_string()),
            ("root-hash", self.root_hash.clone()),
            ("disk", self.disk.clone()),
            ("root-device", self.root_device.clone()),
            ("bootctl-device", self.bootctl_device.clone()),
            ("state-device", self.state_device.clone()),
            ("oem-device", self.oem_device.clone()),
            ("state", state_word(self.state).to_string()),
            ("state-reason", self.state_reason.clone()),
            ("first-boot", yes_no(self.first_boot).to_string()),
            ("slot-good", self.slot_good.map_or("", yes_no).to_string()),
            ("tries-left", self.tries_left.to_string()),
            ("starts", self.starts.to_string()),
        ];
        if let Some(fallback) = &self.fallback {
            lines.push(("fallback-from", fallback.from.letter().to_string()));
            lines.push(("fallback-version", fallback.version.clone().unwrap_or_default()));
            lines.push(("fallback-reason", fallback.reason.clone()));
        }
        lines.push(("watchdog", if self.watchdog.is_empty() { "none".to_string() } else { self.watchdog.clone() }));
        lines.push(("warnings", self.warnings.join("; ")));
        lines.push(("t-initrd", format!("{:.6}", self.until_initrd.as_secs_f64())));
        lines.push(("t-root", format!("{:.2}", self.until_root.as_secs_f64())));
        lines.push(("t-switch", format!("{:.2}", self.until_switch.as_secs_f64())));
        let mut text = String::new();
        for (key, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{key}={}", keyvalue::clean(value, 1024));
        }
        text
    }

    /// Reads the text of the file; what is missing keeps its default.
    pub fn parse(text: &str) -> BootFacts {
        let pairs = keyvalue::parse(text);
        let value = |key: &str| pairs.get(key).copied().unwrap_or("");
        let owned = |key: &str| value(key).to_string();
        let seconds = |key: &str| {
            value(key).parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or_default()
        };
        let fallback = Slot::parse(value("fallback-from")).map(|from| Fallback {
            from,
            version: Some(owned("fallback-version")).filter(|version| !version.is_empty()),
            reason: owned("fallback-reason"),
        });
        BootFacts {
            board: owned("board"),
            version: owned("version"),
            slot: Slot::parse(value("slot")),
            firmware: if value("firmware") == "uefi" { Firmware::Uefi } else { Firmware::Bios },
            root_hash: owned("root-hash"),
            disk: owned("disk"),
            root_device: owned("root-device"),
            bootctl_device: owned("bootctl-device"),
            state_device: owned("state-device"),
            oem_device: owned("oem-device"),
            state: state_kind(value("state")),
            state_reason: owned("state-reason"),
            first_boot: value("first-boot") == "yes",
            slot_good: yes_or_no(value("slot-good")),
            tries_left: value("tries-left").parse().unwrap_or(0),
            starts: value("starts").parse().unwrap_or(0),
            fallback,
            watchdog: Some(owned("watchdog")).filter(|name| name != "none").unwrap_or_default(),
            warnings: value("warnings").split("; ").filter(|text| !text.is_empty()).map(str::to_string).collect(),
            until_initrd: seconds("t-initrd"),
            until_root: seconds("t-root"),
            until_switch: seconds("t-switch"),
        }
    }
}

fn yes_or_no(word: &str) -> Option<bool> {
    match word {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn state_word(state: StateKind) -> &'static str {
    match state {
        StateKind::Ok => "ok",
        StateKind::Created => "created",
        StateKind::Volatile => "volatile",
    }
}

fn state_kind(word: &str) -> StateKind {
    match word {
        "created" => StateKind::Created,
        "volatile" => StateKind::Volatile,
        _ => StateKind::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> BootFacts {
        BootFacts {
            board: "qemu".into(),
            version: "0.1.0".into(),
            slot: Some(Slot::A),
            firmware: Firmware::Uefi,
            root_hash: "ab".repeat(32),
            disk: "/dev/vda".into(),
            root_device: "/dev/vda5".into(),
            bootctl_device: "/dev/vda3".into(),
            state_device: "/dev/vda9".into(),
            oem_device: "/dev/vda8".into(),
            state: StateKind::Volatile,
            state_reason: "superblock of /dev/vda9 is damaged".into(),
            first_boot: true,
            slot_good: Some(false),
            tries_left: 2,
            starts: 1,
            fallback: Some(Fallback {
                from: Slot::B,
                version: Some("0.2.0".into()),
                reason: "started 3 times, last reached early boot".into(),
            }),
            watchdog: "i6300esb".into(),
            warnings: vec!["one".into(), "two".into()],
            until_initrd: Duration::from_millis(1250),
            until_root: Duration::from_millis(2500),
            until_switch: Duration::from_millis(3000),
        }
    }

    #[test]
    fn facts_are_read_back() {
        for facts in [full(), BootFacts::default(), BootFacts { slot_good: None, ..full() }] {
            assert_eq!(BootFacts::parse(&facts.render()), facts);
        }
    }

    #[test]
    fn the_text_is_the_one_that_others_read() {
        let wanted = "board=qemu\nversion=0.1.0\nslot=a\nfirmware=uefi\n";
        assert!(full().render().starts_with(wanted));
        assert!(full().render().contains("\nfallback-from=b\nfallback-version=0.2.0\n"));
        assert!(full().render().ends_with("warnings=one; two\nt-initrd=1.250000\nt-root=2.50\nt-switch=3.00\n"));
        assert!(BootFacts::default().render().contains("slot=none\n"));
    }

    #[test]
    fn a_value_cannot_forge_another_line() {
        let facts = BootFacts { state_reason: "x\nslot=b\u{1b}[2J".into(), ..full() };
        assert_eq!(BootFacts::parse(&facts.render()).slot, Some(Slot::A));
        assert!(facts.render().is_ascii());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*|([a-z-]{1,12}=[^\n]{0,20}\n){0,20}") {
            let facts = BootFacts::parse(&text);
            let again = BootFacts::parse(&facts.render());
            prop_assert_eq!(again.render(), facts.render());
        }
    }
}
