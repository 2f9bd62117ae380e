//! Values that are lists: each word by itself, so that a faulty one spoils none of the others. Pure.

use crate::directive::Value;
use crate::escape::simplify_path;
use crate::value::{Parsed, ValueError, wrong};
use crate::words::{Escapes, next_word};

/// Entries that a list may have.
pub(crate) const LIST_MAX: usize = 8192;

/// Hands every word, unquoted, its specifiers replaced, to `take`. The first fault is the outcome.
pub(crate) fn each(value: &Value<'_>, escapes: Escapes, mut take: impl FnMut(String) -> Parsed<()>) -> Parsed<()> {
    each_raw(value.raw, escapes, |word| take(value.specifiers.expand(&word)?))
}

/// The same with the specifiers as they stand.
pub(crate) fn each_raw(text: &str, escapes: Escapes, mut take: impl FnMut(String) -> Parsed<()>) -> Parsed<()> {
    let mut rest = text;
    let mut outcome = Ok(());
    let mut count = 0;
    while let Some(word) = next_word(&mut rest, escapes).map_err(|error| ValueError(error.to_string()))? {
        count += 1;
        if count > LIST_MAX {
            return Err(ValueError(format!("more than {LIST_MAX} words")));
        }
        outcome = outcome.and(take(word));
    }
    outcome
}

/// An absolute path made plain: no double slashes, no `.`, and never `..`.
pub(crate) fn absolute(path: &str) -> Parsed<String> {
    let plain = simplify_path(path).filter(|_| path.starts_with('/'));
    plain.map(|plain| format!("/{plain}")).ok_or_else(|| wrong(path, "an absolute path without '..'"))
}

/// A relative path made plain.
pub(crate) fn relative(path: &str) -> Parsed<String> {
    let plain = simplify_path(path).filter(|plain| !path.starts_with('/') && !plain.is_empty());
    plain.ok_or_else(|| wrong(path, "a relative path without '..'"))
}

/// Adds an entry, if there is room.
pub(crate) fn push<T>(list: &mut Vec<T>, entry: T) -> Parsed<()> {
    if list.len() >= LIST_MAX {
        return Err(ValueError(format!("more than {LIST_MAX} entries")));
    }
    list.push(entry);
    Ok(())
}

/// Splits the first word off at a blank: a path and what is said of it.
pub(crate) fn head(text: &str) -> Parsed<(String, &str)> {
    let mut rest = text;
    let word = next_word(&mut rest, Escapes::Plain).map_err(|error| ValueError(error.to_string()))?;
    Ok((word.unwrap_or_default(), rest.trim()))
}

/// Hands every word with its escapes still in it to `take`: words that are split further.
pub(crate) fn each_escaped(text: &str, mut take: impl FnMut(&str) -> Parsed<()>) -> Parsed<()> {
    let mut outcome = Ok(());
    let mut word = String::new();
    let mut quote = None;
    let mut started = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => (quote, started) = (Some(c), true),
            (_, '\\') => {
                started = true;
                word.push('\\');
                word.push(chars.next().ok_or_else(|| ValueError("a backslash stands at the end".into()))?);
            }
            (None, c) if c.is_ascii_whitespace() => {
                if started {
                    outcome = outcome.and(take(&word));
                }
                word.clear();
                started = false;
            }
            (_, c) => {
                started = true;
                word.push(c);
            }
        }
    }
    if quote.is_some() {
        return Err(ValueError("a quote is not closed".into()));
    }
    if started { outcome.and(take(&word)) } else { outcome }
}

/// The parts of a word at its colons; an escaped colon belongs to its part.
pub(crate) fn parts(word: &str) -> Parsed<Vec<String>> {
    let mut raw = vec![String::new()];
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (c, raw.last_mut()) {
            (':', _) => raw.push(String::new()),
            ('\\', Some(part)) => match chars.next() {
                Some(':') => part.push(':'),
                // Quotes were taken off already; here they are plain.
                Some(other) => part.extend(['\\', other]),
                None => part.push('\\'),
            },
            (c @ ('"' | '\'' | ' ' | '\t'), Some(part)) => part.push_str(&format!("\\x{:02x}", u32::from(c))),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    let unescape = |part: &String| {
        let words = crate::words::split(part, Escapes::C).map_err(|error| ValueError(error.to_string()))?;
        Ok(words.concat())
    };
    raw.iter().map(unescape).collect()
}
