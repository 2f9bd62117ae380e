//! The text above the login prompt and after login. Pure: short, aligned, plain ASCII, at most 80 columns.

use ferrite_layout::BootFacts;
use ferrite_layout::facts::StateKind;
use ferrite_layout::snapshot::Snapshot;

use crate::fingerprint::Fingerprint;

const WIDTH: usize = 79;
const LABEL_WIDTH: usize = 12;
/// Most failed units that are named.
const MAX_UNITS: usize = 8;

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
    /// Of every host key.
    pub fingerprints: Vec<Fingerprint>,
    /// Names of failed units; `None` when PID 1 could not be asked.
    pub failed_units: Option<Vec<String>>,
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
    let units = facts.failed_units.as_deref().unwrap_or_default();
    for unit in units.iter().take(MAX_UNITS) {
        lines.add("failed unit", unit);
    }
    if units.len() > MAX_UNITS {
        lines.add("failed unit", &format!("and {} more: systemctl list-units --failed", units.len() - MAX_UNITS));
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
