//! What the engine knows of the machine it updates. Pure.

use std::collections::BTreeSet;

use ferrite_layout::Slot;
use ferrite_payload::Hash;

/// The machine, as far as a decision depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What is updated.
    pub product: String,
    /// The kind of machine.
    pub board: String,
    /// `/etc/machine-id`, for its place in a wave.
    pub id: String,
    /// The slot that runs.
    pub running: Slot,
    /// Serial of the running release.
    pub serial: u64,
    /// Hash of the running root's verity tree.
    pub root: Hash,
    /// Nothing with a lower serial is installed: the highest floor of a release that has booted well.
    pub floor: u64,
    /// Releases that failed here and are not tried again until told.
    pub blocked: BTreeSet<u64>,
}

/// The name of a machine for a server that speaks this protocol: made from the machine id, which it does not tell.
pub fn name_for(protocol: &str, machine_id: &str) -> String {
    let pieces = [b"ferrite ", protocol.as_bytes(), b" 1\0", machine_id.as_bytes()];
    Hash::of_pieces(&pieces).to_string().chars().take(32).collect()
}

/// A release is not for this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Another product.
    #[error("payload is for product {payload}, this machine runs {machine}")]
    Product {
        /// Its product.
        payload: String,
        /// Ours.
        machine: String,
    },
    /// Another board.
    #[error("payload is for board {payload}, this machine is {machine}")]
    Board {
        /// Its board.
        payload: String,
        /// Ours.
        machine: String,
    },
    /// Not newer.
    #[error("payload has serial {payload}, this machine runs serial {machine}: only a newer release is installed")]
    NotNewer {
        /// Its serial.
        payload: u64,
        /// Ours.
        machine: u64,
    },
    /// Below what was promised.
    #[error("payload has serial {payload}, nothing below {floor} is installed on this machine any more")]
    BelowFloor {
        /// Its serial.
        payload: u64,
        /// The floor.
        floor: u64,
    },
    /// It failed here.
    #[error("serial {0} failed on this machine before and is blocked")]
    Blocked(u64),
    /// A delta from something else.
    #[error("payload is a delta from serial {payload}, this machine runs serial {machine} or another build of it")]
    Base {
        /// Where it begins.
        payload: u64,
        /// What runs.
        machine: u64,
    },
}

impl Machine {
    /// Whether a serial may be installed at all.
    pub fn accepts(&self, serial: u64) -> Result<(), Unfit> {
        if serial <= self.serial {
            return Err(Unfit::NotNewer { payload: serial, machine: self.serial });
        }
        if serial < self.floor {
            return Err(Unfit::BelowFloor { payload: serial, floor: self.floor });
        }
        if self.blocked.contains(&serial) {
            return Err(Unfit::Blocked(serial));
        }
        Ok(())
    }
}
