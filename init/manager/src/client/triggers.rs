//! `list-timers`, `list-sockets`, `list-paths`, `list-automounts`: what starts which unit, and when.

use anyhow::{Result, bail};
use ferrite_control::{ClientError, Properties, Reply, Request, UnitDetails};
use ferrite_unit::timespan;
use ferrite_unit::timestamp::Style;

use super::arguments::Arguments;
use super::listing::is_shown;
use super::print;
use super::style::RED;
use super::table::{self, Cell, Column, Value, cell, left, or_dash, right, valued};
use super::verbs::{connect, details, look, style};
use crate::clock::wall_us;

/// A row and what it is sorted by.
type Row = ((u64, String), Vec<Cell>);

const TIMERS: [Column; 6] = [
    left("NEXT", "next"),
    right("LEFT", "left"),
    left("LAST", "last"),
    right("PASSED", "passed"),
    left("UNIT", "unit"),
    left("ACTIVATES", "activates"),
];
const SOCKETS: [Column; 4] =
    [left("LISTEN", "listen"), left("TYPE", "type"), left("UNIT", "unit"), left("ACTIVATES", "activates")];
const PATHS: [Column; 4] =
    [left("PATH", "path"), left("CONDITION", "condition"), left("UNIT", "unit"), left("ACTIVATES", "activates")];
const AUTOMOUNTS: [Column; 5] = [
    left("WHAT", "what"),
    left("WHERE", "where"),
    left("MOUNTED", "mounted"),
    left("IDLE TIMEOUT", "idle_timeout"),
    left("UNIT", "unit"),
];

/// Prints the table of the verb.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let (kind, mut columns): (&str, Vec<Column>) = match arguments.verb.as_str() {
        "list-timers" => ("timer", TIMERS.to_vec()),
        "list-sockets" => ("socket", SOCKETS.to_vec()),
        "list-paths" => ("path", PATHS.to_vec()),
        _ => ("automount", AUTOMOUNTS.to_vec()),
    };
    let units = units(arguments, kind)?;
    let mut rows: Vec<Row> = match kind {
        "timer" => units.iter().map(|unit| timer(unit, arguments)).collect::<Result<_>>()?,
        "socket" => units.iter().flat_map(|unit| listed(unit, "Listen")).collect(),
        "path" => units.iter().flat_map(|unit| listed(unit, "Paths")).collect(),
        _ => automounts(&units, arguments)?,
    };
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut rows: Vec<Vec<Cell>> = rows.into_iter().map(|(_, row)| row).collect();
    if kind == "socket" && !arguments.show_types {
        columns.remove(1);
        rows.iter_mut().for_each(|row| drop(row.remove(1)));
    }
    let summary = || {
        let hint = if arguments.all {
            String::new()
        } else {
            format!("Pass --all to see loaded but inactive {kind}s, too.\n")
        };
        format!("\n{} {kind}s listed.\n{hint}", rows.len())
    };
    print(&table::render(&columns, &rows, arguments, look(arguments), summary))
}

fn units(arguments: &Arguments, kind: &str) -> Result<Vec<UnitDetails>> {
    let mut client = connect(arguments)?;
    let Reply::Units(all) = client.ask(&Request::ListUnits)? else { bail!(ClientError::Unexpected) };
    let suffix = format!(".{kind}");
    let shown = all.iter().filter(|unit| unit.name.ends_with(&suffix) && is_shown(unit, arguments));
    shown.map(|unit| details(&mut client, &unit.name)).collect()
}

/// The unit that is started: of a timer or path its `Unit=`, of a socket what it triggers.
fn activates(unit: &UnitDetails) -> Cell {
    match unit.properties.text("Unit") {
        "" => or_dash(unit.properties.text("Triggers")),
        name => cell(name, ""),
    }
}

/// The next elapse: of both clocks, what comes first.
fn next_us(properties: &Properties, now: u64) -> u64 {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let monotonic_now = u64::try_from(clock.tv_sec * 1_000_000 + clock.tv_nsec / 1000).unwrap_or(0);
    let monotonic = match properties.number("NextElapseUSecMonotonic") {
        None | Some(0 | u64::MAX) => 0,
        Some(at) if at >= monotonic_now => now.saturating_add(at - monotonic_now),
        Some(at) => now.saturating_sub(monotonic_now - at),
    };
    match (properties.moment_us("NextElapseUSecRealtime"), monotonic) {
        (0, one) | (one, 0) => one,
        (wall, monotonic) => wall.min(monotonic),
    }
}

fn timer(unit: &UnitDetails, arguments: &Arguments) -> Result<Row> {
    let now = wall_us();
    let zones = arguments.zones();
    let style = style(arguments);
    let next = next_us(&unit.properties, now);
    let last = unit.properties.moment_us("LastTriggerUSec");
    let moment = |us: u64| match Style::print(style, us, zones.local()) {
        Some(text) => valued(text, Value::Number(us)),
        None => valued("-", Value::Nothing),
    };
    let span = |us: u64, text: String| {
        if us == 0 { valued("-", Value::Nothing) } else { valued(text, Value::Number(us)) }
    };
    let mut last_cell = moment(last);
    let mut passed = span(last, timespan::distance(last, now));
    if last == 0 {
        (last_cell, passed) = (valued("-", Value::Number(0)), valued("-", Value::Number(0)));
    }
    let name = unit.summary.name.clone();
    let row = vec![
        moment(next),
        span(next, timespan::until(next, now)),
        last_cell,
        passed,
        cell(&*name, ""),
        activates(unit),
    ];
    Ok(((if next == 0 { u64::MAX } else { next }, name), row))
}

/// A row for each socket or path: where, how, and what for.
fn listed(unit: &UnitDetails, property: &'static str) -> Vec<Row> {
    let row = |line: &String| {
        let (target, word) = line.rsplit_once(" (").unwrap_or((line, ""));
        let word = word.trim_end_matches(')');
        let name = unit.summary.name.as_str();
        let row = vec![cell(target, ""), cell(word, ""), cell(name, ""), activates(unit)];
        ((0, format!("{target}\0{word}\0{name}")), row)
    };
    unit.properties.all(property).map(row).collect()
}

fn automounts(units: &[UnitDetails], arguments: &Arguments) -> Result<Vec<Row>> {
    let mut client = connect(arguments)?;
    let mut rows = Vec::new();
    for unit in units {
        let place = unit.properties.text("Where");
        let mounted = match unit.properties.text("Triggers") {
            "" => UnitDetails::default(),
            mount => details(&mut client, mount)?,
        };
        let is_mounted = mounted.summary.active == "active";
        let idle = unit.properties.text("TimeoutIdleUSec");
        let idle_us = timespan::parse(idle).ok().filter(|us| *us > 0 && *us != timespan::INFINITE_US);
        let row = vec![
            or_dash(mounted.properties.text("What")),
            cell(place, ""),
            valued(if is_mounted { "yes" } else { "no" }, Value::Flag(is_mounted)),
            idle_us.map_or_else(|| valued("-", Value::Nothing), |us| valued(idle, Value::Number(us))),
            cell(&*unit.summary.name, if unit.summary.active == "failed" { RED } else { "" }),
        ];
        rows.push(((0, place.to_owned()), row));
    }
    Ok(rows)
}
