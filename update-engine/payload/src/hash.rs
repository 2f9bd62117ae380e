//! A SHA-256 sum and its text. Pure.

use std::fmt;

use ferrite_layout::verity::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 sum.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; Hash::BYTES]);

/// Not the text of a sum or of another value of fixed length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not {1} hexadecimal digits")]
pub struct HexError(String, usize);

impl Hash {
    /// Bytes of a sum.
    pub const BYTES: usize = 32;

    /// The sum of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(bytes).into())
    }

    /// The sum of pieces that follow each other.
    pub fn of_pieces(pieces: &[&[u8]]) -> Hash {
        let mut hasher = Sha256::new();
        pieces.iter().for_each(|piece| hasher.update(piece));
        Hash(hasher.finalize().into())
    }

    /// A sum that was made elsewhere.
    pub fn from_bytes(bytes: [u8; Hash::BYTES]) -> Hash {
        Hash(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; Hash::BYTES] {
        &self.0
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Hash, HexError> {
        Ok(Hash(from_hex(text)?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Hash {
    type Error = HexError;

    fn try_from(text: String) -> Result<Hash, HexError> {
        Hash::parse(&text)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        hash.to_string()
    }
}

/// Lower-case digits only: one value has one text.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let wrong = || HexError(text.chars().take(2 * N).collect(), 2 * N);
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return Err(wrong());
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return Err(wrong()) };
        *byte = digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low).ok_or_else(wrong)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_has_one_text() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc").to_string(), text);
        assert_eq!(Hash::of_pieces(&[b"a", b"", b"bc"]), Hash::of(b"abc"));
        assert_eq!(Hash::parse(text), Ok(Hash::of(b"abc")));
        for wrong in ["", &text[1..], &text.to_uppercase(), &format!("{text}0"), &"\u{e9}".repeat(32)] {
            assert!(Hash::parse(wrong).is_err(), "'{wrong}'");
        }
    }
}
