//! Writes the binary index files that `modprobe` and `trie` read (modules.dep.bin and its like). Pure.
//!
//! A file is a trie of keys: each node holds what its keys have in common, a table of children by the next byte,
//! and the values of the key that ends there. All numbers are big-endian; an offset carries in its upper bits what the
//! node at it consists of.

use std::collections::BTreeMap;

use crate::index::Module;
use crate::name::{ModuleName, normalise_alias};

const MAGIC: u32 = 0xb007_f457;
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// Keys with their values, each with its rank.
type Keys = BTreeMap<Vec<u8>, Vec<(u32, String)>>;

/// A key and its values.
type Entry<'a> = (&'a [u8], &'a [(u32, String)]);

/// modules.dep.bin: by name of the module, its line of modules.dep.
pub fn dependencies(modules_dep: &str) -> Vec<u8> {
    let mut keys = Keys::new();
    for (rank, line) in modules_dep.lines().enumerate() {
        let path = line.split(':').next().unwrap_or_default();
        add(&mut keys, &module_name(path), rank, line);
    }
    write(&keys)
}

/// modules.alias.bin: by alias, the names of the modules.
pub fn aliases(modules: &[Module]) -> Vec<u8> {
    let mut keys = Keys::new();
    for (rank, module) in modules.iter().enumerate() {
        for alias in &module.aliases {
            add(&mut keys, &normalise(alias), rank, module.name().as_str());
        }
    }
    write(&keys)
}

/// modules.builtin.bin: the names of what the kernel contains.
pub fn builtin(modules_builtin: &str) -> Vec<u8> {
    let mut keys = Keys::new();
    for line in modules_builtin.lines() {
        add(&mut keys, &module_name(line.trim()), 0, "");
    }
    write(&keys)
}

/// modules.builtin.alias.bin: by alias, what the kernel contains; out of modules.builtin.modinfo.
pub fn builtin_aliases(modinfo: &[u8]) -> Vec<u8> {
    let mut keys = Keys::new();
    for field in modinfo.split(|&byte| byte == 0) {
        let text = String::from_utf8_lossy(field);
        if let Some((module, alias)) = text.split_once(".alias=") {
            add(&mut keys, &normalise(alias), 0, &normalise(module));
        }
    }
    write(&keys)
}

fn add(keys: &mut Keys, key: &str, rank: usize, value: &str) {
    let values = keys.entry(key.as_bytes().to_vec()).or_default();
    let value = (u32::try_from(rank).unwrap_or(u32::MAX), value.to_string());
    if !values.contains(&value) {
        values.push(value);
    }
}

fn module_name(path: &str) -> String {
    normalise(ModuleName::of_path(path).as_str())
}

/// Dashes and underscores are one character, but for ranges in brackets.
fn normalise(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    normalise_alias(text, &mut output);
    output
}

fn write(keys: &Keys) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [MAGIC, VERSION, 0] {
        out.extend(word.to_be_bytes());
    }
    let entries: Vec<Entry> = keys.iter().map(|(key, values)| (key.as_slice(), values.as_slice())).collect();
    let root = write_node(&entries, 0, &mut out);
    out[8..12].copy_from_slice(&root.to_be_bytes());
    out
}

/// Writes the node of some sorted keys, which agree in their first `depth` bytes, behind its children.
fn write_node(entries: &[Entry], depth: usize, out: &mut Vec<u8>) -> u32 {
    let (Some((first, _)), Some((last, _))) = (entries.first(), entries.last()) else { return out.len() as u32 };
    let common = first[depth..].iter().zip(&last[depth..]).take_while(|(a, b)| a == b).count();
    let end = depth + common;
    let (here, below) = entries.split_at(usize::from(first.len() == end));
    let children: Vec<(u8, u32)> = below
        .chunk_by(|(left, _), (right, _)| left[end] == right[end])
        .map(|group| (group[0].0[end], write_node(group, end + 1, out)))
        .collect();
    let mut offset = out.len() as u32;
    if common > 0 {
        offset |= HAS_PREFIX;
        out.extend(&first[depth..end]);
        out.push(0);
    }
    if let (Some((low, _)), Some((high, _))) = (children.first(), children.last()) {
        offset |= HAS_CHILDREN;
        out.extend([*low, *high]);
        for byte in *low..=*high {
            let child = children.iter().find(|(first, _)| *first == byte).map_or(0, |(_, offset)| *offset);
            out.extend(child.to_be_bytes());
        }
    }
    if let Some((_, values)) = here.first() {
        offset |= HAS_VALUES;
        out.extend((values.len() as u32).to_be_bytes());
        for (rank, value) in *values {
            out.extend(rank.to_be_bytes());
            out.extend(value.as_bytes());
            out.push(0);
        }
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an index back: key and values of every node.
    fn read(bytes: &[u8]) -> Vec<(String, Vec<String>)> {
        let mut found = Vec::new();
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4)), (MAGIC, VERSION));
        let mut stack = vec![(word(8), String::new())];
        while let Some((offset, mut key)) = stack.pop() {
            let mut at = (offset & 0x0fff_ffff) as usize;
            let text = |at: &mut usize| {
                let end = *at + bytes[*at..].iter().position(|&byte| byte == 0).unwrap();
                let text = String::from_utf8(bytes[*at..end].to_vec()).unwrap();
                *at = end + 1;
                text
            };
            if offset & HAS_PREFIX != 0 {
                key.push_str(&text(&mut at));
            }
            if offset & HAS_CHILDREN != 0 {
                let (low, high) = (bytes[at], bytes[at + 1]);
                at += 2;
                for byte in low..=high {
                    if word(at) != 0 {
                        stack.push((word(at), format!("{key}{}", char::from(byte))));
                    }
                    at += 4;
                }
            }
            if offset & HAS_VALUES != 0 {
                let count = word(at);
                at += 4;
                let mut values = Vec::new();
                for _ in 0..count {
                    at += 4;
                    values.push(text(&mut at));
                }
                found.push((key, values));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn every_key_is_found_again_with_all_its_values() {
        let module = |path: &str, aliases: &[&str]| Module {
            path: path.to_string(),
            aliases: aliases.iter().map(|alias| alias.to_string()).collect(),
            ..Module::default()
        };
        let modules = [
            module("k/vfat.ko", &["fs-vfat"]),
            module("k/virtio-blk.ko", &["virtio:d2v*", "fs-v"]),
            module("k/other.ko", &["virtio:d2v*", "x[a-c]"]),
        ];
        let expected = [
            ("fs_v", vec!["virtio_blk"]),
            ("fs_vfat", vec!["vfat"]),
            ("virtio:d2v*", vec!["virtio_blk", "other"]),
            ("x[a-c]", vec!["other"]),
        ];
        let expected: Vec<(String, Vec<String>)> =
            expected.map(|(key, values)| (key.to_string(), values.iter().map(|v| v.to_string()).collect())).into();
        assert_eq!(read(&aliases(&modules)), expected);
    }

    #[test]
    fn a_module_is_found_by_its_name_with_its_whole_line() {
        let text = "k/dm-verity.ko: k/dm-mod.ko\nk/dm-mod.ko:\n";
        let lines = [("dm_mod", "k/dm-mod.ko:"), ("dm_verity", "k/dm-verity.ko: k/dm-mod.ko")];
        let expected: Vec<_> = lines.map(|(key, line)| (key.to_string(), vec![line.to_string()])).into();
        assert_eq!(read(&dependencies(text)), expected);
    }

    #[test]
    fn what_the_kernel_contains_has_aliases_too() {
        let index = builtin_aliases(b"ext4.alias=fs-ext4\0ext4.license=GPL\0loop.parm=x\0");
        assert_eq!(read(&index), [("fs_ext4".to_string(), vec!["ext4".to_string()])]);
        assert_eq!(read(&builtin("k/ext4.ko\n")), [("ext4".to_string(), vec![String::new()])]);
        assert!(read(&builtin("")).is_empty());
    }
}
