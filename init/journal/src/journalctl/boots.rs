//! The boots that the journal knows: finding one by its word, and the list. Pure.

use anyhow::{Result, bail};
use ferrite_journal_file::{Boot, Id128};
use ferrite_unit::timestamp::weekday_stamp;
use ferrite_unit::zone::Zone;

const ID_LENGTH: usize = 32;

/// Is it the id of a boot, perhaps with an offset behind it?
pub fn is_id(word: &str) -> bool {
    split(word).is_some()
}

/// `ID`, `ID-2`, `ID+1`.
fn split(word: &str) -> Option<(Id128, i64)> {
    let plain: String = word.chars().take(ID_LENGTH).collect();
    let (id, rest) = match Id128::parse(&plain) {
        Some(id) => (id, word.get(ID_LENGTH..)?),
        None => {
            // With dashes, as the kernel writes it.
            let dashed: String = word.chars().take(ID_LENGTH + 4).collect();
            (Id128::parse(&dashed)?, word.get(ID_LENGTH + 4..)?)
        }
    };
    if rest.is_empty() {
        return Some((id, 0));
    }
    let digits = rest.strip_prefix(['+', '-'])?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((id, rest.parse().ok()?))
}

/// The id of a boot. `running`: the boot that 0 is, if the journal is that of this machine.
pub fn find(word: &str, running: Option<Id128>, known: impl FnOnce() -> Result<Vec<Boot>>) -> Result<Id128> {
    let (id, offset) = match split(word) {
        Some((id, offset)) => (Some(id), offset),
        None => match word.parse() {
            Ok(offset) => (None, offset),
            Err(_) => bail!("'{word}' is no boot: write an id, 0, -1 for the one before, 1 for the first"),
        },
    };
    let from = id.or(running);
    if offset == 0
        && let Some(id) = from
    {
        return Ok(id);
    }
    let boots = known()?;
    let index = match (id, offset) {
        (None, 1..) => Some(offset - 1),
        _ => {
            let last = i64::try_from(boots.len()).unwrap_or(i64::MAX) - 1;
            let at = match from {
                Some(id) => boots.iter().position(|boot| boot.id == id).and_then(|at| i64::try_from(at).ok()),
                None => Some(last),
            };
            // The running boot may not have an entry yet; it comes after all others.
            at.or_else(|| id.is_none().then_some(last + 1)).map(|at| at + offset)
        }
    };
    match index.and_then(|index| usize::try_from(index).ok()).and_then(|index| boots.get(index)) {
        Some(boot) => Ok(boot.id),
        None => bail!("Data from the specified boot ({word}) is not available: the journal has no such boot"),
    }
}

/// The table of `--list-boots`.
pub fn table(boots: &[Boot], zone: &Zone, legend: bool) -> String {
    let last = i64::try_from(boots.len()).unwrap_or(0) - 1;
    let row = |(number, boot): (usize, &Boot)| {
        let index = i64::try_from(number).unwrap_or(0) - last;
        [index.to_string(), boot.id.to_string(), weekday_stamp(boot.first_us, zone), weekday_stamp(boot.last_us, zone)]
    };
    let rows: Vec<[String; 4]> = boots.iter().enumerate().map(row).collect();
    let heading = ["IDX", "BOOT ID", "FIRST ENTRY", "LAST ENTRY"].map(str::to_owned);
    let lines: Vec<&[String; 4]> = legend.then_some(&heading).into_iter().chain(&rows).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let mut out = String::new();
    for [index, id, first, last] in lines {
        let [a, b, c] = widths;
        out.push_str(&format!("{index:>a$} {id:<b$} {first:<c$} {last}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boots() -> Vec<Boot> {
        (1..=3).map(|n| Boot { id: Id128([n; 16]), first_us: u64::from(n) * 60_000_000, last_us: 0 }).collect()
    }

    #[test]
    fn a_boot_is_found_by_its_number_and_by_its_id() {
        let id = |n: u8| Id128([n; 16]);
        let two = id(2).to_string();
        for (word, running, wanted) in [
            ("0", Some(id(9)), Some(id(9))),
            ("-1", Some(id(9)), Some(id(3))),
            ("0", Some(id(3)), Some(id(3))),
            ("-1", Some(id(3)), Some(id(2))),
            ("-3", Some(id(3)), None),
            ("1", Some(id(3)), Some(id(1))),
            ("4", None, None),
            ("0", None, Some(id(3))),
            ("-2", None, Some(id(1))),
            (&two, None, Some(id(2))),
            (&format!("{two}+1"), None, Some(id(3))),
            (&format!("{two}-1"), None, Some(id(1))),
            (&format!("{two}-2"), None, None),
        ] {
            assert_eq!(find(word, running, || Ok(boots())).ok(), wanted, "{word}");
        }
        assert!(find("x", None, || Ok(boots())).expect_err("no boot").to_string().contains("'x' is no boot"));
        assert!(is_id("01234567-89ab-cdef-0123-456789abcdef-1") && !is_id("_PID=1") && !is_id(&format!("{two}x")));
    }

    #[test]
    fn the_table_counts_back_from_the_last_boot() {
        let boot = Boot { id: Id128([0xab; 16]), first_us: 1_000_000, last_us: 60_000_000 };
        let id = "ab".repeat(16);
        assert_eq!(
            table(&[boot, boot], &Zone::utc(), true),
            format!(
                "IDX BOOT ID                          FIRST ENTRY                 LAST ENTRY\n \
                 -1 {id} Thu 1970-01-01 00:00:01 UTC Thu 1970-01-01 00:01:00 UTC\n  \
                 0 {id} Thu 1970-01-01 00:00:01 UTC Thu 1970-01-01 00:01:00 UTC\n"
            )
        );
        assert!(!table(&[boot], &Zone::utc(), false).contains("IDX"));
    }
}
