//! Is a slot under test good? Decided over and over while its first start goes on. Pure.

use std::time::Duration;

/// What was seen at one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Units that the boot needs and that are not up, with their states.
    pub units_down: Vec<String>,
    /// Required checks that failed, with why.
    pub checks_failed: Vec<String>,
    /// Why nothing can be written to the state partition.
    pub state_fault: Option<String>,
    /// Whether there is a default route.
    pub default_route: bool,
}

/// What the last good start of this machine had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// Whether there was a default route.
    pub default_route: bool,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// It must be healthy for so long without a break.
    pub settle: Duration,
    /// It must have become healthy by then.
    pub timeout: Duration,
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Look again. Since when it is healthy.
    Wait(Option<Duration>),
    /// Mark it good.
    Good,
    /// Give it up, for this reason.
    Bad(String),
}

/// What is wrong, the most telling first.
pub fn fault(seen: &Seen, before: Before) -> Option<String> {
    if let Some(check) = seen.checks_failed.first() {
        return Some(format!("health check {check}"));
    }
    if let Some(unit) = seen.units_down.first() {
        return Some(format!("unit {unit}"));
    }
    if let Some(fault) = &seen.state_fault {
        return Some(format!("state partition: {fault}"));
    }
    // An unplugged cable is no fault of a release: only what was there before is missed.
    (before.default_route && !seen.default_route).then(|| "no default route, there was one before".to_string())
}

/// Judges a look, so long after the first one.
pub fn judge(healthy_since: Option<Duration>, now: Duration, fault: Option<&str>, patience: Patience) -> Verdict {
    match fault {
        None => {
            let since = healthy_since.unwrap_or(now);
            if now.saturating_sub(since) >= patience.settle { Verdict::Good } else { Verdict::Wait(Some(since)) }
        }
        Some(fault) if now >= patience.timeout => Verdict::Bad(fault.to_string()),
        Some(_) => Verdict::Wait(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { settle: Duration::from_secs(60), timeout: Duration::from_secs(300) };

    /// Looks at these seconds, each with or without a fault; the verdict and when.
    fn run(looks: &[(u64, Option<&str>)]) -> (u64, Verdict) {
        let mut since = None;
        for (at, fault) in looks {
            match judge(since, Duration::from_secs(*at), *fault, PATIENCE) {
                Verdict::Wait(healthy) => since = healthy,
                verdict => return (*at, verdict),
            }
        }
        (u64::MAX, Verdict::Wait(since))
    }

    #[test]
    fn a_slot_is_good_after_a_minute_without_a_break() {
        assert_eq!(run(&[(0, None), (30, None), (60, None)]), (60, Verdict::Good));
        let broken = [(0, None), (30, Some("x")), (40, None), (70, None), (99, None), (100, None)];
        assert_eq!(run(&broken), (100, Verdict::Good));
        // It became healthy in time and is given its minute.
        assert_eq!(run(&[(0, Some("x")), (290, None), (310, None), (350, None)]), (350, Verdict::Good));
    }

    #[test]
    fn a_slot_that_is_not_healthy_in_time_is_given_up_with_the_reason() {
        assert_eq!(run(&[(0, Some("x")), (299, Some("x")), (300, Some("y"))]), (300, Verdict::Bad("y".into())));
        assert_eq!(run(&[(280, None), (310, Some("late"))]), (310, Verdict::Bad("late".into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let nothing = Before::default();
        let route = Before { default_route: true };
        let seen = |seen: Seen, before| fault(&seen, before);
        assert_eq!(seen(Seen::default(), nothing), None, "an unplugged cable");
        assert_eq!(seen(Seen::default(), route).as_deref(), Some("no default route, there was one before"));
        let down = Seen { units_down: vec!["ssh.service is failed".into()], ..Seen::default() };
        assert_eq!(seen(down.clone(), nothing).as_deref(), Some("unit ssh.service is failed"));
        let check = Seen { checks_failed: vec!["10-web: exit status: 1".into()], ..down };
        assert_eq!(seen(check, nothing).as_deref(), Some("health check 10-web: exit status: 1"));
        let state = Seen { state_fault: Some("read-only".into()), default_route: true, ..Seen::default() };
        assert_eq!(seen(state, route).as_deref(), Some("state partition: read-only"));
    }
}
