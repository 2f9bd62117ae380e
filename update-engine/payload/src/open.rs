//! The start of a payload: lengths, then signatures, then the manifest. Pure.
//!
//! `Verified` is what only the check can make: nobody reads a manifest of a payload that nobody signed.

use std::io::{self, Read};

use crate::hash::Hash;
use crate::key::Domain;
use crate::key_set::Role;
use crate::limits::{MANIFEST_BYTES_MAX, SIGNATURES_BYTES_MAX};
use crate::manifest::{Manifest, ManifestError};
use crate::signature::{self, SIGNATURE_BYTES, Signature, SignatureError};

/// The first bytes of a payload.
pub const MAGIC: &[u8; 8] = b"FERUPD1\n";
/// Bytes before the manifest: the magic and two lengths.
pub const PREFIX_BYTES: usize = 16;

const WHAT: &str = "payload";

/// The start of a payload is refused.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It could not be read.
    #[error("reading the start of the payload")]
    Read(#[from] io::Error),
    /// Something else.
    #[error("this is no payload of Ferrite: it does not begin with FERUPD1")]
    Magic,
    /// Longer than anybody makes them.
    #[error("{what} of the payload would have {found} bytes, at most {limit} are read")]
    TooLong {
        /// `manifest` or `signatures`.
        what: &'static str,
        /// The length it says.
        found: u32,
        /// The limit.
        limit: u32,
    },
    /// No signatures, or a part of one.
    #[error("{0} bytes of signatures are no whole number of them")]
    SignatureLength(u32),
    /// Too few.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// Signed, but not to be understood.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The two lengths of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Bytes of the manifest.
    pub manifest_length: u32,
    /// Bytes of the signatures.
    pub signatures_length: u32,
}

/// A manifest that enough release keys have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    manifest: Manifest,
    id: Hash,
    head_bytes: u64,
}

impl Prefix {
    /// Reads the first bytes of a payload.
    pub fn parse(bytes: &[u8; PREFIX_BYTES]) -> Result<Prefix, OpenError> {
        let [m0, m1, m2, m3, m4, m5, m6, m7, a, b, c, d, e, f, g, h] = *bytes;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != *MAGIC {
            return Err(OpenError::Magic);
        }
        let manifest_length = u32::from_le_bytes([a, b, c, d]);
        let signatures_length = u32::from_le_bytes([e, f, g, h]);
        let lengths = [
            ("manifest", manifest_length, MANIFEST_BYTES_MAX),
            ("signatures", signatures_length, SIGNATURES_BYTES_MAX),
        ];
        for (what, found, limit) in lengths {
            if found > limit {
                return Err(OpenError::TooLong { what, found, limit });
            }
        }
        if signatures_length == 0 || !(signatures_length as usize).is_multiple_of(SIGNATURE_BYTES) {
            return Err(OpenError::SignatureLength(signatures_length));
        }
        Ok(Prefix { manifest_length, signatures_length })
    }

    /// The first bytes of a payload.
    pub fn to_bytes(self) -> [u8; PREFIX_BYTES] {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.manifest_length.to_le_bytes());
        bytes[12..].copy_from_slice(&self.signatures_length.to_le_bytes());
        bytes
    }
}

impl Verified {
    /// Reads the start of a payload; what follows in the reader is the bytes of the first operation.
    pub fn read(reader: &mut impl Read, release: &Role) -> Result<Verified, OpenError> {
        let mut prefix = [0; PREFIX_BYTES];
        reader.read_exact(&mut prefix)?;
        let lengths = Prefix::parse(&prefix)?;
        let mut signed = prefix.to_vec();
        let manifest_end = PREFIX_BYTES + lengths.manifest_length as usize;
        signed.resize(manifest_end, 0);
        reader.read_exact(signed.get_mut(PREFIX_BYTES..).unwrap_or_default())?;
        let mut signatures = vec![0; lengths.signatures_length as usize];
        reader.read_exact(&mut signatures)?;
        Verified::check(&signed, &signatures, release)
    }

    /// Checks prefix with manifest, and the signatures behind them.
    pub fn check(signed: &[u8], signatures: &[u8], release: &Role) -> Result<Verified, OpenError> {
        signature::check(WHAT, Domain::Payload, signed, &Signature::parse_all(signatures), release)?;
        let manifest = Manifest::parse(signed.get(PREFIX_BYTES..).unwrap_or_default())?;
        let head_bytes = (signed.len() + signatures.len()) as u64;
        Ok(Verified { manifest, id: Hash::of(signed), head_bytes })
    }

    /// What it says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The name of this very payload: the sum of what was signed.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// Where the bytes of the first operation begin.
    pub fn head_bytes(&self) -> u64 {
        self.head_bytes
    }

    /// The length of the whole payload.
    pub fn total_bytes(&self) -> u64 {
        self.head_bytes + self.manifest.blob_bytes()
    }

    /// Where the bytes of an operation begin; for the one after the last, the end.
    pub fn blob_offset(&self, op: usize) -> u64 {
        self.head_bytes + self.manifest.ops.iter().take(op).map(|op| u64::from(op.blob_length)).sum::<u64>()
    }
}
