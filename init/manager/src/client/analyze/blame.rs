//! `systemd-analyze blame`: the units whose start took longest, those first.

use anyhow::Result;

use super::Call;
use super::boot::{self, UnitTime};
use super::time::milliseconds;
use crate::client::print;
use crate::client::style::visible;

/// Prints a line for each unit; the boot may go on.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let mut client = call.connect()?;
    let boot = boot::boot(&mut client)?;
    let units = boot::units(&mut client)?;
    print(&render(units.iter().filter_map(|unit| UnitTime::of(unit, &boot)).collect()))
}

fn render(mut units: Vec<UnitTime>) -> String {
    units.retain(|unit| unit.time_us > 0);
    units.sort_by(|a, b| b.time_us.cmp(&a.time_us).then_with(|| a.name.cmp(&b.name)));
    let rows: Vec<(String, String)> =
        units.iter().map(|unit| (milliseconds(unit.time_us), visible(&unit.name))).collect();
    let width = rows.iter().map(|(time, _)| time.len()).max().unwrap_or(0);
    rows.into_iter().map(|(time, name)| format!("{time:>width$} {name}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_start_comes_first() {
        let unit = |name: &str, time_us| UnitTime { name: name.to_owned(), time_us, ..UnitTime::default() };
        let units = vec![unit("a.service", 5000), unit("b.service", 61_002_000), unit("c.target", 0)];
        assert_eq!(render(units), "1min 1.002s b.service\n        5ms a.service\n");
        assert_eq!(render(Vec::new()), "");
    }
}
