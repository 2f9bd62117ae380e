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
    /// Share of one processor that QEMU uses while nothing happens.
    pub(crate) idle_share: f64,
    /// The same as the guest counts it.
    pub(crate) guest_idle: GuestIdle,
    /// What the guest says of itself.
    pub(crate) inside: Inside,
}

/// Shares of one processor that an idle guest says it uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GuestIdle {
    /// By the ticks of /proc/stat that are neither `idle` nor `iowait`. What begins and ends between two ticks is not
    /// seen, or seen as a whole tick.
    pub(crate) ticks: f64,
    /// By the nanoseconds that tasks, those of the kernel too, were on a processor (/proc/schedstat).
    pub(crate) tasks: f64,
}

impl Default for GuestIdle {
    fn default() -> Self {
        Self { ticks: f64::INFINITY, tasks: f64::INFINITY }
    }
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
        guest_idle: rounds.iter().map(|f| f.guest_idle).fold(GuestIdle::default(), |least, next| GuestIdle {
            ticks: least.ticks.min(next.ticks),
            tasks: least.tasks.min(next.tasks),
        }),
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

/// Started in both guests, word for word: waits until the guest is quiet, then looks twice, `SECONDS` apart. The shell
/// waits by itself: a program that is started would be seen.
pub(crate) const WATCH_IDLE: &str = "\
cat > /tmp/idle.sh <<'END'
mkfifo /tmp/idle.fifo
exec 3<> /tmp/idle.fifo
tell() { while read -r line; do echo \"$1 $line\"; done < \"$2\"; }
look() { tell \"$1\" /proc/stat; tell \"$1\" /proc/schedstat; }
read -t QUIET -u 3
look before > /tmp/idle.before
read -t SECONDS -u 3
look after > /tmp/idle.after
cat /tmp/idle.before /tmp/idle.after > /tmp/idle.new
mv /tmp/idle.new /tmp/idle
END
rm -f /tmp/idle
nohup bash /tmp/idle.sh > /dev/null 2>&1 < /dev/null &
echo started
";

/// Reads what [`WATCH_IDLE`] wrote.
pub(crate) fn parse_idle(answer: &str, seconds: f64) -> anyhow::Result<GuestIdle> {
    let sum = |when: &str, processor: fn(&str) -> bool, value: fn(&[u64]) -> Option<u64>| -> anyhow::Result<u64> {
        let mut found = None;
        for line in answer.lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some(when) && words.next().is_some_and(processor) {
                let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
                found = value(&numbers).map(|value| found.unwrap_or(0) + value).or(found);
            }
        }
        found.ok_or_else(|| anyhow::anyhow!("the guest did not say how busy it was {when}: {answer}"))
    };
    // user nice system idle iowait irq softirq steal guest guest_nice, in hundredths of a second; a guest's guest
    // counts as user already.
    let ticks = |when| {
        sum(
            when,
            |name| name == "cpu",
            |all| {
                (all.len() > 9).then(|| {
                    all.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at)).map(|(_, n)| n).sum()
                })
            },
        )
    };
    // Nine numbers a processor; the seventh is the time that tasks were on it, in nanoseconds.
    let is_processor = |name: &str| name.len() > 3 && name.starts_with("cpu");
    let tasks = |when| sum(when, is_processor, |all| if all.len() == 9 { all.get(6).copied() } else { None });
    let share = |before: u64, after: u64, second: f64| after.saturating_sub(before) as f64 / second / seconds;
    Ok(GuestIdle {
        ticks: share(ticks("before")?, ticks("after")?, 100.0),
        tasks: share(tasks("before")?, tasks("after")?, 1e9),
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
    fn idle_time_is_what_ticks_and_tasks_say() {
        let look = |when: &str, busy: u64, nanoseconds: u64| {
            format!(
                "{when} cpu {busy} 1 1 9999 5 1 1 1 0 0\n{when} cpu0 {busy} 1 1 9999 5 1 1 1 0 0\n{when} version 17\n\
                 {when} cpu0 0 0 0 0 0 0 {nanoseconds} 3 4\n{when} cpu1 0 0 0 0 0 0 1000 3 4\n{when} domain0 3 1\n"
            )
        };
        let answer = look("before", 100, 0) + &look("after", 130, 600_000_000);
        let idle = parse_idle(&answer, 60.0).unwrap();
        assert!((idle.ticks - 0.005).abs() < 1e-9 && (idle.tasks - 0.01).abs() < 1e-9, "{idle:?}");
        assert!(parse_idle("before cpu 1\n", 60.0).is_err());
    }

    #[test]
    fn a_missing_answer_is_an_error_that_names_it() {
        let error = parse("rss 1\n").expect_err("memory is missing");
        assert!(error.to_string().contains("memory-total"), "{error}");
    }
}
