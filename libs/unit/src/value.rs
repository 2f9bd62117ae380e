//! Simple values: booleans, time spans, sizes, signals, exit status sets, modes. Pure.

use std::time::Duration;

/// A value that the directive does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub String);

/// The outcome of reading a value.
pub type Parsed<T> = Result<T, ValueError>;

/// An error that names the value and what would be right.
pub fn wrong(value: &str, right: &str) -> ValueError {
    ValueError(format!("'{value}' is not {right}"))
}

/// `1 yes y true t on` and `0 no n false f off`, any case.
pub fn boolean(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Ok(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Ok(false),
        _ => Err(wrong(text, "a boolean (yes or no)")),
    }
}

/// A time span, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Span {
    /// This long.
    Finite(Duration),
    /// No limit.
    Infinite,
}

impl Span {
    /// So many seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span::Finite(Duration::from_secs(seconds))
    }

    /// The duration, unless without limit.
    pub fn finite(self) -> Option<Duration> {
        match self {
            Span::Finite(duration) => Some(duration),
            Span::Infinite => None,
        }
    }

    /// Zero means no limit, as for the `Timeout*Sec` settings.
    pub fn zero_is_infinite(self) -> Span {
        if self == Span::Finite(Duration::ZERO) { Span::Infinite } else { self }
    }
}

/// A time span such as `90`, `1min 30s`, `2.5h`, `infinity`; a bare number is in seconds.
pub fn span(text: &str) -> Parsed<Span> {
    match crate::timespan::parse(text)? {
        crate::timespan::INFINITE_US => Ok(Span::Infinite),
        micros => Ok(Span::Finite(Duration::from_micros(micros))),
    }
}

/// A size in bytes with an optional suffix K M G T P E (powers of 1024), or `infinity` as `None`.
pub fn size(text: &str) -> Parsed<Option<u64>> {
    let text = text.trim();
    if text == "infinity" {
        return Ok(None);
    }
    let fault = || wrong(text, "a size such as 512, 64K or infinity");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let shift = match suffix.trim() {
        "" | "B" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return Err(fault()),
    };
    let number: u64 = digits.parse().map_err(|_| fault())?;
    number.checked_mul(1 << shift).map(Some).ok_or_else(fault)
}

/// An octal file mode.
pub fn mode(text: &str) -> Parsed<u32> {
    u32::from_str_radix(text, 8).ok().filter(|m| *m <= 0o7777).ok_or_else(|| wrong(text, "a file mode such as 0755"))
}

/// A signed number within bounds.
pub fn number(text: &str, low: i64, high: i64) -> Parsed<i64> {
    text.trim()
        .parse()
        .ok()
        .filter(|n| (low..=high).contains(n))
        .ok_or_else(|| wrong(text, &format!("a number from {low} to {high}")))
}

const SIGNALS: [(&str, i32); 31] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// A signal by name (with or without `SIG`) or number.
pub fn signal(text: &str) -> Parsed<i32> {
    let fault = || wrong(text, "a signal such as SIGTERM");
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number).ok_or_else(fault);
    }
    let short = text.strip_prefix("SIG").unwrap_or(text);
    if let Some((_, number)) = SIGNALS.iter().find(|(name, _)| *name == short) {
        return Ok(*number);
    }
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.parse::<i32>().ok() };
    if let Some(rest) = short.strip_prefix("RTMIN") {
        return offset(rest).map(|n| 34 + n).filter(|n| (34..=64).contains(n)).ok_or_else(fault);
    }
    if let Some(rest) = short.strip_prefix("RTMAX") {
        return offset(rest).map(|n| 64 + n).filter(|n| (34..=64).contains(n)).ok_or_else(fault);
    }
    Err(fault())
}

/// The name of a signal without `SIG`.
pub fn signal_name(number: i32) -> String {
    match SIGNALS.iter().find(|(_, n)| *n == number) {
        Some((name, _)) => (*name).to_owned(),
        None if number >= 34 => format!("RTMIN+{}", number - 34),
        None => number.to_string(),
    }
}

/// Exit codes and signals that a setting names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExitSet {
    /// Exit codes.
    pub codes: Vec<u8>,
    /// Signals.
    pub signals: Vec<i32>,
}

/// Exit codes with names, as systemd knows them.
const EXIT_NAMES: [(&str, u8); 68] = [
    ("SUCCESS", 0),
    ("FAILURE", 1),
    ("INVALIDARGUMENT", 2),
    ("NOTIMPLEMENTED", 3),
    ("NOPERMISSION", 4),
    ("NOTINSTALLED", 5),
    ("NOTCONFIGURED", 6),
    ("NOTRUNNING", 7),
    ("USAGE", 64),
    ("DATAERR", 65),
    ("NOINPUT", 66),
    ("NOUSER", 67),
    ("NOHOST", 68),
    ("UNAVAILABLE", 69),
    ("SOFTWARE", 70),
    ("OSERR", 71),
    ("OSFILE", 72),
    ("CANTCREAT", 73),
    ("IOERR", 74),
    ("TEMPFAIL", 75),
    ("PROTOCOL", 76),
    ("NOPERM", 77),
    ("CONFIG", 78),
    ("CHDIR", 200),
    ("NICE", 201),
    ("FDS", 202),
    ("EXEC", 203),
    ("MEMORY", 204),
    ("LIMITS", 205),
    ("OOM_ADJUST", 206),
    ("SIGNAL_MASK", 207),
    ("STDIN", 208),
    ("STDOUT", 209),
    ("CHROOT", 210),
    ("IOPRIO", 211),
    ("TIMERSLACK", 212),
    ("SECUREBITS", 213),
    ("SETSCHEDULER", 214),
    ("CPUAFFINITY", 215),
    ("GROUP", 216),
    ("USER", 217),
    ("CAPABILITIES", 218),
    ("CGROUP", 219),
    ("SETSID", 220),
    ("CONFIRM", 221),
    ("STDERR", 222),
    ("PAM", 224),
    ("NETWORK", 225),
    ("NAMESPACE", 226),
    ("NO_NEW_PRIVILEGES", 227),
    ("SECCOMP", 228),
    ("SELINUX_CONTEXT", 229),
    ("PERSONALITY", 230),
    ("APPARMOR", 231),
    ("ADDRESS_FAMILIES", 232),
    ("RUNTIME_DIRECTORY", 233),
    ("CHOWN", 235),
    ("SMACK_PROCESS_LABEL", 236),
    ("KEYRING", 237),
    ("STATE_DIRECTORY", 238),
    ("CACHE_DIRECTORY", 239),
    ("LOGS_DIRECTORY", 240),
    ("CONFIGURATION_DIRECTORY", 241),
    ("NUMA_POLICY", 242),
    ("CREDENTIALS", 243),
    ("BPF", 244),
    ("KSM", 245),
    ("EXCEPTION", 255),
];

/// All exit codes that have a name, in their order.
pub fn exit_names() -> impl Iterator<Item = (&'static str, u8)> {
    EXIT_NAMES.into_iter()
}

/// The name of an exit code, as `systemctl status` prints it.
pub fn exit_name(code: u8) -> Option<&'static str> {
    EXIT_NAMES.iter().find(|(_, number)| *number == code).map(|(name, _)| *name)
}

impl ExitSet {
    /// Adds the codes, code names and signals of a value; a wrong word keeps the others from nothing.
    pub fn add(&mut self, text: &str) -> Parsed<()> {
        let mut fault = Ok(());
        for word in text.split_whitespace() {
            if let Ok(code) = word.parse::<u8>() {
                self.codes.push(code);
            } else if let Some((_, code)) = EXIT_NAMES.iter().find(|(name, _)| *name == word) {
                self.codes.push(*code);
            } else {
                match signal(word) {
                    Ok(signal) => self.signals.push(signal),
                    Err(_) => fault = Err(wrong(word, "an exit code or a signal")),
                }
            }
        }
        fault
    }
}

/// A span as systemd prints it: `1min 30s`.
pub fn span_text(span: Span) -> String {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(crate::timespan::INFINITE_US);
    crate::timespan::text(span.finite().map_or(crate::timespan::INFINITE_US, micros), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_all_their_units() {
        for (text, micros) in [
            ("90", 90_000_000),
            ("1min 30s", 90_000_000),
            ("1min30", 90_000_000),
            ("2.5h", 9_000_000_000),
            (".22s", 220_000),
            ("100ms", 100_000),
            ("0", 0),
            ("1y", 31_557_600_000_000),
            ("5 s", 5_000_000),
        ] {
            assert_eq!(span(text), Ok(Span::Finite(Duration::from_micros(micros))), "{text}");
        }
        assert_eq!(span("infinity"), Ok(Span::Infinite));
        for bad in ["", " . ", "5.", "-1", "x", "1 parsec", "99999999999999y"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_are_printed_as_systemd_prints_them() {
        for (micros, text) in [
            (90_000_000, "1min 30s"),
            (220_000, "220ms"),
            (1_500_000, "1.500000s"),
            (100, "100us"),
            (86_400_000_000, "1d"),
        ] {
            assert_eq!(span_text(Span::Finite(Duration::from_micros(micros))), text);
        }
    }

    #[test]
    fn sizes_signals_and_modes_are_read() {
        assert_eq!(size("64K"), Ok(Some(65536)));
        assert_eq!(size("infinity"), Ok(None));
        assert!(size("64Q").is_err());
        assert_eq!(signal("SIGHUP"), Ok(1));
        assert_eq!(signal("RTMIN+3"), Ok(37));
        assert!(signal("SIGNOPE").is_err());
        assert_eq!(mode("0755"), Ok(0o755));
        assert!(mode("9").is_err());
        let mut set = ExitSet::default();
        set.add("143 SIGKILL TEMPFAIL").unwrap();
        assert_eq!(set, ExitSet { codes: vec![143, 75], signals: vec![9] });
    }
}
