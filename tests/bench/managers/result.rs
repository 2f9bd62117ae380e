//! What was measured of a manager, the median of several rounds, and the table. Pure.

use std::time::Duration;

use ferrite_cli::Table;

use super::place::Memory;

/// One round of one manager. `None`: it has no such thing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Processor time of the tree for the start of all services.
    pub(crate) start: Option<Duration>,
    /// Of that, process 1.
    pub(crate) start_first: Option<Duration>,
    /// Process 1 without services.
    pub(crate) empty: Option<Memory>,
    /// Process 1 with all services.
    pub(crate) full: Option<Memory>,
    /// Other processes of the manager then.
    pub(crate) others: Option<Memory>,
    /// Processor time of the tree for the chain.
    pub(crate) chain: Option<Duration>,
    /// Processor time of the tree for a reload of unchanged services.
    pub(crate) reload: Option<Duration>,
    /// The longest time without an answer meanwhile.
    pub(crate) silence: Option<Duration>,
    /// Processor time of process 1 for orphans.
    pub(crate) orphans: Option<Duration>,
    /// Orphans that were not reaped.
    pub(crate) zombies: Option<usize>,
}

/// A row: what, how it is read from the figures, its unit, and what Ferrite is to reach.
struct Row {
    what: &'static str,
    unit: &'static str,
    pick: fn(&Figures) -> Option<f64>,
    digits: usize,
    at_most: Option<f64>,
}

const ROWS: [Row; 13] = [
    row("1,000 services started", "CPU-s", |f| seconds(f.start), 2, Some(1.0)),
    row("  of that, PID 1", "CPU-s", |f| seconds(f.start_first), 2, None),
    row("PID 1 RSS, empty", "MiB", |f| f.empty.map(|m| mib(m.rss_kib)), 2, Some(4.0)),
    row("PID 1 PSS, empty", "MiB", |f| f.empty.map(|m| mib(m.pss_kib)), 2, None),
    row("PID 1 RSS, 1,000 services", "MiB", |f| f.full.map(|m| mib(m.rss_kib)), 2, Some(8.0)),
    row("PID 1 PSS, 1,000 services", "MiB", |f| f.full.map(|m| mib(m.pss_kib)), 2, None),
    row("supervisors' RSS, 1,000 services", "MiB", |f| f.others.map(|m| mib(m.rss_kib)), 2, None),
    row("supervisors' PSS, 1,000 services", "MiB", |f| f.others.map(|m| mib(m.pss_kib)), 2, None),
    row("chain of 200 oneshots", "CPU-s", |f| seconds(f.chain), 2, Some(0.3)),
    row("reload of 1,000 unchanged services", "CPU-ms", |f| milliseconds(f.reload), 1, Some(100.0)),
    row("  longest wait for an answer", "ms (wall)", |f| milliseconds(f.silence), 1, Some(100.0)),
    row("5,000 orphans reaped, PID 1", "CPU-ms", |f| milliseconds(f.orphans), 1, Some(250.0)),
    row("  zombies left", "", |f| f.zombies.map(|count| count as f64), 0, Some(0.0)),
];

const fn row(
    what: &'static str,
    unit: &'static str,
    pick: fn(&Figures) -> Option<f64>,
    digits: usize,
    at_most: Option<f64>,
) -> Row {
    Row { what, unit, pick, digits, at_most }
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

fn milliseconds(time: Option<Duration>) -> Option<f64> {
    seconds(time).map(|seconds| seconds * 1e3)
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The values of one manager, one a row.
pub(crate) type Column = Vec<Option<f64>>;

/// The median of each value; of an even number of rounds the lower one of both in the middle.
pub(crate) fn median(rounds: &[Figures]) -> Column {
    let of = |row: &Row| {
        let mut values: Vec<f64> = rounds.iter().filter_map(row.pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len().saturating_sub(1) / 2).copied()
    };
    ROWS.iter().map(of).collect()
}

/// The table; what is aimed at counts for Ferrite.
pub(crate) fn render(columns: &[(&'static str, Column)]) -> String {
    let heading = [""].into_iter().chain(columns.iter().map(|(name, _)| *name)).chain(["unit", "aim", ""]);
    let mut table = Table::with_heading(heading);
    for (at, row) in ROWS.iter().enumerate() {
        let value = |column: &Column| column.get(at).copied().flatten();
        let mut cells = vec![row.what.to_owned()];
        let text = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.*}", row.digits));
        cells.extend(columns.iter().map(|(_, column)| text(value(column))));
        cells.push(row.unit.to_owned());
        let ours = columns.iter().find(|(name, _)| *name == "ferrite").and_then(|(_, column)| value(column));
        if let Some(limit) = row.at_most {
            cells.push(format!("<= {limit}"));
            cells.extend(ours.map(|ours| if ours <= limit { "met" } else { "missed" }.to_owned()));
        }
        table.row(cells);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(milliseconds: u64) -> Figures {
        Figures { start: Some(Duration::from_millis(milliseconds)), zombies: Some(0), ..Figures::default() }
    }

    #[test]
    fn the_median_is_the_one_in_the_middle_of_each_row() {
        let column = median(&[round(3000), round(1000), round(2000)]);
        assert_eq!(column.first().copied().flatten(), Some(2.0));
        assert_eq!(median(&[round(2000), round(1000)]).first().copied().flatten(), Some(1.0));
    }

    #[test]
    fn what_a_manager_does_not_have_is_a_dash_and_an_aim_counts_for_ferrite() {
        let table = render(&[("ferrite", median(&[round(1500)])), ("s6", median(&[round(500)]))]);
        let line = |what: &str| table.lines().find(|line| line.starts_with(what)).unwrap_or_default().to_owned();
        let words = |what: &str| line(what).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words("1,000 services"), "1,000 services started 1.50 0.50 CPU-s <= 1 missed");
        assert_eq!(words("chain"), "chain of 200 oneshots - - CPU-s <= 0.3");
        assert_eq!(words("  zombies"), "zombies left 0 0 <= 0 met");
    }
}
