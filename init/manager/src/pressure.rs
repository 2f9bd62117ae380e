//! `Condition*Pressure=`: is the machine, or a slice, under less pressure than this? Pure but for one file read.

use std::fs;

use ferrite_unit::UnitName;

/// What is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processor time.
    Cpu,
    /// Disks.
    Io,
}

/// `[SLICE:]PERCENT[/TIME]`: where to look, and what is too much.
#[derive(Debug, PartialEq)]
struct Question<'a> {
    slice: Option<&'a str>,
    percent: f64,
    average: &'static str,
}

fn parse(argument: &str) -> Option<Question<'_>> {
    let (slice, limit) = match argument.split_once(':') {
        Some((slice, limit)) => (Some(slice.trim()), limit),
        None => (None, argument),
    };
    let (percent, average) = match limit.split_once('/').map(|(percent, time)| (percent, time.trim())) {
        None => (limit, "avg300="),
        Some((percent, time)) if time.starts_with("10sec") => (percent, "avg10="),
        Some((percent, time)) if time.starts_with("1min") => (percent, "avg60="),
        Some((percent, time)) if time.starts_with("5min") => (percent, "avg300="),
        Some(_) => return None,
    };
    let (number, parts) = match percent.trim() {
        text if text.ends_with('%') => (text.strip_suffix('%')?, 1.0),
        text if text.ends_with('‰') => (text.strip_suffix('‰')?, 10.0),
        text => (text.strip_suffix('‱')?, 100.0),
    };
    let percent = number.parse::<f64>().ok()? / parts;
    (0.0..=100.0).contains(&percent).then_some(Question { slice, percent, average })
}

/// An average of a pressure file: of the time when all waited, or, where the kernel does not tell it, some.
fn average(text: &str, name: &str, all: bool) -> Option<f64> {
    let of = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        line.split_whitespace().find_map(|word| word.strip_prefix(name))?.parse().ok()
    };
    if all { of("full ").or_else(|| of("some ")) } else { of("some ") }
}

/// Is the pressure at most this? Where the kernel does not tell it holds. `None`: the argument means nothing.
pub fn at_most(resource: Resource, argument: &str) -> Option<bool> {
    let question = parse(argument)?;
    let name = match resource {
        Resource::Memory => "memory",
        Resource::Cpu => "cpu",
        Resource::Io => "io",
    };
    let path = match question.slice {
        None => format!("/proc/pressure/{name}"),
        Some(slice) => {
            format!("/sys/fs/cgroup{}/{name}.pressure", ferrite_unit::slice::group(&UnitName::parse(slice).ok()?))
        }
    };
    let Ok(text) = fs::read_to_string(path) else { return Some(true) };
    // For the processors of the whole machine "full" means nothing.
    let all = resource != Resource::Cpu || question.slice.is_some();
    average(&text, question.average, all).map(|now| now <= question.percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_name_a_slice_a_limit_and_a_time() {
        let question = |slice, percent, average| Some(Question { slice, percent, average });
        assert_eq!(parse("5%"), question(None, 5.0, "avg300="));
        assert_eq!(parse("a.slice:12.5%/1min"), question(Some("a.slice"), 12.5, "avg60="));
        assert_eq!(parse("50‰ / 10sec"), question(None, 5.0, "avg10="));
        for wrong in ["", "5", "101%", "5%/1h", "x%"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_time_when_all_waited_counts_where_it_is_told() {
        let text = "some avg10=2.00 avg60=3.00 avg300=4.00 total=1\nfull avg10=1.00 avg60=0.50 avg300=0.25 total=1\n";
        assert_eq!(average(text, "avg10=", true), Some(1.0));
        assert_eq!(average(text, "avg300=", false), Some(4.0));
        assert_eq!(average("some avg10=2.00\n", "avg10=", true), Some(2.0));
        assert_eq!(average("", "avg10=", true), None);
    }
}
