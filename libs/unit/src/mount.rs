//! `[Mount]`: what is mounted where. Pure.

use crate::directive::Table;
use crate::exec::Exec;
use crate::kill::Kill;
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
    pub exec: Exec,
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
            exec: Exec::default(),
            kill: Kill::default(),
        }
    }
}

impl Mount {
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
    pub fn has_option(&self, option: &str) -> bool {
        let options = self.options.as_deref().unwrap_or("");
        options.split(',').any(|word| word == option || word.split_once('=').is_some_and(|(key, _)| key == option))
    }
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
