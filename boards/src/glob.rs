//! Patterns over absolute paths. Pure.
//!
//! `?` is one character and `*` any number of them, both without `/`; `**` is anything. A pattern that ends in `/**`
//! matches the folder too, so that `/usr/share/doc/**` leaves no empty folder behind.

use std::fmt;

/// A checked path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Parses a pattern; `None` if it is not absolute.
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with('/').then(|| Self(text.to_owned()))
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &str) -> bool {
        let folder = self.0.strip_suffix("/**");
        folder.is_some_and(|folder| matches(folder.as_bytes(), path.as_bytes()))
            || matches(self.0.as_bytes(), path.as_bytes())
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|skip| matches(rest, &path[skip..])),
        [b'*', rest @ ..] => {
            let limit = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=limit).any(|skip| matches(rest, &path[skip..]))
        }
        [b'?', rest @ ..] => path.split_first().is_some_and(|(first, tail)| *first != b'/' && matches(rest, tail)),
        [byte, rest @ ..] => path.split_first().is_some_and(|(first, tail)| first == byte && matches(rest, tail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        for (pattern, path, expected) in [
            ("/usr/bin/ls", "/usr/bin/ls", true),
            ("/usr/bin/ls", "/usr/bin/lsblk", false),
            ("/usr/bin/*", "/usr/bin/ls", true),
            ("/usr/bin/*", "/usr/bin/a/b", false),
            ("/usr/share/**", "/usr/share/doc/a", true),
            ("/usr/share/**", "/usr/share", true),
            ("/usr/share/**", "/usr/shared", false),
            ("/**/*.a", "/usr/lib/x86_64-linux-gnu/libc.a", true),
            ("/usr/lib/?/x", "/usr/lib/v/x", true),
            ("/usr/lib/?/x", "/usr/lib///x", false),
            ("/usr/share/terminfo/x/xterm*", "/usr/share/terminfo/x/xterm-256color", true),
        ] {
            let glob = Glob::parse(pattern).unwrap();
            assert_eq!(glob.matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_relative_pattern_is_refused() {
        assert_eq!(Glob::parse("usr/bin/*"), None);
    }
}
