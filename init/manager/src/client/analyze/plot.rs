//! `systemd-analyze plot`: the boot as a picture, a bar for each unit; or the same as a table of numbers.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use ferrite_cli::Table;
use ferrite_control::UnitTimes;
use serde_json::Value;

use super::Call;
use super::boot::{self, UnitTime, related};
use super::picture::{Picture, Row};
use super::time::{self, milliseconds};
use crate::client::json::{self, Form};
use crate::client::print;

/// Relations that the picture tells when one points at a bar.
const TOLD: [&str; 7] = ["After", "Before", "Requires", "Requisite", "Wants", "Conflicts", "Upholds"];

/// Prints it.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let form = Form::of_line(&call.line)?;
    let factor = match call.line.value("scale-svg").map(str::parse::<f64>) {
        None => 1.0,
        Some(Ok(factor)) if factor.is_finite() && factor > 0.0 => factor,
        Some(_) => bail!("Failed to parse --scale-svg= parameter: Invalid argument"),
    };
    let mut client = call.connect()?;
    let boot = boot::boot(&mut client)?.finished()?;
    let sentence = time::of(&mut client, &boot)?;
    let units = boot::units(&mut client)?;
    let mut times: Vec<UnitTime> = units.iter().filter_map(|unit| UnitTime::of(unit, &boot)).collect();
    times.sort_by(|a, b| a.activating_us.cmp(&b.activating_us).then_with(|| a.name.cmp(&b.name)));
    times.iter_mut().for_each(|time| time.limit(&boot));
    if form != Form::Table {
        return print(&json::text(&times.iter().map(numbers).collect::<Vec<_>>(), form));
    }
    if call.line.has("table") {
        return print(&table(&times, call.line.has("no-legend")));
    }
    times.retain(|time| time.activating_us <= boot.finish_us);
    let heading = std::iter::once(host()).chain(sentence.lines().map(|line| line.trim_end().to_owned())).collect();
    let rows = rows(&times, &units);
    print(&Picture { boot: &boot, heading, rows, factor, detailed: call.line.has("detailed") }.draw())
}

/// A line of the table, with systemd's names; all in microseconds.
fn numbers(time: &UnitTime) -> Vec<(&'static str, Value)> {
    vec![
        ("name", time.name.as_str().into()),
        ("activated", time.activated_us.into()),
        ("activating", time.activating_us.into()),
        ("time", time.time_us.into()),
        ("deactivated", time.deactivated_us.into()),
        ("deactivating", time.deactivating_us.into()),
    ]
}

fn table(times: &[UnitTime], plain: bool) -> String {
    let heading = ["NAME", "ACTIVATED", "ACTIVATING", "TIME", "DEACTIVATED", "DEACTIVATING"];
    let mut table = if plain { Table::without_heading() } else { Table::with_heading(heading) };
    for time in times {
        let moments = [time.activated_us, time.activating_us, time.time_us, time.deactivated_us, time.deactivating_us];
        table.row(std::iter::once(time.name.clone()).chain(moments.map(milliseconds)));
    }
    let legend = if plain { String::new() } else { format!("\n{} Units listed.\n", times.len()) };
    format!("{}{legend}", table.render())
}

/// The bars with what is told when one points at them.
fn rows(times: &[UnitTime], units: &[UnitTimes]) -> Vec<Row> {
    let mut before: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for unit in units {
        for other in related(units, unit, "After") {
            before.entry(other).or_default().push(&unit.name);
        }
    }
    let by_name: BTreeMap<&str, &UnitTimes> = units.iter().map(|unit| (unit.name.as_str(), unit)).collect();
    let row = |time: &UnitTime| {
        let unit = by_name.get(time.name.as_str());
        let told = TOLD.into_iter().filter_map(|relation| {
            let others = match relation {
                "Before" => before.get(time.name.as_str()).cloned().unwrap_or_default(),
                _ => unit.map(|unit| related(units, unit, relation)).unwrap_or_default(),
            };
            (!others.is_empty()).then(|| (relation, others.into_iter().map(str::to_owned).collect()))
        });
        Row { time: time.clone(), relations: told.collect() }
    };
    times.iter().map(row).collect()
}

/// The system and the machine, for the heading.
fn host() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let release = Some(read("/etc/os-release")).filter(|text| !text.is_empty());
    let release = ferrite_unit::environment::parse_file(&release.unwrap_or_else(|| read("/usr/lib/os-release")));
    let system = release.into_iter().find(|(name, _)| name == "PRETTY_NAME").map_or("Linux".to_owned(), |(_, v)| v);
    let uname = rustix::system::uname();
    let words = [uname.sysname(), uname.release(), uname.version()].map(|word| word.to_string_lossy().into_owned());
    let (name, machine) = (uname.nodename().to_string_lossy(), crate::host::architecture());
    format!("{system} {name} ({}) {machine}", words.join(" "))
}
