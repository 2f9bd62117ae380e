//! `systemd-analyze exit-status`: exit codes and their names.

use anyhow::{Result, anyhow};
use ferrite_unit::value::{exit_name, exit_names};

use super::Call;
use crate::client::print;
use crate::client::table::{self, cell, left, right};

/// Prints the named codes, or all that have a name.
pub fn run(call: &Call<'_>) -> Result<u8> {
    print(&table(call.operands())?)
}

fn table(words: &[String]) -> Result<String> {
    let codes: Vec<u8> = match words {
        [] => exit_names().map(|(_, code)| code).collect(),
        words => words.iter().map(|word| code_of(word)).collect::<Result<_>>()?,
    };
    let rows: Vec<_> = codes.into_iter().map(|code| row(code).map(|text| cell(text, "")).to_vec()).collect();
    Ok(table::plain(&[left("NAME", "name"), right("STATUS", "status"), left("CLASS", "class")], &rows))
}

fn code_of(word: &str) -> Result<u8> {
    let named = exit_names().find(|(name, _)| *name == word).map(|(_, code)| code);
    named.or_else(|| word.parse().ok()).ok_or_else(|| anyhow!("Invalid exit status \"{word}\"."))
}

fn row(code: u8) -> [String; 3] {
    let class = match (exit_name(code), code) {
        (None, _) => "-",
        (_, 0 | 1) => "libc",
        (_, 2..=7) => "LSB",
        (_, 64..=78) => "BSD",
        _ => "systemd",
    };
    [exit_name(code).unwrap_or("-").to_owned(), code.to_string(), class.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_name_and_number() {
        let words = ["1", "USER", "100"].map(str::to_owned);
        let text = "NAME    STATUS CLASS\nFAILURE      1 libc\nUSER       217 systemd\n-          100 -\n";
        assert_eq!(table(&words).expect("known"), text);
        assert_eq!(table(&["300".into()]).expect_err("unknown").to_string(), "Invalid exit status \"300\".");
        assert!(table(&[]).expect("all").lines().count() > 60);
    }
}
