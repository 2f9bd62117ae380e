//! journald.conf and its drop-ins: text into settings. Pure but for `read`.
//!
//! Names and defaults are systemd's. What is not supported is told with file and line; a wrong value keeps the default.

use std::fs;
use std::path::{Path, PathBuf};

use ferrite_journal_file::Limits;
use ferrite_unit::{amount, timespan, value};

/// Where configuration is looked for, the strongest first.
const FOLDERS: [&str; 4] = ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd"];
const FILE: &str = "journald.conf";
/// Settings of systemd that have nothing to act on here.
const UNSUPPORTED: [&str; 4] = ["MaxLevelKMsg", "MaxLevelWall", "MaxLevelSocket", "ForwardToSocket"];
/// Switches of systemd that can only be off here.
const ALWAYS_OFF: [&str; 3] = ["Seal", "ForwardToKMsg", "ForwardToWall"];
/// Fields of this length are compressed, as in systemd.
const COMPRESS_BYTES: u64 = 512;
const CONSOLE: &str = "/dev/console";

/// A twelfth of a year of 365.25 days.
const MONTH_US: u64 = 2_629_800_000_000;

/// Where messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// On the disk if its folder is there, else in memory.
    Auto,
    /// On the disk; the folder is made.
    Persistent,
    /// In memory.
    Volatile,
    /// Nowhere.
    None,
}

impl Storage {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" | "" => Some(Self::Auto),
            "persistent" => Some(Self::Persistent),
            "volatile" => Some(Self::Volatile),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// What the kernel's audit is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audit {
    /// Its records are the kernel's own affair.
    Off,
    /// Its records are read.
    Keep,
    /// It is switched on, too.
    On,
}

/// What one of the two places may take; `None`: as its file system is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    max_use: Option<u64>,
    keep_free: Option<u64>,
    max_file_size: Option<u64>,
    max_files: Option<u32>,
}

impl Bounds {
    fn set(&mut self, rest: &str, name: &str, text: &str) -> Result<(), String> {
        let is_default = text.is_empty();
        match rest {
            "MaxUse" => self.max_use = if is_default { None } else { Some(bytes(name, text)?) },
            "KeepFree" => self.keep_free = if is_default { None } else { Some(bytes(name, text)?) },
            "MaxFileSize" => self.max_file_size = if is_default { None } else { Some(bytes(name, text)?) },
            "MaxFiles" => self.max_files = if is_default { None } else { Some(number(name, text)?) },
            _ => return Err(format!("{name}= is unknown")),
        }
        Ok(())
    }

    /// The limits of a folder.
    pub fn limits(&self, usual: Limits) -> Limits {
        let max_use = self.max_use.unwrap_or(usual.max_use);
        // As in systemd, a smaller whole has smaller parts.
        let part = if self.max_use.is_some() { (max_use / 8).max(512 * 1024) } else { usual.max_file_size };
        Limits {
            max_use,
            keep_free: self.keep_free.unwrap_or(usual.keep_free),
            max_file_size: self.max_file_size.unwrap_or(part.min(usual.max_file_size)),
            max_files: self.max_files.unwrap_or(usual.max_files),
        }
    }
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `Storage=`
    pub storage: Storage,
    /// `SyncIntervalSec=`
    pub sync_interval_us: u64,
    /// `RateLimitIntervalSec=`
    pub rate_interval_us: u64,
    /// `RateLimitBurst=`
    pub rate_burst: u32,
    /// `System*=`
    pub system: Bounds,
    /// `Runtime*=`
    pub runtime: Bounds,
    /// `MaxRetentionSec=`; 0: for ever.
    pub max_retention_us: u64,
    /// `MaxFileSec=`; 0: for ever.
    pub max_file_us: u64,
    /// `ForwardToSyslog=`
    pub forward_to_syslog: bool,
    /// `MaxLevelStore=`
    pub max_level_store: u8,
    /// `MaxLevelSyslog=`
    pub max_level_syslog: u8,
    /// `ReadKMsg=`
    pub read_kmsg: bool,
    /// `LineMax=`
    pub line_max: usize,
    /// `Compress=`; `None`: never.
    pub compress_bytes: Option<u64>,
    /// `Audit=`
    pub audit: Audit,
    /// `ForwardToConsole=`
    pub forward_to_console: bool,
    /// `TTYPath=`
    pub terminal: PathBuf,
    /// `MaxLevelConsole=`
    pub max_level_console: u8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            storage: Storage::Auto,
            sync_interval_us: 300_000_000,
            rate_interval_us: 30_000_000,
            rate_burst: 10_000,
            system: Bounds::default(),
            runtime: Bounds::default(),
            max_retention_us: 0,
            max_file_us: MONTH_US,
            forward_to_syslog: true,
            max_level_store: 7,
            max_level_syslog: 7,
            read_kmsg: true,
            line_max: 48 * 1024,
            compress_bytes: Some(COMPRESS_BYTES),
            audit: Audit::Off,
            forward_to_console: false,
            terminal: CONSOLE.into(),
            max_level_console: 6,
        }
    }
}

/// Reads the configuration below a root; what is wrong with it is told.
pub fn read(root: &Path) -> (Config, Vec<String>) {
    let mut config = Config::default();
    let mut faults = Vec::new();
    for path in files(root) {
        match fs::read_to_string(&path) {
            Ok(text) => config.add(&path.display().to_string(), &text, &mut faults),
            Err(error) => faults.push(format!("reading '{}': {error}, ignoring", path.display())),
        }
    }
    (config, faults)
}

/// The main file of the strongest folder, then the drop-ins by name.
fn files(root: &Path) -> Vec<PathBuf> {
    let folders = FOLDERS.map(|folder| root.join(folder));
    let main = folders.iter().map(|folder| folder.join(FILE)).find(|path| path.exists());
    let mut drop_ins: std::collections::BTreeMap<_, PathBuf> = std::collections::BTreeMap::new();
    for folder in folders {
        let entries = fs::read_dir(folder.join(format!("{FILE}.d"))).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".conf")) {
            drop_ins.entry(entry.file_name()).or_insert_with(|| entry.path());
        }
    }
    main.into_iter().chain(drop_ins.into_values()).collect()
}

impl Config {
    fn add(&mut self, file: &str, text: &str, faults: &mut Vec<String>) {
        let mut section = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let mut fault = |what: String| faults.push(format!("{file}:{}: {what}, ignoring", number + 1));
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name;
                continue;
            }
            match line.split_once('=') {
                Some((name, value)) if section == "Journal" => {
                    if let Err(what) = self.set(name.trim(), value.trim()) {
                        fault(what);
                    }
                }
                Some(_) => fault(format!("section [{section}] is unknown, write [Journal]")),
                None => fault(format!("'{line}' is no assignment, write Name=value")),
            }
        }
    }

    fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let usual = Config::default();
        let wrong = |right: &str| format!("{name}={text} is wrong, write {right}");
        let bytes = || bytes(name, text);
        let span = || {
            let us = if text == "infinity" { Ok(0) } else { timespan::parse(text) };
            us.map_err(|_| wrong("a time such as 30s or 5min"))
        };
        let truth = || value::boolean(text).map_err(|_| wrong("yes or no"));
        let level = || crate::level::parse(text).ok_or_else(|| wrong("a level such as warning or 4"));
        let is_default = text.is_empty();
        if let Some(rest) = name.strip_prefix("System") {
            return self.system.set(rest, name, text);
        }
        if let Some(rest) = name.strip_prefix("Runtime") {
            return self.runtime.set(rest, name, text);
        }
        match name {
            "Storage" => {
                self.storage = Storage::parse(text).ok_or_else(|| wrong("auto, persistent, volatile or none"))?;
            }
            "SyncIntervalSec" => self.sync_interval_us = if is_default { usual.sync_interval_us } else { span()? },
            "RateLimitIntervalSec" | "RateLimitInterval" => {
                self.rate_interval_us = if is_default { usual.rate_interval_us } else { span()? };
            }
            "RateLimitBurst" => self.rate_burst = if is_default { usual.rate_burst } else { number(name, text)? },
            "MaxRetentionSec" => self.max_retention_us = if is_default { 0 } else { span()? },
            "MaxFileSec" => self.max_file_us = if is_default { usual.max_file_us } else { span()? },
            "ForwardToSyslog" => self.forward_to_syslog = if is_default { true } else { truth()? },
            "ReadKMsg" => self.read_kmsg = if is_default { true } else { truth()? },
            "MaxLevelStore" => self.max_level_store = if is_default { 7 } else { level()? },
            "MaxLevelSyslog" => self.max_level_syslog = if is_default { 7 } else { level()? },
            "LineMax" => {
                let bytes = if is_default { usual.line_max as u64 } else { bytes()? };
                self.line_max = usize::try_from(bytes.clamp(79, 1 << 20)).unwrap_or(usual.line_max);
            }
            "Compress" => {
                self.compress_bytes = match value::boolean(text) {
                    _ if is_default => usual.compress_bytes,
                    Ok(true) => Some(COMPRESS_BYTES),
                    Ok(false) => None,
                    Err(_) => Some(bytes().map_err(|_| wrong("yes, no or a size such as 4K"))?),
                }
            }
            "Audit" if is_default => self.audit = Audit::Off,
            "Audit" if text == "keep" => self.audit = Audit::Keep,
            "Audit" => {
                let is_on = truth().map_err(|_| wrong("yes, no or keep"))?;
                self.audit = if is_on { Audit::On } else { Audit::Off };
            }
            "ForwardToConsole" => self.forward_to_console = !is_default && truth()?,
            "MaxLevelConsole" => self.max_level_console = if is_default { usual.max_level_console } else { level()? },
            "TTYPath" if is_default => self.terminal = usual.terminal,
            "TTYPath" if text.starts_with('/') => self.terminal = text.into(),
            "TTYPath" => return Err(wrong("a path such as /dev/ttyS0")),
            "SplitMode" if is_default || text == "none" => {}
            "SplitMode" => return Err(wrong("none: there is one journal for all users")),
            _ if ALWAYS_OFF.contains(&name) => {
                if !is_default && truth()? {
                    return Err(format!("{name}= is not supported by this version, write no"));
                }
            }
            _ if UNSUPPORTED.contains(&name) => return Err(format!("{name}= is not supported by this version")),
            _ => return Err(format!("{name}= is unknown")),
        }
        Ok(())
    }
}

fn bytes(name: &str, text: &str) -> Result<u64, String> {
    amount::size(text, 1024).map_err(|_| format!("{name}={text} is wrong, write a size such as 500M or 1G"))
}

fn number(name: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{name}={text} is wrong, write a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Config, Vec<String>) {
        let (mut config, mut faults) = (Config::default(), Vec::new());
        config.add("a.conf", text, &mut faults);
        (config, faults)
    }

    #[test]
    fn settings_are_read_and_an_empty_value_is_the_default() {
        let (config, faults) = parsed(
            "# x\n[Journal]\nStorage=volatile\nSystemMaxUse=1G\nSystemMaxFiles=3\nRuntimeKeepFree = 5M\n\
             SyncIntervalSec=1min\nRateLimitBurst=7\nRateLimitBurst=\nMaxLevelStore=warning\nLineMax=1K\nMaxFileSec=1day\n",
        );
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(
            (config.storage, config.sync_interval_us, config.rate_burst),
            (Storage::Volatile, 60_000_000, 10_000)
        );
        assert_eq!((config.max_level_store, config.line_max, config.max_file_us), (4, 1024, 86_400_000_000));
        let usual = Limits { max_use: 4 << 30, keep_free: 1, max_file_size: 128 << 20, max_files: 100 };
        let wanted = Limits { max_use: 1 << 30, keep_free: 1, max_file_size: 128 << 20, max_files: 3 };
        assert_eq!(config.system.limits(usual), wanted);
        let small = Bounds { max_use: Some(8 << 20), ..Bounds::default() };
        assert_eq!(small.limits(usual).max_file_size, 1 << 20);
        assert_eq!(config.runtime.limits(usual), Limits { keep_free: 5 << 20, ..usual });
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_the_rest_counts() {
        let (config, faults) =
            parsed("A=b\n[Journal]\nStorage=disk\nRateLimitBurst=5\nSeal=yes\nNo=1\nword\nSeal=no\n");
        assert_eq!(config.rate_burst, 5);
        assert_eq!(
            faults,
            [
                "a.conf:1: section [] is unknown, write [Journal], ignoring",
                "a.conf:3: Storage=disk is wrong, write auto, persistent, volatile or none, ignoring",
                "a.conf:5: Seal= is not supported by this version, write no, ignoring",
                "a.conf:6: No= is unknown, ignoring",
                "a.conf:7: 'word' is no assignment, write Name=value, ignoring",
            ]
        );
    }

    #[test]
    fn what_can_only_be_so_may_be_written_and_nothing_else() {
        let (config, faults) = parsed(
            "[Journal]\nForwardToWall=no\nSplitMode=none\nCompress=4K\nAudit=keep\nForwardToConsole=yes\n\
             TTYPath=/dev/ttyS1\nMaxLevelConsole=err\n",
        );
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!((config.compress_bytes, config.audit), (Some(4096), Audit::Keep));
        let console = (config.forward_to_console, config.terminal.as_path(), config.max_level_console);
        assert_eq!(console, (true, Path::new("/dev/ttyS1"), 3));
        let (config, faults) = parsed("[Journal]\nSplitMode=uid\nCompress=no\nAudit=often\nTTYPath=tty1\n");
        assert_eq!((config.compress_bytes, config.audit, config.terminal), (None, Audit::Off, CONSOLE.into()));
        assert_eq!(
            faults,
            [
                "a.conf:2: SplitMode=uid is wrong, write none: there is one journal for all users, ignoring",
                "a.conf:4: Audit=often is wrong, write yes, no or keep, ignoring",
                "a.conf:5: TTYPath=tty1 is wrong, write a path such as /dev/ttyS0, ignoring",
            ]
        );
    }

    #[test]
    fn drop_ins_come_after_the_strongest_main_file_and_hide_each_other_by_name() {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in [
            ("usr/lib/systemd/journald.conf", "[Journal]\nRateLimitBurst=1\nLineMax=100\n"),
            ("etc/systemd/journald.conf", "[Journal]\nRateLimitBurst=2\n"),
            ("usr/lib/systemd/journald.conf.d/10-a.conf", "[Journal]\nRateLimitBurst=3\nLineMax=200\n"),
            ("run/systemd/journald.conf.d/10-a.conf", "[Journal]\nMaxLevelStore=3\n"),
            ("etc/systemd/journald.conf.d/20-b.conf", "[Journal]\nLineMax=300\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            fs::write(path, text).expect("written");
        }
        let (config, faults) = read(root.path());
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!((config.rate_burst, config.max_level_store, config.line_max), (2, 3, 300));
    }
}
