//! Splitting a value into words: blanks, quotes and C escapes, by systemd's rules. Pure.

/// What is wrong with a list of words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// A quote that is never closed.
    #[error("a quote is not closed")]
    OpenQuote,
    /// An escape such as `\q`.
    #[error("unknown escape after a backslash")]
    BadEscape,
    /// The value ends with a backslash.
    #[error("a backslash stands at the end")]
    TrailingBackslash,
}

/// What a backslash means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escapes {
    /// C escapes; an unknown one is an error.
    C,
    /// C escapes; an unknown one is kept as it stands.
    Lenient,
    /// A backslash makes the next character plain.
    Plain,
    /// The same, and nothing is a fault: an open quote is closed at the end, a backslash there is dropped.
    Relaxed,
}

/// What stands between words.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Takes the first word off `rest`; `Ok(None)` at the end.
pub fn next_word(rest: &mut &str, escapes: Escapes) -> Result<Option<String>, WordError> {
    let mut chars = rest.trim_start_matches(is_blank).chars();
    if chars.as_str().is_empty() {
        *rest = "";
        return Ok(None);
    }
    let mut word = Vec::new();
    let mut quote: Option<char> = None;
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (_, '\\') => escape(&mut chars, escapes, &mut word)?,
            (None, c) if is_blank(c) => break,
            (_, c) => push(&mut word, c),
        }
    }
    if quote.is_some() && escapes != Escapes::Relaxed {
        return Err(WordError::OpenQuote);
    }
    *rest = chars.as_str().trim_start_matches(is_blank);
    Ok(Some(String::from_utf8_lossy(&word).into_owned()))
}

/// All words of a value.
pub fn split(text: &str, escapes: Escapes) -> Result<Vec<String>, WordError> {
    let mut rest = text;
    let mut words = Vec::new();
    while let Some(word) = next_word(&mut rest, escapes)? {
        words.push(word);
    }
    Ok(words)
}

fn push(word: &mut Vec<u8>, c: char) {
    word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(chars: &mut std::str::Chars<'_>, escapes: Escapes, word: &mut Vec<u8>) -> Result<(), WordError> {
    let Some(next) = chars.clone().next() else {
        match escapes {
            Escapes::Lenient => word.push(b'\\'),
            Escapes::Relaxed => {}
            Escapes::C | Escapes::Plain => return Err(WordError::TrailingBackslash),
        }
        return Ok(());
    };
    let literal = matches!(escapes, Escapes::Plain | Escapes::Relaxed);
    if !literal && c_escape(chars, word) {
        return Ok(());
    }
    match escapes {
        Escapes::C => return Err(WordError::BadEscape),
        // The character belongs to the word, even a blank.
        Escapes::Lenient => word.push(b'\\'),
        Escapes::Plain | Escapes::Relaxed => {}
    }
    chars.next();
    push(word, next);
    Ok(())
}

/// Decodes one C escape after the backslash; takes nothing when it is none.
fn c_escape(chars: &mut std::str::Chars<'_>, word: &mut Vec<u8>) -> bool {
    let mut ahead = chars.clone();
    let Some(c) = ahead.next() else { return false };
    let byte = match c {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        's' => Some(b' '),
        '\\' | '"' | '\'' => u8::try_from(c).ok(),
        _ => None,
    };
    if let Some(byte) = byte {
        word.push(byte);
        *chars = ahead;
        return true;
    }
    let (digits, radix, wide) = match c {
        'x' => (2, 16, false),
        'u' => (4, 16, true),
        'U' => (8, 16, true),
        '0'..='7' => {
            ahead = chars.clone();
            (3, 8, false)
        }
        _ => return false,
    };
    let mut number: u32 = 0;
    for _ in 0..digits {
        match ahead.next().and_then(|d| d.to_digit(radix)) {
            Some(digit) => number = number.wrapping_mul(radix).wrapping_add(digit),
            None => return false,
        }
    }
    match (number, wide) {
        (0, _) => return false,
        (number, true) => match char::from_u32(number) {
            Some(c) => push(word, c),
            None => return false,
        },
        (number, false) => match u8::try_from(number) {
            Ok(byte) => word.push(byte),
            Err(_) => return false,
        },
    }
    *chars = ahead;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_blanks_outside_quotes() {
        let cases: [(&str, &[&str]); 8] = [
            ("a b  c", &["a", "b", "c"]),
            ("\"a b\" c", &["a b", "c"]),
            ("'a \"b' c", &["a \"b", "c"]),
            ("a\"b c\"d", &["ab cd"]),
            ("\\x41\\n\\s\\101", &["A\n A"]),
            ("\"\" x", &["", "x"]),
            ("  ", &[]),
            ("\"\\u00e4\"", &["ä"]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text, Escapes::C).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(split("\"a", Escapes::C), Err(WordError::OpenQuote));
        assert_eq!(split("a\\q", Escapes::C), Err(WordError::BadEscape));
        assert_eq!(split("a\\", Escapes::C), Err(WordError::TrailingBackslash));
        assert_eq!(split("a\\q \"b\\", Escapes::Relaxed).unwrap(), ["aq", "b"]);
        assert_eq!(split("a\\ b\\q \\x41", Escapes::Lenient).unwrap(), ["a\\ b\\q", "A"]);
        assert_eq!(split("\"a", Escapes::Lenient), Err(WordError::OpenQuote));
    }
}
