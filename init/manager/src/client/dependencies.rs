//! `systemctl list-dependencies`: the tree of what a unit pulls in, or is pulled in by, or ordered with.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use ferrite_control::{Client, UnitDetails};
use ferrite_unit::words::{Escapes, split};

use super::arguments::Arguments;
use super::listing::{Look, shorten};
use super::print;
use super::style::{dot, paint, state_colour, visible};
use super::unit_names::kind;
use super::verbs::{connect, details, look, named_units};

/// Lines shown at most.
const LINES_MAX: usize = 100_000;
/// Columns of a narrow terminal.
const NARROW: usize = 20;

/// The properties that make a unit a branch of another.
fn relations(arguments: &Arguments) -> &'static [&'static str] {
    match arguments.direction.as_str() {
        "before" => &["Before"],
        "after" => &["After"],
        "reverse" => &["RequiredBy", "RequisiteOf", "WantedBy", "PartOf", "BoundBy", "UpheldBy"],
        _ => &["Requires", "Requisite", "Wants", "ConsistsOf", "BindsTo", "Upholds"],
    }
}

/// Prints the trees. Without `--all` only targets are opened, as by systemd.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let operands = match arguments.operands.as_slice() {
        [] => vec!["default.target".to_owned()],
        some => some.to_vec(),
    };
    for (number, name) in named_units(&mut client, &operands)?.iter().enumerate() {
        let mut tree = Tree::new(&mut client, arguments);
        tree.grow(name)?;
        print(&format!("{}{}", if number > 0 { "\n" } else { "" }, tree.out))?;
    }
    Ok(0)
}

/// A unit whose branches are being printed.
struct Level {
    name: String,
    branches: Vec<String>,
    next: usize,
    /// A branch leads back to a unit above it.
    circular: bool,
}

struct Tree<'a> {
    client: &'a mut Client,
    arguments: &'a Arguments,
    look: Look,
    known: BTreeMap<String, UnitDetails>,
    out: String,
}

impl<'a> Tree<'a> {
    fn new(client: &'a mut Client, arguments: &'a Arguments) -> Tree<'a> {
        Tree { client, arguments, look: look(arguments), known: BTreeMap::new(), out: String::new() }
    }

    fn unit(&mut self, name: &str) -> Result<&UnitDetails> {
        if !self.known.contains_key(name) {
            let unit = details(self.client, name)?;
            self.known.insert(name.to_owned(), unit);
        }
        self.known.get(name).ok_or_else(|| anyhow::anyhow!("unit {name} is not known"))
    }

    fn level(&mut self, name: &str) -> Result<Level> {
        let relations = relations(self.arguments);
        let branches = branches(self.unit(name)?, relations);
        Ok(Level { name: name.to_owned(), branches, next: 0, circular: false })
    }

    /// Without a recursion: how deep units depend on each other is not ours to say.
    fn grow(&mut self, top: &str) -> Result<()> {
        self.out = format!("{}\n", visible(top));
        let mut open = vec![self.level(top)?];
        // What stands above a line; with --plain, everything that was printed.
        let mut seen = vec![top.to_owned()];
        let mut lines = 0;
        while let Some(level) = open.last_mut() {
            let Some(name) = level.branches.get(level.next).cloned() else {
                let circular = level.circular;
                let depth = open.len();
                if circular && !self.arguments.plain {
                    self.line(&open, depth, "...", true);
                }
                let closed = open.pop();
                if let Some(closed) = closed.filter(|_| !self.arguments.plain) {
                    seen.retain(|name| *name != closed.name);
                }
                continue;
            };
            level.next += 1;
            if seen.contains(&name) {
                level.circular = true;
                continue;
            }
            if !self.is_shown(&name)? {
                continue;
            }
            lines += 1;
            if lines > LINES_MAX {
                bail!("more than {LINES_MAX} lines below {top}");
            }
            self.mark(&name)?;
            let is_last = open.last().is_some_and(|level| level.next == level.branches.len());
            self.line(&open, open.len(), &name, is_last);
            if self.arguments.all || name.ends_with(".target") {
                seen.push(name.clone());
                let deeper = self.level(&name)?;
                open.push(deeper);
            }
        }
        Ok(())
    }

    fn is_shown(&mut self, name: &str) -> Result<bool> {
        let (types, states) = (&self.arguments.types, &self.arguments.states);
        if !types.is_empty() && !types.iter().any(|word| word == kind(name)) {
            return Ok(false);
        }
        if states.is_empty() {
            return Ok(true);
        }
        let summary = &self.unit(name)?.summary;
        Ok(states.iter().any(|word| [&summary.load, &summary.active, &summary.sub].contains(&word)))
    }

    fn mark(&mut self, name: &str) -> Result<()> {
        if self.arguments.plain {
            self.out.push_str("  ");
            return Ok(());
        }
        let colour = self.look.colour;
        let active = self.unit(name)?.summary.active.clone();
        self.out.push_str(&paint(dot(&active), state_colour(&active), colour));
        self.out.push(' ');
        Ok(())
    }

    fn line(&mut self, open: &[Level], depth: usize, name: &str, is_last: bool) {
        if name == "..." && !self.arguments.plain {
            self.out.push_str("  ");
        }
        let mut bars = String::new();
        if !self.arguments.plain {
            // A level whose last branch is open has nothing more to come.
            for level in open.iter().take(depth.saturating_sub(1)) {
                bars.push_str(if level.next < level.branches.len() { "│ " } else { "  " });
            }
            bars.push_str(if is_last { "└─" } else { "├─" });
        }
        let room = self.look.width.map(|width| width.max(NARROW).saturating_sub(2 + bars.chars().count()));
        self.out.push_str(&bars);
        self.out.push_str(&shorten(&visible(name), room));
        self.out.push('\n');
    }
}

/// The units of some properties: targets last, then by name in any case.
fn branches(unit: &UnitDetails, relations: &[&str]) -> Vec<String> {
    let lists = relations.iter().map(|name| unit.properties.text(name));
    let mut names: Vec<String> = lists.flat_map(|list| split(list, Escapes::C).unwrap_or_default()).collect();
    names.sort_by_key(|name| (name.ends_with(".target"), name.to_ascii_lowercase()));
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_stand_in_the_order_of_their_names_with_targets_last() {
        let mut unit = UnitDetails::default();
        unit.properties.insert("Wants", "sysinit.target B.service a.service");
        unit.properties.insert("Requires", "a.service \"var-lib-a\\\\x2db.mount\"");
        let found = branches(&unit, &["Requires", "Wants"]);
        assert_eq!(found, ["a.service", "B.service", "var-lib-a\\x2db.mount", "sysinit.target"]);
        assert!(branches(&unit, &["After"]).is_empty());
    }
}
