//! Records of the kernel's audit: bytes of its netlink socket in, fields out. Pure.
//!
//! What stands in `msg='…'` a program wrote: its fields get names that are not trusted.

use crate::fields::Fields;

/// The group of those who read records, as a bit.
pub const READERS: u32 = 1;
const HEADER_BYTES: usize = 16;
/// The order to change the state, and the words of that, of which the first says which of the others count.
const SET: u16 = 1001;
const STATUS_WORDS: usize = 11;
const ENABLED: u32 = 1;
const REQUEST: u16 = 1;
/// A record of a program; all other kinds below `FIRST_KIND` are answers and orders.
const USER: u16 = 1005;
const FIRST_KIND: u16 = 1100;
/// Longest name of a field of an entry.
const NAME_MAX: usize = 64;
/// Fields of one record at most.
const FIELDS_MAX: usize = 256;

/// The kinds that a server sees, by the kernel's names for them.
const KINDS: [(u16, &str); 37] = [
    (USER, "USER"),
    (1100, "USER_AUTH"),
    (1101, "USER_ACCT"),
    (1102, "USER_MGMT"),
    (1103, "CRED_ACQ"),
    (1104, "CRED_DISP"),
    (1105, "USER_START"),
    (1106, "USER_END"),
    (1107, "USER_AVC"),
    (1108, "USER_CHAUTHTOK"),
    (1109, "USER_ERR"),
    (1110, "CRED_REFR"),
    (1112, "USER_LOGIN"),
    (1113, "USER_LOGOUT"),
    (1123, "USER_CMD"),
    (1127, "SYSTEM_BOOT"),
    (1128, "SYSTEM_SHUTDOWN"),
    (1130, "SERVICE_START"),
    (1131, "SERVICE_STOP"),
    (1300, "SYSCALL"),
    (1302, "PATH"),
    (1303, "IPC"),
    (1304, "SOCKETCALL"),
    (1305, "CONFIG_CHANGE"),
    (1306, "SOCKADDR"),
    (1307, "CWD"),
    (1309, "EXECVE"),
    (1318, "OBJ_PID"),
    (1320, "EOE"),
    (1323, "MMAP"),
    (1325, "NETFILTER_CFG"),
    (1326, "SECCOMP"),
    (1327, "PROCTITLE"),
    (1334, "BPF"),
    (1400, "AVC"),
    (1700, "ANOM_PROMISCUOUS"),
    (1701, "ANOM_ABEND"),
];

/// Fields of the kernel that have a name of their own in the journal, and whether hex digits stand for bytes in them.
const KNOWN: [(&str, &str, bool); 9] = [
    ("pid", "_PID", false),
    ("uid", "_UID", false),
    ("gid", "_GID", false),
    ("auid", "_AUDIT_LOGINUID", false),
    ("ses", "_AUDIT_SESSION", false),
    ("subj", "_SELINUX_CONTEXT", false),
    ("comm", "_COMM", true),
    ("exe", "_EXE", true),
    ("proctitle", "_CMDLINE", true),
];

/// The order that switches the audit on.
pub fn switch_on() -> Vec<u8> {
    let length = HEADER_BYTES + 4 * STATUS_WORDS;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(SET.to_ne_bytes());
    bytes.extend(REQUEST.to_ne_bytes());
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(ENABLED.to_ne_bytes());
    bytes.extend(1u32.to_ne_bytes());
    bytes.resize(length, 0);
    bytes
}

/// The fields of a record; `false`: it is none that is kept.
pub fn describe(bytes: &[u8], fields: &mut Fields) -> bool {
    fields.clear();
    let Some((kind, text)) = split(bytes) else { return false };
    let Some((stamp, rest)) = text.strip_prefix("audit(").and_then(|text| text.split_once("): ")) else { return false };
    let Some((realtime_us, serial)) = moment(stamp) else { return false };
    let name = KINDS.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name);
    fields.show("_AUDIT_TYPE", kind);
    match name {
        Some(name) => fields.text("_AUDIT_TYPE_NAME", name),
        None => fields.show("_AUDIT_TYPE_NAME", format_args!("AUDIT{kind}")),
    }
    fields.show("_AUDIT_ID", serial);
    fields.show("_SOURCE_REALTIME_TIMESTAMP", realtime_us);
    fields.text("PRIORITY", "5");
    fields.text("SYSLOG_FACILITY", "4");
    fields.text("SYSLOG_IDENTIFIER", "audit");
    match name {
        Some(name) => fields.show("MESSAGE", format_args!("{name} {rest}")),
        None => fields.show("MESSAGE", format_args!("AUDIT{kind} {rest}")),
    }
    let (trusted, said) = match rest.split_once("msg='") {
        Some((before, said)) => (before, said.rsplit_once('\'').map_or(said, |(said, _)| said)),
        None => (rest, ""),
    };
    words(trusted, |name, value| match KNOWN.iter().find(|(known, ..)| *known == name) {
        Some((_, field, true)) => fields.push(field.as_bytes(), &unhex(value)),
        Some((_, field, false)) => fields.text(field, unquote(value)),
        None => other("_AUDIT_FIELD_", name, value, fields),
    });
    words(said, |name, value| other("AUDIT_FIELD_", name, value, fields));
    true
}

/// The kind of a message and its text.
fn split(bytes: &[u8]) -> Option<(u16, &str)> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    if kind != USER && kind < FIRST_KIND {
        return None;
    }
    // The kernel has told of lengths with and without the header.
    let text = bytes.get(HEADER_BYTES..length.max(HEADER_BYTES).min(bytes.len()))?;
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    Some((kind, std::str::from_utf8(text.get(..end)?).ok()?.trim_end()))
}

/// `SECONDS.MILLISECONDS:SERIAL`
fn moment(stamp: &str) -> Option<(u64, u64)> {
    let (time, serial) = stamp.split_once(':')?;
    let (seconds, milliseconds) = time.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let milliseconds: u64 = milliseconds.parse().ok()?;
    let realtime_us = seconds.checked_mul(1_000_000)?.checked_add(milliseconds.checked_mul(1000)?)?;
    Some((realtime_us, serial.parse().ok()?))
}

/// `name=value` words; a value in quotes may hold blanks.
fn words<'a>(mut text: &'a str, mut each: impl FnMut(&'a str, &'a str)) {
    for _ in 0..FIELDS_MAX {
        text = text.trim_start();
        let Some((name, rest)) = text.split_once('=') else { return };
        let quote = rest.strip_prefix('"').and_then(|quoted| quoted.find('"')).map(|end| end + 2);
        let end = quote.or_else(|| rest.find(' ')).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        // Words without a value may stand between.
        each(name.rsplit(' ').next().unwrap_or(name), value);
        text = after;
    }
}

fn other(prefix: &str, name: &str, value: &str, fields: &mut Fields) {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if !name.is_empty() && is_name(name) && prefix.len() + name.len() <= NAME_MAX {
        let name = format!("{prefix}{}", name.replace('-', "_").to_ascii_uppercase());
        fields.text(&name, unquote(value));
    }
}

fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// A string of the kernel: in quotes, or hex digits where it has odd bytes; zero bytes become blanks.
fn unhex(value: &str) -> Vec<u8> {
    let digits = value.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = !digits.is_empty() && digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_hex {
        return unquote(value).as_bytes().to_vec();
    }
    digits.chunks(2).filter_map(byte).map(|byte| if byte == 0 { b' ' } else { byte }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, text: &str) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + text.len()).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(text.as_bytes());
        bytes
    }

    fn described(kind: u16, text: &str) -> Option<Fields> {
        let mut fields = Fields::default();
        describe(&message(kind, text), &mut fields).then_some(fields)
    }

    #[test]
    fn a_record_of_the_kernel_becomes_trusted_fields() {
        let text = "audit(1700000000.123:45): auid=4294967295 uid=0 gid=0 ses=3 subj=unconfined pid=812 \
            comm=\"a b\" exe=\"/usr/bin/x\" sig=31 arch=c000003e syscall=2 code=0x80000000";
        let fields = described(1326, text).expect("a record");
        for (name, value) in [
            ("_AUDIT_TYPE", "1326"),
            ("_AUDIT_TYPE_NAME", "SECCOMP"),
            ("_AUDIT_ID", "45"),
            ("_SOURCE_REALTIME_TIMESTAMP", "1700000000123000"),
            ("_PID", "812"),
            ("_COMM", "a b"),
            ("_EXE", "/usr/bin/x"),
            ("_AUDIT_SESSION", "3"),
            ("_AUDIT_FIELD_SYSCALL", "2"),
        ] {
            assert_eq!(fields.str(name), Some(value), "{name}");
        }
        assert!(fields.str("MESSAGE").is_some_and(|text| text.starts_with("SECCOMP auid=")));
        let title = described(1327, "audit(1.000:1): proctitle=6C73002D6C").expect("a record");
        assert_eq!(title.str("_CMDLINE"), Some("ls -l"));
    }

    #[test]
    fn what_a_program_said_is_not_trusted() {
        let text = "audit(1700000000.123:46): pid=9 uid=0 msg='op=login pid=1 exe=\"/bin/no\" _PID=1 res=success'";
        let fields = described(1112, text).expect("a record");
        assert_eq!((fields.str("_PID"), fields.str("_EXE")), (Some("9"), None));
        assert_eq!((fields.str("AUDIT_FIELD_PID"), fields.str("AUDIT_FIELD_RES")), (Some("1"), Some("success")));
        assert_eq!(fields.str("AUDIT_FIELD__PID"), Some("1"));
        assert_eq!(described(1999, "audit(1.000:1): a=b").and_then(|fields| fields.number("_AUDIT_TYPE")), Some(1999));
    }

    #[test]
    fn the_order_to_switch_on_names_nothing_else() {
        let bytes = switch_on();
        let words: Vec<u32> =
            bytes[HEADER_BYTES..].chunks(4).map(|word| u32::from_ne_bytes(word.try_into().expect("4"))).collect();
        assert_eq!((bytes.len(), &words[..2]), (60, &[1, 1][..]));
        assert!(words[2..].iter().all(|word| *word == 0));
    }

    #[test]
    fn answers_and_broken_records_are_none() {
        assert!(described(2, "audit(1.000:1): a=b").is_none(), "an error of netlink");
        for text in ["", "audit(", "audit(x.1:2): a", "audit(1.1): a", "no audit"] {
            assert!(described(1300, text).is_none(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text: String) {
            describe(&bytes, &mut Fields::default());
            described(1300, &format!("audit(1.000:1): {text}"));
        }
    }
}
