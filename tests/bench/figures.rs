//! What is measured of one boot, and the summary of several. Pure.

use std::time::Duration;

/// One measured boot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Processor time until the kernel's first line.
    pub(crate) kernel: Duration,
    /// Processor time until PID 1's first line.
    pub(crate) pid_1: Duration,
    /// Processor time until the ssh banner.
    pub(crate) banner: Duration,
    /// Wall time until the ssh banner.
    pub(crate) banner_wall: Duration,
    /// Processor time until `systemctl is-system-running` says so, a login included.
    pub(crate) running: Duration,
    /// Share of one processor while nothing happens.
    pub(crate) idle_share: f64,
    /// What the guest says of itself.
    pub(crate) inside: Inside,
}

/// What commands inside the guest print.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inside {
    pub(crate) memory_used_kib: u64,
    pub(crate) pid_1_rss_kib: u64,
    pub(crate) pid_1_pss_kib: u64,
    pub(crate) processes: u64,
    pub(crate) executables: u64,
    pub(crate) suid_files: u64,
    pub(crate) listening_sockets: u64,
}

/// The least of each time (noise only adds), the last of what does not vary.
pub(crate) fn summary(rounds: Vec<Figures>) -> Figures {
    let least = |pick: fn(&Figures) -> Duration| rounds.iter().map(pick).min().unwrap_or_default();
    Figures {
        kernel: least(|f| f.kernel),
        pid_1: least(|f| f.pid_1),
        banner: least(|f| f.banner),
        banner_wall: least(|f| f.banner_wall),
        running: least(|f| f.running),
        idle_share: rounds.iter().map(|f| f.idle_share).fold(f64::INFINITY, f64::min),
        inside: rounds.last().map(|f| f.inside.clone()).unwrap_or_default(),
    }
}

/// Reads the answer to [`QUESTIONS`]: one `name value` a line.
pub(crate) fn parse(answer: &str) -> anyhow::Result<Inside> {
    let value = |name: &str| -> anyhow::Result<u64> {
        let found = answer.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.ok_or_else(|| anyhow::anyhow!("the guest said nothing of '{name}': {answer}"))
    };
    Ok(Inside {
        memory_used_kib: value("memory-total ")?.saturating_sub(value("memory-available ")?),
        pid_1_rss_kib: value("rss ")?,
        pid_1_pss_kib: value("pss ")?,
        processes: value("processes ")?,
        executables: value("executables ")?,
        suid_files: value("suid ")?,
        listening_sockets: value("listening ")?,
    })
}

/// Asked of both guests, word for word. Kernel threads do not count as processes.
pub(crate) const QUESTIONS: &str = "\
awk '/^MemTotal/{print \"memory-total\",$2} /^MemAvailable/{print \"memory-available\",$2}' /proc/meminfo
awk '/^VmRSS/{print \"rss\",$2}' /proc/1/status
sudo cat /proc/1/smaps_rollup | awk '/^Pss:/{print \"pss\",$2}'
echo processes $(sudo sh -c 'for p in /proc/[0-9]*; do readlink $p/exe; done' | wc -l)
echo executables $(sudo find / -xdev -type f -perm /111 | wc -l)
echo suid $(sudo find / -xdev -type f -perm /6000 | wc -l)
echo listening $(ss -Hltnu | wc -l)
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_takes_the_least_times() {
        let boot = |seconds| Figures { banner: Duration::from_secs(seconds), ..Figures::default() };
        assert_eq!(summary(vec![boot(9), boot(7)]).banner, Duration::from_secs(7));
    }

    #[test]
    fn a_missing_answer_is_an_error_that_names_it() {
        let error = parse("rss 1\n").expect_err("memory is missing");
        assert!(error.to_string().contains("memory-total"), "{error}");
    }
}
