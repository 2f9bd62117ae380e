//! What the settings of a service choose from: words with a meaning. Pure.

use crate::value::{Parsed, wrong};

/// `Type=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServiceType {
    /// Started once the process exists.
    #[default]
    Simple,
    /// Started once the program was executed.
    Exec,
    /// Started once the first process ended and left a daemon.
    Forking,
    /// Started once the process ended.
    Oneshot,
    /// Started once the process says so.
    Notify,
    /// The same, and reloads by a signal.
    NotifyReload,
    /// As simple, after the rush of the boot.
    Idle,
    /// Started once a bus name is taken.
    Dbus,
}

impl ServiceType {
    pub(crate) const NAMES: [(&'static str, ServiceType); 8] = [
        ("simple", ServiceType::Simple),
        ("exec", ServiceType::Exec),
        ("forking", ServiceType::Forking),
        ("oneshot", ServiceType::Oneshot),
        ("notify", ServiceType::Notify),
        ("notify-reload", ServiceType::NotifyReload),
        ("idle", ServiceType::Idle),
        ("dbus", ServiceType::Dbus),
    ];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Does the service tell by sd_notify that it is ready?
    pub fn notifies(self) -> bool {
        matches!(self, ServiceType::Notify | ServiceType::NotifyReload)
    }
}

/// `Restart=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After a clean end.
    OnSuccess,
    /// After any unclean end.
    OnFailure,
    /// After a signal, a time-out or the watchdog.
    OnAbnormal,
    /// After the watchdog.
    OnWatchdog,
    /// After a signal.
    OnAbort,
    /// Always.
    Always,
}

impl Restart {
    pub(crate) const NAMES: [(&'static str, Restart); 7] = [
        ("no", Restart::No),
        ("on-success", Restart::OnSuccess),
        ("on-failure", Restart::OnFailure),
        ("on-abnormal", Restart::OnAbnormal),
        ("on-watchdog", Restart::OnWatchdog),
        ("on-abort", Restart::OnAbort),
        ("always", Restart::Always),
    ];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// Whose datagrams on the notify socket count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyAccess {
    /// Nobody's.
    #[default]
    None,
    /// The main process's.
    Main,
    /// Main and control processes'.
    Exec,
    /// Every process of the control group.
    All,
}

impl NotifyAccess {
    /// The value of a word.
    pub fn parse(text: &str) -> Option<NotifyAccess> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
    }

    pub(crate) const NAMES: [(&'static str, NotifyAccess); 4] = [
        ("none", NotifyAccess::None),
        ("main", NotifyAccess::Main),
        ("exec", NotifyAccess::Exec),
        ("all", NotifyAccess::All),
    ];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// What happens to a service whose start or stop takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeoutMode {
    /// `KillSignal=`.
    #[default]
    Terminate,
    /// `SIGABRT`.
    Abort,
    /// `SIGKILL`.
    Kill,
}

impl TimeoutMode {
    pub(crate) const NAMES: [(&'static str, TimeoutMode); 3] =
        [("terminate", TimeoutMode::Terminate), ("abort", TimeoutMode::Abort), ("kill", TimeoutMode::Kill)];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// `OOMPolicy=`: what happens when the kernel killed a process for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomPolicy {
    /// It is logged.
    Continue,
    /// The service is stopped.
    Stop,
    /// All of its processes are killed.
    Kill,
}

impl OomPolicy {
    pub(crate) const NAMES: [(&'static str, OomPolicy); 3] =
        [("continue", OomPolicy::Continue), ("stop", OomPolicy::Stop), ("kill", OomPolicy::Kill)];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// `ExitType=`: when a service has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExitType {
    /// With its main process.
    #[default]
    Main,
    /// With its last process.
    Cgroup,
}

impl ExitType {
    pub(crate) const NAMES: [(&'static str, ExitType); 2] = [("main", ExitType::Main), ("cgroup", ExitType::Cgroup)];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// `RestartMode=`: which states a service goes through between end and restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartMode {
    /// Through failed or inactive, so that units that depend on it see it.
    #[default]
    Normal,
    /// Straight to auto-restart.
    Direct,
    /// The same, and with more messages in the log.
    Debug,
}

impl RestartMode {
    pub(crate) const NAMES: [(&'static str, RestartMode); 3] =
        [("normal", RestartMode::Normal), ("direct", RestartMode::Direct), ("debug", RestartMode::Debug)];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// `OpenFile=`: a file that the process gets open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    /// The file.
    pub path: String,
    /// The name under which the process finds it.
    pub name: String,
    /// `read-only`, `append`, `truncate`, `graceful`.
    pub options: Vec<String>,
}

impl OpenFile {
    pub(crate) fn parse(text: &str) -> Parsed<OpenFile> {
        let fault = || wrong(text, "an absolute path, perhaps with :name and :options");
        let mut parts = text.splitn(3, ':');
        let plain = |part: &str| crate::unescape::unescape(part).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let path = parts.next().and_then(plain).filter(|path| path.starts_with('/')).ok_or_else(fault)?;
        let base = path.rsplit_once('/').map_or("", |(_, base)| base);
        let name = plain(parts.next().unwrap_or_default()).ok_or_else(fault)?;
        let name = if name.is_empty() { base.to_owned() } else { name };
        let options: Vec<String> =
            parts.next().unwrap_or("").split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect();
        let known = |option: &String| matches!(option.as_str(), "read-only" | "append" | "truncate" | "graceful");
        let modes = options.iter().filter(|option| *option != "graceful").count();
        if !options.iter().all(known) || modes > 1 {
            return Err(fault());
        }
        Ok(OpenFile { path, name, options })
    }
}

impl std::fmt::Display for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let base = self.path.rsplit_once('/').map_or("", |(_, base)| base);
        for c in self.path.chars() {
            match c {
                // What would end the path, or not be read as it is.
                ':' | '\\' | '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        if self.name != base || !self.options.is_empty() {
            write!(f, ":{}", if self.name == base { "" } else { &self.name })?;
        }
        if !self.options.is_empty() {
            write!(f, ":{}", self.options.join(","))?;
        }
        Ok(())
    }
}

/// The value of a word in a table of names.
pub(crate) fn word<T: Copy>(names: &[(&str, T)], text: &str) -> Parsed<T> {
    names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        wrong(text, &format!("one of {}", known.join(", ")))
    })
}
