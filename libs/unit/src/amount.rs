//! Sizes and shares as control-group settings write them: `1.5G`, `512M 3K`, `12.5%`, `infinity`. Pure.

use crate::resources::Amount;
use crate::value::{Parsed, wrong};

const SUFFIXES: [char; 6] = ['E', 'P', 'T', 'G', 'M', 'K'];

/// A size; each suffix is so many times the next one. Parts follow each other from the largest to the smallest.
pub fn size(text: &str, base: u64) -> Parsed<u64> {
    let fault = || wrong(text, "a size such as 512, 64K or 1.5G");
    let mut rest = text.trim_start();
    let mut total: u64 = 0;
    // Places that may still come: 0 is E, 6 is bytes.
    let mut place = 0;
    loop {
        let digits = leading_digits(rest);
        let whole: u64 = digits.parse().map_err(|_| fault())?;
        rest = rest.get(digits.len()..).unwrap_or("");
        let mut fraction = "";
        if let Some(tail) = rest.strip_prefix('.') {
            fraction = leading_digits(tail);
            rest = tail.get(fraction.len()..).unwrap_or("");
        }
        rest = rest.trim_start();
        let suffix = rest.chars().next();
        let at = match SUFFIXES.iter().position(|c| Some(*c) == suffix) {
            Some(at) => at,
            None => SUFFIXES.len() + usize::from(suffix != Some('B')),
        };
        if at < place {
            return Err(fault());
        }
        if at <= SUFFIXES.len() {
            rest = rest.get(1..).unwrap_or("");
        }
        let power = u32::try_from(SUFFIXES.len().saturating_sub(at)).unwrap_or(0);
        let factor = base.checked_pow(power).ok_or_else(fault)?;
        let part = whole.checked_mul(factor).ok_or_else(fault)?;
        total = total.checked_add(part).and_then(|t| t.checked_add(part_of(fraction, factor))).ok_or_else(fault)?;
        place = at + 1;
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(total);
        }
        if place > SUFFIXES.len() + 1 {
            return Err(fault());
        }
    }
}

fn leading_digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).unwrap_or("")
}

/// What the digits behind the point are of a factor.
fn part_of(digits: &str, factor: u64) -> u64 {
    // Nothing is left of a factor after so many digits.
    let digits = digits.get(..digits.len().min(18)).unwrap_or("");
    let Ok(number) = digits.parse::<u128>() else { return 0 };
    let scale = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    u64::try_from(number * u128::from(factor) / scale).unwrap_or(0)
}

/// A share in ten-thousandths: `12.34%`, `5.5‰`, `7‱`, with at most so many digits behind the point.
pub fn share(text: &str) -> Parsed<u32> {
    let fault = || wrong(text, "a share such as 10% or 12.5%");
    let (number, places) = [("‱", 0), ("‰", 1), ("%", 2)]
        .iter()
        .find_map(|(sign, places)| text.strip_suffix(sign).map(|number| (number, *places)))
        .ok_or_else(fault)?;
    let (whole, fraction) = match number.split_once('.') {
        Some((_, fraction)) if fraction.is_empty() || fraction.len() > places => return Err(fault()),
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(fault());
    }
    format!("{whole}{fraction:0<places$}").parse().ok().filter(|share| *share <= i32::MAX as u32).ok_or_else(fault)
}

/// A share of the machine, a size, or `infinity`.
pub fn amount(text: &str) -> Parsed<Amount> {
    if text == "infinity" {
        return Ok(Amount::Infinite);
    }
    match share(text) {
        Ok(share) if share <= 10_000 => Ok(Amount::Share(share)),
        _ => size(text, 1024).map(Amount::Fixed),
    }
}

/// A size as systemd prints it: `1.5M`, `64K`, `512B`.
pub(crate) fn text(bytes: u64) -> String {
    for (at, suffix) in SUFFIXES.iter().enumerate() {
        let shift = 10 * (SUFFIXES.len() - at);
        if bytes >> shift == 0 {
            continue;
        }
        let tenths = match at + 1 < SUFFIXES.len() {
            true => (((bytes >> (shift - 10)) * 10) >> 10) % 10,
            false => u64::try_from((u128::from(bytes) * 10) >> shift).unwrap_or(0) % 10,
        };
        let point = if tenths > 0 { format!(".{tenths}") } else { String::new() };
        return format!("{}{point}{suffix}", bytes >> shift);
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_fractions_and_several_parts() {
        for (text, base, bytes) in [
            ("512", 1024, 512),
            ("64K", 1024, 65_536),
            ("64K", 1000, 64_000),
            ("1.5G", 1024, 1_610_612_736),
            ("4G 512M", 1024, 4_831_838_208),
            ("1K8B", 1024, 1032),
            ("1K8", 1024, 1032),
            ("10.M", 1024, 10_485_760),
            ("1 B", 1024, 1),
            ("15E", 1024, 17_293_822_569_102_704_640),
        ] {
            assert_eq!(size(text, base), Ok(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "1Q", "1K 1G", "1K1K", "16E", "1 2", "99999999999999999999", "1,5G"] {
            assert!(size(bad, 1024).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_printed_with_one_digit_behind_the_point() {
        for (bytes, want) in [(0, "0B"), (1023, "1023B"), (1024, "1K"), (1_572_864, "1.5M"), (1_000_000, "976.5K")] {
            assert_eq!(text(bytes), want);
        }
        assert_eq!(text(u64::MAX), "15.9E");
    }

    #[test]
    fn shares_are_read_in_hundredths_of_a_percent() {
        for (text, want) in [("10%", 1000), ("12.5%", 1250), ("0.01%", 1), ("5.5‰", 55), ("7‱", 7), ("400%", 40_000)]
        {
            assert_eq!(share(text), Ok(want), "{text}");
        }
        for bad in ["10", "%", "1.234%", "1.%", "-1%", "x%", "1.5‱", "99999999999%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!(amount("10%"), Ok(Amount::Share(1000)));
        assert_eq!(amount("infinity"), Ok(Amount::Infinite));
        assert!(amount("101%").is_err());
    }
}
