//! Whether a file is a whole, unencrypted OpenSSH private key, and which public key belongs to it. Pure.
//!
//! Saves three runs of ssh-keygen at every boot; what this reader does not know is left to ssh-keygen.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// Padding of an unencrypted key: fewer bytes than this.
const BLOCK_BYTES: usize = 8;

/// The public key of a private key. `None`: damaged, encrypted, or of another form.
pub fn public_blob(text: &str) -> Option<Vec<u8>> {
    let body = text.strip_prefix(BEGIN)?.split_once(END)?.0;
    let letters: String = body.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(letters).ok()?;
    let mut file = Fields(bytes.strip_prefix(MAGIC)?);
    let plain = file.string()? == b"none" && file.string()? == b"none" && file.string()?.is_empty();
    if !plain || file.number()? != 1 {
        return None;
    }
    let public = file.string()?;
    let secret = file.string()?;
    if !file.0.is_empty() || !secret.len().is_multiple_of(BLOCK_BYTES) {
        return None;
    }
    let mut secret = Fields(secret);
    if secret.number()? != secret.number()? || secret.string()? != Fields(public).string()? {
        return None;
    }
    // Numbers and a comment follow, each with its length, then padding 1, 2, 3.
    let mut count = 0;
    while !secret.is_padding() {
        secret.string()?;
        count += 1;
    }
    (count >= 3).then(|| public.to_vec())
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u32> {
        let (word, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*word))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        let (string, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(string)
    }

    fn is_padding(&self) -> bool {
        self.0.len() < BLOCK_BYTES && self.0.iter().zip(1u8..).all(|(byte, number)| *byte == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::blob_of_public_key;
    use std::fs;
    use std::process::Command;

    fn key(kind: &str, passphrase: &str, comment: &str) -> (String, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        let mut command = Command::new(crate::host_keys::KEYGEN);
        let command = command.args(["-q", "-t", kind, "-N", passphrase, "-C", comment, "-f"]).arg(&path);
        assert!(command.status().expect("ssh-keygen starts").success());
        let read = |path: &std::path::Path| fs::read_to_string(path).expect("it was made");
        (read(&path), read(&path.with_extension("pub")))
    }

    #[test]
    fn a_whole_key_gives_its_public_half() {
        for kind in crate::host_keys::KINDS {
            for comment in ["", "a comment", "123", "1234567"] {
                if kind == "rsa" && !comment.is_empty() {
                    continue;
                }
                let (private, public) = key(kind, "", comment);
                let blob = public_blob(&private).expect("it is whole");
                assert_eq!(Some(blob), blob_of_public_key(&public), "{kind} '{comment}'");
            }
        }
    }

    #[test]
    fn an_encrypted_key_and_every_cut_of_a_key_are_left_to_ssh_keygen() {
        assert_eq!(public_blob(&key("ed25519", "secret", "").0), None);
        let (private, _) = key("ed25519", "", "");
        let end = private.find(END).expect("it has an end") + END.len();
        for cut in 0..end {
            let mut zeros = private.as_bytes()[..cut].to_vec();
            assert_eq!(public_blob(&String::from_utf8_lossy(&zeros)), None, "cut at {cut}");
            zeros.resize(private.len(), 0);
            assert_eq!(public_blob(&String::from_utf8_lossy(&zeros)), None, "zeros from {cut}");
        }
    }

    #[test]
    fn hostile_lengths_are_no_key() {
        let armour = |bytes: &[u8]| format!("{BEGIN}{}\n{END}\n", STANDARD.encode(bytes));
        for bytes in [&b""[..], MAGIC, b"openssh-key-v1\0\xff\xff\xff\xff", b"openssh-key-v1\0\0\0\0\x04none"] {
            assert_eq!(public_blob(&armour(bytes)), None);
        }
    }
}
