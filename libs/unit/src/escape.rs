//! Escaping of any text, or of a path, into the part of a unit name; and back. Pure.

/// Escapes any text: `/` becomes `-`, a byte that may not stand in a name becomes `\xNN`.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (position, byte) in text.bytes().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if position == 0 => out.push_str("\\x2e"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b':' | b'_' | b'.' => out.push(char::from(byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out
}

/// Undoes [`escape`]; `None` when the text is not an escaped one.
pub fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'-' => out.push(b'/'),
            b'\\' => {
                if bytes.next()? != b'x' {
                    return None;
                }
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

/// Makes a path plain: no double or trailing slashes, no `.`; `None` when it holds `..`.
pub fn simplify_path(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

/// Escapes a path: `/` is `-`, `/dev/sda` is `dev-sda`.
pub fn escape_path(path: &str) -> Option<String> {
    let plain = simplify_path(path)?;
    Some(if plain.is_empty() { "-".into() } else { escape(&plain) })
}

/// Undoes [`escape_path`].
pub fn unescape_path(text: &str) -> Option<String> {
    if text == "-" {
        return Some("/".into());
    }
    let path = format!("/{}", unescape(text)?);
    let plain = simplify_path(&path)?;
    (path == format!("/{plain}")).then_some(path)
}

/// Is a path this directory or something below it?
pub fn is_below(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_follows_systemd() {
        assert_eq!(escape("a b/c-d"), "a\\x20b-c\\x2dd");
        assert_eq!(escape(".x"), "\\x2ex");
        assert_eq!(escape_path("/dev//sda/").as_deref(), Some("dev-sda"));
        assert_eq!(escape_path("/").as_deref(), Some("-"));
        assert_eq!(escape_path("/a/../b"), None);
        assert_eq!(unescape_path("dev-sda\\x20").as_deref(), Some("/dev/sda "));
        assert_eq!(unescape("a\\x2").as_deref(), None);
    }

    #[test]
    fn unescaping_undoes_escaping() {
        for text in ["", "a", "ä/b", "x-y.z", "\\", "a\tb"] {
            assert_eq!(unescape(&escape(text)).as_deref(), Some(text));
        }
    }
}
