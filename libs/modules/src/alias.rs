//! Which modules drive a device: shell patterns against its modalias. Pure.
//!
//! The patterns are sorted by their text before the first wildcard, so that a look-up walks down the
//! modalias and compares a handful of them, not twenty thousand.

use ferrite_pattern::matches;

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

#[cfg(test)]
mod tests {
    use super::*;

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
