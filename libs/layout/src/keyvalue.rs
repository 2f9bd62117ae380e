//! Lines of `key=value`, the form of every small file here. Pure. A later line with the same key wins, as in GRUB.

use std::collections::BTreeMap;

/// Most bytes of such a file that are read.
pub(crate) const LIMIT_BYTES: usize = 64 * 1024;

/// The pairs of a text; empty lines, comments and lines without `=` are skipped.
pub(crate) fn parse(text: &str) -> BTreeMap<&str, &str> {
    let end = text.char_indices().map(|(at, _)| at).take_while(|at| *at < LIMIT_BYTES).last().unwrap_or(0);
    let lines = text.get(..end.saturating_add(1)).unwrap_or(text).lines();
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

/// A value that is safe in such a line: printable ASCII, blanks joined, at most `limit` bytes.
pub(crate) fn clean(value: &str, limit: usize) -> String {
    let mut clean = String::new();
    for word in value.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.extend(word.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }));
        if clean.len() > limit {
            break;
        }
    }
    if clean.len() > limit {
        clean.truncate(limit.saturating_sub(2));
        clean.push_str("..");
    }
    clean
}
