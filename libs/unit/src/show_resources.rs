//! The properties of a control group. Pure.

use crate::show::Properties;
use crate::unit::Unit;

/// All properties of the unit's control group, in systemd's names and order.
pub(crate) fn properties(_unit: &Unit) -> Properties {
    Properties::new()
}
