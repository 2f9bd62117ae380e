//! Adds a login key to a person's user-data, where that can be done without changing what the person wrote. Pure.

/// What became of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// The document with the key.
    WithKey(String),
    /// The document has to stay as it is.
    Unchanged {
        /// Why.
        reason: &'static str,
    },
}

/// The user-data of a machine that wants nothing but a login.
pub fn only_key(key: &str) -> String {
    format!("#cloud-config\nssh_authorized_keys:\n  - {key}\n")
}

/// Adds `key` to a cloud-config mapping that names no keys itself.
pub fn merge(document: &str, key: &str) -> Merged {
    if document.lines().next().map(str::trim_end) != Some("#cloud-config") {
        return Merged::Unchanged { reason: "it is not a cloud-config" };
    }
    let top_level = |line: &&str| !line.is_empty() && !line.starts_with([' ', '\t', '#']);
    for line in document.lines().filter(top_level) {
        if line.starts_with("ssh_authorized_keys") {
            return Merged::Unchanged { reason: "it names ssh_authorized_keys itself" };
        }
        if line.starts_with(['{', '[', '-', '.', '%']) || !line.contains(':') {
            return Merged::Unchanged { reason: "it is not a plain mapping" };
        }
    }
    let newline = if document.ends_with('\n') { "" } else { "\n" };
    Merged::WithKey(format!("{document}{newline}ssh_authorized_keys:\n  - {key}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_without_keys_gets_the_key_at_its_end() {
        assert_eq!(
            merge("#cloud-config\nhostname: a", "ssh-ed25519 X"),
            Merged::WithKey("#cloud-config\nhostname: a\nssh_authorized_keys:\n  - ssh-ed25519 X\n".into())
        );
    }

    #[test]
    fn documents_that_cannot_take_a_key_stay_as_they_are() {
        for (document, reason) in [
            ("#!/bin/sh\n", "it is not a cloud-config"),
            ("#cloud-config\nssh_authorized_keys: [x]\n", "it names ssh_authorized_keys itself"),
            ("#cloud-config\n{hostname: a}\n", "it is not a plain mapping"),
            ("#cloud-config\n- a\n", "it is not a plain mapping"),
        ] {
            assert_eq!(merge(document, "k"), Merged::Unchanged { reason }, "{document}");
        }
    }
}
