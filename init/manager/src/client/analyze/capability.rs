//! `systemd-analyze capability`: capabilities and their numbers.

use anyhow::{Result, bail};
use ferrite_unit::capability::{name, number};

use super::Call;
use crate::client::print;
use crate::client::table::{self, cell, left, right};

/// Prints the named capabilities, or all.
pub fn run(call: &Call<'_>) -> Result<u8> {
    print(&table(call.operands())?)
}

fn table(words: &[String]) -> Result<String> {
    let mut numbers: Vec<u8> = Vec::new();
    for word in words {
        match number(word).filter(|number| name(*number).is_some()) {
            Some(number) => numbers.push(number),
            None => bail!("Capability \"{word}\" not known."),
        }
    }
    match words {
        [] => numbers.extend((0..=u8::MAX).take_while(|number| name(*number).is_some())),
        _ => numbers.sort_unstable(),
    }
    let row = |number: u8| vec![cell(name(number).unwrap_or_default(), ""), cell(number.to_string(), "")];
    let rows: Vec<_> = numbers.into_iter().map(row).collect();
    Ok(table::plain(&[left("NAME", "name"), right("NUMBER", "number")], &rows))
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
}
