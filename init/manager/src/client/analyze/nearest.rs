//! Which known word was perhaps meant: one that begins so, else one that a few slips lead to. Pure.

/// Slips at most.
const SLIPS_MAX: usize = 5;

/// The known word that is nearest.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let longer = known.clone().filter(|other| other.starts_with(word)).min_by_key(|other| other.len());
    let slips = |other: &'a str| (distance(word, other), other);
    let closest = || known.map(slips).filter(|(slips, _)| *slips <= SLIPS_MAX).min_by_key(|(slips, _)| *slips);
    longer.or_else(|| closest().map(|(_, other)| other))
}

/// How many letters must be added, taken away or changed to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let letters = |word: &str| word.chars().collect::<Vec<_>>();
    ferrite_unit::directives::slips(&letters(a), &letters(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_counts_before_slips() {
        let known = ["time", "timespan", "timestamp", "plot", "dot"];
        for (word, meant) in [
            ("t", Some("time")),
            ("timest", Some("timestamp")),
            ("polt", Some("plot")),
            ("dott", Some("dot")),
            ("polts", Some("plot")),
            ("what-is-this", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
