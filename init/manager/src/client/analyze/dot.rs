//! `systemd-analyze dot`: the graph of units in the language of graphviz.

use std::io::IsTerminal;

use anyhow::Result;
use ferrite_control::{Client, UnitTimes};
use ferrite_pattern::{is_pattern, matches_unit};

use super::Call;
use super::boot::{self, related};
use crate::client::print;
use crate::client::unit_names::full_name;
use crate::client::verbs::details;

/// Relations with the colours of their edges. The first one is the order, the others are what units need.
const EDGES: [(&str, &str); 6] = [
    ("After", "green"),
    ("Requires", "black"),
    ("Requisite", "darkblue"),
    ("BindsTo", "gold"),
    ("Wants", "grey66"),
    ("Conflicts", "red"),
];

const LEGEND: &str = "   Color legend: black     = Requires
                 dark blue = Requisite
                 gold      = BindsTo
                 dark grey = Wants
                 red       = Conflicts
                 green     = After
";

const HINT: &str = "\
-- You probably want to process this output with graphviz' dot tool.
-- Try a shell pipeline like 'systemd-analyze dot | dot -Tsvg > systemd.svg'!
";

/// Prints the graph; what the colours mean goes to the error stream.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let mut client = call.connect()?;
    let mut names = |words: &[String]| expand(&mut client, words);
    let given = |option: &str| call.line.values(option).map(str::to_owned).collect::<Vec<_>>();
    let wish = Wish {
        edges: Edges::of(call),
        either: names(call.operands())?,
        from: names(&given("from-pattern"))?,
        to: names(&given("to-pattern"))?,
    };
    print(&wish.graph(&boot::units(&mut client)?))?;
    eprintln!("{LEGEND}");
    if !call.line.has("quiet") && std::io::stdout().is_terminal() {
        eprintln!("{HINT}");
    }
    Ok(0)
}

/// Patterns as they are; for a name also the one that the unit goes by.
fn expand(client: &mut Client, words: &[String]) -> Result<Vec<String>> {
    let mut out = Vec::new();
    for word in words {
        if is_pattern(word) {
            out.push(word.clone());
            continue;
        }
        let name = full_name(word);
        let id = details(client, &name)?.summary.name;
        if id != name {
            out.push(id);
        }
        out.push(name);
    }
    Ok(out)
}

/// Which edges are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edges {
    All,
    Order,
    Needs,
}

impl Edges {
    /// The last option counts.
    fn of(call: &Call<'_>) -> Edges {
        let last = call.line.options.iter().rev().find_map(|(name, _)| match *name {
            "order" => Some(Edges::Order),
            "require" => Some(Edges::Needs),
            _ => None,
        });
        last.unwrap_or(Edges::All)
    }

    fn include(self, relation: &str) -> bool {
        match self {
            Edges::All => true,
            Edges::Order => relation == "After",
            Edges::Needs => relation != "After",
        }
    }
}

/// What the graph is to hold.
#[derive(Debug)]
struct Wish {
    edges: Edges,
    /// Units at either end.
    either: Vec<String>,
    from: Vec<String>,
    to: Vec<String>,
}

impl Wish {
    fn graph(&self, units: &[UnitTimes]) -> String {
        let mut out = String::from("digraph systemd {\n");
        for unit in units {
            for (relation, colour) in EDGES.into_iter().filter(|(relation, _)| self.edges.include(relation)) {
                for other in related(units, unit, relation).into_iter().filter(|other| self.holds(&unit.name, other)) {
                    out.push_str(&format!(
                        "\t\"{}\"->\"{}\" [color=\"{colour}\"];\n",
                        quoted(&unit.name),
                        quoted(other)
                    ));
                }
            }
        }
        out.push_str("}\n");
        out
    }

    fn holds(&self, from: &str, to: &str) -> bool {
        let fits = |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches_unit(pattern, name));
        let (first, second) = (fits(&self.either, from), fits(&self.either, to));
        (self.from.is_empty() || first || fits(&self.from, from))
            && (self.to.is_empty() || second || fits(&self.to, to))
            && (self.either.is_empty() || first || second)
    }
}

/// A name between quotes: what is escaped in a name stays as it is.
fn quoted(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units() -> Vec<UnitTimes> {
        let unit = |name: &str, relations: &[(&str, &[u32])]| UnitTimes {
            name: name.to_owned(),
            relations: relations.iter().map(|(name, places)| ((*name).to_owned(), places.to_vec())).collect(),
            ..UnitTimes::default()
        };
        vec![
            unit("a.service", &[("After", &[1, 2]), ("Requires", &[1]), ("Upholds", &[2])]),
            unit("b.service", &[("Conflicts", &[2])]),
            unit("dev-x\\x2dy.device", &[("Wants", &[0])]),
        ]
    }

    fn edges(edges: Edges, either: &[&str], from: &[&str], to: &[&str]) -> Vec<String> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let wish = Wish { edges, either: owned(either), from: owned(from), to: owned(to) };
        let text = wish.graph(&units());
        let body = text.strip_prefix("digraph systemd {\n").and_then(|text| text.strip_suffix("}\n")).expect("a graph");
        body.lines().map(|line| line.trim_start().replace("\"", "")).collect()
    }

    #[test]
    fn edges_have_the_colours_of_their_relations() {
        assert_eq!(
            edges(Edges::All, &[], &[], &[]),
            [
                "a.service->b.service [color=green];",
                "a.service->dev-x\\\\x2dy.device [color=green];",
                "a.service->b.service [color=black];",
                "b.service->dev-x\\\\x2dy.device [color=red];",
                "dev-x\\\\x2dy.device->a.service [color=grey66];",
            ]
        );
        assert_eq!(edges(Edges::Order, &[], &[], &[]).len(), 2);
        assert_eq!(edges(Edges::Needs, &[], &[], &[]).len(), 3);
    }

    #[test]
    fn patterns_choose_either_end_or_one_of_them() {
        assert_eq!(edges(Edges::All, &["b.*"], &[], &[]).len(), 3);
        assert_eq!(edges(Edges::All, &[], &["b.*"], &[]), ["b.service->dev-x\\\\x2dy.device [color=red];"]);
        assert_eq!(edges(Edges::All, &[], &["a.service"], &["*.device"]).len(), 1);
        assert_eq!(edges(Edges::All, &[], &[], &["a.service"]), ["dev-x\\\\x2dy.device->a.service [color=grey66];"]);
    }
}
