//! A table of fields and values, one a line: names on the right of their column, as `systemd-analyze` prints it. Pure.

use super::style::{Colour, paint};

/// Fields with their values.
#[derive(Debug, Default)]
pub struct Vertical {
    rows: Vec<(String, String, &'static str)>,
}

impl Vertical {
    /// Adds a field.
    pub fn field(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.painted(name, value, "");
    }

    /// Adds a field with a value in a colour.
    pub fn painted(&mut self, name: impl Into<String>, value: impl Into<String>, colour: &'static str) {
        self.rows.push((name.into(), value.into(), colour));
    }

    /// The text, a line a field.
    pub fn render(&self, colour: Colour) -> String {
        let width = self.rows.iter().map(|(name, _, _)| name.chars().count()).max().unwrap_or(0);
        let line = |(name, value, shade): &(String, String, &str)| {
            let blanks = " ".repeat(width - name.chars().count());
            format!("{blanks}{name}: {}\n", paint(value, shade, colour))
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_one_column() {
        let mut table = Vertical::default();
        table.field("Original", "5s");
        table.painted("μs", "5000000", super::super::style::RED);
        assert_eq!(table.render(Colour::Off), "Original: 5s\n      μs: 5000000\n");
        assert!(table.render(Colour::On).contains("\x1b[0;1;31m5000000"));
    }
}
