//! `Condition*=` and `Assert*=`: what they ask; the machine's facts come through a trait. Pure.

use crate::value::{Parsed, boolean, wrong};

/// What a condition asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A path exists.
    PathExists,
    /// A glob matches something.
    PathExistsGlob,
    /// A path is a directory.
    PathIsDirectory,
    /// A path is a symbolic link.
    PathIsSymbolicLink,
    /// A path is a mount point.
    PathIsMountPoint,
    /// A path lies on a writable file system.
    PathIsReadWrite,
    /// A directory exists and holds something.
    DirectoryNotEmpty,
    /// A file exists and is not empty.
    FileNotEmpty,
    /// A file exists and is executable.
    FileIsExecutable,
    /// A word or `key=value` of the kernel command line.
    KernelCommandLine,
    /// Comparison with the kernel release.
    KernelVersion,
    /// Runs in a virtual machine or container.
    Virtualization,
    /// The processor architecture.
    Architecture,
    /// The host name or machine id.
    Host,
    /// The first boot.
    FirstBoot,
    /// Power from the mains.
    AcPower,
    /// A capability in PID 1's bounding set.
    Capability,
    /// A security technology.
    Security,
    /// A variable of PID 1.
    Environment,
    /// The user of the manager.
    User,
    /// A group of the manager.
    Group,
    /// /etc or /var is older than /usr.
    NeedsUpdate,
    /// A control group controller.
    ControlGroupController,
    /// Number of processors.
    Cpus,
    /// Amount of memory.
    Memory,
    /// A kind of firmware.
    Firmware,
    /// A kernel module is loaded.
    KernelModuleLoaded,
    /// A processor feature.
    CpuFeature,
    /// A pair of os-release.
    OsRelease,
    /// A file is encrypted.
    PathIsEncrypted,
    /// A credential exists.
    Credential,
    /// Pressure on memory.
    MemoryPressure,
    /// Pressure on the processors.
    CpuPressure,
    /// Pressure on disks.
    IoPressure,
}

pub(crate) const SUBJECTS: [(&str, Subject); 35] = [
    ("PathExists", Subject::PathExists),
    ("PathExistsGlob", Subject::PathExistsGlob),
    ("PathIsDirectory", Subject::PathIsDirectory),
    ("PathIsSymbolicLink", Subject::PathIsSymbolicLink),
    ("PathIsMountPoint", Subject::PathIsMountPoint),
    ("PathIsReadWrite", Subject::PathIsReadWrite),
    ("PathIsEncrypted", Subject::PathIsEncrypted),
    ("DirectoryNotEmpty", Subject::DirectoryNotEmpty),
    ("FileNotEmpty", Subject::FileNotEmpty),
    ("FileIsExecutable", Subject::FileIsExecutable),
    ("KernelCommandLine", Subject::KernelCommandLine),
    ("KernelVersion", Subject::KernelVersion),
    ("Version", Subject::KernelVersion),
    ("Virtualization", Subject::Virtualization),
    ("Architecture", Subject::Architecture),
    ("Host", Subject::Host),
    ("FirstBoot", Subject::FirstBoot),
    ("ACPower", Subject::AcPower),
    ("Capability", Subject::Capability),
    ("Security", Subject::Security),
    ("Environment", Subject::Environment),
    ("User", Subject::User),
    ("Group", Subject::Group),
    ("NeedsUpdate", Subject::NeedsUpdate),
    ("ControlGroupController", Subject::ControlGroupController),
    ("CPUs", Subject::Cpus),
    ("Memory", Subject::Memory),
    ("Firmware", Subject::Firmware),
    ("KernelModuleLoaded", Subject::KernelModuleLoaded),
    ("CPUFeature", Subject::CpuFeature),
    ("OSRelease", Subject::OsRelease),
    ("Credential", Subject::Credential),
    ("MemoryPressure", Subject::MemoryPressure),
    ("CPUPressure", Subject::CpuPressure),
    ("IOPressure", Subject::IoPressure),
];

/// A failed condition skips the unit; a failed assertion fails it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// `Condition*=`.
    Condition,
    /// `Assert*=`.
    Assert,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Condition or assertion.
    pub strength: Strength,
    /// What it asks about.
    pub subject: Subject,
    /// The argument, without `!` and `|`.
    pub argument: String,
    /// `!`.
    pub negated: bool,
    /// `|`: one of all triggering conditions is enough.
    pub triggering: bool,
}

/// The subject of a directive such as `ConditionPathExists`.
pub fn subject(directive: &str) -> Option<(Strength, Subject)> {
    let (strength, name) = match directive.strip_prefix("Condition") {
        Some(name) => (Strength::Condition, name),
        None => (Strength::Assert, directive.strip_prefix("Assert")?),
    };
    SUBJECTS.iter().find(|(have, _)| *have == name).map(|(_, subject)| (strength, *subject))
}

/// The name of a subject without its prefix.
pub fn subject_name(subject: Subject) -> &'static str {
    SUBJECTS.iter().find(|(_, have)| *have == subject).map_or("", |(name, _)| name)
}

impl Condition {
    /// Reads the value of a condition, specifiers already put in.
    pub fn parse<'v>(strength: Strength, subject: Subject, value: &'v str) -> Parsed<Condition> {
        let is_path = matches!(
            subject,
            Subject::PathExists
                | Subject::PathExistsGlob
                | Subject::PathIsDirectory
                | Subject::PathIsSymbolicLink
                | Subject::PathIsMountPoint
                | Subject::PathIsReadWrite
                | Subject::PathIsEncrypted
                | Subject::DirectoryNotEmpty
                | Subject::FileNotEmpty
                | Subject::FileIsExecutable
                | Subject::NeedsUpdate
        );
        // Before a path no blanks are skipped.
        let rest_of = |rest: &'v str| if is_path { rest } else { rest.trim_start() };
        let (triggering, rest) = value.strip_prefix('|').map_or((false, value), |rest| (true, rest_of(rest)));
        let (negated, argument) = rest.strip_prefix('!').map_or((false, rest), |rest| (true, rest_of(rest)));
        let argument = match is_path {
            true => {
                let plain = crate::escape::simplify_path(argument).filter(|_| argument.starts_with('/'));
                format!("/{}", plain.ok_or_else(|| wrong(argument, "an absolute path without '..'"))?)
            }
            false => argument.to_owned(),
        };
        Ok(Condition { strength, subject, argument, negated, triggering })
    }
}

/// The machine, as far as conditions ask about it.
pub trait Facts {
    /// Does the statement hold, before `!`? `None`: this machine cannot tell, which counts as no.
    fn holds(&self, subject: Subject, argument: &str) -> Option<bool>;
}

/// Do all conditions of this strength hold together? The first one in the way is returned otherwise.
pub fn check<'a>(conditions: &'a [Condition], strength: Strength, facts: &dyn Facts) -> Result<(), &'a Condition> {
    let mut triggers = conditions.iter().filter(|c| c.strength == strength && c.triggering).peekable();
    let first_trigger = triggers.peek().copied();
    let any_trigger = triggers.any(|c| one_holds(c, facts));
    for condition in conditions.iter().filter(|c| c.strength == strength && !c.triggering) {
        if !one_holds(condition, facts) {
            return Err(condition);
        }
    }
    match first_trigger {
        Some(condition) if !any_trigger => Err(condition),
        _ => Ok(()),
    }
}

fn one_holds(condition: &Condition, facts: &dyn Facts) -> bool {
    facts.holds(condition.subject, &condition.argument).unwrap_or(false) != condition.negated
}

/// Does the kernel command line say this? `word` matches a word or the key of `key=value`; `key=value` exactly.
pub fn command_line_says(command_line: &str, argument: &str) -> bool {
    command_line.split_whitespace().any(|word| {
        word == argument || (!argument.contains('=') && word.split_once('=').is_some_and(|(key, _)| key == argument))
    })
}

/// Compares boolean facts such as `ConditionFirstBoot=yes`.
pub fn equals_boolean(argument: &str, fact: bool) -> Option<bool> {
    boolean(argument).ok().map(|wanted| wanted == fact)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Only(&'static str);
    impl Facts for Only {
        fn holds(&self, _: Subject, argument: &str) -> Option<bool> {
            Some(argument == self.0)
        }
    }

    fn conditions(values: &[&str]) -> Vec<Condition> {
        values.iter().map(|v| Condition::parse(Strength::Condition, Subject::PathExists, v).unwrap()).collect()
    }

    #[test]
    fn all_plain_and_one_triggering_condition_must_hold() {
        let facts = Only("/a");
        let holds = |values: &[&str]| check(&conditions(values), Strength::Condition, &facts).is_ok();
        assert!(holds(&[]));
        assert!(holds(&["/a"]) && !holds(&["!/a"]) && holds(&["!/b"]));
        assert!(holds(&["|/a", "|/b"]) && !holds(&["|/b"]) && holds(&["|!/b"]));
        assert!(!holds(&["/b", "|/a"]));
    }

    #[test]
    fn a_command_line_is_asked_by_word_or_by_pair() {
        assert!(command_line_says("quiet a=b", "quiet") && command_line_says("quiet a=b", "a"));
        assert!(command_line_says("quiet a=b", "a=b") && !command_line_says("quiet a=b", "a=c"));
    }
}
