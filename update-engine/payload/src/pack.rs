//! Makes a payload out of the images of a release, and out of an older release's if it is a delta. The same images and
//! keys give the same bytes, however many threads work on it.
//!
//! Acts only on the readers and writers that it is given.

use std::io::{self, Read, Seek, SeekFrom, Write};

use ferrite_layout::read_at::ReadAt;
use sha2::{Digest, Sha256};
use zstd::zstd_safe::{CCtx, CParameter, get_error_name};

use crate::blocks::{self, Content, Image, Stretch};
use crate::hash::Hash;
use crate::key::{Domain, SecretKey};
use crate::limits::{OP_BLOB_BYTES_MAX, OP_OUTPUT_BYTES_MAX};
use crate::manifest::{Base, Manifest, ManifestError, Op, OpKind, Part, PartRole};
use crate::open::{OpenError, PREFIX_BYTES, Prefix};
use crate::signature::{SIGNATURE_BYTES, Signature};

/// zstd's level for releases.
pub const LEVEL_RELEASE: i32 = 19;

/// What a payload says of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What is updated.
    pub product: String,
    /// The kind of machine.
    pub board: String,
    /// For people.
    pub version: String,
    /// For machines.
    pub serial: u64,
    /// Nothing older afterwards.
    pub floor: u64,
    /// When, in seconds since 1970.
    pub created: u64,
    /// What a delta begins with.
    pub base: Option<Base>,
}

/// One partition.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Which.
    pub role: PartRole,
    /// Its content.
    pub image: Image<'a>,
    /// Hash and number of blocks of its verity tree.
    pub verity: Option<(Hash, u64)>,
    /// The older release's, for a delta.
    pub base: Option<Image<'a>>,
}

/// How hard to work.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// zstd's level.
    pub level: i32,
    /// Threads.
    pub threads: usize,
}

/// A payload could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// An image could not be read.
    #[error("reading the {} image", .role.word())]
    Image {
        /// Which.
        role: PartRole,
        /// Why.
        source: io::Error,
    },
    /// The payload could not be written.
    #[error("writing the payload")]
    Write(#[from] io::Error),
    /// zstd failed.
    #[error("compressing a part ({0})")]
    Zstd(&'static str),
    /// A thread died.
    #[error("a thread that compresses panicked")]
    Thread,
    /// The release cannot be described.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// No payload to be signed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Nowhere to put a signature.
    #[error("the payload has places for {0} signatures and all are taken: pack it with more (--signatures)")]
    NoPlace(usize),
}

/// Makes the manifest, and writes the bytes of its operations to `blobs`.
pub fn pack(
    identity: &Identity,
    inputs: &[Input],
    effort: Effort,
    blobs: &mut impl Write,
) -> Result<Manifest, PackError> {
    let mut manifest = Manifest {
        product: identity.product.clone(),
        board: identity.board.clone(),
        version: identity.version.clone(),
        serial: identity.serial,
        floor: identity.floor,
        created: identity.created,
        base: identity.base,
        parts: Vec::new(),
        ops: Vec::new(),
    };
    for (index, input) in inputs.iter().enumerate() {
        let fail = |source| PackError::Image { role: input.role, source };
        let stretches = blocks::stretches(input.image, input.base).map_err(fail)?;
        manifest.parts.push(Part {
            role: input.role,
            size_bytes: input.image.size,
            sha256: sum(input.image).map_err(fail)?,
            verity_root: input.verity.map_or(Hash::default(), |(root, _)| root),
            verity_blocks: input.verity.map_or(0, |(_, blocks)| blocks),
            base_bytes: input.base.map_or(0, |base| base.size),
        });
        for batch in stretches.chunks(effort.threads.max(1) * 4) {
            for (op, blob) in encode_all(index as u8, input, batch, effort)? {
                blobs.write_all(&blob)?;
                manifest.ops.push(op);
            }
        }
    }
    Ok(manifest)
}

/// Writes a payload: start, manifest, places for signatures with those of the keys in them, and the blobs.
pub fn write(
    manifest: &Manifest,
    keys: &[&SecretKey],
    places: usize,
    blobs: &mut impl Read,
    out: &mut impl Write,
) -> Result<(), PackError> {
    let body = manifest.to_bytes()?;
    let places = places.max(keys.len()).max(1);
    let lengths = Prefix { manifest_length: body.len() as u32, signatures_length: (places * SIGNATURE_BYTES) as u32 };
    Prefix::parse(&lengths.to_bytes())?;
    let signed = [lengths.to_bytes().as_slice(), &body].concat();
    let mut signatures: Vec<Signature> = keys.iter().map(|key| Signature::new(key, Domain::Payload, &signed)).collect();
    signatures.sort_by_key(|signature| signature.key);
    let mut area: Vec<u8> = signatures.iter().flat_map(Signature::to_bytes).collect();
    area.resize(places * SIGNATURE_BYTES, 0);
    out.write_all(&signed)?;
    out.write_all(&area)?;
    let copied = io::copy(blobs, out)?;
    if copied != manifest.blob_bytes() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

/// Adds a signature to a payload that was packed elsewhere, where a place for it is left.
pub fn add_signature(payload: &mut (impl Read + Write + Seek), key: &SecretKey) -> Result<(), PackError> {
    let mut signed = vec![0; PREFIX_BYTES];
    payload.rewind()?;
    payload.read_exact(&mut signed)?;
    let lengths = Prefix::parse(signed.first_chunk().ok_or(OpenError::Magic)?)?;
    signed.resize(PREFIX_BYTES + lengths.manifest_length as usize, 0);
    payload.read_exact(signed.get_mut(PREFIX_BYTES..).unwrap_or_default())?;
    Manifest::parse(signed.get(PREFIX_BYTES..).unwrap_or_default())?;
    let mut area = vec![0; lengths.signatures_length as usize];
    payload.read_exact(&mut area)?;
    let id = key.public().id();
    let places: Vec<&[u8]> = area.chunks_exact(SIGNATURE_BYTES).collect();
    let own = places.iter().position(|place| place.starts_with(id.as_bytes()));
    let free = own.or_else(|| places.iter().position(|place| place.iter().all(|byte| *byte == 0)));
    let place = free.ok_or(PackError::NoPlace(places.len()))?;
    payload.seek(SeekFrom::Start((signed.len() + place * SIGNATURE_BYTES) as u64))?;
    payload.write_all(&Signature::new(key, Domain::Payload, &signed).to_bytes())?;
    Ok(())
}

/// The sum of an image.
pub fn sum(image: Image) -> io::Result<Hash> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; OP_OUTPUT_BYTES_MAX as usize];
    let mut offset = 0;
    while offset < image.size {
        let length = (image.size - offset).min(buffer.len() as u64);
        let piece = buffer.get_mut(..length as usize).unwrap_or_default();
        image.bytes.read_exact_at(piece, offset)?;
        hasher.update(piece);
        offset += length;
    }
    Ok(Hash::from_bytes(hasher.finalize().into()))
}

type Encoded = (Op, Vec<u8>);

fn encode_all(part: u8, input: &Input, batch: &[Stretch], effort: Effort) -> Result<Vec<Encoded>, PackError> {
    let share = batch.len().div_ceil(effort.threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let work = |stretches: &[Stretch]| -> Result<Vec<Encoded>, PackError> {
            stretches.iter().map(|stretch| encode(part, input, stretch, effort.level)).collect()
        };
        let threads: Vec<_> = batch.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
        let mut encoded = Vec::new();
        for thread in threads {
            encoded.extend(thread.join().map_err(|_| PackError::Thread)??);
        }
        Ok(encoded)
    })
}

fn encode(part: u8, input: &Input, stretch: &Stretch, level: i32) -> Result<Encoded, PackError> {
    let read = |bytes: &(dyn ReadAt + Sync), offset: u64, length: u32| {
        let mut buffer = vec![0; length as usize];
        let outcome = bytes.read_exact_at(&mut buffer, offset);
        outcome.map(|()| buffer).map_err(|source| PackError::Image { role: input.role, source })
    };
    let output = read(input.image.bytes, stretch.offset, stretch.length)?;
    let (mut kind, mut base, mut blob) = match stretch.content {
        Content::Zero => (OpKind::Zero, (0, 0), Vec::new()),
        Content::Same(from) => (OpKind::Copy, (from, stretch.length), Vec::new()),
        Content::New(None) => (OpKind::Zstd, (0, 0), compress(&output, None, level)?),
        Content::New(Some((from, length))) => {
            let image = input.base.map(|base| base.bytes).unwrap_or(input.image.bytes);
            let prefix = read(image, from, length)?;
            (OpKind::Patch, (from, length), compress(&output, Some(&prefix), level)?)
        }
    };
    // A base that did not help is not worth being read.
    if kind == OpKind::Patch && blob.len() > output.len() / 4 {
        let alone = compress(&output, None, level)?;
        if alone.len() <= blob.len() {
            (kind, base, blob) = (OpKind::Zstd, (0, 0), alone);
        }
    }
    let op = Op {
        part,
        kind,
        offset: stretch.offset,
        length: stretch.length,
        base_offset: base.0,
        base_length: base.1,
        blob_length: blob.len() as u32,
        blob_sha256: if kind.has_blob() { Hash::of(&blob) } else { Hash::default() },
        sha256: Hash::of(&output),
    };
    Ok((op, blob))
}

fn compress(bytes: &[u8], prefix: Option<&[u8]>, level: i32) -> Result<Vec<u8>, PackError> {
    let fail = |code| PackError::Zstd(get_error_name(code));
    let mut context = CCtx::create();
    context.set_parameter(CParameter::CompressionLevel(level)).map_err(fail)?;
    if let Some(prefix) = prefix {
        let reach = (prefix.len() + bytes.len()).next_power_of_two().ilog2().clamp(17, 25);
        context.set_parameter(CParameter::WindowLog(reach)).map_err(fail)?;
        context.set_parameter(CParameter::EnableLongDistanceMatching(true)).map_err(fail)?;
        context.ref_prefix(prefix).map_err(fail)?;
    }
    let mut blob = Vec::with_capacity(zstd::zstd_safe::compress_bound(bytes.len()).min(OP_BLOB_BYTES_MAX as usize));
    context.compress2(&mut blob, bytes).map_err(fail)?;
    Ok(blob)
}
