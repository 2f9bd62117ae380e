//! What follows the end of a unit or of a job: actions, job modes, forgetting. Pure.

use crate::value::{Parsed, wrong};

/// What the end of a unit does to the machine (`FailureAction=` and the like).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum EmergencyAction {
    #[default]
    None,
    Exit,
    ExitForce,
    Reboot,
    RebootForce,
    RebootImmediate,
    Poweroff,
    PoweroffForce,
    PoweroffImmediate,
    SoftReboot,
    SoftRebootForce,
    Kexec,
    KexecForce,
    Halt,
    HaltForce,
    HaltImmediate,
}

impl EmergencyAction {
    const NAMES: [(&'static str, EmergencyAction); 16] = [
        ("none", EmergencyAction::None),
        ("exit", EmergencyAction::Exit),
        ("exit-force", EmergencyAction::ExitForce),
        ("reboot", EmergencyAction::Reboot),
        ("reboot-force", EmergencyAction::RebootForce),
        ("reboot-immediate", EmergencyAction::RebootImmediate),
        ("poweroff", EmergencyAction::Poweroff),
        ("poweroff-force", EmergencyAction::PoweroffForce),
        ("poweroff-immediate", EmergencyAction::PoweroffImmediate),
        ("soft-reboot", EmergencyAction::SoftReboot),
        ("soft-reboot-force", EmergencyAction::SoftRebootForce),
        ("kexec", EmergencyAction::Kexec),
        ("kexec-force", EmergencyAction::KexecForce),
        ("halt", EmergencyAction::Halt),
        ("halt-force", EmergencyAction::HaltForce),
        ("halt-immediate", EmergencyAction::HaltImmediate),
    ];

    /// The word in unit files.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn parse(text: &str) -> Parsed<EmergencyAction> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, action)| *action);
        found.ok_or_else(|| wrong(text, "an action such as none or reboot"))
    }
}

/// How a job meets other jobs: the ones of a request, and those that `OnFailure=` or `OnSuccess=` start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum JobMode {
    /// Give way to queued jobs, and stop nothing that only happens to be in the way.
    Fail,
    /// Give way to queued jobs.
    Lenient,
    #[default]
    Replace,
    ReplaceIrreversibly,
    /// Stop everything else.
    Isolate,
    /// Cancel all other jobs.
    Flush,
    IgnoreDependencies,
    IgnoreRequirements,
    /// With a stop: also stop what would start the unit again.
    Triggering,
    /// With a start: restart what depends on the unit and runs.
    RestartDependencies,
}

impl JobMode {
    const NAMES: [(&'static str, JobMode); 10] = [
        ("fail", JobMode::Fail),
        ("lenient", JobMode::Lenient),
        ("replace", JobMode::Replace),
        ("replace-irreversibly", JobMode::ReplaceIrreversibly),
        ("isolate", JobMode::Isolate),
        ("flush", JobMode::Flush),
        ("ignore-dependencies", JobMode::IgnoreDependencies),
        ("ignore-requirements", JobMode::IgnoreRequirements),
        ("triggering", JobMode::Triggering),
        ("restart-dependencies", JobMode::RestartDependencies),
    ];

    /// The word in unit files.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }

    /// The mode of a word.
    pub fn parse(text: &str) -> Parsed<JobMode> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
        found.ok_or_else(|| wrong(text, "a job mode such as replace"))
    }
}

/// `CollectMode=`: when a unit that ended is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CollectMode {
    /// Unless it failed.
    #[default]
    Inactive,
    /// Always.
    InactiveOrFailed,
}

impl CollectMode {
    /// The word in unit files.
    pub fn as_str(self) -> &'static str {
        match self {
            CollectMode::Inactive => "inactive",
            CollectMode::InactiveOrFailed => "inactive-or-failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Parsed<CollectMode> {
        match text {
            "inactive" => Ok(CollectMode::Inactive),
            "inactive-or-failed" => Ok(CollectMode::InactiveOrFailed),
            other => Err(wrong(other, "inactive or inactive-or-failed")),
        }
    }
}
