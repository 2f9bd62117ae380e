//! Lines of `key=value`, the form of every small file here. Pure. A later line with the same key wins, as in GRUB.

use std::collections::BTreeMap;

/// Most bytes of such a file that are read.
pub(crate) const LIMIT_BYTES: usize = 64 * 1024;

/// The pairs of a text; empty lines, comments and lines without `=` are skipped.
pub(crate) fn parse(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.get(..text.floor_char_boundary(LIMIT_BYTES)).unwrap_or_default().lines();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_with_a_key_wins_and_comments_are_skipped() {
        let pairs = parse("a=1\n#a=2\nnothing\nb==\na=3");
        assert_eq!(pairs.into_iter().collect::<Vec<_>>(), [("a", "3"), ("b", "=")]);
    }

    #[test]
    fn a_text_beyond_the_limit_is_cut() {
        let text = format!("a=1\n{}\nb=2", "\u{e9}".repeat(LIMIT_BYTES));
        assert_eq!(parse(&text).into_iter().collect::<Vec<_>>(), [("a", "1")]);
    }

    #[test]
    fn a_cleaned_value_is_one_short_line_of_ascii() {
        assert_eq!(clean("  two\n words\t\u{1b}[m \u{e9}", 80), "two words [m ?");
        assert_eq!(clean("abcdefgh", 8), "abcdefgh");
        assert_eq!(clean("abcdefghi", 8), "abcdef..");
        assert_eq!(clean("", 8), "");
    }
}
