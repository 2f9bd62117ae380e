//! What was measured of a journal, the median of several rounds, and the table. Pure.

use std::time::Duration;

use anyhow::Context;
use ferrite_cli::Table;

/// Ticks a second in /proc.
const TICKS: u64 = 100;

/// What messages of one source took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) messages: u64,
    pub(crate) wall: Duration,
    pub(crate) used: Duration,
}

/// Memory of the daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) rss_kib: u64,
    /// Without pages of files.
    pub(crate) own_kib: u64,
}

/// What a search took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) wall: Duration,
    pub(crate) used: Duration,
}

/// One round of one daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Native, syslog, stream.
    pub(crate) sources: [Cost; 3],
    pub(crate) lost: u64,
    pub(crate) memory: Memory,
    pub(crate) bytes_a_message: f64,
    pub(crate) search: Search,
}

/// A row: what, its unit, how it is read from the figures, and what Ferrite is to reach.
struct Row {
    what: &'static str,
    unit: &'static str,
    pick: fn(&Figures) -> f64,
    digits: usize,
    aim: Option<Aim>,
}

#[derive(Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

const ROWS: [Row; 13] = [
    row("native", "CPU-us a message", |f| each(f.sources[0]), 1, Some(Aim::AtMost(15.0))),
    row("syslog", "CPU-us a message", |f| each(f.sources[1]), 1, Some(Aim::AtMost(15.0))),
    row("output of a service", "CPU-us a message", |f| each(f.sources[2]), 1, Some(Aim::AtMost(10.0))),
    row("native", "messages a CPU-s", |f| per_second(f.sources[0]), 0, Some(Aim::AtLeast(50_000.0))),
    row("native, until durable", "messages/s (wall)", |f| rate(f.sources[0]), 0, None),
    row("syslog, until durable", "messages/s (wall)", |f| rate(f.sources[1]), 0, None),
    row("output, until durable", "messages/s (wall)", |f| rate(f.sources[2]), 0, None),
    row("messages lost", "", |f| f.lost as f64, 0, Some(Aim::AtMost(0.0))),
    row("RSS afterwards", "MiB", |f| f.memory.rss_kib as f64 / 1024.0, 1, None),
    row("  of that, no pages of files", "MiB", |f| f.memory.own_kib as f64 / 1024.0, 1, None),
    row("disk", "bytes a message", |f| f.bytes_a_message, 0, None),
    row("journalctl -u X -n 20", "ms (wall)", |f| f.search.wall.as_secs_f64() * 1e3, 1, Some(Aim::AtMost(50.0))),
    row("journalctl -u X -n 20", "CPU-ms", |f| f.search.used.as_secs_f64() * 1e3, 1, None),
];

const fn row(
    what: &'static str,
    unit: &'static str,
    pick: fn(&Figures) -> f64,
    digits: usize,
    aim: Option<Aim>,
) -> Row {
    Row { what, unit, pick, digits, aim }
}

fn rate(cost: Cost) -> f64 {
    cost.messages as f64 / cost.wall.as_secs_f64().max(1e-9)
}

/// What a processor takes that does nothing else.
fn per_second(cost: Cost) -> f64 {
    cost.messages as f64 / cost.used.as_secs_f64().max(1e-9)
}

fn each(cost: Cost) -> f64 {
    cost.used.as_secs_f64() * 1e6 / cost.messages.max(1) as f64
}

/// The rows of the table.
pub(crate) type Column = Vec<f64>;

/// The median of each row.
pub(crate) fn median(rounds: &[Figures]) -> Column {
    let of = |row: &Row| {
        let mut values: Vec<f64> = rounds.iter().map(row.pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
    };
    ROWS.iter().map(of).collect()
}

/// The table; the first column is Ferrite's, and what is aimed at counts for it.
pub(crate) fn render(columns: &[(&'static str, Column)]) -> String {
    let heading = [""].into_iter().chain(columns.iter().map(|(name, _)| *name)).chain(["unit", "aim", ""]);
    let mut table = Table::with_heading(heading);
    for (at, row) in ROWS.iter().enumerate() {
        let value = |column: &Column| column.get(at).copied().unwrap_or_default();
        let mut cells = vec![row.what.to_owned()];
        cells.extend(columns.iter().map(|(_, column)| format!("{:.*}", row.digits, value(column))));
        cells.push(row.unit.to_owned());
        let ours = columns.first().map_or(0.0, |(_, column)| value(column));
        let aim = row.aim.map(|aim| match aim {
            Aim::AtMost(limit) => (format!("<= {limit}"), ours <= limit),
            Aim::AtLeast(limit) => (format!(">= {limit}"), ours >= limit),
        });
        if let Some((aim, is_met)) = aim {
            cells.extend([aim, if is_met { "met" } else { "missed" }.to_owned()]);
        }
        table.row(cells);
    }
    table.render()
}

/// Processor time of a process in its `/proc/PID/stat`.
pub(crate) fn used(stat: &str) -> anyhow::Result<Duration> {
    ticks(stat, 14)
}

/// The same of its children that it waited for.
pub(crate) fn used_by_children(stat: &str) -> anyhow::Result<Duration> {
    ticks(stat, 16)
}

/// The sum of a field, counted from 1 as proc(5) does, and the next one. The name before may hold anything.
fn ticks(stat: &str, field: usize) -> anyhow::Result<Duration> {
    let (_, rest) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    // The third field is the first behind the name.
    let both = words.get(field - 3..field - 1).context("/proc/PID/stat is short")?;
    let sum = both.iter().map(|word| word.parse::<u64>()).sum::<Result<u64, _>>().context("reading ticks")?;
    Ok(Duration::from_millis(sum * 1000 / TICKS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(milliseconds: u64) -> Figures {
        let cost = Cost {
            messages: 1000,
            wall: Duration::from_millis(milliseconds),
            used: Duration::from_millis(milliseconds / 2),
        };
        Figures { sources: [cost; 3], ..Figures::default() }
    }

    #[test]
    fn rates_and_costs_are_of_a_message_and_aims_count_for_the_first_column() {
        let table = render(&[("ferrite", median(&[round(30), round(10), round(20)])), ("other", median(&[round(40)]))]);
        let words: Vec<String> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(words[0], "ferrite other unit aim");
        assert_eq!(words[1], "native 10.0 20.0 CPU-us a message <= 15 met");
        assert_eq!(words[4], "native 100000 50000 messages a CPU-s >= 50000 met");
        assert_eq!(words[5], "native, until durable 50000 25000 messages/s (wall)");
        assert_eq!(words[10], "of that, no pages of files 0.0 0.0 MiB");
    }

    #[test]
    fn the_time_of_a_process_is_user_and_system() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 30 20 20 0 1 0 5";
        assert_eq!(used(stat).expect("whole"), Duration::from_secs(2));
        assert_eq!(used_by_children(stat).expect("whole"), Duration::from_millis(500));
        assert!(used("7 (a) S 1").is_err());
    }
}
