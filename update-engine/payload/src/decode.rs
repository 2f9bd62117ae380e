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

/// Decodes; keeps its memory from one operation to the next.
#[derive(Default)]
pub struct Decoder {
    context: Option<DCtx<'static>>,
    base: Vec<u8>,
}

impl Decoder {
    /// Makes the bytes of operation number `index`; there is room for exactly those in `output`.
    pub fn decode(
        &mut self,
        index: usize,
        op: &Op,
        blob: &[u8],
        base: &mut impl BaseReader,
        output: &mut [u8],
    ) -> Result<(), DecodeError> {
        if op.kind.has_blob() && (blob.len() != op.blob_length as usize || Hash::of(blob) != op.blob_sha256) {
            return Err(DecodeError::Blob(index));
        }
        match op.kind {
            OpKind::Zero => {
                // Nothing that was fetched is in them.
                output.fill(0);
                return Ok(());
            }
            OpKind::Copy => {
                let read = base.read_base(op.part, op.base_offset, output);
                read.map_err(|source| DecodeError::Base { op: index, source })?;
            }
            OpKind::Zstd => {
                let context = self.context.get_or_insert_with(DCtx::create);
                decompress(context, blob, output).map_err(|why| DecodeError::Zstd { op: index, why })?;
            }
            OpKind::Patch => {
                let prefix = first_bytes(&mut self.base, op.base_length);
                let read = base.read_base(op.part, op.base_offset, prefix);
                read.map_err(|source| DecodeError::Base { op: index, source })?;
                // A wrong base may lead zstd astray in any way.
                decompress_behind(prefix, blob, output).map_err(|_| DecodeError::Output(index))?;
            }
        }
        if Hash::of(output) != op.sha256 {
            return Err(DecodeError::Output(index));
        }
        Ok(())
    }
}

/// The first bytes of a buffer that never gets shorter, so that it is cleared once; they hold what was there before.
pub fn first_bytes(buffer: &mut Vec<u8>, length: u32) -> &mut [u8] {
    if buffer.len() < length as usize {
        // Not by moving the old content.
        *buffer = vec![0; length as usize];
    }
    buffer.get_mut(..length as usize).unwrap_or_default()
}

fn decompress_behind(prefix: &[u8], blob: &[u8], output: &mut [u8]) -> Result<(), &'static str> {
    let mut context = DCtx::create();
    context.ref_prefix(prefix).map_err(zstd::zstd_safe::get_error_name)?;
    decompress(&mut context, blob, output)
}

fn decompress(context: &mut DCtx, blob: &[u8], output: &mut [u8]) -> Result<(), &'static str> {
    let made = context.decompress(output, blob).map_err(zstd::zstd_safe::get_error_name)?;
    if made == output.len() { Ok(()) } else { Err("too few bytes") }
}
