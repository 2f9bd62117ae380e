//! The `[Install]` section as enabling needs it: the lists as written, expanded only when a link is made. Pure.

use ferrite_unit::UnitName;
use ferrite_unit::specifier::{Host, Specifiers};

/// What a unit says about its installation.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub aliases: Vec<String>,
    pub wanted_by: Vec<String>,
    pub required_by: Vec<String>,
    pub upheld_by: Vec<String>,
    /// Names, already expanded.
    pub also: Vec<String>,
    pub default_instance: Option<String>,
}

impl Section {
    /// Is there a link to make?
    pub fn has_rules(&self) -> bool {
        !self.aliases.is_empty()
            || !self.wanted_by.is_empty()
            || !self.required_by.is_empty()
            || !self.upheld_by.is_empty()
    }

    /// Adds what a file says; a fault costs its line.
    pub fn read(&mut self, path: &str, bytes: &[u8], unit: &UnitName, host: &Host) {
        for entry in ferrite_unit::file::parse(path, bytes).entries {
            if &*entry.section == "Install" {
                self.take(&entry.key, &entry.value, unit, host);
            }
        }
    }

    fn take(&mut self, key: &str, value: &str, unit: &UnitName, host: &Host) {
        let list = match key {
            "Alias" if may_alias(unit) => &mut self.aliases,
            "WantedBy" => &mut self.wanted_by,
            "RequiredBy" => &mut self.required_by,
            "UpheldBy" => &mut self.upheld_by,
            "Also" => {
                let names = words(value).into_iter().filter_map(|word| expand(&word, unit, host));
                self.also.extend(names);
                return;
            }
            // An instance has its own; elsewhere there is nothing to instantiate.
            "DefaultInstance" if unit.is_template() => {
                self.default_instance = expand(value, unit, host).filter(|instance| !instance.is_empty());
                return;
            }
            _ => return,
        };
        if value.is_empty() {
            list.clear();
        } else {
            list.extend(words(value));
        }
    }
}

/// Words without quotes; a backslash belongs to the name.
fn words(value: &str) -> Vec<String> {
    let unquoted = |word: &str| word.replace(['"', '\''], "");
    value.split_whitespace().map(unquoted).filter(|word| !word.is_empty()).collect()
}

/// A name with its specifiers replaced.
pub(super) fn expand(text: &str, unit: &UnitName, host: &Host) -> Option<String> {
    Specifiers { unit, host, fragment: None }.expand(text).ok()
}

/// Kinds of which one may have several names.
pub(super) fn may_alias(unit: &UnitName) -> bool {
    use ferrite_unit::UnitKind::{Device, Path, Service, Socket, Target, Timer};
    matches!(unit.kind(), Service | Socket | Target | Device | Timer | Path)
}

/// Kinds that have templates.
pub(super) fn may_template(unit: &UnitName) -> bool {
    use ferrite_unit::UnitKind::{Path, Service, Socket, Target, Timer};
    matches!(unit.kind(), Service | Socket | Target | Timer | Path)
}

/// What is wrong with a second name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AliasFault {
    /// It is the name itself.
    Same,
    /// Units of this kind have one name.
    Kind,
    /// The two do not fit each other.
    Mismatch,
}

/// May a link of this name stand for that unit?
pub(super) fn check_alias(alias: &UnitName, unit: &str) -> Result<(), AliasFault> {
    if !may_alias(alias) || (alias.at().is_some() && !may_template(alias)) {
        return Err(AliasFault::Kind);
    }
    if alias.as_str() == unit {
        return Err(AliasFault::Same);
    }
    let Ok(unit) = UnitName::parse(unit) else { return Err(AliasFault::Mismatch) };
    let form = |name: &UnitName| (name.at().is_some(), name.is_template());
    let instance_of_template = alias.instance().is_some() && unit.is_template();
    let same_instance = unit.instance().is_none() || unit.instance() == alias.instance();
    let fits = (form(alias) == form(&unit) || instance_of_template) && same_instance && alias.kind() == unit.kind();
    fits.then_some(()).ok_or(AliasFault::Mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).expect("a name")
    }

    #[test]
    fn sections_are_read_as_written() {
        let mut section = Section::default();
        let text = b"[Install]\nWantedBy=a.target \"b.target\"\nAlias=x.service\nAlso=%p-x.socket\nAlias=\nWantedBy=dev-\\x2d.device\n";
        section.read("f", text, &name("foo.service"), &Host::default());
        assert_eq!(section.wanted_by, ["a.target", "b.target", "dev-\\x2d.device"]);
        assert_eq!((section.aliases.len(), section.also.as_slice()), (0, &["foo-x.socket".to_owned()][..]));
        let mut mount = Section::default();
        mount.read("f", b"[Install]\nAlias=x.mount\nDefaultInstance=a\n", &name("y.mount"), &Host::default());
        assert!(!mount.has_rules() && mount.default_instance.is_none());
    }

    #[test]
    fn aliases_must_fit_their_unit() {
        for (alias, unit, outcome) in [
            ("a.service", "b.service", Ok(())),
            ("a.service", "a.service", Err(AliasFault::Same)),
            ("a.mount", "b.mount", Err(AliasFault::Kind)),
            ("a.service", "b.socket", Err(AliasFault::Mismatch)),
            ("a@x.service", "b@.service", Ok(())),
            ("a@x.service", "b@x.service", Ok(())),
            ("a@x.service", "b@y.service", Err(AliasFault::Mismatch)),
            ("a@.service", "b@.service", Ok(())),
            ("a.service", "b@x.service", Err(AliasFault::Mismatch)),
            ("a.service", "nonsense", Err(AliasFault::Mismatch)),
        ] {
            assert_eq!(check_alias(&name(alias), unit), outcome, "{alias} {unit}");
        }
    }
}
