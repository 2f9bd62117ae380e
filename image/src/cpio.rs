//! Writes the cpio archive ("newc") that the kernel unpacks as its first root file system. Pure.
//!
//! The bytes depend on names and contents alone: owner 0, time 0, inode numbers counted from one, parents first, names
//! sorted. Kernels accept several archives behind each other, each compressed or not; every archive here is whole.

use std::collections::BTreeMap;

const MODE_TYPE: u32 = 0o170_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_LINK: u32 = 0o120_000;
const TRAILER: &str = "TRAILER!!!";

enum Entry {
    Directory,
    File { mode: u32, data: Vec<u8> },
    Link { target: String },
}

/// An archive being filled. Missing parent directories are made.
#[derive(Default)]
pub struct Archive {
    entries: BTreeMap<String, Entry>,
}

impl Archive {
    /// Adds a directory with mode 0755.
    pub fn directory(&mut self, path: &str) {
        self.add_parents(path);
        self.entries.insert(path.to_string(), Entry::Directory);
    }

    /// Adds a regular file; `path` has no leading slash, `mode` is the permission bits.
    pub fn file(&mut self, path: &str, mode: u32, data: impl Into<Vec<u8>>) {
        self.add_parents(path);
        self.entries.insert(path.to_string(), Entry::File { mode, data: data.into() });
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add_parents(path);
        self.entries.insert(path.to_string(), Entry::Link { target: target.to_string() });
    }

    /// The archive, padded to a multiple of 512 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, (path, entry)) in self.entries.iter().enumerate() {
            let inode = u32::try_from(index + 1).unwrap_or(u32::MAX);
            match entry {
                Entry::Directory => append(&mut out, path, inode, MODE_DIRECTORY | 0o755, &[]),
                Entry::File { mode, data } => append(&mut out, path, inode, MODE_FILE | mode, data),
                Entry::Link { target } => append(&mut out, path, inode, MODE_LINK | 0o777, target.as_bytes()),
            }
        }
        append(&mut out, TRAILER, 0, 0, &[]);
        pad(&mut out, 512);
        out
    }

    fn add_parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let parent = &path[..at];
            self.entries.entry(parent.to_string()).or_insert(Entry::Directory);
        }
    }
}

fn append(out: &mut Vec<u8>, path: &str, inode: u32, mode: u32, data: &[u8]) {
    let links = if mode & MODE_TYPE == MODE_DIRECTORY { 2 } else { 1 };
    let size = u32::try_from(data.len()).expect("an initrd file is smaller than 4 GiB");
    let name_size = u32::try_from(path.len() + 1).expect("a path is shorter than 4 GiB");
    out.extend(b"070701");
    for field in [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0] {
        out.extend(format!("{field:08X}").as_bytes());
    }
    out.extend(path.as_bytes());
    out.push(0);
    pad(out, 4);
    out.extend(data);
    pad(out, 4);
}

fn pad(out: &mut Vec<u8>, to: usize) {
    out.resize(out.len().next_multiple_of(to), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let (mut at, mut names) = (0, Vec::new());
        loop {
            let field = |n: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + 8 * n..at + 14 + 8 * n]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (size, name_size) = (field(6), field(11));
            let name = String::from_utf8(bytes[at + 110..at + 110 + name_size - 1].to_vec()).unwrap();
            at = (at + 110 + name_size).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
            if name == TRAILER {
                return names;
            }
            names.push(name);
        }
    }

    #[test]
    fn parents_come_before_children_and_the_order_of_calls_does_not_matter() {
        let mut one = Archive::default();
        one.file("lib/modules/a.ko", 0o644, *b"x");
        one.file("init", 0o755, *b"program");
        let mut two = Archive::default();
        two.file("init", 0o755, *b"program");
        two.file("lib/modules/a.ko", 0o644, *b"x");
        assert_eq!(one.to_bytes(), two.to_bytes());
        assert_eq!(names(&one.to_bytes()), ["init", "lib", "lib/modules", "lib/modules/a.ko"]);
    }

    #[test]
    fn a_link_holds_its_target_and_the_archive_is_whole_sectors() {
        let mut archive = Archive::default();
        archive.link("sbin/init", "/init");
        let bytes = archive.to_bytes();
        assert_eq!(bytes.len() % 512, 0);
        assert!(bytes.windows(5).any(|w| w == b"/init"));
    }
}
