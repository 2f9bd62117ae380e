//! The fingerprint of a public host key, as `ssh-keygen -l` shows it. Pure.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// Longest public key that is read.
pub const LIMIT_BYTES: usize = 16 * 1024;

/// A fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// `ED25519`, `RSA` or `ECDSA`.
    pub algorithm: String,
    /// `SHA256:` and 43 characters.
    pub digest: String,
}

/// The fingerprint of a line `ssh-ed25519 AAAA... comment`. `None`: it is not a public key.
pub fn of_public_key(line: &str) -> Option<Fingerprint> {
    let blob = blob_of_public_key(line)?;
    let kind = line.split_ascii_whitespace().next()?;
    let algorithm = match kind {
        "ssh-ed25519" => "ED25519",
        "ssh-rsa" => "RSA",
        kind if kind.starts_with("ecdsa-sha2-") => "ECDSA",
        kind => kind,
    };
    let digest = format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob)));
    Some(Fingerprint { algorithm: algorithm.to_string(), digest })
}

/// The key itself. `None`: it is not a public key.
pub fn blob_of_public_key(line: &str) -> Option<Vec<u8>> {
    let mut words = line.get(..LIMIT_BYTES.min(line.len()))?.split_ascii_whitespace();
    let kind = words.next()?;
    let blob = STANDARD.decode(words.next()?).ok()?;
    // The blob begins with its own kind; a mismatch means a damaged file.
    let named = blob.get(4..4 + kind.len())?;
    let right = named == kind.as_bytes() && blob.get(..4)? == (kind.len() as u32).to_be_bytes();
    right.then_some(blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (kind, algorithm) in [("ed25519", "ED25519"), ("ecdsa", "ECDSA"), ("rsa", "RSA")] {
            let key = folder.path().join(kind);
            let keygen = |arguments: &[&str]| {
                let output = Command::new(crate::host_keys::KEYGEN).args(arguments).arg("-f").arg(&key).output();
                String::from_utf8(output.expect("ssh-keygen starts").stdout).expect("it speaks ASCII")
            };
            keygen(&["-q", "-t", kind, "-N", "", "-C", "a comment"]);
            let public = fs::read_to_string(key.with_extension("pub")).expect("the key was made");
            let ours = of_public_key(&public).expect("it is a key");
            assert_eq!(keygen(&["-l"]).split(' ').nth(1), Some(ours.digest.as_str()));
            assert_eq!(ours.algorithm, algorithm);
        }
    }

    #[test]
    fn what_is_no_key_has_no_fingerprint() {
        let wrong = [
            "",
            "ssh-ed25519",
            "ssh-ed25519 !!!!",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA",
            "ssh-rsa AA==",
            "\u{e9} \u{e9}",
        ];
        for line in wrong {
            assert_eq!(of_public_key(line), None, "'{line}'");
        }
        assert_eq!(of_public_key(&"\u{e9}".repeat(LIMIT_BYTES)), None);
    }
}
