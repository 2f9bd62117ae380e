//! 128-bit ids and the time of an entry. Pure.

use std::fmt;

/// A machine id, boot id or id of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id128(pub [u8; 16]);

impl Id128 {
    /// Reads 32 hex digits; dashes as in a UUID may stand between them.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut digits = text.trim().chars().filter(|character| *character != '-');
        for byte in &mut bytes {
            let high = digits.next()?.to_digit(16)?;
            let low = digits.next()?.to_digit(16)?;
            *byte = u8::try_from(high << 4 | low).ok()?;
        }
        digits.next().is_none().then_some(Self(bytes))
    }

    /// Whether all bits are zero, which stands for "none".
    pub fn is_null(self) -> bool {
        self == Self::default()
    }
}

/// 32 hex digits, no dashes.
impl fmt::Display for Id128 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Id128 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// When an entry was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Microseconds since 1970.
    pub realtime_us: u64,
    /// Microseconds of the monotonic clock.
    pub monotonic_us: u64,
    /// The boot whose monotonic clock that was.
    pub boot: Id128,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_with_and_without_dashes_and_shown_without() {
        let text = "0123456789abcdef0123456789abcdef";
        assert_eq!(Id128::parse(text).map(|id| id.to_string()).as_deref(), Some(text));
        assert_eq!(Id128::parse("01234567-89ab-cdef-0123-456789abcdef"), Id128::parse(text));
        assert_eq!(Id128::parse("0123"), None);
        assert_eq!(Id128::parse("0123456789abcdef0123456789abcdef0"), None);
        assert_eq!(Id128::parse("0123456789abcdef0123456789abcdeg"), None);
    }
}
