//! Plain text tables: columns as wide as their widest cell, two blanks between them, no trailing blanks. Pure.

/// Rows of text under an optional heading.
#[derive(Debug, Default)]
pub struct Table {
    heading: Option<Vec<String>>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading.
    pub fn with_heading<S: Into<String>>(heading: impl IntoIterator<Item = S>) -> Self {
        Self { heading: Some(heading.into_iter().map(Into::into).collect()), rows: Vec::new() }
    }

    /// A table without a heading (`--no-legend`).
    pub fn without_heading() -> Self {
        Self::default()
    }

    /// Adds a row; rows may differ in length.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table as text, one line a row, each ended by a newline.
    pub fn render(&self) -> String {
        let lines = || self.heading.iter().chain(&self.rows);
        let columns = lines().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|c| lines().filter_map(|l| l.get(c)).map(|s| s.chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in lines() {
            let mut out = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                if !out.is_empty() {
                    out.push_str("  ");
                }
                out.push_str(cell);
                out.extend(std::iter::repeat_n(' ', width - cell.chars().count()));
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let mut table = Table::with_heading(["SLOT", "STATE"]);
        table.row(["a", "good"]);
        table.row(["long name", "x"]);
        assert_eq!(table.render(), "SLOT       STATE\na          good\nlong name  x\n");
    }
}
