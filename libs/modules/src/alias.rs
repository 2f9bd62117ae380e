//! Which modules drive a device: shell patterns against its modalias. Pure.
//!
//! The patterns are sorted by their text before the first wildcard, so that a look-up walks down the
//! modalias and compares a handful of them, not twenty thousand.

use crate::name::normalise_alias;

/// The patterns of modules.alias and the modules they name.
#[derive(Clone, Debug, Default)]
pub struct AliasIndex {
    text: String,
    entries: Vec<Entry>,
}

/// Positions in `text`: the pattern from `start`, the module from `module` to `end`.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: u32,
    literal: u32,
    module: u32,
    end: u32,
    line: u32,
}

impl AliasIndex {
    /// Adds a pattern for a module.
    pub fn push(&mut self, pattern: &str, module: &str) {
        let start = self.text.len();
        normalise_alias(pattern, &mut self.text);
        let middle = self.text.len();
        let normalised = self.text.get(start..).unwrap_or_default();
        let literal = start + normalised.find(['*', '?', '[', '\\']).unwrap_or(normalised.len());
        self.text.extend(module.chars().map(|character| if character == '-' { '_' } else { character }));
        let line = self.entries.len() as u32;
        self.entries.push(Entry {
            start: start as u32,
            literal: literal as u32,
            module: middle as u32,
            end: self.text.len() as u32,
            line,
        });
    }

    /// Brings the patterns into the order that `find` needs; call it after the last `push`.
    pub fn finish(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.entries.sort_by(|a, b| a.prefix(&text).cmp(b.prefix(&text)).then(a.line.cmp(&b.line)));
        self.text = text;
    }

    /// Number of patterns.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The modules whose pattern matches, in the order of the file, each once.
    pub fn find(&self, alias: &str) -> Vec<&str> {
        let mut wanted = String::with_capacity(alias.len());
        normalise_alias(alias, &mut wanted);
        let mut found: Vec<&Entry> =
            self.candidates(&wanted).filter(|entry| matches(entry.pattern(&self.text), &wanted)).collect();
        found.sort_by_key(|entry| entry.line);
        let mut modules = Vec::new();
        for module in found.into_iter().map(|entry| entry.module(&self.text)) {
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
        modules
    }

    /// The patterns whose literal beginning is a beginning of `wanted`.
    fn candidates<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Entry> {
        let mut range: &[Entry] = &self.entries;
        let lengths = (0..=wanted.len()).filter(|&length| wanted.is_char_boundary(length));
        lengths
            .map_while(move |length| {
                let prefix = wanted.get(..length)?;
                range = self.narrow(range, prefix);
                let exact = range.partition_point(|entry| entry.prefix(&self.text) <= prefix);
                (!range.is_empty()).then(|| range.get(..exact).unwrap_or_default())
            })
            .flatten()
    }

    /// The part of a sorted range whose literal beginnings start with `prefix`.
    fn narrow<'a>(&self, range: &'a [Entry], prefix: &str) -> &'a [Entry] {
        let below = range.partition_point(|entry| entry.prefix(&self.text) < prefix);
        let rest = range.get(below..).unwrap_or_default();
        let inside = rest.partition_point(|entry| entry.prefix(&self.text).starts_with(prefix));
        rest.get(..inside).unwrap_or_default()
    }
}

impl Entry {
    fn prefix<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start as usize..self.literal as usize).unwrap_or_default()
    }

    fn pattern<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start as usize..self.module as usize).unwrap_or_default()
    }

    fn module<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.module as usize..self.end as usize).unwrap_or_default()
    }
}

/// fnmatch(3) without flags: `*`, `?`, `[a-z]`, `[!a]`, `\x`.
pub fn matches(pattern: &str, text: &str) -> bool {
    matches_bytes(pattern.as_bytes(), text.as_bytes())
}

/// The same for text in pieces.
pub(crate) fn matches_bytes(mut pattern: &[u8], mut text: &[u8]) -> bool {
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        if text.is_empty() && pattern.is_empty() {
            return true;
        }
        if let (Some(rest), [_, others @ ..]) = (step(pattern, text), text) {
            (pattern, text) = (rest, others);
            continue;
        }
        // Dead end: let the last star swallow one character more.
        match retry {
            Some((after_star, [_, others @ ..])) => {
                retry = Some((after_star, others));
                (pattern, text) = (after_star, others);
            }
            _ => return false,
        }
    }
}

/// Matches one element of the pattern (not `*`) with the first character; returns the pattern's rest.
fn step<'a>(pattern: &'a [u8], text: &[u8]) -> Option<&'a [u8]> {
    let &character = text.first()?;
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match bracket(rest, character) {
            Some((hit, rest)) => hit.then_some(rest),
            None => (character == b'[').then_some(rest),
        },
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == character).then_some(rest),
        [] => None,
    }
}

/// Reads a bracket expression after its `[`; `None` if it is never closed.
fn bracket(mut pattern: &[u8], character: u8) -> Option<(bool, &[u8])> {
    let mut negated = false;
    if let [b'!' | b'^', rest @ ..] = pattern {
        negated = true;
        pattern = rest;
    }
    let (mut hit, mut first) = (false, true);
    loop {
        pattern = match pattern {
            [b']', rest @ ..] if !first => return Some((hit != negated, rest)),
            [low, b'-', high, rest @ ..] if *high != b']' => {
                hit |= (*low..=*high).contains(&character);
                rest
            }
            [single, rest @ ..] => {
                hit |= *single == character;
                rest
            }
            [] => return None,
        };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_fnmatch() {
        for (pattern, text, expected) in [
            ("pci:v00008086d*sv*", "pci:v00008086d000010D3sv00000000", true),
            ("pci:v00008086d*sv*", "pci:v00008087d000010D3sv00000000", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("v[0-9]x", "v7x", true),
            ("v[!0-9]x", "v7x", false),
            ("v[^0-9]x", "vax", true),
            ("v[]a]x", "v]x", true),
            ("v[a-]x", "v-x", true),
            ("v[", "v[", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("***", "abc", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_ends_soon() {
        assert!(!matches(&"*a".repeat(40), &"a".repeat(30_000).replace("aa", "ab")[..20_000].replace('a', "c")));
    }

    fn index(lines: &[(&str, &str)]) -> AliasIndex {
        let mut index = AliasIndex::default();
        lines.iter().for_each(|(pattern, module)| index.push(pattern, module));
        index.finish();
        index
    }

    #[test]
    fn a_device_finds_every_pattern_at_any_depth_in_file_order() {
        let index = index(&[
            ("virtio:d00000002v*", "virtio-blk"),
            ("acpi*:PNP0C01:*", "acpi_a"),
            ("*", "everything"),
            ("virtio:d0000000?v*", "other"),
            ("virtio:d00000001v*", "virtio_net"),
            ("virtio:d00000002v00001AF4", "exact"),
            ("virtio:d00000002v*", "virtio_blk"),
        ]);
        assert_eq!(index.find("virtio:d00000002v00001AF4"), ["virtio_blk", "everything", "other", "exact"]);
        assert_eq!(index.find("acpi:PNP0C01:"), ["acpi_a", "everything"]);
        assert_eq!(index.len(), 7);
    }

    #[test]
    fn dashes_and_underscores_are_one_character() {
        let index = index(&[("fs-ext4", "ext4"), ("crypto_crc32c", "crc32c-generic"), ("x[a-c]y", "range")]);
        assert_eq!(index.find("fs_ext4"), ["ext4"]);
        assert_eq!(index.find("crypto-crc32c"), ["crc32c_generic"]);
        assert_eq!(index.find("xby"), ["range"]);
        assert!(index.find("x-y").is_empty());
    }

    #[test]
    fn a_modalias_that_is_no_ascii_is_harmless() {
        let index = index(&[("dmi*:", "dmi")]);
        assert_eq!(index.find("dmiß:"), ["dmi"]);
        assert!(index.find("ß").is_empty());
        assert!(AliasIndex::default().find("x").is_empty());
    }
}
