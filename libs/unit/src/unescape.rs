//! Whole values with C escapes, and base64: data that a unit file carries. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::value::{Parsed, wrong};

/// Replaces every C escape; a backslash before anything else is a fault.
pub fn unescape(text: &str) -> Parsed<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            let rest = chars.as_str();
            let fault = || wrong(&rest.chars().take(8).collect::<String>(), "an escape such as \\n or \\x41");
            one(&mut chars, &mut out).ok_or_else(fault)?;
        } else {
            put(&mut out, c);
        }
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn one(chars: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Option<()> {
    let digits = |chars: &mut std::str::Chars<'_>, count: usize, radix: u32, first: u32| {
        (0..count).try_fold(first, |number, _| Some(number.wrapping_mul(radix) + chars.next()?.to_digit(radix)?))
    };
    let byte = match chars.next()? {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        's' => b' ',
        c @ ('\\' | '"' | '\'') => u8::try_from(c).ok()?,
        'x' => u8::try_from(digits(chars, 2, 16, 0)?).ok()?,
        'u' => return char::from_u32(digits(chars, 4, 16, 0)?).map(|c| put(out, c)),
        'U' => return char::from_u32(digits(chars, 8, 16, 0)?).map(|c| put(out, c)),
        c => u8::try_from(digits(chars, 2, 8, c.to_digit(8)?)?).ok()?,
    };
    out.push(byte);
    Some(())
}

/// Decodes base64; blanks in it do not count.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let letters: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(letters).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced_everywhere() {
        assert_eq!(unescape("a b\\n\\x00\\101\\u00e4\\\\").unwrap(), b"a b\n\0A\xc3\xa4\\");
        for bad in ["\\", "\\q", "\\x4", "\\ud800", "\\9"] {
            assert!(unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn base64_is_decoded_and_faults_are_found() {
        for (text, data) in [("", &b""[..]), ("YQ==", b"a"), ("YWI=", b"ab"), ("YW Jj\nZA==", b"abcd")] {
            assert_eq!(base64(text).as_deref(), Some(data), "{text}");
        }
        for bad in ["Y", "YQ", "YQ=", "Y=Q=", "YR==", "Y-=="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
