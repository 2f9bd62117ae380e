//! Makes the bytes of one operation, in buffers that never grow past the limits: the blob's sum is checked before it is
//! decoded, the sum of what came out before anybody writes it. Pure, but for the base that is handed in.

use std::io;

use zstd::zstd_safe::DCtx;

use crate::hash::Hash;
use crate::manifest::{Op, OpKind};

/// The partitions of the running slot, as a delta looks at them.
pub trait BaseReader {
    /// Fills the buffer from this offset of a part, by its index in the manifest.
    fn read_base(&mut self, part: u8, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// For full payloads.
pub struct NoBase;

impl BaseReader for NoBase {
    fn read_base(&mut self, _: u8, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The bytes of an operation could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The payload was changed.
    #[error("the payload's bytes of operation {0} are not the signed ones")]
    Blob(usize),
    /// What was signed cannot be decoded.
    #[error("the payload's bytes of operation {op} cannot be decoded ({why})")]
    Zstd {
        /// Which.
        op: usize,
        /// What zstd says.
        why: &'static str,
    },
    /// The running slot could not be read.
    #[error("reading the running slot for operation {op}")]
    Base {
        /// Which.
        op: usize,
        /// Why.
        source: io::Error,
    },
    /// The running slot holds something else than the delta begins with, or the packer was wrong.
    #[error("operation {0} does not make the signed bytes: the running slot is not the release that the delta is from")]
    Output(usize),
}

impl DecodeError {
    /// Whether a full payload would not have this fault.
    pub fn is_of_base(&self) -> bool {
        match self {
            DecodeError::Base { .. } | DecodeError::Output(_) => true,
            DecodeError::Blob(_) | DecodeError::Zstd { .. } => false,
        }
    }
}

/// The buffers.
#[derive(Default)]
pub struct Decoder {
    output: Vec<u8>,
    base: Vec<u8>,
}

impl Decoder {
    /// The bytes of operation number `index`.
    pub fn decode(
        &mut self,
        index: usize,
        op: &Op,
        blob: &[u8],
        base: &mut impl BaseReader,
    ) -> Result<&[u8], DecodeError> {
        if op.kind.has_blob() && (blob.len() != op.blob_length as usize || Hash::of(blob) != op.blob_sha256) {
            return Err(DecodeError::Blob(index));
        }
        self.output.resize(op.length as usize, 0);
        match op.kind {
            OpKind::Zero => {
                // The sum of zeros is known beforehand; the whole part's is checked in the end.
                self.output.fill(0);
                return Ok(&self.output);
            }
            OpKind::Copy => {
                let read = base.read_base(op.part, op.base_offset, &mut self.output);
                read.map_err(|source| DecodeError::Base { op: index, source })?;
            }
            OpKind::Zstd => self.decompress(index, blob, None)?,
            OpKind::Patch => {
                let mut prefix = std::mem::take(&mut self.base);
                prefix.clear();
                prefix.resize(op.base_length as usize, 0);
                let read = base.read_base(op.part, op.base_offset, &mut prefix);
                read.map_err(|source| DecodeError::Base { op: index, source })?;
                let outcome = self.decompress(index, blob, Some(&prefix));
                self.base = prefix;
                // A wrong base may lead zstd astray in any way.
                outcome.map_err(|_| DecodeError::Output(index))?;
            }
        }
        if Hash::of(&self.output) != op.sha256 {
            return Err(DecodeError::Output(index));
        }
        Ok(&self.output)
    }

    fn decompress(&mut self, op: usize, blob: &[u8], prefix: Option<&[u8]>) -> Result<(), DecodeError> {
        let fail = |code| DecodeError::Zstd { op, why: zstd::zstd_safe::get_error_name(code) };
        let mut context = DCtx::create();
        if let Some(prefix) = prefix {
            context.ref_prefix(prefix).map_err(fail)?;
        }
        let made = context.decompress(self.output.as_mut_slice(), blob).map_err(fail)?;
        if made == self.output.len() { Ok(()) } else { Err(DecodeError::Zstd { op, why: "too few bytes" }) }
    }
}
