//! `[Match]`: which links a file is for. Pure.
//!
//! All keys that are given must match, any word of a key is enough; `!` before the first word turns its key around.

use ferrite_pattern as pattern;

use crate::key::{Key, key};
use crate::value::{Mac, Parsed, extend, mac, words};

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkFacts {
    /// The name in the kernel.
    pub name: String,
    /// Other names.
    pub alternative_names: Vec<String>,
    /// The hardware address.
    pub mac: Option<Mac>,
    /// The address that the hardware was made with.
    pub permanent_mac: Option<Mac>,
    /// The kernel's driver.
    pub driver: Option<String>,
    /// Where the device hangs, as in `pci-0000:00:03.0`.
    pub path: Option<String>,
    /// `ether`, `loopback` and the like.
    pub link_type: String,
    /// `bond`, `veth` and the like; hardware has none.
    pub kind: Option<String>,
}

/// Shell patterns, the whole turned around by `!`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns {
    negated: bool,
    words: Vec<String>,
}

impl Patterns {
    /// Whether the key was given.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn add(&mut self, text: &str) -> Parsed<()> {
        if text.is_empty() {
            *self = Self::default();
            return Ok(());
        }
        let (negated, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if self.words.is_empty() {
            self.negated = negated;
        }
        self.words.extend(words(rest)?);
        Ok(())
    }

    fn accepts<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let found = values.into_iter().any(|value| self.words.iter().any(|word| pattern::matches(word, value)));
        found != self.negated
    }
}

/// The section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// Hardware addresses.
    pub macs: Vec<Mac>,
    /// Hardware addresses as made.
    pub permanent_macs: Vec<Mac>,
    /// Where devices hang.
    pub paths: Patterns,
    /// Drivers.
    pub drivers: Patterns,
    /// Types.
    pub types: Patterns,
    /// Kinds.
    pub kinds: Patterns,
    /// Names.
    pub names: Patterns,
}

impl Match {
    /// Whether any key was given; a file without one is for no link.
    pub fn is_given(&self) -> bool {
        let patterns = [&self.paths, &self.drivers, &self.types, &self.kinds, &self.names];
        !self.macs.is_empty() || !self.permanent_macs.is_empty() || patterns.iter().any(|patterns| !patterns.is_empty())
    }

    /// Whether the file is for this link.
    pub fn matches(&self, link: &LinkFacts) -> bool {
        let among = |list: &[Mac], mac: Option<Mac>| list.is_empty() || mac.is_some_and(|mac| list.contains(&mac));
        let names = std::iter::once(link.name.as_str()).chain(link.alternative_names.iter().map(String::as_str));
        self.is_given()
            && among(&self.macs, link.mac)
            && among(&self.permanent_macs, link.permanent_mac.or(link.mac))
            && self.paths.accepts(link.path.as_deref())
            && self.drivers.accepts(link.driver.as_deref())
            && self.types.accepts([link.link_type.as_str()])
            && self.kinds.accepts(link.kind.as_deref())
            && self.names.accepts(names)
    }
}

/// What holds a [`Match`].
pub(crate) trait Matches {
    fn matching(&mut self) -> &mut Match;
}

/// The keys, for `.network` and `.link` files.
pub(crate) const fn keys<T: Matches>() -> [Key<T>; 8] {
    [
        key("MACAddress", "hardware addresses", "any of these", |file: &mut T, text| {
            extend(&mut file.matching().macs, text, mac)
        }),
        key(
            "PermanentMACAddress",
            "hardware addresses",
            "any of these, as the hardware was made",
            |file: &mut T, text| extend(&mut file.matching().permanent_macs, text, mac),
        ),
        key("Path", "patterns", "where the device hangs, such as `pci-0000:00:03.0`", |file: &mut T, text| {
            file.matching().paths.add(text)
        }),
        key("Driver", "patterns", "the kernel's driver", |file: &mut T, text| file.matching().drivers.add(text)),
        key("Type", "patterns", "`ether`, `loopback`, `wireguard` ...", |file: &mut T, text| {
            file.matching().types.add(text)
        }),
        key("Kind", "patterns", "`bond`, `bridge`, `vlan`, `veth` ...; hardware has none", |file: &mut T, text| {
            file.matching().kinds.add(text)
        }),
        key("Name", "patterns", "the name, or another name of the link", |file: &mut T, text| {
            file.matching().names.add(text)
        }),
        key("OriginalName", "patterns", "the same, as `.link` files write it", |file: &mut T, text| {
            file.matching().names.add(text)
        }),
    ]
}
