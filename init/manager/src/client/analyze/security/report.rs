//! What `systemd-analyze security` says of a service. Pure.

use ferrite_unit::Unit;
use serde_json::Value;

use super::rules::{Answer, RULES, Rule};
use super::subject::{Subject, View};
use crate::client::style::{BOLD, Colour, GREEN, RED, YELLOW, paint};

/// From how much exposure on a service is called what, and how that looks.
const LEVELS: [(u64, &str, &str, &str, &str); 7] = [
    (100, "DANGEROUS", RED, "🤢", ":-["),
    (90, "UNSAFE", RED, "😨", ":-{"),
    (75, "EXPOSED", YELLOW, "🙁", ":-("),
    (50, "MEDIUM", "", "😐", ":-|"),
    (10, "OK", GREEN, "🙂", ":-)"),
    (1, "SAFE", GREEN, "😀", ":-}"),
    (0, "PERFECT", GREEN, "😇", ":-]"),
];

/// The answers of a service.
pub struct Assessment {
    unit: String,
    /// The most important questions first.
    answers: Vec<(&'static Rule, Answer)>,
    weights: u64,
    /// Tenths, from 0 to 100.
    pub exposure: u64,
}

fn tenths(value: u64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

impl Assessment {
    /// Asks everything. `None`: the unit is no service.
    pub fn of(unit: &Unit, view: View) -> Option<Assessment> {
        let subject = Subject::new(unit, view)?;
        let mut answers: Vec<(&Rule, Answer)> = RULES.iter().map(|rule| (rule, rule.answer(&subject))).collect();
        answers.sort_by_key(|(rule, _)| (u64::MAX - rule.weight, rule.name));
        let counted =
            |(rule, (badness, _)): &(&Rule, Answer)| badness.map(|badness| (rule.weight, badness, rule.range));
        let (mut sum, mut weights) = (0, 0);
        for (weight, badness, range) in answers.iter().filter_map(counted) {
            sum += (badness * weight).div_ceil(range);
            weights += weight;
        }
        let exposure = (sum * 100).div_ceil(weights.max(1));
        Some(Assessment { unit: unit.name.to_string(), answers, weights, exposure })
    }

    fn level(&self) -> (&'static str, &'static str, [&'static str; 2]) {
        let found = LEVELS.iter().find(|(from, ..)| self.exposure >= *from).or(LEVELS.last());
        found.map_or(("", "", ["", ""]), |(_, name, colour, face, plain)| (name, colour, [face, plain]))
    }

    /// What one answer adds to the exposure; nothing if it is good.
    fn share(&self, rule: &Rule, badness: Option<u64>) -> Option<String> {
        let badness = badness.filter(|badness| *badness > 0)?;
        Some(tenths((badness * rule.weight * 100).div_ceil(rule.range).div_ceil(self.weights.max(1))))
    }

    /// The table of all answers and the sum.
    pub fn table(&self, colour: Colour, is_utf8: bool) -> String {
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
        let names = width(&mut self.answers.iter().map(|(rule, _)| rule.name.chars().count()));
        let texts = width(&mut self.answers.iter().map(|(_, (_, text))| text.chars().count()));
        let mut out = format!("  {:names$} {:texts$} EXPOSURE\n", "NAME", "DESCRIPTION");
        for (rule, (badness, text)) in &self.answers {
            let (mark, shade) = match badness {
                None => (" ", ""),
                Some(0) => (if is_utf8 { "✓" } else { "+" }, GREEN),
                Some(_) => (if is_utf8 { "✗" } else { "-" }, RED),
            };
            let share = self.share(rule, *badness).unwrap_or_default();
            let name = if is_utf8 { rule.name.to_owned() } else { rule.name.replace('…', "...") };
            let line = format!("{} {name:names$} {text:texts$} {share:>8}", paint(mark, shade, colour));
            out.push_str(&format!("{}\n", line.trim_end()));
        }
        let (name, shade, [face, plain]) = self.level();
        let (arrow, face) = if is_utf8 { ("→", face) } else { ("->", plain) };
        let title = paint(&format!("Overall exposure level for {}", self.unit), BOLD, colour);
        let sum = paint(&format!("{} {name}", tenths(self.exposure)), shade, colour);
        out.push_str(&format!("\n{arrow} {title}: {sum} {face}\n"));
        out
    }

    /// The same for JSON.
    pub fn rows(&self) -> Vec<Vec<(&'static str, Value)>> {
        let row = |(rule, (badness, text)): &(&'static Rule, Answer)| {
            vec![
                ("set", badness.map_or(Value::Null, |badness| Value::from(badness == 0))),
                ("name", Value::from(rule.name)),
                ("json_field", Value::from(rule.field())),
                ("description", Value::from(text.as_str())),
                ("exposure", self.share(rule, *badness).map_or(Value::Null, Value::from)),
            ]
        };
        self.answers.iter().map(row).collect()
    }

    /// The line of the overview for JSON.
    pub fn summary(&self) -> Vec<(&'static str, Value)> {
        let (name, _, [face, _]) = self.level();
        vec![
            ("unit", Value::from(self.unit.as_str())),
            ("exposure", Value::from(tenths(self.exposure))),
            ("predicate", Value::from(name)),
            ("happy", Value::from(face)),
        ]
    }
}

/// A line for each service, by name.
pub fn overview(assessed: &[Assessment], colour: Colour, is_utf8: bool) -> String {
    let mut sorted: Vec<&Assessment> = assessed.iter().collect();
    sorted.sort_by(|one, other| one.unit.cmp(&other.unit));
    let units = sorted.iter().map(|one| one.unit.chars().count()).max().unwrap_or(0).max("UNIT".len());
    let mut out = format!("{:units$} EXPOSURE PREDICATE HAPPY\n", "UNIT");
    for one in sorted {
        let (name, shade, [face, plain]) = one.level();
        let predicate = paint(&format!("{name:9}"), shade, colour);
        let face = if is_utf8 { face } else { plain };
        out.push_str(&format!("{:units$} {:>8} {predicate} {face}\n", one.unit, tenths(one.exposure)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_and_names_are_those_of_systemd() {
        assert_eq!(RULES.iter().map(|rule| rule.weight).sum::<u64>(), 56_460);
        let field = |name: &str| RULES.iter().find(|rule| rule.name == name).map(Rule::field).unwrap_or_default();
        for (name, expected) in [
            ("User=/DynamicUser=", "UserOrDynamicUser"),
            ("CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)", "CapabilityBoundingSet_CAP_DAC_FOWNER_IPC_OWNER"),
            ("CapabilityBoundingSet=~CAP_SET(UID|GID|PCAP)", "CapabilityBoundingSet_CAP_SET_UID_GID_PCAP"),
            ("RestrictAddressFamilies=~AF_(INET|INET6)", "RestrictAddressFamilies_AF_INET_INET6"),
            ("SystemCallFilter=~@raw-io", "SystemCallFilter_raw_io"),
            ("RestrictNamespaces=~user", "RestrictNamespaces_user"),
            ("UMask=", "UMask"),
        ] {
            assert_eq!(field(name), expected);
        }
    }

    #[test]
    fn a_bare_service_is_unsafe_and_what_is_shown_adds_up() {
        let name = ferrite_unit::UnitName::parse("a.service").expect("a name");
        let unit = Unit::new(name);
        let bare = Assessment::of(&unit, View::Offline).expect("a service");
        assert_eq!((bare.exposure, bare.level().0), (96, "UNSAFE"));
        let text = bare.table(Colour::Off, true);
        assert!(text.ends_with("\n\n→ Overall exposure level for a.service: 9.6 UNSAFE 😨\n"), "{text}");
        assert_eq!(text.lines().count(), RULES.len() + 3);
        assert_eq!(bare.rows().len(), RULES.len());
        let all = overview(&[bare], Colour::Off, false);
        assert_eq!(all, "UNIT      EXPOSURE PREDICATE HAPPY\na.service      9.6 UNSAFE    :-{\n");
        let target = Unit::new(ferrite_unit::UnitName::parse("a.target").expect("a name"));
        assert!(Assessment::of(&target, View::Offline).is_none());
    }
}
