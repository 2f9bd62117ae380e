//! The manifest of a payload: what release it is, the sums of its parts, and the operations that make them, in the
//! order of their bytes. Pure.
//!
//! A manifest that was parsed covers every byte of every part exactly once, and no operation reaches past a limit.

use crate::hash::Hash;
use crate::limits::{
    MANIFEST_BYTES_MAX, NAME_BYTES_MAX, OP_BLOB_BYTES_MAX, OP_DELTA_BYTES_MAX, OP_OUTPUT_BYTES_MAX,
    OP_SOURCE_BYTES_MAX, PART_BYTES_MAX, PARTS_MAX,
};
use crate::wire::{Fields, Short};

const FORMAT: u16 = 1;
/// Parts are whole sectors.
const SECTOR_BYTES: u64 = 512;
/// Bytes of an operation in the manifest.
const OP_BYTES: usize = 1 + 1 + 8 + 4 + 8 + 4 + 4 + 2 * Hash::BYTES;

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What is updated: all payloads of one vendor's system.
    pub product: String,
    /// The kind of machine.
    pub board: String,
    /// For people.
    pub version: String,
    /// For machines: a newer release has a higher one.
    pub serial: u64,
    /// After this release has proved itself, nothing with a lower serial is installed any more.
    pub floor: u64,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// What a delta begins with; `None` for a full payload.
    pub base: Option<Base>,
    /// What is written.
    pub parts: Vec<Part>,
    /// How.
    pub ops: Vec<Op>,
}

/// The release that must run for a delta to be of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// Its serial.
    pub serial: u64,
    /// The hash of its root's verity tree.
    pub root: Hash,
}

/// Which partition of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartRole {
    /// Root file system and its hash tree.
    Root,
    /// Kernel, initrd, command line.
    Boot,
}

/// One partition of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it goes.
    pub role: PartRole,
    /// Its length.
    pub size_bytes: u64,
    /// Its sum.
    pub sha256: Hash,
    /// Hash of its verity tree; zeros if it has none.
    pub verity_root: Hash,
    /// Blocks of data before the verity tree; 0 if it has none.
    pub verity_blocks: u64,
    /// Length of the base's partition; 0 in a full payload.
    pub base_bytes: u64,
}

/// How an operation makes its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// Zeros.
    Zero,
    /// The same bytes as in the base.
    Copy,
    /// A zstd frame.
    Zstd,
    /// A zstd frame that has bytes of the base for its prefix.
    Patch,
}

/// One step: `length` bytes of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// Index of the part.
    pub part: u8,
    /// How.
    pub kind: OpKind,
    /// Where the bytes go.
    pub offset: u64,
    /// How many.
    pub length: u32,
    /// Which bytes of the base are looked at.
    pub base_offset: u64,
    /// How many.
    pub base_length: u32,
    /// Bytes in the payload.
    pub blob_length: u32,
    /// Sum of those.
    pub blob_sha256: Hash,
    /// Sum of the bytes that are made.
    pub sha256: Hash,
}

/// A manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It ends too early.
    #[error("manifest ends inside a field")]
    Short,
    /// It does not end.
    #[error("manifest has {0} bytes behind its last operation")]
    Trailing(usize),
    /// Another format.
    #[error("manifest has format {0}, this program reads {FORMAT}")]
    Format(u16),
    /// A name or version with other characters.
    #[error("{what} of the manifest must be 1 to {NAME_BYTES_MAX} letters, digits, dots, dashes, plus or tilde signs")]
    Name {
        /// Which.
        what: &'static str,
    },
    /// A floor above itself, or a base that is not older.
    #[error("manifest of serial {serial} has {what} {value}")]
    Serial {
        /// Its serial.
        serial: u64,
        /// `floor` or `base`.
        what: &'static str,
        /// What it says there.
        value: u64,
    },
    /// A part cannot be so.
    #[error("part {part} of the manifest: {why}")]
    Part {
        /// Which, from 0.
        part: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// An operation cannot be so.
    #[error("operation {op} of the manifest: {why}")]
    Op {
        /// Which, from 0.
        op: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// Too many operations, to be written.
    #[error("manifest would have {0} bytes, {MANIFEST_BYTES_MAX} are allowed")]
    TooLong(usize),
}

impl From<Short> for ManifestError {
    fn from(_: Short) -> Self {
        ManifestError::Short
    }
}

/// Whether a text can be a name or a version: one word that no file system minds.
pub fn check_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-+~_".contains(&byte);
    let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins_well && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}

impl PartRole {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            PartRole::Root => "root",
            PartRole::Boot => "boot",
        }
    }

    fn number(self) -> u8 {
        match self {
            PartRole::Root => 0,
            PartRole::Boot => 1,
        }
    }
}

impl OpKind {
    fn number(self) -> u8 {
        match self {
            OpKind::Zero => 0,
            OpKind::Copy => 1,
            OpKind::Zstd => 2,
            OpKind::Patch => 3,
        }
    }

    /// Whether it looks at the base.
    pub fn reads_base(self) -> bool {
        match self {
            OpKind::Copy | OpKind::Patch => true,
            OpKind::Zero | OpKind::Zstd => false,
        }
    }

    /// Whether it has bytes in the payload.
    pub fn has_blob(self) -> bool {
        match self {
            OpKind::Zstd | OpKind::Patch => true,
            OpKind::Zero | OpKind::Copy => false,
        }
    }
}

impl Manifest {
    /// The bytes in a payload.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        let mut out = FORMAT.to_le_bytes().to_vec();
        for text in [&self.product, &self.board, &self.version] {
            out.push(text.len().min(255) as u8);
            out.extend_from_slice(text.as_bytes());
        }
        let base = self.base.unwrap_or(Base { serial: 0, root: Hash::default() });
        for number in [self.serial, self.floor, self.created, base.serial] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(base.root.as_bytes());
        out.push(self.parts.len().min(255) as u8);
        out.extend_from_slice(&(self.ops.len() as u32).to_le_bytes());
        for part in &self.parts {
            out.push(part.role.number());
            out.extend_from_slice(&part.size_bytes.to_le_bytes());
            out.extend_from_slice(part.sha256.as_bytes());
            out.extend_from_slice(part.verity_root.as_bytes());
            out.extend_from_slice(&part.verity_blocks.to_le_bytes());
            out.extend_from_slice(&part.base_bytes.to_le_bytes());
        }
        for op in &self.ops {
            out.extend_from_slice(&[op.part, op.kind.number()]);
            out.extend_from_slice(&op.offset.to_le_bytes());
            out.extend_from_slice(&op.length.to_le_bytes());
            out.extend_from_slice(&op.base_offset.to_le_bytes());
            out.extend_from_slice(&op.base_length.to_le_bytes());
            out.extend_from_slice(&op.blob_length.to_le_bytes());
            out.extend_from_slice(op.blob_sha256.as_bytes());
            out.extend_from_slice(op.sha256.as_bytes());
        }
        if out.len() > MANIFEST_BYTES_MAX as usize {
            return Err(ManifestError::TooLong(out.len()));
        }
        // What we write, we can read.
        Manifest::parse(&out)?;
        Ok(out)
    }

    /// Reads the bytes of a payload whose signatures were checked.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let mut fields = Fields(bytes);
        let format = fields.u16()?;
        if format != FORMAT {
            return Err(ManifestError::Format(format));
        }
        let mut name = |what| {
            let text = String::from_utf8(fields.text()?.to_vec()).ok().filter(|text| check_name(text));
            text.ok_or(ManifestError::Name { what })
        };
        let (product, board, version) = (name("product")?, name("board")?, name("version")?);
        let [serial, floor, created, base] = [fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?];
        let root = fields.hash()?;
        let base = (base != 0).then_some(Base { serial: base, root });
        let wrong = |what, value| ManifestError::Serial { serial, what, value };
        match base {
            _ if serial == 0 => return Err(wrong("serial", 0)),
            _ if floor > serial => return Err(wrong("floor", floor)),
            Some(base) if base.serial >= serial => return Err(wrong("base", base.serial)),
            None if root != Hash::default() => return Err(wrong("base", 0)),
            Some(_) | None => {}
        }
        let (part_count, op_count) = (usize::from(fields.u8()?), fields.u32()? as usize);
        let parts = (0..part_count).map(|index| part(index, &mut fields)).collect::<Result<Vec<_>, _>>()?;
        if !(1..=PARTS_MAX).contains(&part_count) {
            return Err(ManifestError::Part { part: part_count, why: "there must be 1 to 8 parts" });
        }
        if let Some(rest) = fields.0.len().checked_sub(op_count.saturating_mul(OP_BYTES)).filter(|rest| *rest > 0) {
            return Err(ManifestError::Trailing(rest));
        }
        let ops = (0..op_count).map(|index| op(index, &mut fields)).collect::<Result<Vec<_>, _>>()?;
        let manifest = Manifest { product, board, version, serial, floor, created, base, parts, ops };
        manifest.check_parts()?;
        manifest.check_ops()?;
        Ok(manifest)
    }

    fn check_parts(&self) -> Result<(), ManifestError> {
        for (index, part) in self.parts.iter().enumerate() {
            let fail = |why| Err(ManifestError::Part { part: index, why });
            let size = part.size_bytes;
            if size == 0
                || size > PART_BYTES_MAX
                || !size.is_multiple_of(SECTOR_BYTES)
                || part.base_bytes > PART_BYTES_MAX
            {
                return fail("its length is none of a partition");
            }
            if self.parts.iter().take(index).any(|earlier| earlier.role == part.role) {
                return fail("it is there twice");
            }
            if (part.verity_blocks == 0) != (part.verity_root == Hash::default()) {
                return fail("it has half a verity tree");
            }
            if self.base.is_none() && part.base_bytes != 0 {
                return fail("a full payload has no base");
            }
        }
        Ok(())
    }

    /// Each part is made from its first byte to its last, one part after the other.
    fn check_ops(&self) -> Result<(), ManifestError> {
        let mut ops = self.ops.iter().enumerate().peekable();
        for (index, part) in self.parts.iter().enumerate() {
            let mut made = 0;
            while let Some((number, op)) = ops.next_if(|(_, op)| usize::from(op.part) == index) {
                let fail = |why| Err(ManifestError::Op { op: number, why });
                if op.offset != made {
                    return fail("it leaves a gap or goes back");
                }
                if op.length > OP_DELTA_BYTES_MAX && self.base.is_some() {
                    return fail("it makes more than one of a delta may");
                }
                made += u64::from(op.length);
                if made > part.size_bytes {
                    return fail("it reaches past the end of its part");
                }
                let base_end = op.base_offset.checked_add(u64::from(op.base_length));
                if base_end.is_none_or(|end| end > part.base_bytes) {
                    return fail("it looks past the end of the base");
                }
            }
            if made != part.size_bytes {
                return Err(ManifestError::Part { part: index, why: "its operations do not make all of it" });
            }
        }
        match ops.next() {
            Some((op, _)) => Err(ManifestError::Op { op, why: "its part is none or was done before" }),
            None => Ok(()),
        }
    }

    /// Bytes behind manifest and signatures.
    pub fn blob_bytes(&self) -> u64 {
        self.ops.iter().map(|op| u64::from(op.blob_length)).sum()
    }

    /// Bytes that are written to the slot.
    pub fn output_bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.size_bytes).sum()
    }

    /// The part with this role.
    pub fn part(&self, role: PartRole) -> Option<&Part> {
        self.parts.iter().find(|part| part.role == role)
    }

    /// The hash that the release's root is known by.
    pub fn root_hash(&self) -> Option<Hash> {
        self.part(PartRole::Root).map(|part| part.verity_root)
    }
}

fn part(index: usize, fields: &mut Fields) -> Result<Part, ManifestError> {
    let role = match fields.u8()? {
        0 => PartRole::Root,
        1 => PartRole::Boot,
        _ => return Err(ManifestError::Part { part: index, why: "there is no such partition of a slot" }),
    };
    Ok(Part {
        role,
        size_bytes: fields.u64()?,
        sha256: fields.hash()?,
        verity_root: fields.hash()?,
        verity_blocks: fields.u64()?,
        base_bytes: fields.u64()?,
    })
}

fn op(index: usize, fields: &mut Fields) -> Result<Op, ManifestError> {
    let fail = |why| Err(ManifestError::Op { op: index, why });
    let part = fields.u8()?;
    let kind = match fields.u8()? {
        0 => OpKind::Zero,
        1 => OpKind::Copy,
        2 => OpKind::Zstd,
        3 => OpKind::Patch,
        _ => return fail("there is no such kind"),
    };
    let op = Op {
        part,
        kind,
        offset: fields.u64()?,
        length: fields.u32()?,
        base_offset: fields.u64()?,
        base_length: fields.u32()?,
        blob_length: fields.u32()?,
        blob_sha256: fields.hash()?,
        sha256: fields.hash()?,
    };
    if !(1..=OP_OUTPUT_BYTES_MAX).contains(&op.length) {
        return fail("it makes nothing or too much");
    }
    if op.base_length > OP_SOURCE_BYTES_MAX || (op.base_length != 0) != kind.reads_base() {
        return fail("it looks at the base as its kind does not");
    }
    if op.blob_length > OP_BLOB_BYTES_MAX || (op.blob_length != 0) != kind.has_blob() {
        return fail("it has bytes in the payload as its kind does not");
    }
    if kind == OpKind::Copy && op.base_length != op.length {
        return fail("it copies another length than it makes");
    }
    Ok(op)
}
