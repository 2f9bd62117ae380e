//! `systemd-analyze compare-versions`: which of two versions is newer.

use std::cmp::Ordering;

use anyhow::{Result, bail};
use ferrite_unit::version::compare;

use super::Call;
use crate::client::print;

/// Compares two versions, or tells whether a comparison holds.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let shown = |text: &str| if text.is_empty() { "''".to_owned() } else { text.to_owned() };
    match call.operands() {
        [one, other] => {
            let (sign, code) = match compare(one, other) {
                Ordering::Less => ("<", 12),
                Ordering::Equal => ("==", 0),
                Ordering::Greater => (">", 11),
            };
            print(&format!("{} {sign} {}\n", shown(one), shown(other)))?;
            Ok(code)
        }
        [one, operator, other] => Ok(u8::from(!holds(operator, compare(one, other))?)),
        [] | [_] => bail!("Too few arguments."),
        _ => bail!("Too many arguments."),
    }
}

fn holds(operator: &str, order: Ordering) -> Result<bool> {
    Ok(match operator {
        "lt" | "<" => order.is_lt(),
        "le" | "<=" => order.is_le(),
        "eq" | "==" | "=" => order.is_eq(),
        "ne" | "!=" | "<>" => order.is_ne(),
        "ge" | ">=" => order.is_ge(),
        "gt" | ">" => order.is_gt(),
        _ => bail!("Unknown operator \"{operator}\"."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_words_and_signs() {
        for (operator, order, expected) in [
            ("lt", Ordering::Less, true),
            (">=", Ordering::Less, false),
            ("=", Ordering::Equal, true),
            ("ne", Ordering::Equal, false),
        ] {
            assert_eq!(holds(operator, order).expect("an operator"), expected, "{operator}");
        }
        assert!(holds("~", Ordering::Equal).is_err());
    }
}
