//! Escaping of any text, or of a path, into the part of a unit name; and back. Pure.
//!
//! Escaping works on bytes: a name is ASCII whatever the text was.

use crate::name::{UnitKind, UnitName};

/// Longest component of a path.
const COMPONENT_MAX: usize = 255;
/// Longest path.
const PATH_MAX: usize = 4095;

/// Escapes any text: `/` becomes `-`, a byte that may not stand in a name becomes `\xNN`.
pub fn escape(text: &str) -> String {
    escape_bytes(text.as_bytes())
}

/// The same for any bytes.
pub fn escape_bytes(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for (position, byte) in text.iter().enumerate() {
        match byte {
            b'/' => out.push('-'),
            b'.' if position == 0 => push_escaped(&mut out, *byte),
            b'-' | b'\\' => push_escaped(&mut out, *byte),
            byte if is_plain(*byte) => out.push(char::from(*byte)),
            byte => push_escaped(&mut out, *byte),
        }
    }
    out
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte)
}

fn push_escaped(out: &mut String, byte: u8) {
    out.push_str(&format!("\\x{byte:02x}"));
}

/// Undoes [`escape`]; `None` when the text is not an escaped one.
pub fn unescape(text: &str) -> Option<String> {
    String::from_utf8(unescape_bytes(text.as_bytes())?).ok()
}

/// The same for any bytes.
pub fn unescape_bytes(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'-' => out.push(b'/'),
            b'\\' => {
                if *bytes.next()? != b'x' {
                    return None;
                }
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                let value = digit()? * 16 + digit()?;
                out.push(u8::try_from(value).ok()?);
            }
            other => out.push(*other),
        }
    }
    Some(out)
}

/// Makes a path plain: no double or trailing slashes, no `.`; `None` when it holds `..`.
///
/// At the beginning of an absolute path `..` leads nowhere else and is dropped, as in systemd.
pub fn simplify_path(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.is_empty() && path.starts_with('/') => {}
            ".." => return None,
            other => parts.push(other),
        }
    }
    Some(parts.join("/"))
}

/// Escapes a path: `/` is `-`, `/dev/sda` is `dev-sda`.
pub fn escape_path(path: &str) -> Option<String> {
    escape_path_bytes(path.as_bytes())
}

/// The same for any bytes. `None`: the path leads upward, is too long, or is nothing but dots.
pub fn escape_path_bytes(path: &[u8]) -> Option<String> {
    let is_absolute = path.starts_with(b"/");
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let parts: Vec<&[u8]> = parts.skip_while(|part| is_absolute && *part == b"..").collect();
    if parts.is_empty() {
        return (path.is_empty() || is_absolute).then(|| "-".to_owned());
    }
    let is_fine = |part: &&[u8]| *part != b".." && part.len() <= COMPONENT_MAX;
    (path.len() <= PATH_MAX && parts.iter().all(is_fine)).then(|| escape_bytes(&parts.join(&b"/"[..])))
}

/// The unit of a path: `/srv/a` of the kind mount is `srv-a.mount`. What is too long for a name is cut, and gets a
/// number that tells it from others.
pub fn unit_of_path(path: &str, kind: UnitKind) -> Option<UnitName> {
    unit_of_path_bytes(path.as_bytes(), kind)
}

/// The same for any bytes.
pub fn unit_of_path_bytes(path: &[u8], kind: UnitKind) -> Option<UnitName> {
    UnitName::of_stem(&escape_path_bytes(path)?, kind).ok()
}

/// Undoes [`escape_path`].
pub fn unescape_path(text: &str) -> Option<String> {
    String::from_utf8(unescape_path_bytes(text.as_bytes())?).ok()
}

/// The same for any bytes.
pub fn unescape_path_bytes(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"-" {
        return Some(b"/".to_vec());
    }
    let path = unescape_bytes(text)?;
    let is_normal = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && part.len() <= COMPONENT_MAX;
    if path.len() > PATH_MAX || !path.split(|byte| *byte == b'/').all(is_normal) {
        return None;
    }
    Some([b"/", path.as_slice()].concat())
}

/// Whether patterns are left alone by [`mangle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Globs {
    /// `*`, `?` and `[` are escaped.
    Escaped,
    /// A pattern stays one.
    Kept,
}

/// What [`mangle`] made of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mangled {
    /// The name.
    pub name: String,
    /// The word before its suffix, if bytes of it had to be escaped.
    pub escaped: Option<String>,
}

/// Is this a pattern?
pub fn is_glob(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[".contains(byte))
}

/// The unit name that somebody means: `/home` is `home.mount`, `ssh` is `ssh.service`, what is a name stays one.
///
/// `None`: nothing makes a name of it.
pub fn mangle(word: &[u8], globs: Globs, suffix: UnitKind) -> Option<Mangled> {
    let plain = |name: &str| Some(Mangled { name: name.to_owned(), escaped: None });
    if word.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(word).ok();
    if let Some(name) = text.filter(|text| UnitName::parse(text).is_ok()) {
        return plain(name);
    }
    let in_globs = |byte: &u8| is_plain(*byte) || b"@[]!*?".contains(byte);
    if let Some(pattern) = text.filter(|_| globs == Globs::Kept && is_glob(word) && word.iter().all(in_globs)) {
        return plain(pattern);
    }
    if word.starts_with(b"/") {
        let is_device = word.starts_with(b"/dev/") || word.starts_with(b"/sys/");
        let end = if is_device { UnitKind::Device } else { UnitKind::Mount };
        if let Some(name) = unit_of_path_bytes(word, end) {
            return plain(name.as_str());
        }
    }
    let mut name = String::new();
    let mut changed = false;
    for byte in word {
        let is_fine = is_plain(*byte) || *byte == b'@' || (globs == Globs::Kept && in_globs(byte));
        match byte {
            b'/' => name.push('-'),
            byte if is_fine => name.push(char::from(*byte)),
            byte => push_escaped(&mut name, *byte),
        }
        changed |= !is_fine;
    }
    let escaped = changed.then(|| name.clone());
    let is_pattern = globs == Globs::Kept && is_glob(name.as_bytes());
    if !is_pattern && UnitName::parse(&name).is_err() {
        name.push('.');
        name.push_str(suffix.suffix());
    }
    (globs == Globs::Kept || UnitName::parse(&name).is_ok()).then_some(Mangled { name, escaped })
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
        assert_eq!(escape("ä"), "\\xc3\\xa4");
        for (path, escaped) in [
            ("/dev//sda/", Some("dev-sda")),
            ("/", Some("-")),
            ("/./", Some("-")),
            ("", Some("-")),
            ("a/./b/.", Some("a-b")),
            (".", None),
            ("./.", None),
            ("/a/../b", None),
            ("/..", Some("-")),
            ("/.././../a", Some("a")),
            ("../a", None),
        ] {
            assert_eq!(escape_path(path).as_deref(), escaped, "{path}");
        }
        for (text, path) in [
            ("dev-sda\\x20", Some("/dev/sda ")),
            ("-", Some("/")),
            ("", None),
            ("a--b", None),
            ("-a", None),
            ("a-", None),
            ("..", None),
            ("a\\x2", None),
            ("a\\", None),
            ("a\\y20", None),
        ] {
            assert_eq!(unescape_path(text).as_deref(), path, "{text}");
        }
    }

    #[test]
    fn unescaping_undoes_escaping() {
        for text in ["", "a", "ä/b", "x-y.z", "\\", "a\tb"] {
            assert_eq!(unescape(&escape(text)).as_deref(), Some(text));
        }
        assert_eq!(unescape_bytes(b"\\xff"), Some(vec![0xff]));
        assert_eq!(unescape("\\xff"), None);
    }

    #[test]
    fn the_unit_of_a_long_path_has_a_number_in_its_name() {
        let part = "/abcdefghijklmnopqrstuvwxyz";
        // The number is what systemd makes of this path.
        let end = "-abcdefghijklmnop_51c6be0dc236b11c.mount";
        let name = unit_of_path(&part.repeat(12), UnitKind::Mount).unwrap();
        assert!(name.as_str().ends_with(end) && name.as_str().len() == 255, "{name}");
        assert_eq!(mangle(part.repeat(12).as_bytes(), Globs::Escaped, UnitKind::Service).unwrap().name, name.as_str());
        assert_eq!(unit_of_path("/a/b", UnitKind::Swap).unwrap().as_str(), "a-b.swap");
        let longest = format!("/{}", "a".repeat(249));
        assert_eq!(unit_of_path(&longest, UnitKind::Mount).unwrap().as_str().len(), 255);
        assert!(!unit_of_path(&longest, UnitKind::Mount).unwrap().as_str().contains('_'));
        assert!(unit_of_path(&"/a".repeat(3000), UnitKind::Mount).is_none());
    }

    #[test]
    fn words_become_names() {
        for (word, globs, name) in [
            ("ssh", Globs::Escaped, Some("ssh.service")),
            ("foo@", Globs::Escaped, Some("foo@.service")),
            ("/home", Globs::Escaped, Some("home.mount")),
            ("/sys/class/net", Globs::Escaped, Some("sys-class-net.device")),
            ("/..", Globs::Escaped, Some("-.mount")),
            ("/a/..", Globs::Escaped, Some("-a-...service")),
            ("foo*", Globs::Escaped, Some("foo\\x2a.service")),
            ("foo*", Globs::Kept, Some("foo*")),
            ("foo.*", Globs::Kept, Some("foo.*")),
            ("a b", Globs::Kept, Some("a\\x20b.service")),
            ("", Globs::Kept, None),
            ("@", Globs::Escaped, None),
        ] {
            assert_eq!(mangle(word.as_bytes(), globs, UnitKind::Service).map(|m| m.name).as_deref(), name, "{word}");
        }
        let escaped = mangle(b"a b", Globs::Escaped, UnitKind::Service).and_then(|mangled| mangled.escaped);
        assert_eq!(escaped.as_deref(), Some("a\\x20b"));
    }
}
