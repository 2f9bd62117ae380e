//! Datagrams of syslog(3), RFC 3164: `<PRI>Nov 25 15:04:05 identifier[pid]: message`. Pure.

/// What a datagram says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogMessage {
    /// 0 to 7.
    pub priority: u8,
    /// The program's name for itself; empty: none.
    pub identifier: String,
    /// The process id it claims.
    pub pid: Option<i32>,
    /// The text.
    pub message: String,
}

const DEFAULT_PRIORITY: u8 = 6;

/// Understands any bytes: what has no form of a syslog message is its text.
pub fn parse(bytes: &[u8]) -> SyslogMessage {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\0', '\n', ' ', '\t', '\r']);
    let (priority, rest) = split_priority(text).unwrap_or((DEFAULT_PRIORITY, text));
    let rest = skip_date(rest);
    match split_tag(rest) {
        Some((identifier, pid, message)) => {
            SyslogMessage { priority, identifier: identifier.into(), pid, message: message.into() }
        }
        None => SyslogMessage { priority, identifier: String::new(), pid: None, message: rest.into() },
    }
}

/// `<30>rest`: the priority without its facility, and the rest.
pub fn split_priority(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = text.strip_prefix('<')?.split_once('>')?;
    if number.is_empty() || number.len() > 3 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(((number.parse::<u16>().ok()? & 7) as u8, rest))
}

/// `identifier[pid]: rest`; the process id may be missing.
pub fn split_tag(text: &str) -> Option<(&str, Option<i32>, &str)> {
    let end = text.find([' ', '\t', '\n']).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let tag = word.strip_suffix(':')?;
    let (identifier, pid) = match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
        Some((identifier, pid)) => (identifier, Some(pid.parse().ok()?)),
        None => (tag, None),
    };
    (!identifier.is_empty()).then(|| (identifier, pid, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// The date is dropped: the time of arrival is better known.
fn skip_date(text: &str) -> &str {
    let shape = b"Aaa dd dd:dd:dd ";
    let fits = |(byte, wanted): (u8, &u8)| match wanted {
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'd' => byte.is_ascii_digit() || byte == b' ',
        other => byte == *other,
    };
    if text.len() >= shape.len() && text.bytes().zip(shape).all(fits) {
        return text.get(shape.len()..).unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_libc_and_of_careless_programs_are_understood() {
        for (bytes, priority, identifier, pid, message) in [
            (&b"<86>Nov 25 15:04:05 sshd[812]: Accepted publickey"[..], 6, "sshd", Some(812), "Accepted publickey"),
            (b"<11>Nov  5 15:04:05 cron: hi\n\0", 3, "cron", None, "hi"),
            (b"<7>plain text: not a tag", 7, "", None, "plain text: not a tag"),
            (b"no priority", 6, "", None, "no priority"),
            (b"<999999>x", 6, "", None, "<999999>x"),
            (b"<>x", 6, "", None, "<>x"),
            (b"<13>a[b]: c", 5, "", None, "a[b]: c"),
            (b"<13>a[7]:c", 5, "", None, "a[7]:c"),
            (b"<13>a[7]:   indented", 5, "a", Some(7), "  indented"),
            (b"", 6, "", None, ""),
        ] {
            let expected = SyslogMessage { priority, identifier: identifier.into(), pid, message: message.into() };
            assert_eq!(parse(bytes), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }
    }
}
