//! `systemd-analyze capability`: capabilities and their numbers.

use anyhow::{Result, bail};
use ferrite_unit::capability::{name, number};

use super::Call;
use crate::client::print;
use crate::client::table::{self, cell, left, right};

/// Prints the named capabilities, those of a mask, or all.
pub fn run(call: &Call<'_>) -> Result<u8> {
    if !call.line.has("mask") {
        return print(&table(call.operands())?);
    }
    let [mask] = call.operands() else { bail!("Exactly 1 positional argument expected.") };
    print(&listed(&of_mask(mask)?))
}

/// The capabilities of a mask in hexadecimal digits, as /proc shows it.
fn of_mask(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    let Some(mask) = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+')) else {
        bail!("Capability mask \"{text}\" is not valid.");
    };
    let numbers: Vec<u8> = (0..64).filter(|bit| mask >> bit & 1 == 1).collect();
    match numbers.iter().find(|number| name(**number).is_none()) {
        Some(number) => bail!("Capability {number} is not known."),
        None => Ok(numbers),
    }
}

fn table(words: &[String]) -> Result<String> {
    let mut numbers: Vec<u8> = Vec::new();
    for word in words {
        match number(word).filter(|number| name(*number).is_some()) {
            Some(number) => numbers.push(number),
            None => bail!("Capability \"{word}\" is not known."),
        }
    }
    match words {
        [] => numbers.extend((0..=u8::MAX).take_while(|number| name(*number).is_some())),
        _ => numbers.sort_unstable(),
    }
    Ok(listed(&numbers))
}

fn listed(numbers: &[u8]) -> String {
    let row = |number: &u8| vec![cell(name(*number).unwrap_or_default(), ""), cell(number.to_string(), "")];
    let rows: Vec<_> = numbers.iter().map(row).collect();
    table::plain(&[left("NAME", "name"), right("NUMBER", "number")], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_listed_by_number() {
        let words = ["5", "cap_chown"].map(str::to_owned);
        assert_eq!(table(&words).expect("known"), "NAME      NUMBER\ncap_chown      0\ncap_kill       5\n");
        assert_eq!(table(&[]).expect("all").lines().count(), 42);
        assert!(table(&["63".into()]).is_err() && table(&["cap_nope".into()]).is_err());
    }

    #[test]
    fn a_mask_is_read_as_proc_writes_it() {
        assert_eq!(of_mask("0000000000000021").expect("a mask"), [0, 5]);
        assert_eq!(of_mask("0x20").expect("a mask"), [5]);
        assert_eq!(of_mask("0").expect("a mask"), Vec::<u8>::new());
        for (text, words) in [
            ("8000000000000000", "Capability 63 is not known."),
            ("xyz", "Capability mask \"xyz\" is not valid."),
            ("+1", "Capability mask \"+1\" is not valid."),
        ] {
            assert_eq!(of_mask(text).expect_err("refused").to_string(), words);
        }
    }
}
