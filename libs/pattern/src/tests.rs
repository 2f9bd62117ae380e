//! Tables of patterns and texts, and patterns made at random.

use super::*;
use proptest::prelude::*;

#[test]
fn patterns_match_as_in_fnmatch() {
    for (pattern, text, expected) in [
        ("pci:v00008086d*sv*", "pci:v00008086d000010D3sv00000000", true),
        ("pci:v00008086d*sv*", "pci:v00008087d000010D3sv00000000", false),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbYbZ", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a?c", "aéc", true),
        ("[à-ü]", "é", true),
        ("[!à-ü]", "é", false),
        ("[a-cx-z]", "y", true),
        ("v[!0-9]x", "v7x", false),
        ("v[^0-9]x", "vax", true),
        ("v[]a]x", "v]x", true),
        ("[!]x]", "]", false),
        ("v[a-]x", "v-x", true),
        ("[[:digit:]]?", "1x", true),
        ("[[:digit:]a]", "b", false),
        ("[\\]]", "]", true),
        ("v[", "v[", true),
        ("[a", "a", false),
        ("\\*", "*", true),
        ("\\*", "x", false),
        ("\\", "\\", true),
        ("*", "", true),
        ("?", "", false),
        ("", "", true),
        ("", "x", false),
        ("***", "abc", true),
        ("*.hidden", ".hidden", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
    }
}

#[test]
fn a_backslash_in_the_pattern_of_a_unit_is_itself() {
    for (pattern, text, expected) in [
        ("a\\x2db*", "a\\x2db.mount", true),
        ("a\\*", "a\\x2db.mount", true),
        ("a\\*", "a*", false),
        ("getty@tty[!2-9].service", "getty@tty1.service", true),
        ("[\\]x", "\\x", true),
    ] {
        assert_eq!(matches_unit(pattern, text), expected, "{pattern} on {text}");
    }
}

#[test]
fn paths_match_part_by_part() {
    for (pattern, path, expected) in [
        ("/tmp/*", "/tmp/a", true),
        ("/tmp/*", "/tmp/a/b", false),
        ("/tmp/*", "/tmp/.a", false),
        ("/tmp/.*", "/tmp/.a", true),
        ("/tmp/\\.*", "/tmp/.a", true),
        ("/tmp/.X[0-9]*-lock", "/tmp/.X0-lock", true),
        ("/a/[x", "/a/[x", true),
        ("/a/*b*c", "/a/xbxbxc", true),
        ("/a/", "/a", false),
        ("", "", true),
    ] {
        assert_eq!(matches_path(pattern, path), expected, "{pattern} on {path}");
    }
}

#[test]
fn bytes_that_are_no_characters_count_as_one_each() {
    assert!(matches_bytes(b"a??b", b"a\xff\xc3b"));
    assert!(matches_bytes(b"\xff*", b"\xff\xfe"));
    assert!(!matches_bytes(b"[\xfe]", b"\xff"));
}

#[test]
fn a_pattern_full_of_stars_ends_soon() {
    assert!(!matches(&"*a".repeat(40), &"c".repeat(20_000)));
    assert!(!matches(&format!("{}b", "*a".repeat(40)), &"a".repeat(20_000)));
}

proptest! {
    #[test]
    fn a_quoted_text_matches_itself_alone(text in ".{0,12}", other in ".{0,12}") {
        let quoted: String = text.chars().flat_map(|letter| {
            let quote = matches!(letter, '*' | '?' | '[' | '\\').then_some('\\');
            quote.into_iter().chain([letter])
        }).collect();
        prop_assert!(matches(&quoted, &text));
        prop_assert_eq!(matches(&quoted, &other), text == other);
    }

    #[test]
    fn stars_around_parts_match_what_holds_them(
        parts in prop::collection::vec("[a-c]{0,3}", 1..4),
        text in "[a-c]{0,12}",
    ) {
        let mut rest = Some(text.as_str());
        for part in &parts {
            rest = rest.and_then(|rest| rest.split_once(part.as_str())).map(|(_, after)| after);
        }
        prop_assert_eq!(matches(&format!("*{}*", parts.join("*")), &text), rest.is_some());
    }

    #[test]
    fn anything_gets_an_answer(
        pattern in prop::collection::vec(any::<u8>(), 0..24),
        text in prop::collection::vec(any::<u8>(), 0..24),
    ) {
        matches_bytes(&pattern, &text);
        expand_braces(&String::from_utf8_lossy(&pattern));
    }
}
