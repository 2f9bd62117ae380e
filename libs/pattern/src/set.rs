//! Sets of a pattern: `[a-z]`, `[!a]`, `[]x]`, `[[:digit:]]`.

use crate::{Backslash, character};

/// Reads the set behind its `[`: whether the character is in it, and what follows; `None` if it is never closed.
pub(crate) fn contains(mut pattern: &[u8], wanted: u32, backslash: Backslash) -> Option<(bool, &[u8])> {
    let is_negated = matches!(pattern.first(), Some(b'!' | b'^'));
    if is_negated {
        pattern = pattern.get(1..)?;
    }
    let (mut hit, mut is_first) = (false, true);
    loop {
        if let [b']', rest @ ..] = pattern
            && !is_first
        {
            return Some((hit != is_negated, rest));
        }
        is_first = false;
        if let Some((class, rest)) = class(pattern) {
            hit |= is_in_class(class, wanted);
            pattern = rest;
            continue;
        }
        let (low, rest) = member(pattern, backslash)?;
        let (high, rest) = match rest {
            [b'-', after @ ..] if after.first() != Some(&b']') => member(after, backslash)?,
            _ => (low, rest),
        };
        hit |= (low..=high).contains(&wanted);
        pattern = rest;
    }
}

fn member(pattern: &[u8], backslash: Backslash) -> Option<(u32, &[u8])> {
    match pattern {
        [b'\\', rest @ ..] if backslash == Backslash::Quotes => character(rest),
        _ => character(pattern),
    }
}

/// The name of a class such as `[:digit:]`, and what follows it.
fn class(pattern: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = pattern.strip_prefix(b"[:")?;
    let length = rest.iter().position(|byte| *byte == b':')?;
    let (name, rest) = rest.split_at_checked(length)?;
    Some((name, rest.strip_prefix(b":]")?))
}

fn is_in_class(name: &[u8], wanted: u32) -> bool {
    let Some(wanted) = char::from_u32(wanted) else { return false };
    match name {
        b"alnum" => wanted.is_ascii_alphanumeric(),
        b"alpha" => wanted.is_ascii_alphabetic(),
        b"blank" => matches!(wanted, ' ' | '\t'),
        b"cntrl" => wanted.is_ascii_control(),
        b"digit" => wanted.is_ascii_digit(),
        b"graph" => wanted.is_ascii_graphic(),
        b"lower" => wanted.is_ascii_lowercase(),
        b"print" => wanted.is_ascii_graphic() || wanted == ' ',
        b"punct" => wanted.is_ascii_punctuation(),
        b"space" => wanted.is_ascii_whitespace() || wanted == '\x0b',
        b"upper" => wanted.is_ascii_uppercase(),
        b"xdigit" => wanted.is_ascii_hexdigit(),
        _ => false,
    }
}
