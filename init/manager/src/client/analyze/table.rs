//! A table with a heading, as systemd's commands print it: columns as wide as need be, one blank between them. Pure.

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// The lines of a table; no blank stands at the end of a line.
pub fn render<const N: usize>(heading: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(heading.get(column).map(|(name, _)| name.chars().count())).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String; N]| {
        let padded = cells.iter().zip(&widths).zip(heading).map(|((cell, width), (_, align))| {
            let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
            if align == Align::Right { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") }
        });
        format!("{}\n", padded.collect::<Vec<_>>().join(" ").trim_end())
    };
    let names = heading.map(|(name, _)| name.to_owned());
    std::iter::once(&names).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long name".to_owned(), "1000000".to_owned()]];
        let text = render([("NAME", Align::Left), ("NUMBER", Align::Right)], &rows);
        assert_eq!(text, "NAME       NUMBER\na               1\nlong name 1000000\n");
    }
}
