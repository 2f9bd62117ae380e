//! `systemctl list-dependencies`: the tree of what a unit pulls in, from the properties of the units.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use ferrite_control::{Client, UnitDetails};

use super::arguments::Arguments;
use super::print;
use super::style::{Colour, dot, paint, state_colour, visible};
use super::verbs::{connect, details, named_units};

/// Units shown at most.
const UNITS_MAX: usize = 4096;
const PULLING: [&str; 5] = ["Requires", "Requisite", "Wants", "ConsistsOf", "BindsTo"];

/// A line that is still to be printed: a unit, and the bars in front of it.
struct Branch {
    unit: String,
    bars: String,
    is_last: bool,
}

/// Prints the tree. Without `--all` only targets are opened, as by systemd.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let colour = if std::io::IsTerminal::is_terminal(&std::io::stdout()) { Colour::On } else { Colour::Off };
    let operands = match arguments.operands.as_slice() {
        [] => vec!["default.target".to_owned()],
        some => some.to_vec(),
    };
    for name in named_units(&mut client, &operands)? {
        print(&tree(&mut client, &name, arguments, colour)?)?;
    }
    Ok(0)
}

fn tree(client: &mut Client, name: &str, arguments: &Arguments, colour: Colour) -> Result<String> {
    let top = details(client, name)?;
    let mut out = format!("{}\n", visible(&top.summary.name));
    let mut seen = BTreeSet::from([top.summary.name.clone()]);
    let mut waiting = branches(&top, "", &mut seen);
    while let Some(branch) = waiting.pop() {
        if seen.len() > UNITS_MAX {
            bail!("more than {UNITS_MAX} units depend on each other below {name}");
        }
        let unit = details(client, &branch.unit)?;
        let active = unit.summary.active.as_str();
        let line = if arguments.plain {
            format!("  {}", visible(&branch.unit))
        } else {
            let mark = paint(dot(active), state_colour(active), colour);
            let corner = if branch.is_last { "└─" } else { "├─" };
            format!("{mark} {}{corner}{}", branch.bars, visible(&branch.unit))
        };
        out.push_str(&line);
        out.push('\n');
        if arguments.all || branch.unit.ends_with(".target") {
            let bars = format!("{}{}", branch.bars, if branch.is_last { "  " } else { "│ " });
            waiting.extend(branches(&unit, &bars, &mut seen));
        }
    }
    Ok(out)
}

/// The units that a unit pulls in and that were not seen yet, last first.
fn branches(unit: &UnitDetails, bars: &str, seen: &mut BTreeSet<String>) -> Vec<Branch> {
    let lists = PULLING.iter().filter_map(|name| unit.properties.get(*name));
    let names: BTreeSet<String> = lists.flat_map(|list| list.split_whitespace()).map(str::to_owned).collect();
    let fresh: Vec<String> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
    let count = fresh.len();
    let branch = |(number, unit)| Branch { unit, bars: bars.to_owned(), is_last: number + 1 == count };
    fresh.into_iter().enumerate().map(branch).rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_shown_once_in_name_order() {
        let mut unit = UnitDetails::default();
        unit.properties.insert("Wants".into(), "b.service a.service".into());
        unit.properties.insert("Requires".into(), "a.service sysinit.target seen.service".into());
        let mut seen = BTreeSet::from(["seen.service".to_owned()]);
        let found = branches(&unit, "│ ", &mut seen);
        let names: Vec<&str> = found.iter().rev().map(|branch| branch.unit.as_str()).collect();
        assert_eq!(names, ["a.service", "b.service", "sysinit.target"]);
        assert!(found[0].is_last && !found[2].is_last);
        assert!(branches(&unit, "", &mut seen).is_empty());
    }
}
