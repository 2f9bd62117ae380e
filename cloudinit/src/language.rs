//! What the language is made of: kinds of values and keys. The tables that say which keys there are, their checks,
//! `explain`, the JSON schema and docs/cloud-config.md all come from these types. Pure.

use crate::document::Node;
use crate::fault::Faults;

/// Checks a text; `Err` says what is wrong and what would be right.
pub(crate) type Rule = fn(&str) -> Result<(), String>;
/// Checks what several keys of one map say together. `false`: the map cannot be used.
pub(crate) type Together = fn(&Node, &mut Faults) -> bool;

/// What a value must be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A truth value, with the words of YAML 1.1.
    Bool,
    /// A whole number.
    Int,
    /// Text; a number without quotes is refused, because YAML may have changed it.
    Text(Rule),
    /// Text, a number or a truth value as it was written.
    Scalar(Rule),
    /// Permissions in octal, as they are written.
    Mode,
    /// Text or `!!binary`.
    Bytes,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list.
    List(&'static Kind),
    /// A list of at least and at most so many items; other numbers are a fault at the desk only.
    Count(&'static Kind, usize, usize),
    /// A map with these keys.
    Map(&'static [Key], Option<Together>),
    /// A map whose keys the author chooses.
    Table(&'static Kind),
    /// One of several; the text says which.
    OneOf(&'static [Kind], &'static str),
    /// Nothing, where that says something.
    Null,
    /// Whatever it is, it is not looked into.
    Any,
}

/// What Ferrite does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done.
    Done,
    /// It is accepted and only recorded in the plan.
    Recorded,
    /// It is accepted with a warning: it has no meaning on an image without a package manager.
    NoMeaning,
    /// It is accepted without a word: clouds send it by themselves.
    Silent,
    /// It is refused; the text says what to do instead.
    Refused(&'static str),
}

impl Verdict {
    /// The word for docs and `explain`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Recorded => "only recorded in the plan",
            Self::NoMeaning => "accepted with a warning, has no meaning on an image",
            Self::Silent => "accepted, does nothing",
            Self::Refused(_) => "refused",
        }
    }
}

/// A key of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Its name, with `_`.
    pub name: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// What Ferrite does with it.
    pub verdict: Verdict,
    /// Whether the map is nothing without it.
    pub required: bool,
    /// What it does, for people.
    pub doc: &'static str,
    /// A value as it is written.
    pub example: &'static str,
}

impl Key {
    /// A key that works.
    pub(crate) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, verdict: Verdict::Done, required: false, doc, example: "" }
    }

    /// The map is nothing without it.
    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// What Ferrite does with it.
    pub(crate) const fn verdict(self, verdict: Verdict) -> Self {
        Self { verdict, ..self }
    }

    /// A value as it is written.
    pub(crate) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// Accepted with a warning.
    pub(crate) const fn no_meaning(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, "").verdict(Verdict::NoMeaning)
    }

    /// Accepted without a word.
    pub(crate) const fn silent(name: &'static str) -> Self {
        Self::new(name, Kind::Any, "").verdict(Verdict::Silent)
    }
}

impl Kind {
    /// What it is, for messages: `'x' must be ...`.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Int => "a whole number".into(),
            Self::Text(_) | Self::Scalar(_) | Self::Bytes => "text".into(),
            Self::Mode => "permissions in octal, such as '0644'".into(),
            Self::Words(words) => one_of(words),
            Self::List(item) | Self::Count(item, ..) => match item {
                Self::Map(..) => "a list of maps, each beginning with '- '".into(),
                Self::Text(_) | Self::Scalar(_) => "a list of texts, each beginning with '- '".into(),
                _ => "a list, each item beginning with '- '".into(),
            },
            Self::Map(..) | Self::Table(_) => "a map of 'key: value' lines".into(),
            Self::OneOf(_, what) => (*what).into(),
            Self::Null => "nothing".into(),
            Self::Any => "anything".into(),
        }
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".into(),
    }
}

/// The name nearest to a misspelt one.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.replace('-', "_").to_ascii_lowercase();
    let far = name.chars().count() / 4 + 1;
    let best = known.map(|word| (distance(word, &name), word)).min_by_key(|(distance, _)| *distance);
    best.filter(|(distance, _)| *distance <= far).map(|(_, word)| word)
}

/// Edits between two words, a swap of neighbours being one; words of very different length are simply far apart.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 3 || one.len() > 80 {
        return usize::MAX;
    }
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (line, left) in one.iter().enumerate() {
        let mut row = vec![line + 1];
        for (column, right) in other.iter().enumerate() {
            let mut best =
                (rows[line][column] + usize::from(left != right)).min(rows[line][column + 1] + 1).min(row[column] + 1);
            if line > 0 && column > 0 && *left == other[column - 1] && one[line - 1] == *right {
                best = best.min(rows[line - 1][column - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let known = ["hostname", "write_files", "runcmd"];
        for (name, expected) in [
            ("hostnmae", Some("hostname")),
            ("write-file", Some("write_files")),
            ("runcmds", Some("runcmd")),
            ("bananas", None),
            ("x", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
    }
}
