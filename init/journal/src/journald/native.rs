//! Datagrams of the native protocol: `NAME=value` lines, or `NAME`, a little-endian length and the value. Pure.
//!
//! A blank line begins the next entry. Names that only the daemon may give (`_PID` and the like) are dropped.

use crate::fields::Fields;

/// Fields of an entry at most.
const FIELDS_MAX: usize = 1024;
/// Longest name of a field.
const NAME_MAX: usize = 64;

/// Reads the next entry of a datagram; `false`: there is none left.
pub fn next_entry(rest: &mut &[u8], fields: &mut Fields) -> bool {
    fields.clear();
    loop {
        match next_field(rest) {
            Step::Field(name, value) => {
                if is_name(name) && fields.len() < FIELDS_MAX {
                    fields.push(name, value);
                }
            }
            Step::Nothing => {}
            Step::EndOfEntry if fields.is_empty() => {}
            Step::EndOfEntry => return true,
            Step::End => return !fields.is_empty(),
        }
    }
}

enum Step<'a> {
    Field(&'a [u8], &'a [u8]),
    Nothing,
    EndOfEntry,
    End,
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Step<'a> {
    let bytes = *rest;
    if bytes.is_empty() {
        return Step::End;
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, after) = bytes.split_at(end);
    let after = after.get(1..).unwrap_or_default();
    *rest = after;
    match line.first() {
        None => return Step::EndOfEntry,
        // Reserved by the protocol.
        Some(b'.' | b'#') => return Step::Nothing,
        Some(_) => {}
    }
    if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
        let (name, value) = line.split_at(equals);
        return Step::Field(name, value.get(1..).unwrap_or_default());
    }
    match long_value(after) {
        Some((value, after)) => {
            *rest = after;
            Step::Field(line, value)
        }
        None => {
            // What follows cannot be told apart any more.
            *rest = &[];
            Step::End
        }
    }
}

fn long_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let value = bytes.get(8..)?.get(..usize::try_from(length).ok()?)?;
    Some((value, bytes.get(8 + value.len()..)?.strip_prefix(b"\n")?))
}

/// Upper case, digits and underscores, the first one a letter.
fn is_name(name: &[u8]) -> bool {
    name.len() <= NAME_MAX
        && name.first().is_some_and(u8::is_ascii_uppercase)
        && name.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(mut bytes: &[u8]) -> Vec<Vec<(String, Vec<u8>)>> {
        let mut all = Vec::new();
        let mut fields = Fields::default();
        while next_entry(&mut bytes, &mut fields) {
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            all.push(fields.iter().map(|(name, value)| (text(name), value.to_vec())).collect());
        }
        all
    }

    #[test]
    fn both_forms_of_a_field_are_read_and_every_entry() {
        let bytes = b"PRIORITY=3\nMESSAGE\n\x08\0\0\0\0\0\0\0two\nrow\0\nCODE_LINE=7\n\n\nMESSAGE=a=b\n";
        let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let first = vec![field("PRIORITY", b"3"), field("MESSAGE", b"two\nrow\0"), field("CODE_LINE", b"7")];
        assert_eq!(entries(bytes), [first, vec![field("MESSAGE", b"a=b")]]);
    }

    #[test]
    fn names_of_the_daemon_and_wrong_ones_are_dropped() {
        let long = format!("{}=x\n", "A".repeat(65));
        let bytes = [b"_PID=1\nlower=x\n1A=x\n=x\n.cmd\n#c\nA B=x\n", long.as_bytes(), b"OK=1\n"].concat();
        assert_eq!(entries(&bytes), [vec![("OK".to_owned(), b"1".to_vec())]]);
    }

    #[test]
    fn faults_end_the_message() {
        for bytes in [
            &b""[..],
            b"\n\n",
            b"MESSAGE",
            b"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffx\n",
            b"MESSAGE\n\x05\0\0\0\0\0\0\0abc",
            b"=\n",
        ] {
            assert_eq!(entries(bytes), Vec::<Vec<_>>::new());
        }
        assert_eq!(entries(b"A=1\nB\n\x05\0\0\0\0\0\0\0abc").len(), 1);
        let many = "A=1\n".repeat(3000);
        assert_eq!(entries(many.as_bytes())[0].len(), FIELDS_MAX);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_go_on_for_ever(bytes: Vec<u8>) {
            proptest::prop_assert!(entries(&bytes).len() <= bytes.len());
        }
    }
}
