//! Public keys as lines of an authorized_keys file: checked before they are trusted to sshd. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What sshd of Debian 13 accepts.
const TYPES: [&str; 10] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
];
const MAX_LINE_BYTES: usize = 16 * 1024;

/// One checked line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    line: String,
    kind: String,
    comment: String,
}

impl PublicKey {
    /// Checks a line; `Err` says what is wrong and what would be right.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let line = text.trim();
        if line.is_empty() {
            return Err("the key is empty".into());
        }
        if line.contains("PRIVATE KEY") {
            return Err("this is a private key; give the line of the .pub file".into());
        }
        if line.len() > MAX_LINE_BYTES || line.contains(|character: char| character.is_control() && character != '\t') {
            return Err("a key is one line without control characters, of at most 16 KiB".into());
        }
        let rest = if known_type(first_word(line)) { line } else { after_options(line)? };
        let mut words = rest.splitn(3, [' ', '\t']);
        let kind = words.next().unwrap_or_default();
        if kind == "ssh-dss" {
            return Err("DSA keys are not accepted by OpenSSH any more; make one with 'ssh-keygen -t ed25519'".into());
        }
        if !known_type(kind) {
            return Err(format!(
                "'{}' is not a key type; a key looks like 'ssh-ed25519 AAAA... name'",
                shortened(kind)
            ));
        }
        let blob = STANDARD
            .decode(words.next().unwrap_or_default().trim())
            .ok()
            .filter(|blob| !blob.is_empty())
            .ok_or_else(|| format!("the part after {kind} is not base64; the line was cut or broken"))?;
        if !blob_is_of(&blob, kind) {
            return Err(format!("the key does not hold an {kind} key; the line was cut or mixed up"));
        }
        let comment = words.next().unwrap_or_default().trim().to_string();
        Ok(Self { line: line.to_string(), kind: kind.to_string(), comment })
    }

    /// The line for authorized_keys.
    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// The key behind these options, and without those it had.
    pub(crate) fn behind(&self, options: &str) -> Self {
        let start = self.line.find(&format!("{} AAAA", self.kind)).unwrap_or_default();
        let bare = self.line.get(start..).unwrap_or_default();
        Self { line: format!("{options} {bare}"), ..self.clone() }
    }

    /// Type and comment, for people.
    pub(crate) fn summary(&self) -> String {
        let comment = if self.comment.is_empty() { "without a comment" } else { &self.comment };
        format!("{} {comment}", self.kind)
    }
}

fn first_word(line: &str) -> &str {
    line.split([' ', '\t']).next().unwrap_or_default()
}

fn known_type(word: &str) -> bool {
    TYPES.contains(&word)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

/// What follows the options in front of a key; blanks inside quotes do not end them.
fn after_options(line: &str) -> Result<&str, String> {
    let mut quoted = false;
    let mut escaped = false;
    for (position, character) in line.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                let rest = line.get(position..).unwrap_or_default().trim_start();
                // Two words in front of the data are a type that is not known, not options.
                return Ok(if known_type(first_word(rest)) { rest } else { line });
            }
            _ => {}
        }
    }
    if quoted { Err("a quote in the options of the key is not closed".into()) } else { Ok(line) }
}

/// The blob begins with its own type as a string with a length.
fn blob_is_of(blob: &[u8], kind: &str) -> bool {
    let length = blob.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else {
        return false;
    };
    let end = 4usize.saturating_add(length);
    blob.get(4..end) == Some(kind.as_bytes()) && blob.len() > end.saturating_add(16)
}

#[cfg(test)]
pub(crate) const SAMPLE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSnPSrFHGXYWzCiVgW2Wd0bTMHQkyXIUHSqdRwpmCEY alice@laptop";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_with_and_without_options_and_comments_are_accepted() {
        let bare = SAMPLE.rsplit_once(' ').unwrap().0;
        for line in [SAMPLE, bare, &format!("no-pty,command=\"echo \\\"a b\\\"\" {SAMPLE}"), &format!("  {SAMPLE}\n")] {
            assert!(PublicKey::parse(line).is_ok(), "{line}");
        }
        assert_eq!(PublicKey::parse(SAMPLE).unwrap().summary(), "ssh-ed25519 alice@laptop");
    }

    #[test]
    fn options_can_be_put_in_front_and_replace_others() {
        for line in [SAMPLE.to_string(), format!("from=\"10.0.0.0/8\" {SAMPLE}")] {
            let key = PublicKey::parse(&line).unwrap().behind("no-pty,command=\"echo \\\"a b\\\"\"");
            assert_eq!(key.line(), format!("no-pty,command=\"echo \\\"a b\\\"\" {SAMPLE}"));
            assert_eq!(PublicKey::parse(key.line()).as_ref(), Ok(&key));
        }
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said() {
        let rsa_name = SAMPLE.replace("ssh-ed25519 ", "ssh-rsa ");
        for (line, part) in [
            ("", "empty"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
            ("ssh-ed25519", "not base64"),
            ("ssh-ed25519 AAAA...", "not base64"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", "does not hold"),
            ("ssh-dss AAAAB3NzaC1kc3MAAACB", "DSA"),
            ("alice", "'alice' is not a key type"),
            ("command=\"x ssh-ed25519 AAAA", "not closed"),
            (&format!("{SAMPLE}\nssh-rsa AAAA"), "one line"),
            (&rsa_name, "does not hold"),
        ] {
            let error = PublicKey::parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_key_or_refused(text in "\\PC{0,200}") {
            let _outcome = PublicKey::parse(&text);
        }
    }
}
