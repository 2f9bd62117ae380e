//! Brings in the shared libraries that the programs of a tree need, and those libraries' own. Pure but for reading
//! contents.
//!
//! Kernel modules are relocatable objects and need none. A library that nobody has is an error that names who needs
//! it: the machine would only find out when the program starts.

use crate::tree::{Kind, Node, Tree, link_target, usr_merged};
use anyhow::{Context, Result, bail};
use ferrite_boards::Glob;
use object::Endianness;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use std::collections::BTreeSet;

/// Where Debian's dynamic loader looks when a program names no folder.
const LIBRARY_DIRS: [&str; 3] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib", "/usr/lib64"];

/// What an ELF file asks the dynamic loader for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    interpreter: Option<String>,
    libraries: Vec<String>,
    search: Vec<String>,
}

/// Copies libraries from `available` until everything in `tree` finds what it needs; `opened` are those that programs
/// open by name at run time.
pub(super) fn close(tree: &mut Tree, available: &Tree, opened: &[Glob]) -> Result<()> {
    for glob in opened {
        let mut paths: Vec<String> =
            available.iter().filter(|(path, _)| glob.matches(path)).map(|(path, _)| path.to_owned()).collect();
        if paths.is_empty() {
            paths = tree.iter().filter(|(path, _)| glob.matches(path)).map(|(path, _)| path.to_owned()).collect();
        }
        if paths.is_empty() {
            bail!("no locked package has the library '{glob}' that the board names");
        }
        for path in &paths {
            bring(tree, available, path)?;
        }
    }
    let mut pending: Vec<String> =
        tree.iter().filter(|(path, node)| is_program(path, node)).map(|(p, _)| p.into()).collect();
    let mut seen: BTreeSet<String> = pending.iter().cloned().collect();
    while let Some(path) = pending.pop() {
        let content = tree.get(&path).and_then(Node::content).cloned();
        let content = content.with_context(|| format!("{path} is not a regular file"))?;
        let bytes = content.read().with_context(|| format!("reading {path}"))?;
        let needs = needs(&bytes).with_context(|| format!("reading the ELF headers of {path}"))?;
        for wanted in needs.interpreter.iter().chain(&needs.libraries) {
            let found = find(tree, wanted, &path, &needs.search);
            let found = found.or_else(|| find(available, wanted, &path, &needs.search));
            let found = found.with_context(|| format!("{path} needs {wanted}, which no locked package has"))?;
            let real = bring(tree, available, &found)?;
            if seen.insert(real.clone()) {
                pending.push(real);
            }
        }
    }
    Ok(())
}

fn is_program(path: &str, node: &Node) -> bool {
    let long_enough = node.content().is_some_and(|content| content.size() >= 64);
    long_enough && !path.ends_with(".ko") && !path.starts_with("/boot/")
}

/// Copies a library, and the file behind it if it is a link; the path of the file.
fn bring(tree: &mut Tree, available: &Tree, path: &str) -> Result<String> {
    let mut path = path.to_owned();
    loop {
        if tree.get(&path).is_none() {
            let node = available.get(&path).with_context(|| format!("{path} is a link into nowhere"))?;
            tree.insert(&path, node.clone())?;
        }
        match tree.get(&path).map(|node| &node.kind) {
            Some(Kind::Symlink(target)) => path = link_target(&path, target),
            Some(Kind::File(_)) => return Ok(path),
            Some(Kind::Dir) | None => bail!("{path} is not a library"),
        }
    }
}

/// The path of a library as the dynamic loader would find it.
fn find(tree: &Tree, wanted: &str, program: &str, search: &[String]) -> Option<String> {
    if wanted.contains('/') {
        let path = usr_merged(wanted);
        return tree.get(&path).map(|_| path);
    }
    let origin = program.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folders = search.iter().map(|folder| folder.replace("$ORIGIN", origin).replace("${ORIGIN}", origin));
    let folders = folders.chain(LIBRARY_DIRS.iter().map(|dir| (*dir).to_owned()));
    folders.map(|folder| usr_merged(&format!("{folder}/{wanted}"))).find(|path| tree.get(path).is_some())
}

/// Reads what a file needs; a file that is no 64-bit ELF needs nothing.
fn needs(bytes: &[u8]) -> Result<Needs> {
    let mut needs = Needs::default();
    if !bytes.starts_with(b"\x7fELF\x02") {
        return Ok(needs);
    }
    let header = FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    for segment in header.program_headers(endian, bytes)? {
        if let Some(interpreter) = segment.interpreter(endian, bytes)? {
            needs.interpreter = Some(lossy(interpreter));
        }
    }
    let table = header.sections(endian, bytes)?.dynamic_table(endian, bytes)?;
    for entry in &table {
        match entry.tag {
            elf::DT_NEEDED => needs.libraries.push(lossy(table.string(entry)?)),
            elf::DT_RUNPATH | elf::DT_RPATH => {
                needs.search.extend(lossy(table.string(entry)?).split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(needs)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Origin;

    /// The smallest ELF file with an interpreter and a dynamic section: header, program header, strings, entries,
    /// sections.
    fn elf_file(needed: &[&str], search: &str) -> Vec<u8> {
        let mut strings = vec![0];
        let mut entries: Vec<[u64; 2]> = Vec::new();
        let mut add = |tag: u64, text: &str| {
            entries.push([tag, strings.len() as u64]);
            strings.extend(text.as_bytes());
            strings.push(0);
        };
        needed.iter().for_each(|name| add(1, name));
        add(29, search);
        entries.push([0, 0]);
        let words = |values: &[u64]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let dynamic: Vec<u8> = entries.iter().flat_map(|entry| words(entry)).collect();
        let strings_at = 64_u64;
        let dynamic_at = (strings_at + strings.len() as u64).next_multiple_of(8);
        let sections_at = dynamic_at + dynamic.len() as u64;
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
        file.extend(words(&[0, 0, sections_at]));
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 3, 0, 1, 0]);
        file.extend(&strings);
        file.resize(usize::try_from(dynamic_at).unwrap(), 0);
        file.extend(dynamic.iter());
        let section = |kind: u32, at: u64, size: u64, link: u32, entry: u64| {
            let mut bytes = [0_u32, kind].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
            bytes.extend(words(&[0, 0, at, size]));
            bytes.extend([link, 0].iter().flat_map(|value| value.to_le_bytes()));
            bytes.extend(words(&[8, entry]));
            bytes
        };
        file.extend(section(0, 0, 0, 0, 0));
        file.extend(section(3, strings_at, strings.len() as u64, 0, 0));
        file.extend(section(6, dynamic_at, dynamic.len() as u64, 1, 16));
        file
    }

    fn tree(files: &[(&str, Vec<u8>)], links: &[(&str, &str)]) -> Tree {
        let origin: Origin = "p".into();
        let mut tree = Tree::new();
        for (path, bytes) in files {
            tree.insert(path, Node::file(0o755, bytes.clone(), &origin)).unwrap();
        }
        for (path, target) in links {
            tree.insert(path, Node::symlink(*target, &origin)).unwrap();
        }
        tree
    }

    fn dir(name: &str) -> String {
        format!("/usr/lib/x86_64-linux-gnu/{name}")
    }

    #[test]
    fn libraries_come_with_their_links_and_their_own_libraries() {
        let mut image = tree(&[("/usr/bin/p", elf_file(&["liba.so.1"], "/usr/lib/p"))], &[]);
        let (a, b) = (dir("liba.so.1.2"), "/usr/lib/p/libb.so");
        let available = tree(
            &[
                (&a, elf_file(&["libb.so"], "$ORIGIN/../p")),
                ("/usr/lib/p/libb.so", elf_file(&[], "")),
                (&dir("libc.so"), vec![]),
            ],
            &[(&dir("liba.so.1"), "liba.so.1.2")],
        );
        let mut wide = available.clone();
        wide.insert(&dir("libb.so"), Node::file(0o644, elf_file(&[], ""), &"q".into())).unwrap();
        close(&mut image, &wide, &[]).unwrap();
        let found: Vec<&str> = image.iter().filter(|(_, node)| node.kind != Kind::Dir).map(|(path, _)| path).collect();
        assert_eq!(found, ["/usr/bin/p", &dir("liba.so.1"), &a, &dir("libb.so")]);
        assert!(image.get(b).is_none());
    }

    #[test]
    fn a_missing_library_is_named_with_who_needs_it() {
        let mut image = tree(&[("/usr/bin/p", elf_file(&["liba.so.1"], ""))], &[]);
        let error = close(&mut image, &Tree::new(), &[]).unwrap_err().to_string();
        assert_eq!(error, "/usr/bin/p needs liba.so.1, which no locked package has");
        let glob = Glob::parse("/usr/lib/x.so").unwrap();
        let error = close(&mut Tree::new(), &Tree::new(), &[glob]).unwrap_err().to_string();
        assert!(error.contains("'/usr/lib/x.so'"), "{error}");
    }

    #[test]
    fn a_library_opened_at_run_time_enters_by_the_board_s_word() {
        let mut image = Tree::new();
        let available =
            tree(&[(&dir("libopened.so.2.1"), elf_file(&[], ""))], &[(&dir("libopened.so.2"), "libopened.so.2.1")]);
        close(&mut image, &available, &[Glob::parse(&dir("libopened.so.2")).unwrap()]).unwrap();
        assert!(image.get(&dir("libopened.so.2.1")).is_some());
    }
}
