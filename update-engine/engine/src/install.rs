//! Carries an install plan out. Acts; the order of its steps is what makes a power cut at any moment harmless:
//! flags that hide the slot, bytes, flush, note, ..., first bytes of the boot partition, flush, read back, note of
//! the release, flags that start the slot.
//!
//! Bytes are checked in the buffer that is written: nothing is read a second time between check and use.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ferrite_layout::Slot;
use ferrite_layout::aligned::AlignedBuffer;
use ferrite_layout::bootctl::{Bootctl, BootctlError, Sectors};
use ferrite_layout::read_at::ReadAt;
use ferrite_layout::verity::{self, BLOCK_BYTES, RootHash, VerityError};
use ferrite_payload::decode::{BaseReader, DecodeError, Decoder, first_bytes};
use ferrite_payload::open::{OpenError, PREFIX_BYTES, Prefix};
use ferrite_payload::{Hash, Manifest, Op, OpKind, PartRole, Role, Verified};

use crate::disk::{Disk, Piece};
use crate::machine::{Machine, Unfit};
use crate::plan::{self, Decision, InstallPlan, Refusal, Room, Situation};
use crate::progress::{Notes, Progress, Step};
use crate::same::Same;
use crate::source::{Retry, Source, SourceError, Stream};

/// The first bytes of the boot partition, without which it is no file system, are written last.
pub const HELD_BYTES: usize = 4096;
/// What is looked at of a verity tree: its superblock and its top block.
const TOP_BYTES: u64 = 2 * BLOCK_BYTES as u64;

/// An install failed. Whatever failed, the running slot is as it was, and the other one is not started.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The start of the payload is refused; nothing was written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is not installed here; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The source failed, or was changed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Bytes of the payload are wrong, or the running slot is no base for it.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It goes on where the manifest says it ends.
    #[error("'{0}' is longer than its manifest says")]
    Endless(String),
    /// The partition failed.
    #[error("{what} the {} partition of slot {slot}", .role.word())]
    Disk {
        /// `reading` or `writing`.
        what: &'static str,
        /// Which.
        role: PartRole,
        /// Which.
        slot: Slot,
        /// Why.
        source: io::Error,
    },
    /// The disk failed.
    #[error("flushing what was written to slot {slot}")]
    Flush {
        /// Which.
        slot: Slot,
        /// Why.
        source: io::Error,
    },
    /// The disk took the bytes and gives others back.
    #[error(
        "the {} partition of slot {slot} does not hold what was written to it: its disk may be failing",
        .role.word()
    )]
    ReadBack {
        /// Which.
        role: PartRole,
        /// Which.
        slot: Slot,
    },
    /// The release would not boot.
    #[error("the payload's root does not have the root hash that its manifest says")]
    Verity(#[from] VerityError),
    /// The flags failed.
    #[error(transparent)]
    Flags(#[from] BootctlError),
    /// The note failed.
    #[error("noting the progress of the install")]
    Notes(#[source] io::Error),
}

impl InstallError {
    /// Whether the full payload is worth a try after this failure of a delta.
    pub fn wants_full(&self) -> bool {
        match self {
            InstallError::Decode(_) | InstallError::Open(_) | InstallError::Endless(_) | InstallError::Verity(_) => {
                true
            }
            InstallError::Refused(Refusal::Unfit(Unfit::Base { .. })) => true,
            InstallError::Source(error) => error.is_of_file(),
            // A full payload would meet the same.
            InstallError::Refused(_)
            | InstallError::Disk { .. }
            | InstallError::Flush { .. }
            | InstallError::ReadBack { .. }
            | InstallError::Flags(_)
            | InstallError::Notes(_) => false,
        }
    }
}

/// How an install ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was written and starts next.
    Installed {
        /// Where it is.
        slot: Slot,
        /// Its serial.
        serial: u64,
    },
    /// It was there already.
    Staged(Slot),
}

/// How an install is done.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// What a source is granted.
    pub retry: Retry,
    /// Progress is noted after so many bytes.
    pub note_bytes: u64,
    /// And after so long.
    pub note_time: Duration,
}

impl Default for Manner {
    fn default() -> Self {
        Manner { retry: Retry::default(), note_bytes: 64 << 20, note_time: Duration::from_secs(10) }
    }
}

/// What an install works on.
pub struct Installer<'a, D: Disk, S: Sectors, N: Notes> {
    /// The machine.
    pub machine: &'a Machine,
    /// Who may sign payloads.
    pub release: &'a Role,
    /// The slots.
    pub disk: &'a mut D,
    /// The flags.
    pub flags: &'a mut Bootctl<S>,
    /// The notes.
    pub notes: &'a mut N,
    /// How.
    pub manner: Manner,
    /// Set it to stop; what was done is noted.
    pub cancel: &'a AtomicBool,
    /// Told after each operation: bytes written so far, and all.
    pub watch: &'a mut dyn FnMut(u64, u64),
}

impl<'a, D: Disk, S: Sectors, N: Notes> Installer<'a, D, S, N> {
    /// Installs a payload, which must be the one with this name if one is given.
    pub fn install(&mut self, source: &mut dyn Source, expected: Option<Hash>) -> Result<Outcome, InstallError> {
        let (payload, mut stream) = self.open(source, expected)?;
        self.install_opened(&payload, &mut stream)
    }

    /// Reads the head of a payload and believes it, or not.
    pub fn open<'s>(
        &self,
        source: &'s mut dyn Source,
        expected: Option<Hash>,
    ) -> Result<(Verified, Stream<'s>), InstallError>
    where
        'a: 's,
    {
        let mut stream = Stream::new(source, self.manner.retry, self.cancel);
        let payload = read_head(&mut stream, self.release)?;
        if let Some(expected) = expected.filter(|expected| *expected != payload.id()) {
            return Err(SourceError::Other { name: stream.name(), found: payload.id(), expected }.into());
        }
        if let Some(found) = stream.total().filter(|total| *total != payload.total_bytes()) {
            return Err(SourceError::Length { name: stream.name(), found, wanted: payload.total_bytes() }.into());
        }
        Ok((payload, stream))
    }

    /// Installs what was opened.
    pub fn install_opened(&mut self, payload: &Verified, stream: &mut Stream) -> Result<Outcome, InstallError> {
        match self.plan(payload)? {
            Decision::Install(plan) => self.carry_out(&plan, payload, stream),
            Decision::Staged(slot) => Ok(Outcome::Staged(slot)),
        }
    }

    /// Reads what the decision depends on, and decides.
    pub fn plan(&mut self, payload: &Verified) -> Result<Decision, InstallError> {
        let target = self.machine.running.other();
        let mut room = |role| {
            let size = self.disk.size_bytes(target, role);
            size.map_err(|source| InstallError::Disk { what: "measuring", role, slot: target, source })
        };
        let room = Room { root: room(PartRole::Root)?, boot: room(PartRole::Boot)? };
        let progress = self.notes.load().map_err(InstallError::Notes)?;
        let copies = self.flags.read()?.copies;
        let situation = Situation { machine: self.machine, copies, room, progress: progress.as_ref() };
        Ok(plan::plan(payload, &situation)?)
    }

    /// Does what was decided.
    pub fn carry_out(
        &mut self,
        plan: &InstallPlan,
        payload: &Verified,
        stream: &mut Stream,
    ) -> Result<Outcome, InstallError> {
        if let Some(flags) = &plan.begin {
            self.flags.write_flags(flags)?;
        }
        // Whose bytes the slot holds from now on.
        self.note(plan, Step::Writing { ops: plan.first_op, held: plan.held.clone() })?;
        let held = self.write_parts(plan, payload, stream)?;
        if payload.total_bytes() != payload.blob_offset(plan.first_op) && stream.has_more() {
            return Err(InstallError::Endless(stream.name()));
        }
        self.flush(plan.target)?;
        self.write(plan.target, PartRole::Boot, 0, &held)?;
        self.flush(plan.target)?;
        let manifest = payload.manifest();
        let checked = (0..manifest.parts.len()).try_for_each(|part| self.read_back(plan.target, manifest, part));
        if checked.is_err() {
            self.note(plan, Step::Writing { ops: 0, held: None })?;
        }
        checked?;
        self.notes.ready().map_err(InstallError::Notes)?;
        self.flags.write_flags(&plan.done)?;
        self.note(plan, Step::Installed)?;
        Ok(Outcome::Installed { slot: plan.target, serial: plan.serial })
    }

    /// Writes all operations that are left; returns the first bytes of the boot partition.
    fn write_parts(
        &mut self,
        plan: &InstallPlan,
        payload: &Verified,
        stream: &mut Stream,
    ) -> Result<Vec<u8>, InstallError> {
        let manifest = payload.manifest();
        let mut held = plan.held.clone().unwrap_or_default();
        let mut decoder = Decoder::default();
        let mut blob = Vec::new();
        let mut output = AlignedBuffer::default();
        let (mut noted_bytes, mut noted_at) = (0, Instant::now());
        let mut done = manifest.ops.iter().take(plan.first_op).map(|op| u64::from(op.length)).sum::<u64>();
        stream.seek(payload.blob_offset(plan.first_op));
        for (index, op) in manifest.ops.iter().enumerate().skip(plan.first_op) {
            let blob = first_bytes(&mut blob, op.blob_length);
            let received = stream.fill(blob, payload.total_bytes());
            if received.is_err() {
                // What is there is not fetched again.
                self.flush(plan.target)?;
                self.note(plan, writing(index, &held))?;
            }
            received?;
            // Zeros need not be made to be written.
            if op.kind != OpKind::Zero {
                output.resize(op.length as usize);
                let mut base = Base { disk: self.disk, slot: self.machine.running, manifest };
                decoder.decode(index, op, blob, &mut base, output.bytes_mut())?;
            }
            output = write_op(self.disk, plan.target, manifest, op, output, &mut held)?;
            done += u64::from(op.length);
            noted_bytes += u64::from(op.length);
            if noted_bytes >= self.manner.note_bytes || noted_at.elapsed() >= self.manner.note_time {
                self.flush(plan.target)?;
                self.note(plan, writing(index + 1, &held))?;
                (noted_bytes, noted_at) = (0, Instant::now());
            }
            (self.watch)(done, manifest.output_bytes());
        }
        Ok(held)
    }

    /// Compares what the disk gives back with the signed sums, and the root with its root hash, in one pass.
    fn read_back(&mut self, slot: Slot, manifest: &Manifest, part: usize) -> Result<(), InstallError> {
        let mut same = Same::new(manifest.ops.iter().filter(|op| usize::from(op.part) == part));
        let Some(part) = manifest.parts.get(part) else { return Ok(()) };
        let role = part.role;
        let mut top = Top { begin: part.verity_blocks * BLOCK_BYTES as u64, bytes: Vec::new() };
        let mut offset = 0;
        let read = self.disk.read_back(slot, role, part.size_bytes, &mut |piece| {
            same.take(piece);
            top.take(offset, piece);
            offset += piece.len() as u64;
        });
        read.map_err(|source| InstallError::Disk { what: "reading back", role, slot, source })?;
        if !same.is_all() {
            return Err(InstallError::ReadBack { role, slot });
        }
        if part.verity_blocks > 0 {
            verity::probe(&top, part.verity_blocks, &RootHash::parse(&part.verity_root.to_string())?)?;
        }
        Ok(())
    }

    fn write(&mut self, slot: Slot, role: PartRole, offset: u64, bytes: &[u8]) -> Result<(), InstallError> {
        let piece = Piece { offset, buffer: AlignedBuffer::holding(bytes), from: 0 };
        let written = self.disk.write(slot, role, piece);
        written.map(drop).map_err(|source| InstallError::Disk { what: "writing", role, slot, source })
    }

    fn flush(&mut self, slot: Slot) -> Result<(), InstallError> {
        self.disk.flush().map_err(|source| InstallError::Flush { slot, source })
    }

    fn note(&mut self, plan: &InstallPlan, step: Step) -> Result<(), InstallError> {
        let progress = Progress { payload: plan.payload, slot: plan.target, step };
        self.notes.store(&progress).map_err(InstallError::Notes)
    }
}

fn writing(ops: usize, held: &[u8]) -> Step {
    Step::Writing { ops, held: (!held.is_empty()).then(|| held.to_vec()) }
}

/// Writes what an operation made, but for the first bytes of the boot partition; gives a buffer for the next one.
fn write_op(
    disk: &mut impl Disk,
    slot: Slot,
    manifest: &Manifest,
    op: &Op,
    buffer: AlignedBuffer,
    held: &mut Vec<u8>,
) -> Result<AlignedBuffer, InstallError> {
    let role = manifest.parts.get(usize::from(op.part)).map_or(PartRole::Boot, |part| part.role);
    let fail = |source| InstallError::Disk { what: "writing", role, slot, source };
    let mut from = 0;
    if role == PartRole::Boot && op.offset < HELD_BYTES as u64 {
        from = (op.length as usize).min(HELD_BYTES - op.offset as usize);
        held.truncate(op.offset as usize);
        match op.kind {
            OpKind::Zero => held.resize(held.len() + from, 0),
            OpKind::Copy | OpKind::Zstd | OpKind::Patch => {
                held.extend_from_slice(buffer.bytes().get(..from).unwrap_or_default());
            }
        }
    }
    let (offset, length) = (op.offset + from as u64, u64::from(op.length) - from as u64);
    if length == 0 {
        return Ok(buffer);
    }
    match op.kind {
        OpKind::Zero => disk.zero(slot, role, offset, length).map(|()| buffer),
        OpKind::Copy | OpKind::Zstd | OpKind::Patch => disk.write(slot, role, Piece { offset, buffer, from }),
    }
    .map_err(fail)
}

/// Reads lengths, manifest and signatures, and checks them.
pub fn read_head(stream: &mut Stream, release: &Role) -> Result<Verified, InstallError> {
    let mut signed = vec![0; PREFIX_BYTES];
    stream.fill(&mut signed, PREFIX_BYTES as u64)?;
    let lengths = Prefix::parse(signed.first_chunk().ok_or(OpenError::Magic)?)?;
    let manifest_end = PREFIX_BYTES + lengths.manifest_length as usize;
    let head = manifest_end as u64 + u64::from(lengths.signatures_length);
    signed.resize(manifest_end, 0);
    stream.fill(signed.get_mut(PREFIX_BYTES..).unwrap_or_default(), head)?;
    let mut signatures = vec![0; lengths.signatures_length as usize];
    stream.fill(&mut signatures, head)?;
    Ok(Verified::check(&signed, &signatures, release)?)
}

/// The running slot, as a delta looks at it.
struct Base<'a, D> {
    disk: &'a mut D,
    slot: Slot,
    manifest: &'a Manifest,
}

impl<D: Disk> BaseReader for Base<'_, D> {
    fn read_base(&mut self, part: u8, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let part = self.manifest.parts.get(usize::from(part)).ok_or(io::ErrorKind::NotFound)?;
        self.disk.read(self.slot, part.role, offset, buffer)
    }
}

/// Two blocks of a part, caught while it passes.
struct Top {
    begin: u64,
    bytes: Vec<u8>,
}

impl Top {
    /// Takes what belongs to them out of a piece that lies here.
    fn take(&mut self, offset: u64, piece: &[u8]) {
        let next = self.begin + self.bytes.len() as u64;
        let wanted = self.begin + TOP_BYTES - next;
        let at = next.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
        if let Some(bytes) = at.and_then(|at| piece.get(at..)) {
            self.bytes.extend_from_slice(bytes.get(..wanted as usize).unwrap_or(bytes));
        }
    }
}

impl ReadAt for Top {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = offset.checked_sub(self.begin).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.bytes.read_exact_at(buffer, offset)
    }
}
