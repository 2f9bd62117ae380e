//! Keys: ed25519, named by the SHA-256 of their 32 bytes, secret ones kept as PKCS#8 text that openssl reads too. Pure:
//! the caller brings randomness and files.

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use ferrite_layout::verity::hex;
use serde::{Deserialize, Serialize};

use crate::hash::{self, Hash};

/// What is signed: no signature of one kind is worth anything in another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// Start and manifest of a payload.
    Payload,
    /// A key set.
    KeySet,
    /// A channel document.
    Channel,
}

impl Domain {
    fn tag(self) -> &'static [u8] {
        match self {
            Domain::Payload => b"ferrite payload 1\0",
            Domain::KeySet => b"ferrite key set 1\0",
            Domain::Channel => b"ferrite channel 1\0",
        }
    }

    fn message(self, bytes: &[u8]) -> Vec<u8> {
        [self.tag(), bytes].concat()
    }
}

/// Not a usable key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not hexadecimal digits.
    #[error("reading a public key")]
    Text(#[from] hash::HexError),
    /// No such point, or one for which anybody can make signatures.
    #[error("public key {0} is no usable ed25519 key")]
    Weak(String),
    /// Not PKCS#8 text.
    #[error("the file holds no ed25519 secret key in PKCS#8 text (BEGIN PRIVATE KEY)")]
    Secret,
}

/// A public key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<PublicKey, KeyError> {
        let bytes = hash::from_hex::<32>(text)?;
        let weak = || KeyError::Weak(text.to_string());
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| weak())?;
        if key.is_weak() { Err(weak()) } else { Ok(PublicKey(key)) }
    }

    /// The name of the key.
    pub fn id(&self) -> Hash {
        Hash::of(self.0.as_bytes())
    }

    /// Whether this key signed these bytes.
    pub fn has_signed(&self, domain: Domain, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(&domain.message(bytes), &signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<PublicKey, KeyError> {
        PublicKey::parse(&text)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> String {
        key.to_string()
    }
}

/// A secret key; it has no text but the one of its file, and is wiped from memory with its owner.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of 32 random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> SecretKey {
        SecretKey(SigningKey::from_bytes(seed))
    }

    /// Reads the text of a key file.
    pub fn from_pem(text: &str) -> Result<SecretKey, KeyError> {
        SigningKey::from_pkcs8_pem(text).map(SecretKey).map_err(|_| KeyError::Secret)
    }

    /// The text of a key file.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_pkcs8_pem(LineEnding::LF).map(|text| text.to_string()).map_err(|_| KeyError::Secret)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs.
    pub fn sign(&self, domain: Domain, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(&domain.message(bytes)).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret half of {}", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_bytes_its_key_and_its_purpose_only() {
        let key = SecretKey::from_seed(&[7; 32]);
        let signature = key.sign(Domain::Payload, b"text");
        assert!(key.public().has_signed(Domain::Payload, b"text", &signature));
        assert!(!key.public().has_signed(Domain::Channel, b"text", &signature));
        assert!(!key.public().has_signed(Domain::Payload, b"texts", &signature));
        assert!(!SecretKey::from_seed(&[8; 32]).public().has_signed(Domain::Payload, b"text", &signature));
    }

    #[test]
    fn a_key_file_is_read_back_and_openssl_made_one_is_too() {
        let key = SecretKey::from_seed(&[7; 32]);
        let text = key.to_pem().expect("it has a text");
        assert_eq!(SecretKey::from_pem(&text).expect("it is a key").public(), key.public());
        // openssl genpkey -algorithm ed25519
        let foreign = "-----BEGIN PRIVATE KEY-----\n\
                       MC4CAQAwBQYDK2VwBCIEIBJ22vnyR5XgYgYodXdTNCfzbNXhOGvZctfR7wRcN7fs\n\
                       -----END PRIVATE KEY-----\n";
        assert!(SecretKey::from_pem(foreign).is_ok());
        assert!(SecretKey::from_pem("").is_err());
    }

    #[test]
    fn a_key_for_which_anybody_can_sign_is_refused() {
        for weak in ["00".repeat(32), format!("01{}", "00".repeat(31)), format!("ec{}7f", "ff".repeat(30))] {
            assert!(matches!(PublicKey::parse(&weak), Err(KeyError::Weak(_))), "{weak}");
        }
        assert!(!format!("{:?}", SecretKey::from_seed(&[7; 32])).contains(&"07".repeat(32)));
    }
}
