//! The properties of the context in which processes run. Pure.

use crate::exec::Exec;
use crate::show::Properties;
use crate::unit::Unit;

/// All properties of a context, in systemd's names and order.
pub(crate) fn properties(_unit: &Unit, _exec: &Exec) -> Properties {
    Properties::new()
}
