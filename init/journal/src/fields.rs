//! The fields of an entry, names and values one behind the other in one buffer. Pure.
//!
//! A name may occur more than once; values are bytes, not text. The buffer is used again from entry to entry.

use std::io::Write;

/// The fields, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    bytes: Vec<u8>,
    /// Where a name begins, where its value begins, and where that ends.
    parts: Vec<(usize, usize, usize)>,
}

impl Fields {
    /// Forgets all fields; memory of unusual size is given back.
    pub fn clear(&mut self) {
        const KEPT_BYTES: usize = 64 * 1024;
        self.parts.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// Adds a field.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.parts.push((start, middle, self.bytes.len()));
    }

    /// Adds a field whose value is text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.push(name.as_bytes(), value.as_bytes());
    }

    /// Adds a field whose value is written here, without memory of its own.
    pub fn show(&mut self, name: &str, value: impl std::fmt::Display) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        let middle = self.bytes.len();
        // Memory takes all that is written.
        let _ = write!(self.bytes, "{value}");
        self.parts.push((start, middle, self.bytes.len()));
    }

    /// Adds a field unless its value is empty.
    pub fn known(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.parts.iter().map(|(start, middle, end)| {
            let part = |from: usize, to: usize| self.bytes.get(from..to).unwrap_or_default();
            (part(*start, *middle), part(*middle, *end))
        })
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
    }

    /// The first value of a name as text.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The first value of a name as a number.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.str(name)?.trim().parse().ok()
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_in_their_order() {
        let mut fields = Fields::default();
        fields.text("MESSAGE", "one");
        fields.push(b"BLOB", b"\0\xff=\n");
        fields.show("MESSAGE", format_args!("t{}o", 'w'));
        fields.known("EMPTY", "");
        let all: Vec<_> = fields.iter().collect();
        assert_eq!(all, [(&b"MESSAGE"[..], &b"one"[..]), (b"BLOB", b"\0\xff=\n"), (b"MESSAGE", b"two")]);
        assert_eq!((fields.str("MESSAGE"), fields.str("BLOB"), fields.len()), (Some("one"), None, 3));
        fields.clear();
        assert!(fields.is_empty() && fields.size() == 0);
    }
}
