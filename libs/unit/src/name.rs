//! Unit names: `prefix[@[instance]].kind`. Pure. A `UnitName` was checked; nobody asks again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// Longest unit name, as systemd's.
pub const NAME_MAX: usize = 255;

/// The kind of a unit, told by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitKind {
    /// A process, or several.
    Service,
    /// A listening socket.
    Socket,
    /// A point in the order.
    Target,
    /// A device node.
    Device,
    /// A mount point.
    Mount,
    /// A mount made on access.
    Automount,
    /// Swap space.
    Swap,
    /// A timer.
    Timer,
    /// A watched path.
    Path,
    /// A group in the control group tree.
    Slice,
    /// Processes that somebody else started.
    Scope,
}

impl UnitKind {
    /// Every kind.
    pub const ALL: [UnitKind; 11] = [
        UnitKind::Service,
        UnitKind::Socket,
        UnitKind::Target,
        UnitKind::Device,
        UnitKind::Mount,
        UnitKind::Automount,
        UnitKind::Swap,
        UnitKind::Timer,
        UnitKind::Path,
        UnitKind::Slice,
        UnitKind::Scope,
    ];

    /// The end of the name, without the dot.
    pub fn suffix(self) -> &'static str {
        match self {
            UnitKind::Service => "service",
            UnitKind::Socket => "socket",
            UnitKind::Target => "target",
            UnitKind::Device => "device",
            UnitKind::Mount => "mount",
            UnitKind::Automount => "automount",
            UnitKind::Swap => "swap",
            UnitKind::Timer => "timer",
            UnitKind::Path => "path",
            UnitKind::Slice => "slice",
            UnitKind::Scope => "scope",
        }
    }

    /// The name of its section in a unit file.
    pub fn section(self) -> &'static str {
        match self {
            UnitKind::Service => "Service",
            UnitKind::Socket => "Socket",
            UnitKind::Target => "Target",
            UnitKind::Device => "Device",
            UnitKind::Mount => "Mount",
            UnitKind::Automount => "Automount",
            UnitKind::Swap => "Swap",
            UnitKind::Timer => "Timer",
            UnitKind::Path => "Path",
            UnitKind::Slice => "Slice",
            UnitKind::Scope => "Scope",
        }
    }

    /// The kind with this suffix.
    pub fn parse(suffix: &str) -> Option<UnitKind> {
        Self::ALL.into_iter().find(|kind| kind.suffix() == suffix)
    }
}

/// Why a text is not a unit name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No known suffix.
    #[error("unit name '{0}' does not end with a unit type such as .service")]
    NoKind(String),
    /// A character that may not occur.
    #[error("unit name '{0}' holds a character that is not allowed")]
    BadCharacter(String),
    /// Empty prefix.
    #[error("unit name '{0}' has nothing before its type")]
    Empty(String),
    /// Longer than [`NAME_MAX`].
    #[error("unit name is longer than 255 bytes")]
    TooLong,
}

/// A checked unit name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName {
    text: Rc<str>,
    kind: UnitKind,
}

/// The texts of all names, each once: every unit names the same targets.
#[derive(Default)]
struct Texts {
    known: BTreeSet<Rc<str>>,
    /// When there are so many, those that nobody uses any more are forgotten.
    limit: usize,
}

/// Fewer are not looked through.
const TEXTS_MIN: usize = 512;

thread_local!(static TEXTS: RefCell<Texts> = RefCell::default());

fn once(text: &str) -> Rc<str> {
    TEXTS.with_borrow_mut(|texts| {
        if let Some(known) = texts.known.get(text) {
            return known.clone();
        }
        if texts.known.len() >= texts.limit.max(TEXTS_MIN) {
            texts.known.retain(|known| Rc::strong_count(known) > 1);
            texts.limit = texts.known.len() * 2;
        }
        let text: Rc<str> = text.into();
        texts.known.insert(text.clone());
        text
    })
}

/// Digits of the number in a name that was too long.
const HASH_DIGITS: usize = 16;

/// SipHash-2-4 of a text and the zero behind it, under the key that systemd has for this.
fn hash(text: &str) -> String {
    // The one in std that is not deprecated has fewer rounds.
    #[allow(deprecated)]
    let mut hasher = std::hash::SipHasher::new_with_keys(0x324a_3258_fb37_f2ec, 0x9aeb_210d_9b06_9f84);
    std::hash::Hasher::write(&mut hasher, text.as_bytes());
    std::hash::Hasher::write(&mut hasher, &[0]);
    std::hash::Hasher::finish(&hasher).to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":-_.\\@".contains(c)
}

impl UnitName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<UnitName, NameError> {
        if text.len() > NAME_MAX {
            return Err(NameError::TooLong);
        }
        let (stem, suffix) = text.rsplit_once('.').ok_or_else(|| NameError::NoKind(text.into()))?;
        let kind = UnitKind::parse(suffix).ok_or_else(|| NameError::NoKind(text.into()))?;
        if stem.is_empty() || stem.starts_with('@') {
            return Err(NameError::Empty(text.into()));
        }
        if !stem.chars().all(allowed) {
            return Err(NameError::BadCharacter(text.into()));
        }
        Ok(UnitName { text: once(text), kind })
    }

    /// The name of this stem and kind. One that is too long ends with a number made of all of it, as in systemd.
    pub fn of_stem(stem: &str, kind: UnitKind) -> Result<UnitName, NameError> {
        let whole = format!("{stem}.{}", kind.suffix());
        if whole.len() <= NAME_MAX {
            return UnitName::parse(&whole);
        }
        let keep = NAME_MAX - kind.suffix().len() - 1 - HASH_DIGITS - 1;
        let start: String = stem.chars().take(keep).collect();
        UnitName::parse(&format!("{start}_{}.{}", hash(&whole), kind.suffix()))
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The kind of unit.
    pub fn kind(&self) -> UnitKind {
        self.kind
    }

    /// The name without its type (`%N` before unescaping).
    pub fn stem(&self) -> &str {
        self.text.rsplit_once('.').map_or(&self.text, |(stem, _)| stem)
    }

    /// What stands before `@`, or the stem (`%p`).
    pub fn prefix(&self) -> &str {
        self.stem().split_once('@').map_or(self.stem(), |(prefix, _)| prefix)
    }

    /// What stands between `@` and the type; empty for a template, `None` for a plain unit.
    pub fn at(&self) -> Option<&str> {
        self.stem().split_once('@').map(|(_, instance)| instance)
    }

    /// The instance of an instantiated unit (`%i`).
    pub fn instance(&self) -> Option<&str> {
        self.at().filter(|instance| !instance.is_empty())
    }

    /// Is this `foo@.service`?
    pub fn is_template(&self) -> bool {
        self.at() == Some("")
    }

    /// `foo@.service` for `foo@bar.service`.
    pub fn template(&self) -> Option<UnitName> {
        self.instance()?;
        UnitName::parse(&format!("{}@.{}", self.prefix(), self.kind.suffix())).ok()
    }

    /// `foo@bar.service` from the template `foo@.service`.
    pub fn with_instance(&self, instance: &str) -> Result<UnitName, NameError> {
        UnitName::parse(&format!("{}@{}.{}", self.prefix(), instance, self.kind.suffix()))
    }

    /// The unit that a name means to this one: of a template, the instance of this unit's instance or prefix.
    pub fn resolve(&self, other: UnitName) -> Option<UnitName> {
        if !other.is_template() {
            return Some(other);
        }
        other.with_instance(self.instance().unwrap_or(self.prefix())).ok()
    }

    /// The same name with another type.
    pub fn with_kind(&self, kind: UnitKind) -> Result<UnitName, NameError> {
        UnitName::parse(&format!("{}.{}", self.stem(), kind.suffix()))
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_name_are_found() {
        let name = UnitName::parse("serial-getty@ttyS0.service").unwrap();
        assert_eq!(
            (name.kind(), name.stem(), name.prefix(), name.instance()),
            (UnitKind::Service, "serial-getty@ttyS0", "serial-getty", Some("ttyS0"))
        );
        assert_eq!(name.template().unwrap().as_str(), "serial-getty@.service");
        assert!(UnitName::parse("a@.service").unwrap().is_template());
        assert_eq!(UnitName::parse("a@.service").unwrap().with_instance("x").unwrap().as_str(), "a@x.service");
        assert_eq!(UnitName::parse("a@x@y.service").unwrap().instance(), Some("x@y"));
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "a", ".service", "@.service", "a b.service", "a/b.service", "a.unit", "é.service"] {
            assert!(UnitName::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(UnitName::parse(&format!("{}.service", "a".repeat(300))), Err(NameError::TooLong));
    }
}
