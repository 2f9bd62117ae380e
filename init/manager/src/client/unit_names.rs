//! Turns what people type into unit names, as systemd does: `ssh` is `ssh.service`, `/home` is `home.mount`. Pure.

use ferrite_unit::escape::escape_path;

/// The kinds of units.
pub const SUFFIXES: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"];

/// The full name of a unit; names that are wrong are left for PID 1 to refuse.
pub fn full_name(word: &str) -> String {
    let has_suffix = word.rsplit_once('.').is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix));
    if word.starts_with("/dev/") {
        escape_path(word).map_or_else(|| word.to_owned(), |stem| format!("{stem}.device"))
    } else if word.starts_with('/') {
        escape_path(word).map_or_else(|| word.to_owned(), |stem| format!("{stem}.mount"))
    } else if has_suffix {
        word.to_owned()
    } else {
        format!("{word}.service")
    }
}

/// The kind of a unit: what follows the last dot.
pub fn kind(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, suffix)| suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_and_paths_become_unit_names() {
        for (word, name) in [
            ("ssh", "ssh.service"),
            ("ssh.service", "ssh.service"),
            ("multi-user.target", "multi-user.target"),
            ("getty@tty1", "getty@tty1.service"),
            ("org.example.Thing", "org.example.Thing.service"),
            ("/home", "home.mount"),
            ("/var/lib/a-b/", "var-lib-a\\x2db.mount"),
            ("/dev/sda1", "dev-sda1.device"),
            (".service", ".service.service"),
        ] {
            assert_eq!(full_name(word), name);
        }
        assert_eq!(kind("a.b.socket"), "socket");
    }
}
