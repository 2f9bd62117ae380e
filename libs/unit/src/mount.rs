//! `[Mount]`: what is mounted where. Pure.

use crate::directive::Table;
use crate::exec::Exec;
use crate::kill::Kill;
use crate::name::UnitName;
use crate::shared::Shared;
use crate::value::{Span, boolean, mode, span};

/// The settings of a mount unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `What=`.
    pub what: String,
    /// `Where=`; equal to the path in the unit's name.
    pub where_: String,
    /// `Type=`.
    pub kind: Option<String>,
    /// `Options=`.
    pub options: Option<String>,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `LazyUnmount=`.
    pub lazy_unmount: bool,
    /// `ForceUnmount=`.
    pub force_unmount: bool,
    /// `ReadWriteOnly=`.
    pub read_write_only: bool,
    /// `SloppyOptions=`.
    pub sloppy_options: bool,
    /// `TimeoutSec=`.
    pub timeout: Span,
    /// Context of the helper process.
    pub exec: Shared<Exec>,
    /// How the helper process is stopped.
    pub kill: Kill,
}

impl Default for Mount {
    fn default() -> Self {
        Mount {
            what: String::new(),
            where_: String::new(),
            kind: None,
            options: None,
            directory_mode: 0o755,
            lazy_unmount: false,
            force_unmount: false,
            read_write_only: false,
            sloppy_options: false,
            timeout: Span::seconds(90),
            exec: Shared::default(),
            kill: Kill::default(),
        }
    }
}

impl Mount {
    /// Fills in what the name says.
    pub(crate) fn complete(&mut self, name: &UnitName) {
        if self.where_.is_empty() {
            self.where_ = crate::escape::unescape_path(name.stem()).unwrap_or_default();
        }
        if let Some(plain) = crate::escape::simplify_path(&self.where_) {
            self.where_ = format!("/{plain}");
        }
    }

    /// Why this mount cannot be made, if it cannot.
    pub(crate) fn verify(&self, name: &UnitName, from_file: bool) -> Result<(), String> {
        if crate::escape::unit_of_path(&self.where_, name.kind()).as_ref() != Some(name) {
            return Err(format!("Where={} does not fit the name of the unit, refusing", self.where_));
        }
        if is_api(&self.where_) {
            return Err(format!("'{}' is a file system of the kernel that is always there, refusing", self.where_));
        }
        if from_file && self.what.is_empty() {
            return Err("mount has no What=, refusing".into());
        }
        Ok(())
    }

    /// Is it there before and after everything that the manager starts and stops?
    pub fn is_extrinsic(&self) -> bool {
        let below = |directory: &str| {
            let rest = self.where_.strip_prefix(directory);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        matches!(self.where_.as_str(), "/" | "/usr" | "/etc")
            || ["/run/initramfs", "/run/nextroot", "/proc", "/sys", "/dev"].into_iter().any(below)
            || self.has_option("x-initrd.mount")
    }

    /// Is this word among the options?
    pub fn has_option(&self, name: &str) -> bool {
        self.option(name).is_some()
    }

    /// The last option of a name: outer `None` when there is none, inner `None` when it has no value.
    pub fn option(&self, name: &str) -> Option<Option<&str>> {
        let words = self.options.as_deref().unwrap_or("").rsplit(',');
        let mut split = words.map(|word| word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value))));
        split.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Does it show a directory at a second place?
    pub fn is_bind(&self) -> bool {
        let kind = self.kind.as_deref();
        matches!(kind, Some("bind" | "rbind")) || self.has_option("bind") || self.has_option("rbind")
    }

    /// Does it need the network?
    pub fn is_network(&self) -> bool {
        self.has_option("_netdev") || self.kind.as_deref().is_some_and(crate::defaults::is_network_file_system)
    }

    /// `nofail`: does the boot go on without it?
    pub fn may_fail(&self) -> bool {
        let mut words = self.options.as_deref().unwrap_or("").rsplit(',');
        words.find(|word| matches!(*word, "nofail" | "fail")) == Some("nofail")
    }
}

/// Places of the kernel's own file systems: mounted before any unit is read, or by whoever started the machine.
pub fn is_api(place: &str) -> bool {
    const PLACES: [&str; 18] = [
        "/proc",
        "/sys",
        "/dev",
        "/sys/kernel/security",
        "/sys/fs/smackfs",
        "/dev/shm",
        "/dev/pts",
        "/run",
        "/sys/fs/cgroup",
        "/sys/fs/pstore",
        "/sys/firmware/efi/efivars",
        "/sys/fs/bpf",
        "/sys/fs/selinux",
        "/dev/console",
        "/proc/kmsg",
        "/proc/sys",
        "/proc/sys/kernel/random/boot_id",
        "/run/host",
    ];
    PLACES.contains(&place) || place.starts_with("/sys/fs/cgroup/") || place.starts_with("/run/host/")
}

pub(crate) const TABLE: Table<Mount> = &[
    ("What", |mount, value| value.text().map(|text| mount.what = text)),
    ("Where", |mount, value| value.path().map(|path| mount.where_ = path.unwrap_or_default())),
    ("Type", |mount, value| value.optional().map(|kind| mount.kind = kind)),
    ("Options", |mount, value| value.optional().map(|options| mount.options = options)),
    ("DirectoryMode", |mount, value| mode(value.raw).map(|mode| mount.directory_mode = mode)),
    ("LazyUnmount", |mount, value| boolean(value.raw).map(|flag| mount.lazy_unmount = flag)),
    ("ForceUnmount", |mount, value| boolean(value.raw).map(|flag| mount.force_unmount = flag)),
    ("ReadWriteOnly", |mount, value| boolean(value.raw).map(|flag| mount.read_write_only = flag)),
    ("SloppyOptions", |mount, value| boolean(value.raw).map(|flag| mount.sloppy_options = flag)),
    ("TimeoutSec", |mount, value| span(value.raw).map(|span| mount.timeout = span.zero_is_infinite())),
];

/// Is this type of file system one of the network?
pub fn is_network_kind(kind: &str) -> bool {
    crate::defaults::is_network_file_system(kind)
}
