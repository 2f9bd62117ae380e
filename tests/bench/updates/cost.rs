//! What a command took, as GNU time counts it: the command and all that it waited for.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

/// Time and memory. Threads of the kernel that work for it are not in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) wall: f64,
    pub(super) cpu: f64,
    pub(super) rss_kib: f64,
}

impl Cost {
    /// One after the other.
    pub(super) fn and(self, other: Cost) -> Cost {
        let rss_kib = self.rss_kib.max(other.rss_kib);
        Cost { wall: self.wall + other.wall, cpu: self.cpu + other.cpu, rss_kib }
    }

    pub(super) fn rss_mib(self) -> f64 {
        self.rss_kib / 1024.0
    }

    /// The median of each figure.
    pub(super) fn median(costs: &[Cost]) -> Cost {
        let median = |value: fn(&Cost) -> f64| {
            let mut values: Vec<f64> = costs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        Cost { wall: median(|c| c.wall), cpu: median(|c| c.cpu), rss_kib: median(|c| c.rss_kib) }
    }
}

/// Runs a command to its good end.
pub(super) fn cost_of(command: &Command) -> anyhow::Result<Cost> {
    let name = command.get_program().to_string_lossy().into_owned();
    let result = tempfile::NamedTempFile::new()?;
    let begin = std::time::Instant::now();
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%U %S %M", "-o"]).arg(result.path()).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let output = timed.output().context("running /usr/bin/time (Debian: time)")?;
    let wall = begin.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    ensure!(output.status.code() != Some(127), "{name} is not installed");
    ensure!(output.status.success(), "{name}: {said}");
    let text = fs::read_to_string(result.path())?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [user, system, rss_kib] = numbers[..] else { anyhow::bail!("time says '{text}' of {name}") };
    Ok(Cost { wall, cpu: user + system, rss_kib })
}

/// A line for bash, which fails when any part of a pipe does.
pub(super) fn shell(line: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", line]);
    command
}

/// User and system time of a running process, and of the children that it waited for, in seconds; clock ticks are
/// hundredths.
pub(super) fn cpu_of(process: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("/proc/PID/stat has no name in it")?;
    let ticks = rest.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// The most memory that a running process ever had, in KiB.
pub(super) fn peak_of(process: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    Ok(peak.context("no peak of memory")?.parse()?)
}
