//! Order of versions, as the UAPI group's version format and systemd compare them. Pure.

use std::cmp::Ordering;

/// Compares two versions: `1.2~rc1` is before `1.2`, `1.10` after `1.9`, `1.2^post` after `1.2`.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = a.get(strange(a)..).unwrap_or_default();
        b = b.get(strange(b)..).unwrap_or_default();
        // Before the end of both: what is called a draft is older than the same without that word.
        match separator(&mut a, &mut b, b'~') {
            Some(Ordering::Equal) => continue,
            Some(order) => return order,
            None => {}
        }
        if a.is_empty() || b.is_empty() {
            return (!a.is_empty()).cmp(&!b.is_empty());
        }
        let separated = [b'-', b'^', b'.'].into_iter().find_map(|mark| separator(&mut a, &mut b, mark));
        match separated {
            Some(Ordering::Equal) => continue,
            Some(order) => return order,
            None => {}
        }
        let is_number = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let order = match is_number(a) || is_number(b) {
            true => {
                let (one, other) = (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit));
                // A number is newer than a word.
                let present = (!one.is_empty()).cmp(&!other.is_empty());
                let (one, other) = (without_zeros(one), without_zeros(other));
                present.then(one.len().cmp(&other.len())).then_with(|| one.cmp(other))
            }
            false => take(&mut a, u8::is_ascii_alphabetic).cmp(take(&mut b, u8::is_ascii_alphabetic)),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes the mark off both; of two that do not both begin with it the one that does is older. `None`: neither does.
fn separator(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Option<Ordering> {
    match (a.strip_prefix(&[mark]), b.strip_prefix(&[mark])) {
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
        (Some(rest_a), Some(rest_b)) => {
            (*a, *b) = (rest_a, rest_b);
            Some(Ordering::Equal)
        }
    }
}

/// How many bytes at the beginning are part of no version.
fn strange(text: &[u8]) -> usize {
    let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.~^".contains(byte);
    text.iter().take_while(|byte| !is_fine(byte)).count()
}

fn take<'a>(text: &mut &'a [u8], fits: impl Fn(&u8) -> bool) -> &'a [u8] {
    let end = text.iter().take_while(|byte| fits(byte)).count();
    let (head, rest) = text.split_at(end);
    *text = rest;
    head
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    digits.get(digits.iter().take_while(|digit| **digit == b'0').count()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_segments() {
        // Each is older than the next.
        let rising = [
            "~1",
            "",
            "ab",
            "abb",
            "abc",
            "0",
            "0001~1",
            "1",
            "1.0~alpha",
            "1.0",
            "1.0-1",
            "1.0^20240101",
            "1.0.1",
            "1.2",
            "1.9",
            "1.10",
            "122.1-10",
            "122.1.1",
            "123~rc1",
            "123",
            "123-a",
            "123-a.1",
            "123-3",
            "123a",
            "1000",
        ];
        for (number, older) in rising.iter().enumerate() {
            assert_eq!(compare(older, older), Ordering::Equal, "{older}");
            for newer in &rising[number + 1..] {
                assert_eq!(compare(older, newer), Ordering::Less, "{older} < {newer}");
                assert_eq!(compare(newer, older), Ordering::Greater, "{newer} > {older}");
            }
        }
        for (one, same) in [("1_2", "1_2"), ("01", "1"), ("1.02", "1.2")] {
            assert_eq!(compare(one, same), Ordering::Equal, "{one} = {same}");
        }
    }
}
