//! The stages of early boot and what can go wrong in one. Pure.

use std::fmt;

use crate::report::without_numbers;

/// A stage, in the order of the boot; its name begins each line on the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Kernel file systems and command line.
    Start,
    /// Kernel modules.
    Drivers,
    /// The watchdog device.
    Watchdog,
    /// Which disk and which slot.
    Disk,
    /// Slot flags and boot record.
    Slots,
    /// The partition table.
    Table,
    /// The verified root.
    Root,
    /// The state partition.
    State,
    /// The overlay on /etc.
    Etc,
    /// What the image brings for /var and the other writable folders.
    Var,
    /// The machine id.
    MachineId,
    /// The switch to the root.
    Switch,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Stage::Start => "start",
            Stage::Drivers => "drivers",
            Stage::Watchdog => "watchdog",
            Stage::Disk => "disk",
            Stage::Slots => "slots",
            Stage::Table => "table",
            Stage::Root => "root",
            Stage::State => "state",
            Stage::Etc => "etc",
            Stage::Var => "var",
            Stage::MachineId => "machine-id",
            Stage::Switch => "switch",
        })
    }
}

/// What a failure says about the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing in particular.
    Unknown,
    /// The root is not the one that the kernel command line names.
    CorruptRoot,
    /// The slot flags were changed already: the other slot is next.
    GivenUp,
}

/// Why early boot cannot go on.
#[derive(Debug)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// What it says about the slot.
    pub verdict: Verdict,
    /// Why.
    pub error: anyhow::Error,
}

impl Failure {
    /// The reason in one line, with its causes.
    pub fn reason(&self) -> String {
        without_numbers(&format!("{}: {:#}", self.stage, self.error))
    }
}

/// Says where an error happened.
pub trait At<T> {
    /// The error as a failure of this stage.
    fn at(self, stage: Stage) -> Result<T, Failure>;
}

impl<T> At<T> for anyhow::Result<T> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.map_err(|error| Failure { stage, verdict: Verdict::Unknown, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_reason_names_the_stage_and_every_cause() {
        let result: anyhow::Result<()> = Err(anyhow!("no such device").context("mounting '/dev/vda9'"));
        let failure = result.at(Stage::State).unwrap_err();
        assert_eq!(failure.reason(), "state: mounting '/dev/vda9': no such device");
        assert_eq!(failure.verdict, Verdict::Unknown);
    }
}
