//! The kernel command line and what it asks of early boot. Pure.

use std::time::Duration;

use anyhow::{Context, anyhow};
use ferrite_layout::{RootHash, Slot};
use uuid::Uuid;

const DEFAULT_WATCHDOG: Duration = Duration::from_secs(60);

/// Splits at blanks outside double quotes, as the kernel does; the quotes go.
pub fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut started) = (String::new(), false, false);
    for character in text.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                started = true;
            }
            blank if blank.is_whitespace() && !quoted => {
                if started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            other => {
                word.push(other);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

/// The root that the kernel was built to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedRoot {
    /// Digest of the top of its hash tree.
    pub hash: RootHash,
    /// Number of data blocks.
    pub data_blocks: u64,
}

/// What the boot loader says about where it read the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// GUID of the boot partition.
    pub boot_partition: Option<Uuid>,
    /// The slot.
    pub slot: Option<Slot>,
}

/// What to do about a watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchdogWish {
    /// Leave it alone.
    Off,
    /// Start it with this time-out.
    On(Duration),
}

/// The words that early boot understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `ferrite.board`
    pub board: String,
    /// `ferrite.version`
    pub version: String,
    /// `ferrite.bootpart` and `ferrite.slot`
    pub hint: Hint,
    /// `ferrite.watchdog=off|SECONDS`
    pub watchdog: WatchdogWish,
    /// `ferrite.debug`: more lines, and a shell when something fails.
    pub debug: bool,
    /// Every word, for module parameters.
    pub words: Vec<String>,
    /// What was not understood.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads the command line; a wrong value is a warning, never a failure.
    pub fn parse(text: &str) -> Settings {
        let mut settings = Settings {
            board: "unknown".into(),
            version: "unknown".into(),
            hint: Hint::default(),
            watchdog: WatchdogWish::On(DEFAULT_WATCHDOG),
            debug: false,
            words: split(text),
            warnings: Vec::new(),
        };
        for word in settings.words.clone() {
            let (key, value) = word.split_once('=').unwrap_or((&word, ""));
            settings.set(key, value);
        }
        settings
    }

    fn set(&mut self, key: &str, value: &str) {
        let understood = match key {
            "ferrite.board" => {
                self.board = value.to_owned();
                true
            }
            "ferrite.version" => {
                self.version = value.to_owned();
                true
            }
            "ferrite.bootpart" => {
                self.hint.boot_partition = Uuid::parse_str(value).ok();
                self.hint.boot_partition.is_some()
            }
            "ferrite.slot" => {
                self.hint.slot = Slot::parse(value);
                self.hint.slot.is_some()
            }
            "ferrite.watchdog" => self.set_watchdog(value),
            "ferrite.debug" => {
                self.debug = true;
                true
            }
            _ => true,
        };
        if !understood {
            self.warnings.push(format!("kernel command line: '{key}={value}' is not understood, ignoring"));
        }
    }

    fn set_watchdog(&mut self, value: &str) -> bool {
        match (value, value.parse()) {
            ("off", _) => self.watchdog = WatchdogWish::Off,
            (_, Ok(seconds @ 10..=3600)) => self.watchdog = WatchdogWish::On(Duration::from_secs(seconds)),
            (_, Ok(_) | Err(_)) => return false,
        }
        true
    }

    /// The value of a word, the last one if it stands there twice.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.words.iter().rev().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// `ferrite.root` and `ferrite.blocks`, without which there is nothing to start.
    pub fn wanted_root(&self) -> anyhow::Result<WantedRoot> {
        let missing = |key: &str| anyhow!("kernel command line has no {key}=");
        let hash = self.value("ferrite.root").ok_or_else(|| missing("ferrite.root"))?;
        let blocks = self.value("ferrite.blocks").ok_or_else(|| missing("ferrite.blocks"))?;
        let hash = RootHash::parse(hash).context("reading ferrite.root= of the kernel command line")?;
        let data_blocks = blocks.parse().with_context(|| format!("kernel command line: ferrite.blocks='{blocks}'"))?;
        Ok(WantedRoot { hash, data_blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_kernel_splits_them() {
        for (text, words) in [
            ("", vec![]),
            ("  a  b\n", vec!["a", "b"]),
            ("x=\"a b\" \"y=c d\" z", vec!["x=a b", "y=c d", "z"]),
            ("open=\"a b", vec!["open=a b"]),
            ("e=\"\" f", vec!["e=", "f"]),
        ] {
            assert_eq!(split(text), words, "{text}");
        }
    }

    #[test]
    fn every_setting_is_read() {
        let hash = "ab".repeat(32);
        let text = format!(
            "console=ttyS0 ferrite.root={hash} ferrite.blocks=37120 ferrite.board=qemu ferrite.version=0.1.0 \
             ferrite.bootpart=0fc63daf-8483-4772-8e79-3d69d8477de4 ferrite.slot=b ferrite.watchdog=30 ferrite.debug"
        );
        let settings = Settings::parse(&text);
        assert_eq!((settings.board.as_str(), settings.version.as_str()), ("qemu", "0.1.0"));
        assert_eq!(settings.hint.slot, Some(Slot::B));
        assert!(settings.hint.boot_partition.is_some());
        assert_eq!(settings.watchdog, WatchdogWish::On(Duration::from_secs(30)));
        assert!(settings.debug && settings.warnings.is_empty());
        let root = settings.wanted_root().unwrap();
        assert_eq!((root.hash.to_string(), root.data_blocks), (hash, 37120));
    }

    #[test]
    fn wrong_values_are_warnings_and_keep_the_default() {
        for word in ["ferrite.slot=c", "ferrite.bootpart=x", "ferrite.watchdog=1", "ferrite.watchdog=never"] {
            let settings = Settings::parse(word);
            let warning = format!("kernel command line: '{word}' is not understood, ignoring");
            assert_eq!(settings.warnings, [warning]);
            assert_eq!(settings.watchdog, WatchdogWish::On(DEFAULT_WATCHDOG));
            assert_eq!(settings.hint, Hint::default());
        }
    }

    #[test]
    fn a_command_line_without_a_root_says_what_it_lacks() {
        let reason = |text: &str| format!("{:#}", Settings::parse(text).wanted_root().unwrap_err());
        assert_eq!(reason(""), "kernel command line has no ferrite.root=");
        assert!(reason("ferrite.root=12 ferrite.blocks=1").contains("is not 64 hexadecimal digits"));
        let hash = "ab".repeat(32);
        assert!(reason(&format!("ferrite.root={hash}")).contains("no ferrite.blocks="));
        assert!(reason(&format!("ferrite.root={hash} ferrite.blocks=many")).contains("ferrite.blocks='many'"));
    }

    #[test]
    fn the_last_of_two_equal_words_counts() {
        assert_eq!(Settings::parse("a=1 a=2").value("a"), Some("2"));
        assert_eq!(Settings::parse("ab=1").value("a"), None);
    }
}
