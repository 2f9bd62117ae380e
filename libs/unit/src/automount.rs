//! `[Automount]`: a mount made on the first access. Pure.

use crate::directive::Table;
use crate::name::{UnitKind, UnitName};
use crate::value::{Span, mode, span, wrong};

/// The settings of an automount unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Automount {
    /// `Where=`; when it is not written, the name of the unit tells it.
    pub where_: String,
    /// `ExtraOptions=`.
    pub extra_options: Option<String>,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `TimeoutIdleSec=`; zero, the default, and infinity both mean that it stays mounted.
    pub timeout_idle: Span,
}

impl Default for Automount {
    fn default() -> Self {
        Automount { where_: String::new(), extra_options: None, directory_mode: 0o755, timeout_idle: Span::seconds(0) }
    }
}

impl Automount {
    /// The mount that it starts.
    pub fn activates(&self, name: &UnitName) -> Option<UnitName> {
        name.with_kind(UnitKind::Mount).ok()
    }

    /// Fills in what the name says.
    pub(crate) fn complete(&mut self, name: &UnitName) {
        if self.where_.is_empty() {
            self.where_ = crate::escape::unescape_path(name.stem()).unwrap_or_default();
        }
    }

    /// Why this automount cannot be used, if it cannot.
    pub(crate) fn verify(&self, name: &UnitName) -> Result<(), String> {
        if self.where_ == "/" {
            return Err("the root directory cannot be mounted on access, refusing".into());
        }
        if crate::escape::unit_of_path(&self.where_, name.kind()).as_ref() != Some(name) {
            return Err(format!("Where={} does not fit the name of the unit, refusing", self.where_));
        }
        Ok(())
    }
}

pub(crate) const TABLE: Table<Automount> = &[
    ("Where", |automount, value| {
        let text = value.text()?;
        let plain = crate::escape::simplify_path(&text).filter(|_| text.starts_with('/'));
        automount.where_ = format!("/{}", plain.ok_or_else(|| wrong(&text, "an absolute path without '..'"))?);
        Ok(())
    }),
    ("ExtraOptions", |automount, value| value.optional().map(|options| automount.extra_options = options)),
    ("DirectoryMode", |automount, value| mode(value.raw).map(|mode| automount.directory_mode = mode)),
    ("TimeoutIdleSec", |automount, value| span(value.raw).map(|span| automount.timeout_idle = span.zero_is_infinite())),
];
