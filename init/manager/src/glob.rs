//! Patterns of paths with `*`, `?`, `[a-z]` in any component, as glob(7) has them. Looks a bounded number of names up.

use std::fs;

/// Names looked at for one pattern.
const NAMES_MAX: usize = 100_000;

/// The first path, in the order of names, that fits a pattern.
pub fn first(pattern: &str) -> Option<String> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let mut open = vec![(String::new(), 0)];
    let mut looked = 0;
    while let Some((place, depth)) = open.pop() {
        let Some(part) = parts.get(depth) else { return Some(if place.is_empty() { "/".into() } else { place }) };
        if !ferrite_unit::escape::is_glob(part.as_bytes()) && !part.contains('\\') {
            let next = format!("{place}/{part}");
            if fs::symlink_metadata(&next).is_ok() {
                open.push((next, depth + 1));
            }
            continue;
        }
        let directory = if place.is_empty() { "/" } else { &place };
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            looked += 1;
            if looked > NAMES_MAX {
                return None;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let hidden = name.starts_with('.') && !part.starts_with('.');
            if !hidden && fits(part.as_bytes(), name.as_bytes()) {
                found.push(format!("{place}/{name}"));
            }
        }
        // The last one pushed is looked at first.
        found.sort_unstable_by(|a, b| b.cmp(a));
        open.extend(found.into_iter().map(|path| (path, depth + 1)));
    }
    None
}

/// Does a name fit a pattern? One point of return for the last `*`, so that it takes no longer than both lengths allow.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        let rest = pattern.get(p..).unwrap_or_default();
        if rest.first() == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        match text.get(t).and_then(|byte| one(rest, *byte)) {
            Some(length) => {
                p += length;
                t += 1;
            }
            None => match star {
                Some((after, from)) => {
                    p = after;
                    t = from + 1;
                    star = Some((after, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// The length of the pattern that takes this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', rest @ ..] => match set(rest) {
            Some((members, length)) => contains(members, byte).then_some(length + 1),
            // A bracket that is never closed stands for itself.
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// The members of a set and how long it is with its closing bracket, which may be its first member.
fn set(rest: &[u8]) -> Option<(&[u8], usize)> {
    let negated = usize::from(matches!(rest.first(), Some(b'!' | b'^')));
    let end = rest.iter().skip(negated + 1).position(|byte| *byte == b']')? + negated + 1;
    Some((rest.get(..end)?, end + 1))
}

fn contains(members: &[u8], byte: u8) -> bool {
    let (wanted, mut rest) = match members {
        [b'!' | b'^', rest @ ..] => (false, rest),
        rest => (true, rest),
    };
    let mut found = false;
    while let [first, tail @ ..] = rest {
        (found, rest) = match tail {
            [b'-', last, more @ ..] => (found || (*first..=*last).contains(&byte), more),
            more => (found || *first == byte, more),
        };
    }
    found == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("?", "a", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[", "[", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*.d/", "a.d", false),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), text.as_bytes()), want, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_path_in_order_is_found_in_any_component() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().display().to_string();
        for path in ["b/x.conf", "a/y", "a/.hidden.conf", "c/x.conf"] {
            fs::create_dir_all(directory.path().join(path).parent().unwrap()).unwrap();
            fs::write(directory.path().join(path), "").unwrap();
        }
        assert_eq!(first(&format!("{base}/*/*.conf")), Some(format!("{base}/b/x.conf")));
        assert_eq!(first(&format!("{base}/a/y")), Some(format!("{base}/a/y")));
        assert_eq!(first(&format!("{base}/[d-z]/*")), None);
        assert_eq!(first("/"), Some("/".into()));
    }
}
