//! Relations between units, and where a relation comes from. Pure.

use std::fmt;

/// A relation to another unit. Every one has an inverse, which the other unit has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Dependency {
    Requires,
    Requisite,
    Wants,
    BindsTo,
    PartOf,
    Upholds,
    RequiredBy,
    RequisiteOf,
    WantedBy,
    BoundBy,
    ConsistsOf,
    UpheldBy,
    Conflicts,
    ConflictedBy,
    Before,
    After,
    OnSuccess,
    OnSuccessOf,
    OnFailure,
    OnFailureOf,
    Triggers,
    TriggeredBy,
    PropagatesReloadTo,
    ReloadPropagatedFrom,
    PropagatesStopTo,
    StopPropagatedFrom,
    JoinsNamespaceOf,
    InSlice,
    SliceOf,
}

use Dependency as D;

impl Dependency {
    /// Every relation with its name and its inverse, in the order in which they are shown.
    const TABLE: [(Dependency, &'static str, Dependency); 29] = [
        (D::Requires, "Requires", D::RequiredBy),
        (D::Requisite, "Requisite", D::RequisiteOf),
        (D::Wants, "Wants", D::WantedBy),
        (D::BindsTo, "BindsTo", D::BoundBy),
        (D::PartOf, "PartOf", D::ConsistsOf),
        (D::Upholds, "Upholds", D::UpheldBy),
        (D::RequiredBy, "RequiredBy", D::Requires),
        (D::RequisiteOf, "RequisiteOf", D::Requisite),
        (D::WantedBy, "WantedBy", D::Wants),
        (D::BoundBy, "BoundBy", D::BindsTo),
        (D::ConsistsOf, "ConsistsOf", D::PartOf),
        (D::UpheldBy, "UpheldBy", D::Upholds),
        (D::Conflicts, "Conflicts", D::ConflictedBy),
        (D::ConflictedBy, "ConflictedBy", D::Conflicts),
        (D::Before, "Before", D::After),
        (D::After, "After", D::Before),
        (D::OnSuccess, "OnSuccess", D::OnSuccessOf),
        (D::OnSuccessOf, "OnSuccessOf", D::OnSuccess),
        (D::OnFailure, "OnFailure", D::OnFailureOf),
        (D::OnFailureOf, "OnFailureOf", D::OnFailure),
        (D::Triggers, "Triggers", D::TriggeredBy),
        (D::TriggeredBy, "TriggeredBy", D::Triggers),
        (D::PropagatesReloadTo, "PropagatesReloadTo", D::ReloadPropagatedFrom),
        (D::ReloadPropagatedFrom, "ReloadPropagatedFrom", D::PropagatesReloadTo),
        (D::PropagatesStopTo, "PropagatesStopTo", D::StopPropagatedFrom),
        (D::StopPropagatedFrom, "StopPropagatedFrom", D::PropagatesStopTo),
        (D::JoinsNamespaceOf, "JoinsNamespaceOf", D::JoinsNamespaceOf),
        (D::InSlice, "InSlice", D::SliceOf),
        (D::SliceOf, "SliceOf", D::InSlice),
    ];

    /// The name as it is shown; also the directive, if one names the relation.
    pub fn as_str(self) -> &'static str {
        Self::TABLE.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// What the other unit has.
    pub fn inverse(self) -> Dependency {
        Self::TABLE.iter().find(|(kind, ..)| *kind == self).map_or(self, |(.., inverse)| *inverse)
    }

    /// All directives of `[Unit]` that name a relation.
    pub(crate) fn directives() -> impl Iterator<Item = &'static str> {
        let old = ["BindTo", "RequiresOverridable", "RequisiteOverridable", "PropagateReloadTo", "PropagateReloadFrom"];
        let names = Self::TABLE.into_iter().map(|(_, name, _)| name);
        names.filter(|name| Self::of_directive(name).is_some()).chain(old)
    }

    /// The relation that a directive of `[Unit]` names.
    pub fn of_directive(key: &str) -> Option<Dependency> {
        let key = match key {
            "BindTo" => "BindsTo",
            "RequiresOverridable" => "Requires",
            "RequisiteOverridable" => "Requisite",
            "PropagateReloadTo" => "PropagatesReloadTo",
            "PropagateReloadFrom" => "ReloadPropagatedFrom",
            key => key,
        };
        let (kind, ..) = Self::TABLE.iter().find(|(_, name, _)| *name == key)?;
        let written = matches!(
            kind,
            D::Requires
                | D::Requisite
                | D::Wants
                | D::BindsTo
                | D::PartOf
                | D::Upholds
                | D::Conflicts
                | D::Before
                | D::After
                | D::OnSuccess
                | D::OnFailure
                | D::PropagatesReloadTo
                | D::ReloadPropagatedFrom
                | D::PropagatesStopTo
                | D::StopPropagatedFrom
                | D::JoinsNamespaceOf
        );
        written.then_some(*kind)
    }
}

/// Where a dependency comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The files of the unit, or its other settings.
    File,
    /// The nature of the unit.
    Implicit,
    /// `DefaultDependencies=`.
    Default,
    /// A device.
    Udev,
    /// A path that the unit needs, found when the mount unit of the path was loaded later.
    Path,
    /// The parameters of a mount in its unit file.
    MountFile,
    /// The list of mounts.
    MountInfo,
    /// `Slice=` or the default slice.
    SliceProperty,
}

impl Origin {
    const ALL: [(Origin, &'static str); 8] = [
        (Origin::File, "file"),
        (Origin::Implicit, "implicit"),
        (Origin::Default, "default"),
        (Origin::Udev, "udev"),
        (Origin::Path, "path"),
        (Origin::MountFile, "mount-file"),
        (Origin::MountInfo, "mountinfo"),
        (Origin::SliceProperty, "slice-property"),
    ];
}

/// A set of origins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origins(u16);

impl Origins {
    /// Adds one; was it new?
    pub fn add(&mut self, origin: Origin) -> bool {
        let before = self.0;
        self.0 |= Self::bit(origin);
        before != self.0
    }

    /// Adds all of another set.
    pub fn merge(&mut self, other: Origins) {
        self.0 |= other.0;
    }

    /// Is there none?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn bit(origin: Origin) -> u16 {
        let place = Origin::ALL.iter().position(|(have, _)| *have == origin).unwrap_or(0);
        1 << place
    }

    /// The names of all, each after `prefix` and a dash.
    pub fn words(self, prefix: &str) -> Vec<String> {
        let here = Origin::ALL.iter().filter(|(origin, _)| self.0 & Self::bit(*origin) != 0);
        here.map(|(_, name)| format!("{prefix}-{name}")).collect()
    }
}

impl From<Origin> for Origins {
    fn from(origin: Origin) -> Origins {
        Origins(Self::bit(origin))
    }
}

/// Who says that a relation holds: the unit that has it, or the other one through the inverse relation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Says {
    /// This unit.
    pub origin: Origins,
    /// The other unit.
    pub destination: Origins,
}

impl fmt::Display for Says {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.origin.words("origin");
        words.extend(self.destination.words("destination"));
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_of_an_inverse_is_the_relation() {
        for (kind, name, inverse) in Dependency::TABLE {
            assert_eq!(inverse.inverse(), kind, "{name}");
            assert_eq!(kind.as_str(), name);
        }
    }

    #[test]
    fn only_relations_that_are_written_are_directives() {
        assert_eq!(Dependency::of_directive("BindTo"), Some(D::BindsTo));
        assert_eq!(Dependency::of_directive("After"), Some(D::After));
        assert_eq!(Dependency::of_directive("RequiredBy"), None);
        assert_eq!(Dependency::of_directive("Triggers"), None);
    }

    #[test]
    fn says_are_shown_with_their_side() {
        let mut says = Says { origin: Origin::Default.into(), destination: Origin::File.into() };
        assert!(says.origin.add(Origin::File) && !says.origin.add(Origin::File));
        assert_eq!(says.to_string(), "origin-file origin-default destination-file");
    }
}
