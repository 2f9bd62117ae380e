//! Values as text: what is printable, and what stands for the rest. Pure.

/// Is it text without control characters but tabulators and, if allowed, newlines?
pub fn printable(value: &[u8], newlines: bool) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?;
    let is_odd = |character: char| match character {
        '\t' => false,
        '\n' => !newlines,
        other => other.is_control(),
    };
    (!text.chars().any(is_odd)).then_some(text)
}

/// A number of bytes as systemd writes it: `12B`, `1.5K`.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 6] = [("E", 60), ("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    match UNITS.iter().find(|(_, power)| count >> power > 0) {
        None => format!("{count}B"),
        Some((unit, power)) => {
            let below = (count >> (power - 10)) & 1023;
            format!("{}.{}{unit}", count >> power, below * 10 / 1024)
        }
    }
}

/// Tabulators become blanks, and the colours that a program wrote are left out.
pub fn plain(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'\t' {
            out.extend_from_slice(b"        ");
        } else if let Some(end) = escape_length(rest) {
            rest = rest.get(end..).unwrap_or_default();
            continue;
        } else {
            out.push(*byte);
        }
        rest = after;
    }
    out
}

/// The length of the sequence for colours or for a title that begins here.
fn escape_length(text: &[u8]) -> Option<usize> {
    match text.strip_prefix(b"\x1b")? {
        [b'[', parameters @ ..] => {
            let end = parameters.iter().position(|byte| !(byte.is_ascii_digit() || *byte == b';'))?;
            (parameters.get(end) == Some(&b'm')).then_some(end + 3)
        }
        [b']', title @ ..] => {
            let end = title.iter().position(|byte| *byte < b' ')?;
            match title.get(end..)? {
                [7, ..] => Some(end + 3),
                [0x1b, b'\\', ..] => Some(end + 4),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_bytes_that_are_no_text_are_not_printable() {
        assert_eq!(printable("a\tb\nö".as_bytes(), true), Some("a\tb\nö"));
        for (value, newlines) in [(&b"a\n"[..], false), (b"a\x1b", true), (b"\xff", true), ("\u{85}".as_bytes(), true)]
        {
            assert_eq!(printable(value, newlines), None);
        }
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        for (count, text) in [(0, "0B"), (1023, "1023B"), (1024, "1.0K"), (1536, "1.5K"), (8 << 20, "8.0M")] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn colours_and_titles_are_left_out() {
        assert_eq!(plain(b"a\x1b[0;31mred\x1b[0m\tb"), b"ared        b");
        assert_eq!(plain(b"\x1b]0;title\x07x\x1b]8;;u\x1b\\y"), b"xy");
        assert_eq!(plain(b"\x1b[2J\x1b"), b"\x1b[2J\x1b");
    }
}
