//! `[Install]`: which links `systemctl enable` makes. Pure.

use crate::directive::Table;
use crate::value::Parsed;

/// The settings, names as written after specifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Install {
    /// `WantedBy=`.
    pub wanted_by: Vec<String>,
    /// `RequiredBy=`.
    pub required_by: Vec<String>,
    /// `UpheldBy=`.
    pub upheld_by: Vec<String>,
    /// `Alias=`.
    pub alias: Vec<String>,
    /// `Also=`.
    pub also: Vec<String>,
    /// `DefaultInstance=`.
    pub default_instance: Option<String>,
}

impl Install {
    /// Takes no more memory than it needs.
    pub(crate) fn shrink(&mut self) {
        for list in [&mut self.wanted_by, &mut self.required_by, &mut self.upheld_by, &mut self.alias, &mut self.also] {
            list.shrink_to_fit();
        }
    }

    /// Is there nothing to enable?
    pub fn is_empty(&self) -> bool {
        self.wanted_by.is_empty() && self.required_by.is_empty() && self.upheld_by.is_empty() && self.alias.is_empty()
    }
}

pub(crate) const TABLE: Table<Install> = &[
    ("WantedBy", |install, value| value.extend(&mut install.wanted_by)),
    ("RequiredBy", |install, value| value.extend(&mut install.required_by)),
    ("UpheldBy", |install, value| value.extend(&mut install.upheld_by)),
    ("Alias", |install, value| value.extend(&mut install.alias)),
    ("Also", |install, value| value.extend(&mut install.also)),
    ("DefaultInstance", |install, value| -> Parsed<()> {
        install.default_instance = value.optional()?;
        Ok(())
    }),
];
