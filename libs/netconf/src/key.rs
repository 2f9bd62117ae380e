//! Tables of keys: what stands before `=`, what is right behind it, and what it does to the typed file. Pure.

use crate::value::Parsed;

/// What a key does.
pub(crate) enum Effect<T> {
    /// Sets something.
    Set(fn(&mut T, &str) -> Parsed<()>),
    /// Is accepted and does nothing, for a reason that docs tell.
    None,
}

/// One key of a section.
pub(crate) struct Key<T: 'static> {
    pub name: &'static str,
    /// What is right behind `=`, for the documentation.
    #[cfg_attr(not(test), allow(dead_code))]
    pub value: &'static str,
    /// What it does, for the documentation.
    pub does: &'static str,
    pub effect: Effect<T>,
}

/// A key that sets something.
pub(crate) const fn key<T>(
    name: &'static str,
    value: &'static str,
    does: &'static str,
    set: fn(&mut T, &str) -> Parsed<()>,
) -> Key<T> {
    Key { name, value, does, effect: Effect::Set(set) }
}

/// A key that is accepted without effect.
pub(crate) const fn idle<T>(name: &'static str, why: &'static str) -> Key<T> {
    Key { name, value: "", does: why, effect: Effect::None }
}

/// What repeated sections need.
pub(crate) struct Repeated<T> {
    /// Begins a new element.
    pub begin: fn(&mut T),
    /// Whether the last element is complete.
    pub check: fn(&T) -> Parsed<()>,
    /// Takes the last element back.
    pub drop: fn(&mut T),
}

/// One section.
pub(crate) struct Section<T: 'static> {
    pub name: &'static str,
    pub keys: &'static [Key<T>],
    /// Every header begins a new element; otherwise sections of one name are one.
    pub repeated: Option<Repeated<T>>,
}

impl<T> Section<T> {
    pub fn find(&self, key: &str) -> Option<&'static Key<T>> {
        self.keys.iter().find(|known| known.name == key)
    }
}
