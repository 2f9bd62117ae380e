//! Decides how a payload is installed, or why not. Pure: everything that the decision depends on is an argument.

use std::fmt;

use ferrite_layout::slots::Order;
use ferrite_layout::{Slot, SlotFlags, SlotState};
use ferrite_payload::{Hash, PartRole, Verified};

use crate::machine::{Machine, Unfit};
use crate::progress::{Progress, Step};

/// Lengths of the partitions of the slot that is written, and of the running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Root partition.
    pub root: u64,
    /// Boot partition.
    pub boot: u64,
}

impl Room {
    /// Of a role.
    pub fn of(&self, role: PartRole) -> u64 {
        match role {
            PartRole::Root => self.root,
            PartRole::Boot => self.boot,
        }
    }
}

/// What is done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallPlan {
    /// The payload.
    pub payload: Hash,
    /// Its serial.
    pub serial: u64,
    /// The slot that is written; never the one that runs.
    pub target: Slot,
    /// First: flags that keep the boot loader away from the slot. `None`: both copies say so already.
    pub begin: Option<SlotState>,
    /// Then: the operations from here on.
    pub first_op: usize,
    /// The held back first bytes of the boot partition, if their operation is done already.
    pub held: Option<Vec<u8>>,
    /// Last, when all was read back: flags that start the slot next.
    pub done: SlotState,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This.
    Install(InstallPlan),
    /// Nothing: it is in the other slot already, and starts next.
    Staged(Slot),
}

/// It is not installed, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not for this machine.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The flags are lost.
    #[error("the slots' flags cannot be read: `ferrite-slots mark-good` makes them anew")]
    NoFlags,
    /// There would be no way back.
    #[error("running slot {0} has not been marked good yet: until then the other slot is the way back")]
    OnTrial(Slot),
    /// No such partitions.
    #[error("payload needs a root and a boot part, each once")]
    Parts,
    /// Too large.
    #[error("{} of the payload has {needed} bytes, the partition of slot {slot} has {present}", .role.word())]
    TooLarge {
        /// Which.
        role: PartRole,
        /// Its length.
        needed: u64,
        /// The slot.
        slot: Slot,
        /// The partition's length.
        present: u64,
    },
}

/// What is known before an install.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The machine.
    pub machine: &'a Machine,
    /// The copies of the flags.
    pub copies: [Option<SlotState>; 2],
    /// The partitions of a slot; both slots have the same.
    pub room: Room,
    /// What an earlier install left.
    pub progress: Option<&'a Progress>,
}

/// Decides.
pub fn plan(payload: &Verified, situation: &Situation) -> Result<Decision, Refusal> {
    let (machine, manifest) = (situation.machine, payload.manifest());
    check_fits(payload, machine)?;
    let target = machine.running.other();
    let roles: Vec<PartRole> = manifest.parts.iter().map(|part| part.role).collect();
    if roles != [PartRole::Root, PartRole::Boot] {
        return Err(Refusal::Parts);
    }
    for part in &manifest.parts {
        let present = situation.room.of(part.role);
        if part.size_bytes > present || part.base_bytes > present {
            let needed = part.size_bytes.max(part.base_bytes);
            return Err(Refusal::TooLarge { role: part.role, needed, slot: target, present });
        }
    }
    let flags = situation.copies.into_iter().flatten().next().ok_or(Refusal::NoFlags)?;
    if !flags.flags(machine.running).good() {
        return Err(Refusal::OnTrial(machine.running));
    }
    let ours = situation.progress.filter(|progress| progress.payload == payload.id() && progress.slot == target);
    let waits = flags.order == Order::beginning_with(target) && flags.flags(target).usable();
    let (first_op, held) = match ours.map(|progress| &progress.step) {
        // The last install that was begun is this one, and only the end of an install sets these flags.
        Some(_) if waits => return Ok(Decision::Staged(target)),
        // Only a slot that nobody could start since then is still what was noted.
        Some(Step::Writing { ops, held }) if flags.flags(target) == SlotFlags::Unusable => {
            if *ops <= manifest.ops.len() { (*ops, held.clone()) } else { (0, None) }
        }
        Some(Step::Installed | Step::Writing { .. }) | None => (0, None),
    };
    let begin = flags.install_begins(target);
    Ok(Decision::Install(InstallPlan {
        payload: payload.id(),
        serial: manifest.serial,
        target,
        begin: (situation.copies != [Some(begin); 2]).then_some(begin),
        first_op,
        held,
        done: begin.install_done(target),
    }))
}

fn check_fits(payload: &Verified, machine: &Machine) -> Result<(), Unfit> {
    let manifest = payload.manifest();
    if manifest.product != machine.product {
        return Err(Unfit::Product { payload: manifest.product.clone(), machine: machine.product.clone() });
    }
    if manifest.board != machine.board {
        return Err(Unfit::Board { payload: manifest.board.clone(), machine: machine.board.clone() });
    }
    machine.accepts(manifest.serial)?;
    match manifest.base {
        Some(base) if base.serial != machine.serial || base.root != machine.root => {
            Err(Unfit::Base { payload: base.serial, machine: machine.serial })
        }
        Some(_) | None => Ok(()),
    }
}

impl fmt::Display for InstallPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.begin {
            Some(flags) => writeln!(f, "flags     {flags}")?,
            None => writeln!(f, "flags     keep slot {} out of use already", self.target)?,
        }
        writeln!(f, "write     slot {}, from operation {}", self.target, self.first_op)?;
        writeln!(f, "read back slot {}", self.target)?;
        writeln!(f, "flags     {}", self.done)
    }
}
