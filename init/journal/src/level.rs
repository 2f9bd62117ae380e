//! The eight levels of messages by name and number. Pure.

const LEVELS: [&[&str]; 8] = [
    &["emerg", "panic", "0"],
    &["alert", "1"],
    &["crit", "2"],
    &["err", "error", "3"],
    &["warning", "warn", "4"],
    &["notice", "5"],
    &["info", "6"],
    &["debug", "7"],
];

/// The number of a level.
pub fn parse(word: &str) -> Option<u8> {
    LEVELS.iter().position(|names| names.contains(&word)).and_then(|number| u8::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_numbers() {
        assert_eq!([parse("err"), parse("4"), parse("debug"), parse("loud")], [Some(3), Some(4), Some(7), None]);
    }
}
