//! Where an entry stands among those of all files, and its text form. Pure.

use std::cmp::Ordering;

use crate::file::Entry;
use crate::id::Id128;

/// Everything that orders entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seqnum_id: Id128,
    pub(crate) seqnum: u64,
    pub(crate) boot: Id128,
    pub(crate) monotonic_us: u64,
    pub(crate) realtime_us: u64,
    pub(crate) xor_hash: u64,
}

impl Place {
    pub(crate) fn of(seqnum_id: Id128, entry: &Entry) -> Self {
        Self {
            seqnum_id,
            seqnum: entry.seqnum,
            boot: entry.boot,
            monotonic_us: entry.monotonic_us,
            realtime_us: entry.realtime_us,
            xor_hash: entry.xor_hash,
        }
    }

    /// The order of two entries: by number in one row of numbers, by the monotonic clock in one boot, else by time.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let by_number =
            if self.seqnum_id == other.seqnum_id { self.seqnum.cmp(&other.seqnum) } else { Ordering::Equal };
        let by_clock =
            || if self.boot == other.boot { self.monotonic_us.cmp(&other.monotonic_us) } else { Ordering::Equal };
        by_number
            .then_with(by_clock)
            .then_with(|| self.realtime_us.cmp(&other.realtime_us))
            .then_with(|| self.xor_hash.cmp(&other.xor_hash))
    }

    /// The cursor of the entry.
    pub(crate) fn to_text(self) -> String {
        format!(
            "s={};i={:x};b={};m={:x};t={:x};x={:x}",
            self.seqnum_id, self.seqnum, self.boot, self.monotonic_us, self.realtime_us, self.xor_hash
        )
    }

    /// Reads a cursor; its parts may come in any order, and unknown ones are skipped.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let part = |name: &str| text.trim().split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let number = |name| u64::from_str_radix(part(name)?, 16).ok();
        Some(Self {
            seqnum_id: Id128::parse(part("s")?)?,
            seqnum: number("i")?,
            boot: Id128::parse(part("b")?)?,
            monotonic_us: number("m")?,
            realtime_us: number("t")?,
            xor_hash: number("x")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        seqnum_id: Id128([1; 16]),
        seqnum: 26,
        boot: Id128([2; 16]),
        monotonic_us: 17,
        realtime_us: 18,
        xor_hash: 0xabc,
    };

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let text = PLACE.to_text();
        assert_eq!(text, "s=01010101010101010101010101010101;i=1a;b=02020202020202020202020202020202;m=11;t=12;x=abc");
        assert_eq!(Place::parse(&text), Some(PLACE));
        assert_eq!(Place::parse("s=1;i=2"), None);
        assert_eq!(Place::parse(""), None);
    }

    #[test]
    fn entries_are_ordered_by_number_then_boot_clock_then_time() {
        let later = Place { seqnum: 27, monotonic_us: 0, realtime_us: 0, ..PLACE };
        assert_eq!(PLACE.order(&later), Ordering::Less);
        let other_row = Place { seqnum_id: Id128([9; 16]), seqnum: 1, monotonic_us: 18, realtime_us: 0, ..PLACE };
        assert_eq!(PLACE.order(&other_row), Ordering::Less);
        let other_boot = Place { seqnum_id: Id128([9; 16]), boot: Id128([9; 16]), realtime_us: 19, ..PLACE };
        assert_eq!(PLACE.order(&other_boot), Ordering::Less);
        assert_eq!(PLACE.order(&PLACE), Ordering::Equal);
    }
}
