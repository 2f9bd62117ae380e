//! Shell patterns over unit names: `*`, `?`, `[a-z]`, `[!a-z]`. Pure, without recursion.

/// Whether a word has characters that make it a pattern.
pub fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

/// Whether the whole of `text` matches.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on after the last star: its rest of the pattern, and the text it has not eaten yet.
    let mut retry: Option<(&str, &str)> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix('*') {
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return true;
        }
        if let Some((rest_of_pattern, rest_of_text)) = match_one(pattern, text) {
            (pattern, text) = (rest_of_pattern, rest_of_text);
            continue;
        }
        let Some((rest, uneaten)) = retry else { return false };
        let mut characters = uneaten.chars();
        if characters.next().is_none() {
            return false;
        }
        (pattern, text) = (rest, characters.as_str());
        retry = Some((rest, text));
    }
}

/// Matches one element of the pattern with one character; gives what is left of both.
fn match_one<'a>(pattern: &'a str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let mut letters = text.chars();
    let letter = letters.next()?;
    let mut elements = pattern.chars();
    match elements.next()? {
        '?' => Some((elements.as_str(), letters.as_str())),
        '[' => {
            let (set, rest) = elements.as_str().split_once(']')?;
            let (set, negated) = match set.strip_prefix(['!', '^']) {
                Some(set) => (set, true),
                None => (set, false),
            };
            (in_set(set, letter) != negated).then_some((rest, letters.as_str()))
        }
        '\\' => {
            let literal = elements.next()?;
            // Unit names hold `\x2d`: a backslash that quotes nothing special is itself.
            if literal == letter && "*?[\\".contains(literal) {
                Some((elements.as_str(), letters.as_str()))
            } else {
                (letter == '\\').then(|| (pattern.get(1..).unwrap_or_default(), letters.as_str()))
            }
        }
        literal => (literal == letter).then_some((elements.as_str(), letters.as_str())),
    }
}

fn in_set(set: &str, letter: char) -> bool {
    let mut characters = set.chars();
    while let Some(first) = characters.next() {
        let mut ahead = characters.clone();
        if ahead.next() == Some('-')
            && let Some(last) = ahead.next()
        {
            if (first..=last).contains(&letter) {
                return true;
            }
            characters = ahead;
        } else if first == letter {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("ssh*", "ssh.service", true),
            ("ssh*", "openssh.service", false),
            ("*ssh*", "openssh.service", true),
            ("*.s*e", "a.slice.service", true),
            ("getty@tty?.service", "getty@tty1.service", true),
            ("getty@tty[2-9].service", "getty@tty1.service", false),
            ("getty@tty[!2-9].service", "getty@tty1.service", true),
            ("[ab-]x", "-x", true),
            ("a[", "a[", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a\\x2db*", "a\\x2db.mount", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        let stars = "*a".repeat(30);
        assert!(!matches(&stars, &"b".repeat(2000)));
        assert!(is_pattern("a?") && !is_pattern("a.service"));
    }
}
