//! Names of journal files: which one is written, which are archived, and how old those are. Pure.

use std::cmp::Ordering;

use crate::id::Id128;

/// The file that is written.
pub const CURRENT: &str = "system.journal";
/// The file that becomes it as soon as it is whole on the disk.
pub(crate) const BEGUN: &str = "system.journal.new";

/// What the name of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// A file that someone may be writing.
    Active,
    /// A file that was rotated.
    Archived { seqnum_id: Id128, seqnum: u64, realtime_us: u64 },
    /// A file that was set aside because it was not closed.
    Unclean { realtime_us: u64 },
}

/// The name of a rotated file.
pub(crate) fn archived(seqnum_id: Id128, head_seqnum: u64, head_realtime_us: u64) -> String {
    format!("system@{seqnum_id}-{head_seqnum:016x}-{head_realtime_us:016x}.journal")
}

/// The name of a file that was not closed.
pub(crate) fn unclean(realtime_us: u64, random: u64) -> String {
    format!("system@{realtime_us:016x}-{random:016x}.journal~")
}

/// Reads a name; `None` where it is not one of a journal file.
pub(crate) fn parse(name: &str) -> Option<Name> {
    if let Some(stem) = name.strip_suffix(".journal~") {
        let (_, numbers) = stem.rsplit_once('@')?;
        let (realtime, random) = numbers.split_once('-')?;
        number(random)?;
        return Some(Name::Unclean { realtime_us: number(realtime)? });
    }
    let stem = name.strip_suffix(".journal").filter(|stem| !stem.is_empty())?;
    let Some((_, numbers)) = stem.rsplit_once('@') else { return Some(Name::Active) };
    let mut parts = numbers.split('-');
    let seqnum_id = Id128::parse(parts.next()?)?;
    let seqnum = number(parts.next()?)?;
    let realtime_us = number(parts.next()?)?;
    parts.next().is_none().then_some(Name::Archived { seqnum_id, seqnum, realtime_us })
}

fn number(digits: &str) -> Option<u64> {
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

impl Name {
    /// Which of two files is older: by number where both count in one row, otherwise by time.
    pub(crate) fn age(&self, other: &Self) -> Ordering {
        match (self, other) {
            (
                Self::Archived { seqnum_id, seqnum, .. },
                Self::Archived { seqnum_id: other_id, seqnum: other_seqnum, .. },
            ) if seqnum_id == other_id => seqnum.cmp(other_seqnum),
            (one, other) => one.realtime_us().cmp(&other.realtime_us()),
        }
    }

    /// The time in the name; the active file is the newest of all.
    pub(crate) fn realtime_us(&self) -> u64 {
        match self {
            Self::Active => u64::MAX,
            Self::Archived { realtime_us, .. } | Self::Unclean { realtime_us } => *realtime_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let id = Id128([0xab; 16]);
        let name = archived(id, 7, 9);
        assert_eq!(parse(&name), Some(Name::Archived { seqnum_id: id, seqnum: 7, realtime_us: 9 }));
        assert_eq!(parse(&unclean(5, 6)), Some(Name::Unclean { realtime_us: 5 }));
        assert_eq!(parse(CURRENT), Some(Name::Active));
        assert_eq!(parse("user-1000.journal"), Some(Name::Active));
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in ["", ".journal", "messages", "system@x.journal", "system@1-2.journal~", BEGUN, "fss"] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn age_follows_the_numbers_of_one_row_and_the_time_between_rows() {
        let name = |id: u8, seqnum, realtime_us| Name::Archived { seqnum_id: Id128([id; 16]), seqnum, realtime_us };
        assert_eq!(name(1, 1, 100).age(&name(1, 2, 50)), Ordering::Less);
        assert_eq!(name(1, 1, 100).age(&name(2, 2, 50)), Ordering::Greater);
        assert_eq!(Name::Unclean { realtime_us: 1 }.age(&Name::Active), Ordering::Less);
    }
}
