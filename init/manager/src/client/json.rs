//! Tables as JSON, as systemd's commands write them: an array of objects, one a row. Pure.

use anyhow::{Result, bail};
use serde_json::Value;

use super::options::Line;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As a table for people.
    Table,
    /// On one line.
    Short,
    /// On many lines, indented.
    Pretty,
}

impl Form {
    /// What `--json=` asks for; `-j` asks for what suits the reader.
    pub fn of_line(line: &Line) -> Result<Form> {
        let mut form = Form::Table;
        for (name, value) in &line.options {
            form = match (*name, value.as_deref()) {
                ("json", Some("short")) => Form::Short,
                ("json", Some("pretty")) => Form::Pretty,
                ("json", Some("off")) => Form::Table,
                ("json", other) => bail!("Unknown argument to --json= switch: {}", other.unwrap_or_default()),
                ("json-auto", _) if std::io::IsTerminal::is_terminal(&std::io::stdout()) => Form::Pretty,
                ("json-auto", _) => Form::Short,
                _ => form,
            };
        }
        Ok(form)
    }
}

/// An array of objects, with a line feed at its end.
pub fn text(rows: &[Vec<(&str, Value)>], form: Form) -> String {
    let pretty = form == Form::Pretty;
    let field = |(name, value): &(&str, Value)| match pretty {
        true => format!("\t\t{} : {value}", Value::from(*name)),
        false => format!("{}:{value}", Value::from(*name)),
    };
    let between = if pretty { ",\n" } else { "," };
    let object = |row: &Vec<(&str, Value)>| {
        let fields = row.iter().map(field).collect::<Vec<_>>().join(between);
        if pretty { format!("\t{{\n{fields}\n\t}}") } else { format!("{{{fields}}}") }
    };
    let objects = rows.iter().map(object).collect::<Vec<_>>().join(between);
    if pretty && !rows.is_empty() { format!("[\n{objects}\n]\n") } else { format!("[{objects}]\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_objects() {
        let rows = [vec![("name", Value::from("a")), ("number", Value::from(1))], vec![("name", Value::Null)]];
        assert_eq!(text(&rows, Form::Short), "[{\"name\":\"a\",\"number\":1},{\"name\":null}]\n");
        let pretty = "[\n\t{\n\t\t\"name\" : \"a\",\n\t\t\"number\" : 1\n\t},\n\t{\n\t\t\"name\" : null\n\t}\n]\n";
        assert_eq!(text(&rows, Form::Pretty), pretty);
        assert_eq!(text(&[], Form::Pretty), "[]\n");
        let parsed: Value = serde_json::from_str(&text(&rows, Form::Pretty)).expect("JSON");
        assert_eq!(parsed[0]["number"], 1);
    }
}
