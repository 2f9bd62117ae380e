//! The paths that a pattern stands for. Folders that are links are not looked into.

use ferrite_pattern::{expand_braces, is_pattern, matches_file};
use rustix::fs::FileType;

use super::walk::{Last, Safety, Tree, names, open_folder};

/// Most paths of one pattern.
const MATCHES_MAX: usize = 1_000_000;

/// All paths that exist and match, sorted.
pub(super) fn paths(tree: &Tree, pattern: &str) -> Vec<String> {
    let mut found: Vec<String> = expand_braces(pattern).iter().flat_map(|pattern| one(tree, pattern)).collect();
    found.sort();
    found.dedup();
    found
}

fn one(tree: &Tree, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut is_known = false;
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        is_known = is_pattern(part);
        if !is_known {
            let plain = without_escapes(part);
            found.iter_mut().for_each(|path| path.extend(["/", plain.as_str()]));
            continue;
        }
        let mut next = Vec::new();
        for path in &found {
            next.extend(matches_in(tree, path, part));
            if next.len() > MATCHES_MAX {
                eprintln!("More than {MATCHES_MAX} paths match '{pattern}', ignoring the rest.");
                next.truncate(MATCHES_MAX);
                break;
            }
        }
        found = next;
    }
    if pattern == "/" {
        return vec!["/".into()];
    }
    if !is_known {
        found.retain(|path| tree.chase(path, Last::Keep, Safety::Any).is_ok());
    }
    found
}

fn matches_in(tree: &Tree, path: &str, part: &str) -> Vec<String> {
    let Ok(folder) = tree.chase(path, Last::Keep, Safety::Any) else { return Vec::new() };
    if folder.kind() != FileType::Directory {
        return Vec::new();
    }
    let names = open_folder(&folder).and_then(|folder| names(&folder)).unwrap_or_default();
    let names = names.iter().filter_map(|name| name.to_str()).filter(|name| matches_file(part, name));
    names.map(|name| format!("{path}/{name}")).collect()
}

fn without_escapes(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next().or(Some('\\'))),
            c => out.push(c),
        }
    }
    out
}
