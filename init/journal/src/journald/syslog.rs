//! Datagrams of syslog(3), RFC 3164: `<PRI>Nov 25 15:04:05 identifier[pid]: message`. Pure.

/// What a datagram says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogMessage<'a> {
    /// 0 to 7.
    pub priority: u8,
    /// Which part of the system, as syslog(3) numbers them; `None`: not said.
    pub facility: Option<u16>,
    /// The program's name for itself; empty: none.
    pub identifier: &'a [u8],
    /// The process id it claims; empty: none.
    pub pid: &'a [u8],
    /// The date it claims, with the blank behind it; empty: none.
    pub stamp: &'a [u8],
    /// The text.
    pub message: &'a [u8],
    /// Whether the text is all that there is of the datagram but its priority.
    pub is_whole: bool,
}

const DEFAULT_PRIORITY: u8 = 6;

/// Understands any bytes: what has no form of a syslog message is its text.
pub fn parse(bytes: &[u8]) -> SyslogMessage<'_> {
    let end = bytes.iter().rposition(|byte| !matches!(byte, 0 | b'\n' | b' ' | b'\t' | b'\r')).map_or(0, |at| at + 1);
    let text = bytes.get(..end).unwrap_or_default();
    let (number, rest) = split_priority(text).unwrap_or((u16::from(DEFAULT_PRIORITY), text));
    let facility = split_priority(text).map(|(number, _)| number >> 3);
    let (stamp, rest) = split_date(rest);
    let (identifier, pid, message) = split_tag(rest).unwrap_or((&[], &[], rest));
    let is_whole = message.len() == bytes.len();
    SyslogMessage { priority: (number & 7) as u8, facility, identifier, pid, stamp, message, is_whole }
}

/// `<30>rest`: facility and priority as one number, and the rest.
pub fn split_priority(text: &[u8]) -> Option<(u16, &[u8])> {
    let rest = text.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let (digits, rest) = rest.split_at(end);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |sum: u16, digit| sum * 10 + u16::from(digit - b'0'));
    Some((number, rest.get(1..).unwrap_or_default()))
}

/// `identifier[pid]: rest`; the process id may be missing.
pub fn split_tag(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\n')).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let tag = word.strip_suffix(b":")?;
    let bracket = tag.iter().position(|byte| *byte == b'[');
    let (identifier, pid) = match tag.strip_suffix(b"]").zip(bracket) {
        Some((open, bracket)) => (tag.get(..bracket)?, open.get(bracket + 1..)?),
        None => (tag, &[][..]),
    };
    if identifier.is_empty() || !pid.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some((identifier, pid, rest.strip_prefix(b" ").unwrap_or(rest)))
}

fn split_date(text: &[u8]) -> (&[u8], &[u8]) {
    let shape = b"Aaa dd dd:dd:dd ";
    let fits = |(byte, wanted): (&u8, &u8)| match wanted {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'd' => byte.is_ascii_digit() || *byte == b' ',
        other => byte == other,
    };
    if text.len() >= shape.len() && text.iter().zip(shape).all(fits) {
        return text.split_at(shape.len());
    }
    (&[], text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_libc_and_of_careless_programs_are_understood() {
        for (bytes, priority, identifier, pid, message) in [
            (&b"<86>Nov 25 15:04:05 sshd[812]: Accepted publickey"[..], 6, "sshd", "812", "Accepted publickey"),
            (b"<11>Nov  5 15:04:05 cron: hi\n\0", 3, "cron", "", "hi"),
            (b"<7>plain text: not a tag", 7, "", "", "plain text: not a tag"),
            (b"no priority", 6, "", "", "no priority"),
            (b"<999999>x", 6, "", "", "<999999>x"),
            (b"<>x", 6, "", "", "<>x"),
            (b"<13>a[b]: c", 5, "", "", "a[b]: c"),
            (b"<13>a[7]:c", 5, "", "", "a[7]:c"),
            (b"<13>a[7]:   indented", 5, "a", "7", "  indented"),
            (b"", 6, "", "", ""),
        ] {
            let parsed = parse(bytes);
            assert_eq!(
                (parsed.priority, parsed.identifier, parsed.pid, parsed.message),
                (priority, identifier.as_bytes(), pid.as_bytes(), message.as_bytes())
            );
        }
        let parsed = parse(b"<86>Nov 25 15:04:05 sshd[812]: x");
        assert_eq!((parsed.facility, parsed.stamp), (Some(10), &b"Nov 25 15:04:05 "[..]));
        assert_eq!(parse(b"x").facility, None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
