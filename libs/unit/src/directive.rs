//! Tables of directives: a name and what its value does to the typed unit. Pure.
//!
//! Documentation and coverage are made from these tables, so that they cannot tell anything else than the parser does.

use crate::specifier::Specifiers;
use crate::value::{Parsed, wrong};
use crate::words::{Escapes, split};

/// The value of one assignment.
pub(crate) struct Value<'a> {
    /// The text as written.
    pub raw: &'a str,
    /// What specifiers mean here.
    pub specifiers: &'a Specifiers<'a>,
}

impl Value<'_> {
    /// Is this the empty assignment, which resets a list?
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The text with its specifiers replaced.
    pub fn text(&self) -> Parsed<String> {
        self.specifiers.expand(self.raw)
    }

    /// The text, or nothing for an empty assignment.
    pub fn optional(&self) -> Parsed<Option<String>> {
        if self.is_empty() { Ok(None) } else { self.text().map(Some) }
    }

    /// Words with quotes and escapes, specifiers replaced in each.
    pub fn words(&self) -> Parsed<Vec<String>> {
        let words = split(self.raw, Escapes::C).map_err(|e| crate::value::ValueError(e.to_string()))?;
        words.iter().map(|word| self.specifiers.expand(word)).collect()
    }

    /// An absolute path, or nothing.
    pub fn path(&self) -> Parsed<Option<String>> {
        match self.optional()? {
            Some(path) if !path.starts_with('/') => Err(wrong(&path, "an absolute path")),
            other => Ok(other),
        }
    }

    /// Adds words to a list; the empty assignment empties it.
    pub fn extend(&self, list: &mut Vec<String>) -> Parsed<()> {
        if self.is_empty() {
            list.clear();
            return Ok(());
        }
        list.extend(self.words()?);
        Ok(())
    }
}

/// What a directive does.
pub(crate) type Apply<T> = fn(&mut T, &Value<'_>) -> Parsed<()>;

/// Directives of one section.
pub(crate) type Table<T> = &'static [(&'static str, Apply<T>)];

/// Looks a directive up.
pub(crate) fn find<T>(table: Table<T>, key: &str) -> Option<Apply<T>> {
    table.iter().find(|(name, _)| *name == key).map(|(_, apply)| *apply)
}

/// Directives that loosen or tighten what a process may do and have no effect yet. Each use is reported.
const SANDBOX: [&str; 9] = [
    "BPFProgram",
    "ExtensionImagePolicy",
    "IPEgressFilterPath",
    "IPIngressFilterPath",
    "MountImagePolicy",
    "RestrictFileSystems",
    "RootHashSignature",
    "RootImageOptions",
    "RootImagePolicy",
];

/// Directives that are not carried out, and without which nothing of the unit is run.
const REFUSED: [&str; 7] = [
    "ExtensionDirectories",
    "ExtensionImages",
    "LoadCredentialEncrypted",
    "MountImages",
    "RootEphemeral",
    "RootImage",
    "SetCredentialEncrypted",
];

/// Directives of systemd 257 in the sections of units that have no effect yet, apart from [`SANDBOX`].
const KNOWN: [&str; 26] = [
    "Capabilities",
    "CoredumpReceive",
    "FailureActionExitStatus",
    "LogExtraFields",
    "LogFilterPatterns",
    "LogNamespace",
    "ManagedOOMMemoryPressure",
    "ManagedOOMMemoryPressureDurationSec",
    "ManagedOOMMemoryPressureLimit",
    "ManagedOOMPreference",
    "ManagedOOMSwap",
    "NFTSet",
    "PAMName",
    "RootHash",
    "RootVerity",
    "SELinuxContextFromNet",
    "SloppyOptions",
    "SmackLabel",
    "SmackLabelIPIn",
    "SmackLabelIPOut",
    "SuccessActionExitStatus",
    "SurviveFinalKillSignal",
    "USBFunctionDescriptors",
    "USBFunctionStrings",
    "UtmpIdentifier",
    "UtmpMode",
];

/// What we know of a directive without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Limits what the process may do; leaving it out is a risk that is shown.
    Sandbox,
    /// Not carried out: a process of a unit with it is not run.
    Refused,
    /// Known, does nothing yet.
    Other,
    /// Nothing: it has its effect, or it is none of systemd's.
    Unknown,
}

/// Looks a directive up among those without effect.
pub(crate) fn known(key: &str) -> Known {
    if SANDBOX.contains(&key) {
        Known::Sandbox
    } else if REFUSED.contains(&key) {
        Known::Refused
    } else if KNOWN.contains(&key) {
        Known::Other
    } else {
        Known::Unknown
    }
}
