//! The text above the login prompt and after login. Pure: short, aligned, plain ASCII, at most 80 columns.

use ferrite_layout::BootFacts;
use ferrite_layout::facts::StateKind;
use ferrite_layout::snapshot::Snapshot;

use crate::fingerprint::Fingerprint;

const WIDTH: usize = 79;
const LABEL_WIDTH: usize = 12;
/// Most failed units that are named.
const MAX_UNITS: usize = 8;
/// Most faults of the documents that are told; `ferrite-cloudinit status` tells them all.
const MAX_FAULTS: usize = 3;

/// Everything the banner tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Name of the system, from os-release.
    pub name: String,
    /// What early boot found; `None` when it left nothing.
    pub boot: Option<BootFacts>,
    /// Slot flags and boot record as they are now.
    pub slots: Option<Snapshot>,
    /// Text of /run/ferrite/network.
    pub network: String,
    /// Text of /run/ferrite/cloudinit/status.
    pub cloud_config: String,
    /// Text of /run/ferrite/update-pending; empty when no release waits for a restart.
    pub update: String,
    /// Of every host key.
    pub fingerprints: Vec<Fingerprint>,
    /// Names of failed units; `None` when PID 1 could not be asked.
    pub failed_units: Option<Vec<String>>,
}

impl Facts {
    /// Whether a link has an address.
    pub fn has_address(&self) -> bool {
        !addresses(&self.network).is_empty()
    }
}

/// The two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner {
    /// For agetty, which treats a backslash as the start of an escape.
    pub issue: String,
    /// For sshd and login.
    pub motd: String,
}

/// Renders both.
pub fn render(facts: &Facts) -> Banner {
    let title = title(facts);
    let mut lines = Lines::default();
    if let Some(boot) = &facts.boot {
        lines.add("slot", &slot_text(boot, facts.slots.as_ref()));
    }
    let addresses = addresses(&facts.network);
    for address in &addresses {
        lines.add("address", address);
    }
    if addresses.is_empty() {
        lines.add("address", "none yet");
    }
    add_update(&facts.update, &mut lines);
    for key in &facts.fingerprints {
        lines.add("host key", &format!("{} ({})", key.digest, key.algorithm));
    }
    let mut trouble = Lines::default();
    add_trouble(facts, &mut trouble);
    let rest = if trouble.text.is_empty() { String::new() } else { format!("\n{}", trouble.text) };
    let motd = format!("{title}\n\n{}{rest}\n", lines.text);
    Banner { issue: format!("\n{}", motd.replace('\\', "\\\\")), motd }
}

fn title(facts: &Facts) -> String {
    let name = if facts.name.is_empty() { "Ferrite" } else { &facts.name };
    let mut title = ascii(name);
    if let Some(boot) = &facts.boot {
        if !boot.version.is_empty() {
            title.push_str(&format!(" {}", ascii(&boot.version)));
        }
        if !boot.board.is_empty() {
            title.push_str(&format!(" on board {}", ascii(&boot.board)));
        }
    }
    title
}

fn slot_text(boot: &BootFacts, slots: Option<&Snapshot>) -> String {
    let Some(slot) = boot.slot else {
        return "none: started from the network".to_string();
    };
    let now = slots.and_then(|slots| slots.flags).map(|flags| flags.flags(slot).good());
    match now.or(boot.slot_good) {
        Some(true) => format!("{slot}, good"),
        Some(false) if boot.tries_left == 0 => format!("{slot}, on trial: this is the last try"),
        Some(false) => format!("{slot}, on trial: {} more tries before the other slot is used", boot.tries_left),
        None => format!("{slot}, flags unreadable"),
    }
}

fn add_trouble(facts: &Facts, lines: &mut Lines) {
    if let Some(boot) = &facts.boot {
        let recorded = facts.slots.as_ref().and_then(|slots| slots.record.as_ref());
        // The snapshot is newer: after a good start of the slot that had failed, the note is gone.
        let fallback = match recorded {
            Some(record) => record.fallback.as_ref(),
            None => boot.fallback.as_ref(),
        };
        if let Some(fallback) = fallback {
            let version = fallback.version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
            lines.add("fallback", &format!("slot {}{version} was given up: {}", fallback.from, fallback.reason));
        }
        if boot.state == StateKind::Volatile {
            let reason = if boot.state_reason.is_empty() { String::new() } else { format!(" ({})", boot.state_reason) };
            lines.add("state", &format!("IN MEMORY ONLY, all changes are lost at reboot{reason}"));
        }
        for warning in &boot.warnings {
            lines.add("warning", warning);
        }
    }
    add_cloud_config(&facts.cloud_config, lines);
    let units = facts.failed_units.as_deref().unwrap_or_default();
    for unit in units.iter().take(MAX_UNITS) {
        lines.add("failed unit", unit);
    }
    if units.len() > MAX_UNITS {
        lines.add("failed unit", &format!("and {} more: systemctl list-units --failed", units.len() - MAX_UNITS));
    }
}

/// The release that waits for a restart. `key=value` lines.
fn add_update(pending: &str, lines: &mut Lines) {
    let value = |key: &str| pending.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    if let (Some(version), Some(restart)) = (value("version"), value("restart")) {
        lines.add("update", &format!("release {version} waits for a restart: {restart}"));
    }
}

/// What became of the documents of the machine, when that is not all they asked for. `key=value` lines.
fn add_cloud_config(status: &str, lines: &mut Lines) {
    let state = status.lines().find_map(|line| line.strip_prefix("state=")).unwrap_or_default();
    if !["failed", "degraded"].contains(&state) {
        return;
    }
    let summary =
        status.lines().find_map(|line| line.strip_prefix("summary=")).unwrap_or("see ferrite-cloudinit status");
    lines.add("user-data", &format!("DEGRADED: {summary}"));
    let faults: Vec<&str> = status
        .lines()
        .filter_map(|line| line.strip_prefix("fault="))
        .filter(|fault| !fault.contains(": warning: "))
        .collect();
    for fault in faults.iter().take(MAX_FAULTS) {
        lines.add("user-data", fault);
    }
    if faults.len() > MAX_FAULTS {
        let more = faults.len() - MAX_FAULTS;
        lines.add("user-data", &format!("and {more} more: ferrite-cloudinit status"));
    }
}

/// `ADDRESS on LINK` for every link with an address; a line of the file is `link state address gateway dns`.
fn addresses(network: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for line in network.lines().take(64) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(link), Some(address)) = (words.first(), words.get(2)) else { continue };
        let plain = address.split('/').next().unwrap_or(address);
        if plain.parse::<std::net::IpAddr>().is_ok() {
            addresses.push(format!("{plain} on {link}"));
        }
    }
    addresses
}

/// Labelled lines; long values go on under themselves, a repeated label is not repeated.
#[derive(Default)]
struct Lines {
    text: String,
    last_label: String,
}

impl Lines {
    fn add(&mut self, label: &str, value: &str) {
        let shown = if self.last_label == label { "" } else { label };
        let mut line = format!("  {shown:<LABEL_WIDTH$}");
        let mut empty = true;
        for word in ascii(value).split(' ').filter(|word| !word.is_empty()) {
            if !empty && line.len() + 1 + word.len() > WIDTH {
                self.push(&line);
                line = " ".repeat(2 + LABEL_WIDTH);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.push(&line);
        self.last_label = label.to_string();
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

/// No byte of a value may steer a terminal.
fn ascii(value: &str) -> String {
    value.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::record::Fallback;
    use ferrite_layout::{Record, Slot, SlotState};
    use std::path::Path;

    fn key(algorithm: &str) -> Fingerprint {
        Fingerprint { algorithm: algorithm.into(), digest: format!("SHA256:{}", "x".repeat(43)) }
    }

    fn plain() -> Facts {
        let boot = BootFacts {
            board: "qemu".into(),
            version: "0.1.0".into(),
            slot: Some(Slot::A),
            slot_good: Some(true),
            ..BootFacts::default()
        };
        let flags = SlotState::fresh();
        let record = Record::default().start(Some(&flags), Slot::A, "0.1.0").complete(Slot::A);
        Facts {
            name: "Ferrite".into(),
            boot: Some(boot),
            slots: Some(Snapshot {
                running: Some(Slot::A),
                version: Some("0.1.0".into()),
                flags: Some(flags),
                record: Some(record),
            }),
            network: "eth0 configured 10.0.2.15/24 10.0.2.2 10.0.2.3\neth1 no-carrier - - -\n".into(),
            cloud_config: "state=ok\nfault=user-data:2:1: warning: 'packages' has no meaning\n".into(),
            update: String::new(),
            fingerprints: vec![key("ED25519"), key("RSA")],
            failed_units: Some(Vec::new()),
        }
    }

    fn in_trouble() -> Facts {
        let mut facts = plain();
        let reason =
            "started 3 times: the root on /dev/vda7 does not match its hash (dm-verity: block 4711 is corrupt)";
        if let Some(record) = facts.slots.as_mut().and_then(|slots| slots.record.as_mut()) {
            record.fallback = Some(Fallback { from: Slot::B, version: Some("0.2.0".into()), reason: reason.into() });
        }
        if let Some(boot) = &mut facts.boot {
            boot.state = StateKind::Volatile;
            boot.state_reason = "ext4 on /dev/vda9 cannot be mounted: Structure needs cleaning".into();
            boot.warnings = vec!["two disks have the same partition GUIDs: /dev/vda and /dev/vdb".into()];
        }
        facts.cloud_config = format!(
            "state=failed\nsummary=nothing of the user-data was applied\n{}",
            "fault=user-data:3:1: error: not YAML\n".repeat(5)
        );
        facts.failed_units = Some((0..10).map(|n| format!("unit{n}.service")).collect());
        facts
    }

    fn golden(name: &str, text: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("the folder can be made");
            std::fs::write(&path, text).expect("the golden file can be written");
        }
        let wanted = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text == wanted, "{} differs; review with UPDATE_GOLDEN=1 and git diff. Now:\n{text}", path.display());
    }

    #[test]
    fn a_healthy_and_a_troubled_machine_look_as_in_the_golden_files() {
        golden("healthy.txt", &render(&plain()).motd);
        golden("troubled.txt", &render(&in_trouble()).motd);
    }

    #[test]
    fn nothing_known_still_makes_a_banner() {
        assert_eq!(render(&Facts::default()).motd, "Ferrite\n\n  address     none yet\n\n");
    }

    #[test]
    fn every_line_is_printable_ascii_of_at_most_79_columns() {
        let mut facts = in_trouble();
        facts.failed_units = Some(vec!["\u{1b}[31m\\d\u{e9}.service".into()]);
        facts.network = format!("{} configured 10.0.0.1/8 - -\n\n x\n", "\u{7}eth");
        let banner = render(&facts);
        for line in banner.motd.lines() {
            assert!(line.len() < 80 && line.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{line:?}");
        }
        assert!(banner.motd.contains("?[31m\\d?.service"));
        assert!(banner.issue.contains("?[31m\\\\d?.service"), "agetty must not see an escape");
    }

    #[test]
    fn a_release_that_waits_is_told_with_the_time_of_the_restart() {
        let update = "version=1.3\nserial=3\nrestart=at 2026-01-01 23:00 UTC\n".to_string();
        let motd = render(&Facts { update, ..plain() }).motd;
        let line = "\n  update      release 1.3 waits for a restart: at 2026-01-01 23:00 UTC\n";
        assert!(motd.contains(line), "{motd}");
        for broken in ["", "version=1.3\n", "restart=x", "\u{1b}"] {
            assert!(!render(&Facts { update: broken.into(), ..plain() }).motd.contains("update "), "{broken}");
        }
    }

    #[test]
    fn the_slot_line_says_what_is_proved() {
        let text = |good: Option<bool>, tries_left, flags: Option<SlotState>| {
            let boot = BootFacts { slot: Some(Slot::B), slot_good: good, tries_left, ..BootFacts::default() };
            slot_text(&boot, Some(&Snapshot { flags, ..Snapshot::default() }))
        };
        assert_eq!(text(Some(true), 0, None), "b, good");
        assert_eq!(text(Some(false), 2, None), "b, on trial: 2 more tries before the other slot is used");
        assert_eq!(text(Some(false), 0, None), "b, on trial: this is the last try");
        assert_eq!(text(None, 0, None), "b, flags unreadable");
        assert_eq!(text(Some(false), 2, Some(SlotState::fresh().mark_good(Slot::B))), "b, good");
        assert_eq!(slot_text(&BootFacts::default(), None), "none: started from the network");
    }

    #[test]
    fn a_note_of_early_boot_is_shown_unless_the_newer_record_has_none() {
        let mut facts = plain();
        let fallback = Fallback { from: Slot::B, version: None, reason: "why".into() };
        if let Some(boot) = &mut facts.boot {
            boot.fallback = Some(fallback);
        }
        assert!(!render(&facts).motd.contains("given up"));
        facts.slots = None;
        assert!(render(&facts).motd.contains("fallback    slot b was given up: why"));
    }
}
