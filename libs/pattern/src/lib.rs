//! Shell patterns as fnmatch(3) has them: `*`, `?`, `[a-z]`, `[!a]`, `[[:digit:]]`, `\x`. Pure, without recursion.
//!
//! One point of return for the last `*`, so that no pattern takes longer than the product of both lengths.

mod braces;
mod set;

pub use braces::expand as expand_braces;

/// What a backslash in a pattern is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    Quotes,
    /// Unit names hold `\x2d` (`FNM_NOESCAPE`).
    Plain,
}

/// Whether a word has characters that make it a pattern.
pub fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

/// Whether the whole text matches; no character is special in the text.
pub fn matches(pattern: &str, text: &str) -> bool {
    matches_bytes(pattern.as_bytes(), text.as_bytes())
}

/// The same for text that need not be UTF-8: a byte that belongs to no character counts as one.
pub fn matches_bytes(pattern: &[u8], text: &[u8]) -> bool {
    fits(pattern, text, Backslash::Quotes)
}

/// Whether the name of a unit matches: a backslash is a character like others.
pub fn matches_unit(pattern: &str, name: &str) -> bool {
    fits(pattern.as_bytes(), name.as_bytes(), Backslash::Plain)
}

/// Whether the name of a file matches: the dot that it begins with must be named (`FNM_PERIOD`).
pub fn matches_file(pattern: &str, name: &str) -> bool {
    let names_dot = pattern.trim_start_matches('\\').starts_with('.');
    (names_dot || !name.starts_with('.')) && matches(pattern, name)
}

/// Whether a path matches part by part: no pattern matches a slash (`FNM_PATHNAME`).
pub fn matches_path(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if matches_file(pattern, name) => {}
            _ => return false,
        }
    }
}

fn fits(mut pattern: &[u8], mut text: &[u8], backslash: Backslash) -> bool {
    // Where to go on after the last star: what follows it, and the text that it has not eaten yet.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return true;
        }
        if let Some((rest_of_pattern, rest_of_text)) = step(pattern, text, backslash) {
            (pattern, text) = (rest_of_pattern, rest_of_text);
            continue;
        }
        let Some((after_star, uneaten)) = retry else { return false };
        let Some((_, uneaten)) = character(uneaten) else { return false };
        retry = Some((after_star, uneaten));
        (pattern, text) = (after_star, uneaten);
    }
}

/// Matches one element of the pattern, which is not a star, with one character: what is left of both.
fn step<'p, 't>(pattern: &'p [u8], text: &'t [u8], backslash: Backslash) -> Option<(&'p [u8], &'t [u8])> {
    let (&byte, bytes) = text.split_first()?;
    match pattern {
        [b'?', rest @ ..] => Some((rest, character(text)?.1)),
        [b'[', rest @ ..] => {
            let (wanted, others) = character(text)?;
            match set::contains(rest, wanted, backslash) {
                Some((hit, rest)) => hit.then_some((rest, others)),
                // A bracket that is never closed stands for itself.
                None => (byte == b'[').then_some((rest, bytes)),
            }
        }
        [b'\\', literal, rest @ ..] if backslash == Backslash::Quotes => (*literal == byte).then_some((rest, bytes)),
        [literal, rest @ ..] => (*literal == byte).then_some((rest, bytes)),
        [] => None,
    }
}

/// The first character with what follows it. A byte that begins none has a number behind all characters.
fn character(text: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, rest) = text.split_first()?;
    if first.is_ascii() {
        return Some((u32::from(first), rest));
    }
    let width = first.leading_ones() as usize;
    let whole = text.get(..width).and_then(|bytes| std::str::from_utf8(bytes).ok());
    Some(match whole.and_then(|whole| whole.chars().next()) {
        Some(found) => (u32::from(found), text.get(width..).unwrap_or_default()),
        None => (u32::from(char::MAX) + u32::from(first), rest),
    })
}

#[cfg(test)]
mod tests;
