//! Shell patterns of paths: `*`, `?`, `[a-z]`, and braces where files are looked for. Pure.
//!
//! A pattern never matches a slash, nor the dot that a name begins with unless it names the dot itself.

/// Paths that braces may stand for.
const EXPANSIONS_MAX: usize = 1024;

/// Whether a path is a pattern.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Whether a path matches, part by part.
pub fn matches_path(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut names) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(name)) if matches_name(pattern, name) => {}
            _ => return false,
        }
    }
}

/// Whether one name matches.
pub fn matches_name(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.trim_start_matches('\\').starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut to) = (0, 0);
    // Where to go on when what follows the last star did not match: one character further.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&'*') {
            retry = Some((at + 1, to));
            at += 1;
            continue;
        }
        match (name.get(to), pattern.get(at)) {
            (None, None) => return true,
            (Some(c), Some(_)) => {
                if let Some(next) = one(&pattern, at, *c) {
                    (at, to) = (next, to + 1);
                    continue;
                }
            }
            (None, Some(_)) => return false,
            (Some(_), None) => {}
        }
        let Some((star, from)) = retry else { return false };
        retry = Some((star, from + 1));
        (at, to) = (star, from + 1);
    }
}

/// Matches one character at `at`; the place behind what matched it.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '\\' => match pattern.get(at + 1) {
            Some(escaped) => (*escaped == c).then_some(at + 2),
            None => (c == '\\').then_some(at + 1),
        },
        '[' => match set(pattern, at + 1, c) {
            Some((is_in, next)) => is_in.then_some(next),
            None => (c == '[').then_some(at + 1),
        },
        plain => (*plain == c).then_some(at + 1),
    }
}

/// Reads the set that begins at `at`; `None`: it is never closed, so the bracket is a plain character.
fn set(pattern: &[char], mut at: usize, c: char) -> Option<(bool, usize)> {
    let is_negated = matches!(pattern.get(at)?, '!' | '^');
    if is_negated {
        at += 1;
    }
    let (mut is_in, mut is_first) = (false, true);
    loop {
        let mut low = *pattern.get(at)?;
        if low == ']' && !is_first {
            return Some((is_in != is_negated, at + 1));
        }
        is_first = false;
        if low == '['
            && pattern.get(at + 1) == Some(&':')
            && let Some((class, next)) = class(pattern, at + 2)
        {
            is_in |= in_class(&class, c);
            at = next;
            continue;
        }
        if low == '\\' {
            at += 1;
            low = *pattern.get(at)?;
        }
        at += 1;
        let high = match (pattern.get(at), pattern.get(at + 1)) {
            (Some('-'), Some(high)) if *high != ']' => {
                at += 2;
                *high
            }
            _ => low,
        };
        is_in |= (low..=high).contains(&c);
    }
}

/// The name of a class such as `[:digit:]`.
fn class(pattern: &[char], at: usize) -> Option<(String, usize)> {
    let rest = pattern.get(at..)?;
    let length = rest.iter().position(|c| *c == ':')?;
    (rest.get(length + 1) == Some(&']')).then(|| (rest.iter().take(length).collect(), at + length + 2))
}

fn in_class(class: &str, c: char) -> bool {
    match class {
        "alnum" => c.is_ascii_alphanumeric(),
        "alpha" => c.is_ascii_alphabetic(),
        "blank" => matches!(c, ' ' | '\t'),
        "cntrl" => c.is_ascii_control(),
        "digit" => c.is_ascii_digit(),
        "graph" => c.is_ascii_graphic(),
        "lower" => c.is_ascii_lowercase(),
        "print" => c.is_ascii_graphic() || c == ' ',
        "punct" => c.is_ascii_punctuation(),
        "space" => c.is_ascii_whitespace() || c == '\x0b',
        "upper" => c.is_ascii_uppercase(),
        "xdigit" => c.is_ascii_hexdigit(),
        _ => false,
    }
}

/// All that a text with braces stands for, `{a,b}c` being `ac` and `bc`; too many are cut off.
pub fn expand_braces(text: &str) -> Vec<String> {
    let mut waiting = vec![text.to_string()];
    let mut done = Vec::new();
    while let Some(text) = waiting.pop() {
        match first_braces(&text) {
            Some((head, choices, tail)) if waiting.len() + done.len() + choices.len() <= EXPANSIONS_MAX => {
                waiting.extend(choices.iter().rev().map(|choice| format!("{head}{choice}{tail}")));
            }
            Some(_) => {}
            None => done.push(text),
        }
    }
    done
}

/// The first braces that are closed, with what stands between their commas. `{}` stands for itself.
fn first_braces(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut from = 0;
    loop {
        let open = from + text.get(from..)?.find('{')?;
        let body = text.get(open + 1..)?;
        if body.starts_with('}') {
            from = open + 2;
            continue;
        }
        let (mut depth, mut start, mut choices) = (0_usize, 0, Vec::new());
        for (at, c) in body.char_indices() {
            match (c, depth) {
                ('{', _) => depth += 1,
                ('}', 0) => {
                    choices.push(body.get(start..at)?);
                    return Some((text.get(..open)?, choices, body.get(at + 1..)?));
                }
                ('}', _) => depth -= 1,
                (',', 0) => {
                    choices.push(body.get(start..at)?);
                    start = at + 1;
                }
                _ => {}
            }
        }
        from = open + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_part_by_part() {
        let cases = [
            ("/tmp/*", "/tmp/a", true),
            ("/tmp/*", "/tmp/a/b", false),
            ("/tmp/*", "/tmp/.a", false),
            ("/tmp/.*", "/tmp/.a", true),
            ("/tmp/systemd-private-*/tmp", "/tmp/systemd-private-x-y/tmp", true),
            ("/tmp/.X[0-9]*-lock", "/tmp/.X0-lock", true),
            ("/tmp/.X[!0-9]*-lock", "/tmp/.X0-lock", false),
            ("/a/[[:digit:]]?", "/a/1x", true),
            ("/a/[]x]", "/a/]", true),
            ("/a/[x", "/a/[x", true),
            ("/a/\\*", "/a/*", true),
            ("/a/\\*", "/a/b", false),
            ("/a/*b*c", "/a/xbxbxc", true),
            ("/a/*b*c", "/a/xbxbx", false),
            ("/a/", "/a", false),
            ("", "", true),
        ];
        for (pattern, path, want) in cases {
            assert_eq!(matches_path(pattern, path), want, "{pattern} {path}");
        }
    }

    #[test]
    fn braces_stand_for_each_of_their_choices() {
        assert_eq!(expand_braces("/a/{b,c{d,e}}f"), ["/a/bf", "/a/cdf", "/a/cef"]);
        assert_eq!(expand_braces("/{}/{x"), ["/{}/{x"]);
        assert!(expand_braces(&"{a,b}".repeat(40)).len() <= EXPANSIONS_MAX);
    }
}
