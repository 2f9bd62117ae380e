//! `systemd-analyze critical-chain`: which units a unit waited for, and which those waited for.
//!
//! Of the units that a unit comes after, the one that was up last is the one it waited for.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use ferrite_control::UnitTimes;
use ferrite_unit::timespan;

use super::Call;
use super::boot::{self, Boot, UnitTime, related};
use super::time::milliseconds;
use crate::client::print;
use crate::client::style::{Colour, RED, paint, visible};
use crate::client::unit_names::full_name;
use crate::client::verbs::details;

const HEADING: &str = "\
The time when unit became active or started is printed after the \"@\" character.
The time the unit took to start is printed after the \"+\" character.

";

/// Lines of all chains together.
const LINES_MAX: usize = 10_000;

/// Prints the chain of each unit.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let fuzz_us = match call.line.value("fuzz").map(timespan::parse) {
        None => 0,
        Some(Ok(span)) => span,
        Some(Err(_)) => bail!("Failed to parse --fuzz= parameter: Invalid argument"),
    };
    let mut client = call.connect()?;
    let boot = boot::boot(&mut client)?.finished()?;
    let asked = match call.operands() {
        [] => vec!["default.target".to_owned()],
        some => some.iter().map(|word| full_name(word)).collect(),
    };
    let ids: Vec<String> =
        asked.iter().map(|name| Ok(details(&mut client, name)?.summary.name)).collect::<Result<_>>()?;
    let units = boot::units(&mut client)?;
    let chains = Chains::new(&units, &boot, fuzz_us);
    let trees: String =
        ids.iter().map(|id| chains.tree(id).render(&boot, call.colour, call.caller.is_utf8())).collect();
    print(&format!("{HEADING}{trees}"))
}

/// All units by name, with their times.
struct Chains<'a> {
    units: &'a [UnitTimes],
    known: BTreeMap<&'a str, (&'a UnitTimes, UnitTime)>,
    finish_us: u64,
    fuzz_us: u64,
}

/// A line: the bars before it, whether it is the last of its branch, and the unit; `None` for one seen above.
type Branch = (Vec<bool>, bool, Option<UnitTime>);

/// The chain of a unit.
#[derive(Debug, Default)]
struct Tree {
    top: Option<UnitTime>,
    branches: Vec<Branch>,
}

impl<'a> Chains<'a> {
    fn new(units: &'a [UnitTimes], boot: &Boot, fuzz_us: u64) -> Chains<'a> {
        let timed = |unit: &'a UnitTimes| Some((unit.name.as_str(), (unit, UnitTime::of(unit, boot)?)));
        Chains { units, known: units.iter().filter_map(timed).collect(), finish_us: boot.finish_us, fuzz_us }
    }

    /// The units that a unit waited for, the last one first.
    fn waited_for(&self, name: &str) -> Vec<&UnitTime> {
        let Some(unit) = self.units.iter().find(|unit| unit.name == name) else { return Vec::new() };
        let known = related(self.units, unit, "After").into_iter().filter_map(|name| self.known.get(name));
        let in_time = |unit: &&UnitTime| unit.activated_us > 0 && unit.activated_us <= self.finish_us;
        let mut found: Vec<&UnitTime> = known.map(|(_, time)| time).filter(in_time).collect();
        found.sort_by(|a, b| b.activated_us.cmp(&a.activated_us).then_with(|| a.name.cmp(&b.name)));
        let last = found.first().map_or(0, |unit| unit.activated_us);
        found.retain(|unit| last - unit.activated_us <= self.fuzz_us);
        found
    }

    fn tree(&self, name: &str) -> Tree {
        let mut tree = Tree { top: self.known.get(name).map(|(_, time)| time.clone()), branches: Vec::new() };
        let mut seen = BTreeSet::from([name.to_owned()]);
        let below = |name: &str, bars: &[bool]| -> Vec<Branch> {
            let units = self.waited_for(name);
            let count = units.len();
            let branch = |(number, unit): (usize, &UnitTime)| (bars.to_vec(), number + 1 == count, Some(unit.clone()));
            units.into_iter().enumerate().map(branch).rev().collect()
        };
        let mut open = below(name, &[]);
        while let Some((bars, is_last, unit)) = open.pop() {
            let name = unit.as_ref().map(|unit| unit.name.clone()).unwrap_or_default();
            tree.branches.push((bars.clone(), is_last, unit));
            if tree.branches.len() >= LINES_MAX {
                break;
            }
            let bars = [bars, vec![!is_last]].concat();
            if seen.insert(name.clone()) {
                open.extend(below(&name, &bars));
            } else {
                tree.branches.push((bars, true, None));
            }
        }
        tree
    }
}

impl Tree {
    fn render(&self, boot: &Boot, colour: Colour, utf8: bool) -> String {
        let [bar, last, branch] = if utf8 { ["│ ", "└─", "├─"] } else { ["| ", "`-", "|-"] };
        let since = |us: u64| milliseconds(us.saturating_sub(boot.userspace_us));
        let mut out = match &self.top {
            None => String::new(),
            Some(unit) if unit.time_us > 0 => {
                let text = format!("{} +{}", visible(&unit.name), milliseconds(unit.time_us));
                format!("{}\n", paint(&text, RED, colour))
            }
            Some(unit) if unit.activated_us > boot.userspace_us => {
                format!("{} @{}\n", visible(&unit.name), since(unit.activated_us))
            }
            Some(unit) => format!("{}\n", visible(&unit.name)),
        };
        for (bars, is_last, unit) in &self.branches {
            let text = match unit {
                None => "...".to_owned(),
                Some(unit) if unit.activating_us < boot.userspace_us => visible(&unit.name),
                Some(unit) if unit.time_us > 0 => {
                    let (at, took) = (since(unit.activating_us), milliseconds(unit.time_us));
                    paint(&format!("{} @{at} +{took}", visible(&unit.name)), RED, colour)
                }
                Some(unit) => format!("{} @{}", visible(&unit.name), since(unit.activated_us)),
            };
            let bars: String = bars.iter().map(|goes_on| if *goes_on { bar } else { "  " }).collect();
            out.push_str(&format!("{bars}{}{text}\n", if *is_last { last } else { branch }));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units with the moments when they began and were up, and those that they come after.
    fn units(rows: &[(&str, u64, u64, &[u32])]) -> Vec<UnitTimes> {
        let unit = |(name, began, up, after): &(&str, u64, u64, &[u32])| UnitTimes {
            name: (*name).to_owned(),
            inactive_exit_us: *began,
            active_enter_us: *up,
            relations: [("After".to_owned(), after.to_vec())].into(),
            ..UnitTimes::default()
        };
        rows.iter().map(unit).collect()
    }

    const BOOT: Boot = Boot {
        kernel_done_us: 1000,
        initrd_us: 0,
        userspace_us: 1000,
        finish_us: 90_000,
        generators_us: (0, 0),
        units_load_us: (0, 0),
        is_soft_reboot: false,
        offset_us: 0,
    };

    fn chain(units: &[UnitTimes], name: &str, fuzz_us: u64) -> String {
        Chains::new(units, &BOOT, fuzz_us).tree(name).render(&BOOT, Colour::Off, true)
    }

    #[test]
    fn each_unit_waited_for_the_last_one_before_it() {
        let units = units(&[
            ("all.target", 50_000, 50_000, &[1, 2, 4]),
            ("slow.service", 21_000, 49_000, &[2]),
            ("first.service", 2000, 20_000, &[3]),
            ("early.slice", 500, 500, &[]),
            ("late.service", 95_000, 99_000, &[]),
        ]);
        assert_eq!(
            chain(&units, "all.target", 0),
            "all.target @49ms\n└─slow.service @20ms +28ms\n  └─first.service @1ms +18ms\n    └─early.slice\n"
        );
        assert_eq!(chain(&units, "first.service", 0), "first.service +18ms\n└─early.slice\n");
        assert_eq!(chain(&units, "unknown.service", 0), "");
    }

    #[test]
    fn with_fuzz_nearly_as_late_ones_are_shown_and_nothing_is_opened_twice() {
        let units = units(&[
            ("all.target", 50_000, 50_000, &[1, 2]),
            ("a.service", 30_000, 49_000, &[3]),
            ("b.service", 30_000, 48_000, &[3]),
            ("base.target", 29_000, 29_000, &[4]),
            ("x.mount", 10_000, 28_000, &[]),
        ]);
        let lines = [
            "all.target @49ms",
            "├─a.service @29ms +19ms",
            "│ └─base.target @28ms",
            "│   └─x.mount @9ms +18ms",
            "└─b.service @29ms +18ms",
            "  └─base.target @28ms",
            "    └─...",
        ];
        assert_eq!(chain(&units, "all.target", 1000).lines().collect::<Vec<_>>(), lines);
        let ascii = Chains::new(&units, &BOOT, 0).tree("all.target").render(&BOOT, Colour::On, false);
        assert!(ascii.contains("`-\x1b[0;1;31ma.service @29ms +19ms\x1b[0m\n  `-base.target"), "{ascii}");
    }
}
