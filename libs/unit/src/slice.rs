//! `[Slice]`: a branch of the tree of control groups. Pure.
//!
//! What a slice may use stands in [`crate::unit::Unit`] with the resources of every kind; its name tells its place.

use crate::name::UnitName;

/// The settings of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slice {
    /// `Slice=`, which can only say what the name says.
    pub slice: Option<String>,
}

/// Is this the name of a slice: parts with single dashes between, or the root slice?
pub fn is_name(name: &UnitName) -> bool {
    name.as_str() == "-.slice" || (name.at().is_none() && name.stem().split('-').all(|part| !part.is_empty()))
}

/// The path of its control group: `/a.slice/a-b.slice` for `a-b.slice`, nothing for the root slice.
pub fn group(slice: &UnitName) -> String {
    if slice.as_str() == "-.slice" {
        return String::new();
    }
    let mut path = String::new();
    let mut name = String::new();
    for part in slice.stem().split('-') {
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path.push_str(&format!("/{name}.slice"));
    }
    path
}

impl Slice {
    /// Why this slice cannot be made, if it cannot.
    pub(crate) fn verify(&self, name: &UnitName, parent: Option<&UnitName>) -> Result<(), String> {
        if !is_name(name) {
            return Err("the name of the slice is not a path of parts with single dashes between, refusing".into());
        }
        match &self.slice {
            Some(written) if parent.map(UnitName::as_str) != Some(written) => {
                Err(format!("Slice={written} is not the slice that the name of the unit tells, refusing"))
            }
            _ => Ok(()),
        }
    }
}
