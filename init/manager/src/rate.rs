//! So many events in an interval, counted as systemd counts them: in windows that begin with their first event. Pure.

use std::time::{Duration, Instant};

use ferrite_unit::value::Span;

/// A limit and what was counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate {
    began: Option<Instant>,
    count: u32,
}

impl Rate {
    /// Counts an event; `false`: there were too many. Without interval or number there is no limit.
    pub fn count(&mut self, now: Instant, (interval, burst): (Span, u32)) -> bool {
        let Some(interval) = interval.finite().filter(|interval| !interval.is_zero() && burst > 0) else { return true };
        match self.began {
            Some(began) if now.saturating_duration_since(began) < interval => {
                if self.count >= burst {
                    return false;
                }
                self.count += 1;
            }
            _ => *self = Rate { began: Some(now), count: 1 },
        }
        true
    }

    /// How long until the window ends and events count anew.
    pub fn rest(&self, now: Instant, (interval, _): (Span, u32)) -> Duration {
        let end = self.began.zip(interval.finite()).and_then(|(began, interval)| began.checked_add(interval));
        end.map_or(Duration::ZERO, |end| end.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_beyond_the_limit_are_refused_until_the_window_ends() {
        let now = Instant::now();
        let limit = (Span::seconds(2), 2);
        let mut rate = Rate::default();
        assert!(rate.count(now, limit) && rate.count(now, limit) && !rate.count(now, limit));
        assert_eq!(rate.rest(now + Duration::from_secs(1), limit), Duration::from_secs(1));
        assert!(rate.count(now + Duration::from_secs(2), limit));
        let mut free = Rate::default();
        assert!((0..100).all(|_| free.count(now, (Span::seconds(0), 1))));
        assert!((0..100).all(|_| free.count(now, (Span::seconds(1), 0))));
    }
}
