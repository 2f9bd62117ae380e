//! Sets of processors or memory nodes: `0-3,8 10`. Pure.

use std::collections::BTreeSet;

use crate::value::{Parsed, wrong};

/// Numbers below this are taken.
const LIMIT: u16 = 8192;

/// A set of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuSet(BTreeSet<u16>);

impl CpuSet {
    /// Reads numbers and ranges with blanks or commas between; `None`: nothing is written there.
    pub fn parse(text: &str) -> Parsed<Option<CpuSet>> {
        let mut set = BTreeSet::new();
        let mut written = false;
        for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
            written = true;
            let fault = || wrong(word, "a number below 8192 or a range of such, as 0-3");
            let number = |text: &str| text.trim().parse::<u16>().ok().filter(|n| *n < LIMIT).ok_or_else(fault);
            let (low, high) = match word.split_once('-') {
                Some((low, high)) => (number(low)?, number(high)?),
                None => (number(word)?, number(word)?),
            };
            // A range that ends before it begins is empty.
            set.extend(low..=high);
        }
        Ok(written.then_some(CpuSet(set)))
    }

    /// Takes all of another set, too.
    pub fn extend(&mut self, other: &CpuSet) {
        self.0.extend(&other.0);
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The numbers in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }

    /// Numbers and ranges, blanks between.
    pub fn text(&self) -> String {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for number in self.iter() {
            match ranges.last_mut() {
                Some((_, high)) if *high + 1 == number => *high = number,
                _ => ranges.push((number, number)),
            }
        }
        let text = |(low, high): &(u16, u16)| if low == high { low.to_string() } else { format!("{low}-{high}") };
        ranges.iter().map(text).collect::<Vec<_>>().join(" ")
    }
}

impl FromIterator<u16> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u16>>(numbers: I) -> Self {
        CpuSet(numbers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_numbers_are_read_and_joined() {
        assert_eq!(CpuSet::parse("0,1 2-4,9").unwrap().unwrap().text(), "0-4 9");
        assert_eq!(CpuSet::parse(" ").unwrap(), None);
        assert!(CpuSet::parse("3-1").unwrap().unwrap().is_empty());
        for bad in ["x", "1-", "-1", "8192", "1-2-3"] {
            assert!(CpuSet::parse(bad).is_err(), "{bad}");
        }
    }
}
