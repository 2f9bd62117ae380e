//! Presets: what the vendor wants enabled. Files are read in the order of their names; the first rule that fits counts.

use std::collections::{BTreeMap, BTreeSet};

use ferrite_pattern::matches_unit;
use ferrite_unit::UnitName;

use super::add::{Manner, Templates};
use super::change::{Fault, Outcome};
use super::lookup::{ConfigLinks, Reading, Units};
use super::{Entry, Tree};

/// Lines of one preset file that are read.
const LINES_MAX: usize = 10_000;
/// Bytes of one preset file that are read.
const FILE_MAX: u64 = 1024 * 1024;
const DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system-preset",
    "/run/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
];

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresetAction {
    /// Start at boot.
    Enable,
    /// Do not.
    Disable,
    /// Leave it as it is.
    Ignore,
}

impl PresetAction {
    /// The word as systemctl prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            PresetAction::Enable => "enabled",
            PresetAction::Disable => "disabled",
            PresetAction::Ignore => "ignored",
        }
    }
}

/// Which half of the presets is carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Both.
    #[default]
    Full,
    /// Only enabling.
    EnableOnly,
    /// Only disabling.
    DisableOnly,
}

impl Mode {
    /// The mode of a `--preset-mode=` argument.
    pub fn parse(text: &str) -> Option<Mode> {
        match text {
            "full" => Some(Mode::Full),
            "enable-only" => Some(Mode::EnableOnly),
            "disable-only" => Some(Mode::DisableOnly),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    action: PresetAction,
    pattern: String,
    /// Instances of a template that are enabled.
    instances: Vec<String>,
}

/// The rules of all preset files.
#[derive(Debug, Default)]
pub struct Presets {
    rules: Vec<Rule>,
}

impl Presets {
    /// Reads them.
    pub fn read(tree: &Tree) -> Presets {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for directory in DIRECTORIES {
            for name in tree.names(directory).into_iter().filter(|name| name.ends_with(".preset")) {
                let path = format!("{directory}/{name}");
                files.entry(name).or_insert(path);
            }
        }
        let mut presets = Presets::default();
        for path in files.into_values() {
            let Some(path) = tree.chase(&path).filter(|path| tree.entry(path) == Entry::File) else { continue };
            let bytes = crate::disk::read_plain(&tree.real(&path).to_string_lossy(), FILE_MAX).unwrap_or_default();
            presets.add(&String::from_utf8_lossy(&bytes));
        }
        presets
    }

    fn add(&mut self, text: &str) {
        for line in text.lines().map(str::trim).take(LINES_MAX) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(verb), Some(first)) = (words.next(), words.next()) else { continue };
            let rest: Vec<String> = words.map(str::to_owned).collect();
            let is_template = UnitName::parse(first).is_ok_and(|name| name.is_template());
            let rule = |action, pattern: String, instances| Rule { action, pattern, instances };
            // Only a template that is enabled has instances; other rules with more words fit nothing.
            let whole = std::iter::once(first.to_owned()).chain(rest.clone()).collect::<Vec<_>>().join(" ");
            match verb {
                "enable" if rest.is_empty() || is_template => {
                    self.rules.push(rule(PresetAction::Enable, first.to_owned(), rest));
                }
                "disable" => self.rules.push(rule(PresetAction::Disable, whole, Vec::new())),
                "ignore" => self.rules.push(rule(PresetAction::Ignore, whole, Vec::new())),
                _ => {}
            }
        }
    }

    /// What the rules say of a unit; what they do not name is enabled. For a template, also its instances.
    fn query(&self, name: &UnitName) -> (PresetAction, Vec<UnitName>) {
        for rule in &self.rules {
            if !rule.instances.is_empty() {
                if name.is_template() && rule.pattern == name.as_str() {
                    let instances = rule.instances.iter().filter_map(|instance| name.with_instance(instance).ok());
                    return (rule.action, instances.collect());
                }
                let template = name.template();
                let is_named = name.instance().is_some_and(|own| rule.instances.iter().any(|known| known == own));
                if template.is_some_and(|template| template.as_str() == rule.pattern) && is_named {
                    return (rule.action, Vec::new());
                }
            }
            if matches_unit(&rule.pattern, name.as_str()) {
                return (rule.action, Vec::new());
            }
        }
        (PresetAction::Enable, Vec::new())
    }

    /// What the rules say of a unit.
    pub fn action(&self, name: &UnitName) -> PresetAction {
        self.query(name).0
    }
}

impl Tree {
    /// The plan of `preset`.
    pub fn plan_preset(&mut self, names: &[String], manner: Manner, mode: Mode) -> Outcome {
        let presets = Presets::read(self);
        let mut out = Outcome::default();
        let (mut plus, mut minus) = (Units::default(), Units::default());
        for name in names {
            if let Err(fault) = self.prepare(&presets, &mut plus, &mut minus, name) {
                out.fault(fault);
                return out;
            }
        }
        self.carry_out(&mut out, plus, minus, manner, mode);
        out
    }

    /// The plan of `preset-all`.
    pub fn plan_preset_all(&mut self, manner: Manner, mode: Mode) -> Outcome {
        let presets = Presets::read(self);
        let mut out = Outcome::default();
        let (mut plus, mut minus) = (Units::default(), Units::default());
        for directory in self.path.clone() {
            for name in self.names(&directory) {
                let entry = self.entry(&format!("{directory}/{name}"));
                let is_file = matches!(entry, Entry::File | Entry::Empty | Entry::Link(_));
                if !is_file || UnitName::parse(&name).is_err() {
                    continue;
                }
                if let Err(fault) = self.prepare(&presets, &mut plus, &mut minus, &name) {
                    out.complain(fault);
                }
            }
        }
        self.carry_out(&mut out, plus, minus, manner, mode);
        out
    }

    fn prepare(&self, presets: &Presets, plus: &mut Units, minus: &mut Units, word: &str) -> Result<(), Fault> {
        if plus.find(word).is_some() || minus.find(word).is_some() {
            return Ok(());
        }
        let mut units = Units::default();
        let index = units.discover(self, word, Reading::LookOnly, ConfigLinks::Followed)?;
        // An alias is enabled under its unit's own name.
        let Some(info) = units.get(index).filter(|info| info.name.as_str() == word) else { return Ok(()) };
        match presets.query(&info.name) {
            (PresetAction::Enable, instances) if instances.is_empty() => {
                plus.discover_and_check(self, word, Reading::Load).map(drop)
            }
            (PresetAction::Enable, instances) => instances
                .iter()
                .try_for_each(|name| plus.discover_and_check(self, name.as_str(), Reading::Load).map(drop)),
            (PresetAction::Disable, _) => {
                minus.discover(self, word, Reading::LookOnly, ConfigLinks::Followed).map(drop)
            }
            (PresetAction::Ignore, _) => Ok(()),
        }
    }

    fn carry_out(&mut self, out: &mut Outcome, mut plus: Units, mut minus: Units, manner: Manner, mode: Mode) {
        if mode != Mode::EnableOnly {
            let mut marked = BTreeSet::new();
            self.mark(out, &mut minus, &mut marked);
            self.remove_marked(out, marked, self.config(manner.lasting));
        }
        if mode != Mode::DisableOnly {
            self.make_links(out, &mut plus, manner, Templates::LeftOut, Reading::Load);
        }
        out.carries_install = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let mut presets = Presets::default();
        presets.add("# x\nenable ssh.service\ndisable ssh*\nenable getty@.service tty1 tty2\nignore z.*\ndisable *\n");
        let of = |name: &str| presets.query(&UnitName::parse(name).expect("a name"));
        assert_eq!(of("ssh.service").0, PresetAction::Enable);
        assert_eq!(of("ssh.socket").0, PresetAction::Disable);
        assert_eq!(of("z.timer").0, PresetAction::Ignore);
        assert_eq!(of("getty@tty2.service").0, PresetAction::Enable);
        assert_eq!(of("getty@tty9.service").0, PresetAction::Disable);
        let (action, instances) = of("getty@.service");
        assert_eq!((action, instances.len()), (PresetAction::Enable, 2));
        assert_eq!(Presets::default().action(&UnitName::parse("a.service").expect("a name")), PresetAction::Enable);
    }
}
