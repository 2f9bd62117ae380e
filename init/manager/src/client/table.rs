//! Tables of systemctl, as text or as JSON. Pure.
//!
//! Columns are one blank apart. On a terminal that is too narrow the last column is cut first, then the one that names
//! the units.

use super::arguments::{Arguments, Output};
use super::listing::Look;
use super::style::{Colour, UNDERLINE, paint, visible};

/// A column: its heading, its name in JSON, and the side on which its text stands.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    heading: &'static str,
    key: &'static str,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// A column whose text stands left.
pub const fn left(heading: &'static str, key: &'static str) -> Column {
    Column { heading, key, side: Side::Left }
}

/// A column whose text stands right.
pub const fn right(heading: &'static str, key: &'static str) -> Column {
    Column { heading, key, side: Side::Right }
}

/// What a cell is in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Nothing,
    Flag(bool),
    Number(u64),
    Text(String),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Value::Nothing => "null".to_owned(),
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(text) => string(text),
        }
    }
}

/// A string of JSON.
fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    colour: &'static str,
    value: Value,
}

/// A cell whose value is its text.
pub fn cell(text: impl Into<String>, colour: &'static str) -> Cell {
    let text = text.into();
    Cell { value: Value::Text(text.clone()), text: visible(&text), colour }
}

/// A cell that is told in another way in JSON.
pub fn valued(text: impl Into<String>, value: Value) -> Cell {
    Cell { text: visible(&text.into()), colour: "", value }
}

impl Cell {
    /// The same in a colour.
    pub fn painted(self, colour: &'static str) -> Cell {
        Cell { colour, ..self }
    }
}

/// `-` for an empty text, `null` in JSON.
pub fn or_dash(text: &str) -> Cell {
    if text.is_empty() { valued("-", Value::Nothing) } else { cell(text, "") }
}

/// The table as the command line wants it; the summary is for readers of text only.
pub fn render(
    columns: &[Column],
    rows: &[Vec<Cell>],
    arguments: &Arguments,
    look: Look,
    summary: impl FnOnce() -> String,
) -> String {
    match arguments.output {
        Output::Json => json(columns, rows, "", "", ":"),
        Output::JsonPretty => json(columns, rows, "\n", "\t", " : "),
        Output::Text if arguments.no_legend => layout(columns, rows, false, look),
        Output::Text => format!("{}{}", layout(columns, rows, true, look), summary()),
    }
}

fn json(columns: &[Column], rows: &[Vec<Cell>], end: &str, indent: &str, colon: &str) -> String {
    if rows.is_empty() {
        return "[]\n".into();
    }
    let comma = format!(",{end}");
    let object = |row: &Vec<Cell>| {
        let field = |(column, cell): (&Column, &Cell)| {
            format!("{indent}{indent}{}{colon}{}", string(column.key), cell.value.text())
        };
        // What only marks a row for the eye has no name.
        let fields = columns.iter().zip(row).filter(|(column, _)| !column.key.is_empty()).map(field);
        format!("{indent}{{{end}{}{end}{indent}}}", fields.collect::<Vec<_>>().join(&comma))
    };
    format!("[{end}{}{end}]\n", rows.iter().map(object).collect::<Vec<_>>().join(&comma))
}

/// The table as text without colours, as wide as it needs to be.
pub fn plain(columns: &[Column], rows: &[Vec<Cell>]) -> String {
    layout(columns, rows, true, Look { colour: Colour::Off, width: None })
}

fn layout(columns: &[Column], rows: &[Vec<Cell>], has_heading: bool, look: Look) -> String {
    let mut lines: Vec<Vec<(String, &'static str)>> = Vec::new();
    if has_heading {
        lines.push(columns.iter().map(|column| (column.heading.to_owned(), UNDERLINE)).collect());
    }
    lines.extend(rows.iter().map(|row| row.iter().map(|cell| (cell.text.clone(), cell.colour)).collect()));
    let widths = widths(columns, &lines, look.width);
    let mut text = String::new();
    for line in &lines {
        text.push_str(line_text(columns, line, &widths, look).trim_end());
        text.push('\n');
    }
    text
}

/// The width of each column. If they do not fit, the last one gives way, then the widest one.
fn widths(columns: &[Column], lines: &[Vec<(String, &'static str)>], total: Option<usize>) -> Vec<usize> {
    let of_column = |place: usize| {
        let texts = lines.iter().filter_map(|line| line.get(place));
        texts.map(|(text, _)| text.chars().count()).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns.len()).map(of_column).collect();
    let Some(total) = total else { return widths };
    let blanks = columns.len().saturating_sub(1);
    let mut excess = (widths.iter().sum::<usize>() + blanks).saturating_sub(total);
    if let Some(last) = widths.last_mut() {
        let given = excess.min(last.saturating_sub(MINIMUM.min(*last)));
        *last -= given;
        excess -= given;
    }
    if let Some(widest) = widths.iter_mut().max() {
        *widest -= excess.min(widest.saturating_sub(MINIMUM.min(*widest)));
    }
    widths
}

/// A column that gives way keeps so much.
const MINIMUM: usize = 12;

fn line_text(columns: &[Column], line: &[(String, &'static str)], widths: &[usize], look: Look) -> String {
    let mut out = String::new();
    for (place, ((text, colour), (column, width))) in line.iter().zip(columns.iter().zip(widths)).enumerate() {
        if place > 0 {
            out.push(' ');
        }
        let content = super::listing::shorten(text, Some(*width));
        let fill = " ".repeat(width.saturating_sub(content.chars().count()));
        let painted = paint(&content, colour, look.colour);
        match column.side {
            Side::Left => out.extend([painted, fill]),
            Side::Right => out.extend([fill, painted]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let rows = [["a", "1"], ["long name", "1000000"]].map(|row| row.map(|text| cell(text, "")).to_vec());
        let text = plain(&[left("NAME", "name"), right("NUMBER", "number")], &rows);
        assert_eq!(text, "NAME       NUMBER\na               1\nlong name 1000000\n");
    }

    const COLUMNS: [Column; 4] = [left(" ", ""), left("UNIT", "unit"), right("LEFT", "left"), left("WHY", "why")];

    fn rendered(line: &str, width: Option<usize>) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let arguments = super::super::arguments::parse(&words).expect("valid");
        let rows = [
            vec![
                cell("●", ""),
                cell("a-very-long-name.service", ""),
                valued("5min", Value::Number(300)),
                cell("x", ""),
            ],
            vec![cell(" ", ""), cell("b\"\t.socket", ""), or_dash(""), cell("because of something", "")],
        ];
        render(&COLUMNS, &rows, &arguments, Look { colour: Colour::Off, width }, || "2 listed.\n".into())
    }

    #[test]
    fn columns_stand_left_or_right_under_their_heading() {
        assert_eq!(
            rendered("systemctl", None),
            "  UNIT                     LEFT WHY\n\
             ● a-very-long-name.service 5min x\n  \
             b\"\t.socket                  - because of something\n2 listed.\n"
        );
        assert!(!rendered("systemctl --no-legend", None).contains("UNIT"));
    }

    #[test]
    fn a_narrow_terminal_cuts_the_last_column_then_the_widest() {
        let text = rendered("systemctl --no-legend", Some(40));
        assert_eq!(text, "● a-very-long-name.se… 5min x\n  b\"\t.socket              - because of …\n");
        assert!(text.lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn json_tells_values_and_no_marks() {
        assert_eq!(
            rendered("systemctl -o json", None),
            "[{\"unit\":\"a-very-long-name.service\",\"left\":300,\"why\":\"x\"},\
             {\"unit\":\"b\\\"\\t.socket\",\"left\":null,\"why\":\"because of something\"}]\n"
        );
        let pretty = rendered("systemctl -o json-pretty", None);
        let begin =
            "[\n\t{\n\t\t\"unit\" : \"a-very-long-name.service\",\n\t\t\"left\" : 300,\n\t\t\"why\" : \"x\"\n\t},\n";
        assert!(pretty.starts_with(begin), "{pretty}");
        assert!(pretty.ends_with("\n\t}\n]\n"), "{pretty}");
    }
}
