//! Whole values with C escapes, and base64: data that a unit file carries. Pure.

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
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut bits: u32 = 0;
    let mut have = 0;
    let mut padded = 0;
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padded += 1;
                continue;
            }
            _ => return None,
        };
        if padded > 0 {
            return None;
        }
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push(u8::try_from(bits >> have & 0xff).ok()?);
        }
    }
    // What is left must be nothing but padding of the last letter.
    let whole = match have {
        0 => padded == 0,
        4 => padded == 2,
        2 => padded == 1,
        _ => false,
    };
    (whole && bits & ((1 << have) - 1) == 0).then_some(out)
}

/// Bytes in base64, padded.
pub(crate) fn to_base64(data: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in data.chunks(3) {
        let byte = |place: usize| u32::from(part.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4_usize {
            let letter = usize::try_from(bits >> (18 - 6 * place) & 63).ok().and_then(|at| LETTERS.get(at));
            text.push(letter.filter(|_| place <= part.len()).map_or('=', |letter| char::from(*letter)));
        }
    }
    text
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
            assert_eq!(to_base64(data), text.replace([' ', '\n'], ""));
        }
        for bad in ["Y", "YQ", "YQ=", "Y=Q=", "YR==", "Y-=="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }
}
