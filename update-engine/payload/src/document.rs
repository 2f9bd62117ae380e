//! The envelope of a signed JSON document: the text that was signed, as a string, so that no two writers of JSON can
//! disagree on what was signed. Pure.

use ferrite_layout::verity::hex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hash::{self, Hash};
use crate::key::{Domain, SecretKey};
use crate::signature::Signature;

/// Not a signed document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Longer than allowed.
    #[error("{what} has {found} bytes, {limit} at most are read")]
    TooLong {
        /// What it should have been.
        what: &'static str,
        /// Its length.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// The envelope is none.
    #[error("{what} is no signed document")]
    Envelope {
        /// What it should have been.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// What was signed is not what we know.
    #[error("{what} cannot be understood")]
    Content {
        /// What it should have been.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    signed: String,
    signatures: Vec<RawSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSignature {
    key: Hash,
    signature: String,
}

/// A document whose signatures nobody has checked yet.
pub(crate) struct Unchecked {
    pub(crate) text: String,
    pub(crate) signatures: Vec<Signature>,
    what: &'static str,
}

/// Takes the envelope off.
pub(crate) fn open(what: &'static str, bytes: &[u8], limit: u64) -> Result<Unchecked, DocumentError> {
    if bytes.len() as u64 > limit {
        return Err(DocumentError::TooLong { what, found: bytes.len() as u64, limit });
    }
    let fault = |source| DocumentError::Envelope { what, source };
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(fault)?;
    let read = |raw: RawSignature| {
        let bytes = hash::from_hex::<64>(&raw.signature).map_err(serde::de::Error::custom)?;
        Ok(Signature { key: raw.key, bytes })
    };
    let signatures = envelope.signatures.into_iter().map(read).collect::<Result<Vec<_>, _>>().map_err(fault)?;
    Ok(Unchecked { text: envelope.signed, signatures, what })
}

impl Unchecked {
    /// Reads what was signed; call it after the check, or to learn which keys should have signed.
    pub(crate) fn content<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        serde_json::from_str(&self.text).map_err(|source| DocumentError::Content { what: self.what, source })
    }
}

/// Signs a document: the text of its file.
pub(crate) fn seal(
    what: &'static str,
    domain: Domain,
    content: &impl Serialize,
    keys: &[&SecretKey],
) -> Result<String, DocumentError> {
    let fault = |source| DocumentError::Content { what, source };
    let text = serde_json::to_string_pretty(content).map_err(fault)?;
    let mut signatures: Vec<Signature> = keys.iter().map(|key| Signature::new(key, domain, text.as_bytes())).collect();
    signatures.sort_by_key(|signature| signature.key);
    signatures.dedup();
    let raw = |signature: Signature| RawSignature { key: signature.key, signature: hex(&signature.bytes) };
    let envelope = Envelope { signed: text, signatures: signatures.into_iter().map(raw).collect() };
    Ok(serde_json::to_string_pretty(&envelope).map_err(fault)? + "\n")
}
