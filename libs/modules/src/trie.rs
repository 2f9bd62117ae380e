//! The binary index files (modules.dep.bin and its like): a trie of keys, of which a look-up reads only its way. Pure.
//!
//! A key may hold the wildcards of a shell pattern: `find` gives the values of all patterns that match. Offsets that
//! point nowhere end a look-up, as if nothing were there.

use crate::name::normalise_alias;
use ferrite_pattern::matches_bytes;

const MAGIC: u32 = 0xb007_f457;
/// The upper half of the version: another one has another format.
const MAJOR: u32 = 2;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
const OFFSET: u32 = 0x0fff_ffff;
/// Nodes that one look-up may visit: a broken file may hold circles. The largest real index has fewer in all.
const NODES: usize = 500_000;

/// One index file.
#[derive(Clone, Debug)]
pub struct Trie {
    bytes: Vec<u8>,
    root: u32,
}

/// What is at one offset.
#[derive(Clone, Copy, Debug)]
struct Node<'a> {
    prefix: &'a [u8],
    low: u8,
    /// Four bytes a child.
    children: &'a [u8],
    values: &'a [u8],
    count: u32,
}

/// A node that is still to be looked at, with the part of its pattern from the first wildcard on.
struct Open {
    offset: u32,
    pattern: Vec<u8>,
    /// Where the pattern's last stretch without wildcards begins.
    literal: usize,
    in_brackets: bool,
}

impl Trie {
    /// Takes the bytes of a file; `None` when they are no index of a known format.
    pub fn parse(bytes: Vec<u8>) -> Option<Trie> {
        if word(&bytes, 0)? != MAGIC || word(&bytes, 4)? >> 16 != MAJOR {
            return None;
        }
        let root = word(&bytes, 8)?;
        Some(Trie { bytes, root })
    }

    /// The first value of a key, letter by letter.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut rest = key.as_bytes();
        let mut node = self.node(self.root)?;
        for _visit in 0..NODES {
            rest = rest.strip_prefix(node.prefix)?;
            let Some((byte, below)) = rest.split_first() else {
                return node.values().next().map(|(_, value)| value);
            };
            node = self.node(node.child(*byte)?)?;
            rest = below;
        }
        None
    }

    /// The values of all patterns that match, by rank, each once.
    pub fn find(&self, wanted: &str) -> Vec<&str> {
        let mut key = String::with_capacity(wanted.len());
        normalise_alias(wanted, &mut key);
        let mut found = Vec::new();
        self.descend(key.as_bytes(), &mut found);
        found.sort();
        let mut values: Vec<&str> = Vec::new();
        for (_, value) in found {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values
    }

    /// Follows the key as far as patterns have plain characters; `collect` does the rest.
    fn descend<'a>(&'a self, mut rest: &[u8], found: &mut Vec<(u32, &'a str)>) {
        let mut offset = self.root;
        for _visit in 0..NODES {
            let Some(node) = self.node(offset) else { return };
            let plain = node.prefix.iter().position(|byte| is_wild(*byte)).unwrap_or(node.prefix.len());
            let Some(below) = node.prefix.get(..plain).and_then(|prefix| rest.strip_prefix(prefix)) else { return };
            rest = below;
            if plain < node.prefix.len() {
                return self.collect(Open::new(offset, Vec::new()), plain, rest, found);
            }
            for wild in *b"*?[\\" {
                if let Some(child) = node.child(wild) {
                    self.collect(Open::new(child, vec![wild]), 0, rest, found);
                }
            }
            let Some((byte, below)) = rest.split_first() else { return found.extend(node.values()) };
            let Some(child) = node.child(*byte) else { return };
            (offset, rest) = (child, below);
        }
    }

    /// The values of all patterns below a node that match `text`. `skip` bytes of the node's prefix are dealt with.
    fn collect<'a>(&'a self, first: Open, skip: usize, text: &[u8], found: &mut Vec<(u32, &'a str)>) {
        let (mut open, mut skip) = (vec![first], skip);
        for _visit in 0..NODES {
            let Some(mut here) = open.pop() else { return };
            let Some(node) = self.node(here.offset) else { continue };
            let prefix = node.prefix.get(std::mem::take(&mut skip)..).unwrap_or_default();
            prefix.iter().for_each(|byte| here.push(*byte));
            if !here.can_match(text) {
                continue;
            }
            if node.count > 0 && matches_bytes(&here.pattern, text) {
                found.extend(node.values());
            }
            for (index, child) in node.children.chunks_exact(4).enumerate() {
                let Some(offset) = word(child, 0).filter(|offset| *offset != 0) else { continue };
                let mut next = Open { offset, pattern: here.pattern.clone(), ..here };
                next.push(node.low.wrapping_add(index as u8));
                open.push(next);
            }
        }
    }

    fn node(&self, offset: u32) -> Option<Node<'_>> {
        let mut rest = self.bytes.get((offset & OFFSET) as usize..)?;
        let mut node = Node { prefix: &[], low: 0, children: &[], values: &[], count: 0 };
        if offset & HAS_PREFIX != 0 {
            (node.prefix, rest) = string(rest)?;
        }
        if offset & HAS_CHILDREN != 0 {
            let (&[low, high], table) = rest.split_first_chunk()?;
            let length = 4 * (usize::from(high).checked_sub(usize::from(low))? + 1);
            node.low = low;
            (node.children, rest) = table.split_at_checked(length)?;
        }
        if offset & HAS_VALUES != 0 {
            node.count = word(rest, 0)?;
            node.values = rest.get(4..)?;
        }
        Some(node)
    }
}

impl<'a> Node<'a> {
    fn child(&self, byte: u8) -> Option<u32> {
        let index = usize::from(byte.checked_sub(self.low)?);
        word(self.children, 4 * index).filter(|offset| *offset != 0)
    }

    /// Rank and text of each value.
    fn values(self) -> impl Iterator<Item = (u32, &'a str)> {
        let mut rest = self.values;
        (0..self.count).map_while(move |_| {
            let rank = word(rest, 0)?;
            let (text, below) = string(rest.get(4..)?)?;
            rest = below;
            Some((rank, std::str::from_utf8(text).unwrap_or_default()))
        })
    }
}

impl Open {
    fn new(offset: u32, start: Vec<u8>) -> Self {
        let mut open = Self { offset, pattern: Vec::new(), literal: 0, in_brackets: false };
        start.into_iter().for_each(|byte| open.push(byte));
        open
    }

    fn push(&mut self, byte: u8) {
        // A bracket that closes at once is one of the set.
        let closes = byte == b']' && !(self.pattern.ends_with(b"[") || self.pattern.ends_with(b"[!"));
        self.pattern.push(byte);
        if is_wild(byte) || byte == b']' {
            self.in_brackets = byte == b'[' || self.in_brackets && !closes;
            self.literal = self.pattern.len();
        }
    }

    /// Whether the last plain stretch occurs in the text at all: without it no longer pattern matches.
    fn can_match(&self, text: &[u8]) -> bool {
        let stretch = self.pattern.get(self.literal..).unwrap_or_default();
        stretch.is_empty() || self.in_brackets || text.windows(stretch.len()).any(|part| part == stretch)
    }
}

fn is_wild(byte: u8) -> bool {
    b"*?[\\".contains(&byte)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// What stands before the first zero byte, and what stands behind it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alias::AliasIndex;
    use crate::index::Module;
    use crate::kmod_index;
    use proptest::prelude::*;

    const ALIASES: [&str; 13] = [
        "acpi*:PNP0C01:*",
        "virtio:d00000002v*",
        "virtio:d0000000?v*",
        "virtio:d00000002v00001AF4",
        "pci:v00008086d000010D3sv*sd*bc*sc*i*",
        "pci:v00008086d*sv*sd*bc02sc00i*",
        "fs-ext4",
        "crypto_crc32c",
        "x[a-c]y",
        "x[]a]z",
        "x[!a]*z",
        "x\\*y",
        "*",
    ];

    fn both(aliases: &[String]) -> (Trie, AliasIndex) {
        let mut index = AliasIndex::default();
        let name = |number: usize| format!("module_{number}");
        let module = |(number, alias): (usize, &String)| {
            index.push(alias, &name(number));
            Module { path: format!("{}.ko", name(number)), aliases: vec![alias.clone()], ..Module::default() }
        };
        let modules: Vec<Module> = aliases.iter().enumerate().map(module).collect();
        index.finish();
        (Trie::parse(kmod_index::aliases(&modules)).unwrap(), index)
    }

    #[test]
    fn the_index_of_a_device_gives_what_the_text_gives() {
        let (trie, index) = both(&ALIASES.map(String::from));
        for wanted in [
            "acpi:PNP0C01:",
            "virtio:d00000002v00001AF4",
            "pci:v00008086d000010D3sv0sd1bc02sc00i00",
            "pci:v00008086d00001111sv0sd1bc02sc00i00",
            "fs_ext4",
            "crypto-crc32c",
            "xby",
            "x]z",
            "xaz",
            "xbbz",
            "x*y",
            "",
        ] {
            assert_eq!(trie.find(wanted), index.find(wanted), "{wanted}");
        }
    }

    #[test]
    fn a_key_is_found_whole_or_not_at_all() {
        let trie = Trie::parse(kmod_index::dependencies("k/dm-verity.ko: k/dm-mod.ko\nk/dm-mod.ko:\n")).unwrap();
        assert_eq!(trie.get("dm_verity"), Some("k/dm-verity.ko: k/dm-mod.ko"));
        assert_eq!(trie.get("dm_mod"), Some("k/dm-mod.ko:"));
        for key in ["dm_", "dm_modx", "", "x"] {
            assert_eq!(trie.get(key), None, "{key}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_no_index() {
        assert!(Trie::parse(b"alias a b\n".to_vec()).is_none());
        assert!(Trie::parse(Vec::new()).is_none());
    }

    proptest! {
        #[test]
        fn trie_and_text_agree(
            aliases in proptest::collection::vec("[ab]{0,3}[*?]?[ab:]{0,3}(\\*|\\[a-b\\]|\\[!a\\])?[ab]{0,2}", 0..12),
            wanted in "[ab:]{0,8}",
        ) {
            let (trie, index) = both(&aliases);
            prop_assert_eq!(trie.find(&wanted), index.find(&wanted));
        }

        #[test]
        fn hostile_files_end_a_search(bytes in proptest::collection::vec(any::<u8>(), 0..400), root in 0u32..500) {
            let (mut file, flags) = (Vec::new(), (root % 8) << 29);
            [MAGIC, MAJOR << 16, (root % 400) | flags].iter().for_each(|word| file.extend(word.to_be_bytes()));
            file.extend(bytes);
            if let Some(trie) = Trie::parse(file) {
                let _found = (trie.get("abc"), trie.find("abc").len());
            }
        }
    }
}
