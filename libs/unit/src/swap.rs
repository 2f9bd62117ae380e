//! `[Swap]`: swap space on a device or in a file. Pure.

use crate::directive::Table;
use crate::exec::Exec;
use crate::kill::Kill;
use crate::name::UnitName;
use crate::shared::Shared;
use crate::value::{Span, number, span};

/// The settings of a swap unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// `What=`; when it is not written, the name of the unit tells it.
    pub what: String,
    /// `Priority=`; `None` leaves it to the kernel.
    pub priority: Option<i32>,
    /// `Options=`.
    pub options: Option<String>,
    /// `TimeoutSec=`.
    pub timeout: Span,
    /// Context of the helper process.
    pub exec: Shared<Exec>,
    /// How the helper process is stopped.
    pub kill: Kill,
}

impl Default for Swap {
    fn default() -> Self {
        Swap {
            what: String::new(),
            priority: None,
            options: None,
            timeout: Span::seconds(90),
            exec: Shared::default(),
            kill: Kill::default(),
        }
    }
}

impl Swap {
    /// Fills in what the name says.
    pub(crate) fn complete(&mut self, name: &UnitName) {
        if self.what.is_empty() {
            self.what = crate::escape::unescape_path(name.stem()).unwrap_or_default();
        }
    }

    /// Why this swap space cannot be used, if it cannot.
    pub(crate) fn verify(&self, name: &UnitName) -> Result<(), String> {
        if self.what.is_empty() {
            return Err("swap has no What=, refusing".into());
        }
        if crate::escape::unit_of_path(&self.what, name.kind()).as_ref() != Some(name) {
            return Err(format!("What={} does not fit the name of the unit, refusing", self.what));
        }
        Ok(())
    }
}

pub(crate) const TABLE: Table<Swap> = &[
    ("What", |swap, value| value.text().map(|text| swap.what = crate::device::device_path(&text))),
    ("Priority", |swap, value| {
        swap.priority = match value.raw {
            "" => None,
            // -1 is what the kernel takes for "no wish".
            text => i32::try_from(number(text, -1, 32_767)?).ok().filter(|priority| *priority >= 0),
        };
        Ok(())
    }),
    ("Options", |swap, value| value.optional().map(|options| swap.options = options)),
    ("TimeoutSec", |swap, value| span(value.raw).map(|span| swap.timeout = span.zero_is_infinite())),
];
