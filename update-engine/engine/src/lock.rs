//! The lock that a machine takes before it restarts, so that not all of a cluster go down together.
//!
//! The engine asks for it last and looks at the reboot window again when it has it. It gives it back once the new
//! release is marked good, so that a bad one stops with the machines that hold the lock.

use serde::{Deserialize, Serialize};

/// Where a lock is, and whose turn it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockPlace {
    /// Address of the server.
    pub server: String,
    /// Machines of one group wait for each other.
    pub group: String,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is ours; also when it was before.
    Yes,
    /// Others hold it, or it cannot be asked for; why.
    No(String),
}

/// A lock. Its calls may take their time.
pub trait RebootLock {
    /// Takes it for the machine, or finds that the machine has it.
    fn take(&mut self, machine_id: &str) -> Taken;
    /// Gives it back; a machine that has none changes nothing.
    fn release(&mut self, machine_id: &str) -> Result<(), String>;
}

/// Every machine for itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLock;

impl RebootLock for NoLock {
    fn take(&mut self, _: &str) -> Taken {
        Taken::Yes
    }

    fn release(&mut self, _: &str) -> Result<(), String> {
        Ok(())
    }
}
