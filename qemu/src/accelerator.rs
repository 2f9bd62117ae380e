//! Who runs the guest's instructions: KVM when it really works, else emulation.
//!
//! A device node proves nothing (a mocked KVM may open and then hang or abort), so `auto` boots a sector first.

use std::str::FromStr;

use crate::boot_probe;
use crate::error::QemuError;

/// What runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceleratorChoice {
    /// KVM if it works.
    Auto,
    /// KVM or an error.
    Kvm,
    /// Emulation.
    Tcg,
}

impl FromStr for AcceleratorChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "kvm" => Ok(Self::Kvm),
            "tcg" => Ok(Self::Tcg),
            other => Err(format!("'{other}' is not one of auto, kvm, tcg")),
        }
    }
}

/// The outcome of a choice.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What will run the guest.
    pub accelerator: Accelerator,
    /// What a person should be told.
    pub note: Option<String>,
}

impl AcceleratorChoice {
    /// Decides, with a boot under KVM where that matters. Costs up to a few seconds; callers keep the answer.
    pub fn resolve(self) -> Result<Resolved, QemuError> {
        match self {
            Self::Tcg => Ok(Resolved { accelerator: Accelerator::Tcg, note: None }),
            Self::Kvm => match boot_probe::kvm_works()? {
                Ok(()) => Ok(Resolved { accelerator: Accelerator::Kvm, note: None }),
                Err(reason) => Err(QemuError::NoKvm { reason }),
            },
            Self::Auto => Ok(match boot_probe::kvm_works()? {
                Ok(()) => Resolved { accelerator: Accelerator::Kvm, note: None },
                Err(reason) => Resolved {
                    accelerator: Accelerator::Tcg,
                    note: Some(format!("KVM does not work here ({reason}), using TCG")),
                },
            }),
        }
    }
}
