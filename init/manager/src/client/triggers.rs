//! `list-timers`, `list-sockets`, `list-paths`: what starts which unit, and when.

use anyhow::{Result, bail};
use ferrite_control::{ClientError, Reply, Request, UnitDetails};
use ferrite_unit::timespan;
use ferrite_unit::timestamp::Style;

use super::arguments::Arguments;
use super::listing::{self, is_shown};
use super::print;
use super::verbs::{connect, details, look};
use crate::clock::wall_us;

/// A row and what it is sorted by.
type Row = (u64, Vec<String>);

/// Prints the table of the verb.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let (kind, heading): (&str, &[&str]) = match arguments.verb.as_str() {
        "list-timers" => ("timer", &["NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES"]),
        "list-sockets" if arguments.show_types => ("socket", &["LISTEN", "TYPE", "UNIT", "ACTIVATES"]),
        "list-sockets" => ("socket", &["LISTEN", "UNIT", "ACTIVATES"]),
        _ => ("path", &["PATH", "CONDITION", "UNIT", "ACTIVATES"]),
    };
    let units = units(arguments, kind)?;
    let mut rows: Vec<Row> = match kind {
        "timer" => units.iter().map(|unit| timer(unit, arguments)).collect(),
        "socket" => units.iter().flat_map(|unit| sockets(unit, arguments)).collect(),
        _ => units.iter().flat_map(paths).collect(),
    };
    rows.sort();
    let count = rows.len();
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    let mut text = listing::table(heading, rows, arguments, look(arguments));
    if !arguments.no_legend {
        text.push_str(&format!("\n{count} {kind}s listed.\n"));
        if !arguments.all {
            text.push_str(&format!("Pass --all to see loaded but inactive {kind}s, too.\n"));
        }
    }
    print(&text)
}

fn units(arguments: &Arguments, kind: &str) -> Result<Vec<UnitDetails>> {
    let mut client = connect(arguments)?;
    let Reply::Units(all) = client.ask(&Request::ListUnits)? else { bail!(ClientError::Unexpected) };
    let suffix = format!(".{kind}");
    let shown = all.iter().filter(|unit| unit.name.ends_with(&suffix) && is_shown(unit, arguments));
    shown.map(|unit| details(&mut client, &unit.name)).collect()
}

fn property<'a>(unit: &'a UnitDetails, name: &str) -> &'a str {
    unit.properties.get(name).map_or("", String::as_str)
}

fn activates(unit: &UnitDetails) -> String {
    match property(unit, "Unit") {
        "" => "-".to_owned(),
        name => name.to_owned(),
    }
}

/// The next elapse: of both clocks, what comes first.
fn next_us(unit: &UnitDetails, now: u64) -> u64 {
    let number = |name: &str| property(unit, name).parse::<u64>().unwrap_or(0);
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let monotonic_now = u64::try_from(clock.tv_sec * 1_000_000 + clock.tv_nsec / 1000).unwrap_or(0);
    let monotonic = match number("NextElapseUSecMonotonic") {
        0 => 0,
        at if at >= monotonic_now => now.saturating_add(at - monotonic_now),
        at => now.saturating_sub(monotonic_now - at),
    };
    match (number("NextElapseUSecRealtime"), monotonic) {
        (0, one) | (one, 0) => one,
        (wall, monotonic) => wall.min(monotonic),
    }
}

fn timer(unit: &UnitDetails, arguments: &Arguments) -> Row {
    let now = wall_us();
    let zones = arguments.zones();
    let moment = |us: u64| Style::Pretty.print(us, zones.local()).unwrap_or_else(|| "-".into());
    let next = next_us(unit, now);
    let last = property(unit, "LastTriggerUSec").parse::<u64>().unwrap_or(0);
    let left = if next == 0 { "-".to_owned() } else { timespan::until(next, now) };
    let passed = if last == 0 { "-".to_owned() } else { timespan::distance(last, now) };
    let row = vec![moment(next), left, moment(last), passed, unit.summary.name.clone(), activates(unit)];
    (if next == 0 { u64::MAX } else { next }, row)
}

fn sockets(unit: &UnitDetails, arguments: &Arguments) -> Vec<Row> {
    let row = |listen: &str| {
        let (target, word) = listen.rsplit_once(" (").unwrap_or((listen, ""));
        let mut row = vec![target.to_owned()];
        if arguments.show_types {
            row.push(word.trim_end_matches(')').to_owned());
        }
        row.extend([unit.summary.name.clone(), activates(unit)]);
        (0, row)
    };
    property(unit, "Listen").lines().map(row).collect()
}

fn paths(unit: &UnitDetails) -> Vec<Row> {
    let row = |path: &str| {
        let (target, word) = path.rsplit_once(" (").unwrap_or((path, ""));
        let condition = word.trim_end_matches(')').to_owned();
        (0, vec![target.to_owned(), condition, unit.summary.name.clone(), activates(unit)])
    };
    property(unit, "Paths").lines().map(row).collect()
}
