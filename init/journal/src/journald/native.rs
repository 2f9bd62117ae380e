//! Datagrams of the native protocol: `NAME=value` lines, or `NAME`, a little-endian length and the value. Pure.

/// What a datagram says; only the fields that the log keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NativeMessage {
    /// `PRIORITY=`.
    pub priority: Option<u8>,
    /// `SYSLOG_IDENTIFIER=`.
    pub identifier: String,
    /// `MESSAGE=`.
    pub message: Option<String>,
    /// `UNIT=`: believed only from PID 1.
    pub unit: String,
}

/// Reads the fields up to the first fault.
pub fn parse(bytes: &[u8]) -> NativeMessage {
    let mut out = NativeMessage::default();
    let mut rest = bytes;
    while let Some((name, value, after)) = next_field(rest) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"MESSAGE" => out.message = Some(text()),
            b"SYSLOG_IDENTIFIER" => out.identifier = text(),
            b"UNIT" => out.unit = text(),
            b"PRIORITY" => out.priority = text().trim().parse().ok().filter(|priority| *priority <= 7),
            _ => {}
        }
        rest = after;
    }
    out
}

type Field<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn next_field(bytes: &[u8]) -> Option<Field<'_>> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, after) = bytes.split_at(end);
    let after = after.get(1..).unwrap_or_default();
    if line.is_empty() {
        // A blank line ends an entry; only the first entry of a datagram is kept.
        return None;
    }
    if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
        let (name, value) = line.split_at(equals);
        return Some((name, value.get(1..)?, after));
    }
    let length = u64::from_le_bytes(after.get(..8)?.try_into().ok()?);
    let value = after.get(8..)?.get(..usize::try_from(length).ok()?)?;
    Some((line, value, after.get(8 + value.len()..)?.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_field_are_read() {
        let mut bytes =
            b"PRIORITY=3\nMESSAGE\n\x07\0\0\0\0\0\0\0two\nrow\nSYSLOG_IDENTIFIER=me\nCODE_LINE=7\n".to_vec();
        let expected = NativeMessage {
            priority: Some(3),
            identifier: "me".into(),
            message: Some("two\nrow".into()),
            unit: String::new(),
        };
        assert_eq!(parse(&bytes), expected);
        bytes.extend_from_slice(b"\nMESSAGE=second entry\n");
        assert_eq!(parse(&bytes), expected);
    }

    #[test]
    fn faults_end_the_message_and_never_panic() {
        for bytes in [
            &b""[..],
            b"MESSAGE",
            b"MESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffx\n",
            b"MESSAGE\n\x05\0\0\0\0\0\0\0abc",
            b"PRIORITY=9\n",
            b"=\n",
        ] {
            let message = parse(bytes);
            assert_eq!((message.message, message.priority), (None, None));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
