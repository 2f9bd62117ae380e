//! File attributes as `chattr` names them. Pure.

/// Letters with the bits of the kernel's inode flags.
const LETTERS: [(char, u32); 15] = [
    ('A', 0x80),
    ('S', 0x8),
    ('D', 0x1_0000),
    ('a', 0x20),
    ('c', 0x4),
    ('d', 0x40),
    ('e', 0x8_0000),
    ('i', 0x10),
    ('j', 0x4000),
    ('s', 0x1),
    ('u', 0x2),
    ('t', 0x8000),
    ('T', 0x2_0000),
    ('C', 0x80_0000),
    ('P', 0x2000_0000),
];

/// The flag that only folders have.
pub const FOLDERS_ONLY: u32 = 0x1_0000;

/// Bits to set and clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttributeChange {
    /// What the bits of `mask` become.
    pub value: u32,
    /// The bits that change.
    pub mask: u32,
}

/// Reads `+aC`, `-i`, `=d`; the fault is for the path's line.
pub(super) fn parse(text: &str, path: &str) -> Result<AttributeChange, String> {
    let (sign, letters) = match text.chars().next() {
        Some(sign @ ('+' | '-' | '=')) => (sign, text.get(1..).unwrap_or_default()),
        _ => ('+', text),
    };
    if letters.is_empty() && sign != '=' {
        return Err(format!("Setting file attribute on '{path}' needs an attribute specification."));
    }
    let mut change = AttributeChange { value: 0, mask: 0 };
    for letter in letters.chars() {
        let known = LETTERS.iter().find(|(known, _)| *known == letter);
        let (_, bit) = known.ok_or_else(|| format!("Unknown file attribute '{letter}' on '{path}'."))?;
        change.mask |= bit;
        if sign != '-' {
            change.value |= bit;
        }
    }
    if sign == '=' {
        change.mask = LETTERS.iter().fold(0, |mask, (_, bit)| mask | bit);
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_added_taken_and_set() {
        let change = |text| parse(text, "/x");
        assert_eq!(change("+C"), Ok(AttributeChange { value: 0x80_0000, mask: 0x80_0000 }));
        assert_eq!(change("ai"), Ok(AttributeChange { value: 0x30, mask: 0x30 }));
        assert_eq!(change("-i"), Ok(AttributeChange { value: 0, mask: 0x10 }));
        assert_eq!(change("=d").unwrap().value, 0x40);
        assert!(change("=").unwrap().mask.count_ones() == 15);
        assert!(change("+").is_err() && change("+z").unwrap_err().contains("'z'"));
    }
}
