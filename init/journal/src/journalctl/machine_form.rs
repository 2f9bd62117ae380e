//! How an entry looks to a program: systemd's export format, and JSON in four frames. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::options::Output;
use super::record::Record;
use super::text::printable;

/// JSON leaves out longer values unless all is wanted.
const JSON_MAX: usize = 4096;

/// What the journal itself knows of an entry.
fn addresses(record: &Record) -> [(&'static str, String); 6] {
    [
        ("__CURSOR", record.cursor.clone()),
        ("__REALTIME_TIMESTAMP", record.realtime_us.to_string()),
        ("__MONOTONIC_TIMESTAMP", record.monotonic_us.to_string()),
        ("__SEQNUM", record.seqnum.to_string()),
        ("__SEQNUM_ID", record.seqnum_id.to_string()),
        ("_BOOT_ID", record.boot.to_string()),
    ]
}

/// `NAME=value` lines, or name, length and bytes for what is no line; a blank line at the end.
pub fn export(record: &Record, wanted: &BTreeSet<String>, out: &mut Vec<u8>) {
    for (name, value) in addresses(record) {
        out.extend_from_slice(format!("{name}={value}\n").as_bytes());
    }
    for (name, value) in record.fields.iter().filter(|(name, _)| is_wanted(name, wanted)) {
        out.extend_from_slice(name);
        if printable(value, false).is_some() {
            out.push(b'=');
        } else {
            out.push(b'\n');
            out.extend_from_slice(&(value.len() as u64).to_le_bytes());
        }
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out.push(b'\n');
}

fn is_wanted(name: &[u8], wanted: &BTreeSet<String>) -> bool {
    name != b"_BOOT_ID" && (wanted.is_empty() || std::str::from_utf8(name).is_ok_and(|name| wanted.contains(name)))
}

/// One object; a field that occurs more than once has a list of values.
pub fn json(record: &Record, frame: Output, wanted: &BTreeSet<String>, all: bool, out: &mut Vec<u8>) {
    let mut object = Map::new();
    for (name, value) in addresses(record) {
        object.insert(name.to_owned(), value.into());
    }
    let mut several: BTreeSet<String> = BTreeSet::new();
    for (name, value) in record.fields.iter().filter(|(name, _)| is_wanted(name, wanted)) {
        let name = String::from_utf8_lossy(name).into_owned();
        let value = json_value(value, all);
        match object.remove(&name) {
            None => {
                object.insert(name, value);
            }
            Some(Value::Array(mut values)) if several.contains(&name) => {
                values.push(value);
                object.insert(name, Value::Array(values));
            }
            Some(first) => {
                several.insert(name.clone());
                object.insert(name, Value::Array(vec![first, value]));
            }
        }
    }
    let (before, after): (&str, &str) = match frame {
        Output::JsonSse => ("data: ", "\n\n"),
        Output::JsonSeq => ("\x1e", "\n"),
        _ => ("", "\n"),
    };
    out.extend_from_slice(before.as_bytes());
    if frame == Output::JsonPretty {
        pretty(&object, out);
    } else {
        out.extend_from_slice(Value::Object(object).to_string().as_bytes());
    }
    out.extend_from_slice(after.as_bytes());
}

fn json_value(value: &[u8], all: bool) -> Value {
    if value.len() >= JSON_MAX && !all {
        return Value::Null;
    }
    match printable(value, true) {
        Some(text) => text.into(),
        None => Value::Array(value.iter().map(|byte| (*byte).into()).collect()),
    }
}

/// systemd's layout: a tabulator before each name, blanks around the colon.
fn pretty(object: &Map<String, Value>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\n");
    for (number, (name, value)) in object.iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(b",\n");
        }
        let name = Value::String(name.clone());
        out.extend_from_slice(format!("\t{name} : ").as_bytes());
        match value {
            Value::Array(values) => {
                let items: Vec<String> = values.iter().map(|value| format!("\t\t{value}")).collect();
                out.extend_from_slice(format!("[\n{}\n\t]", items.join(",\n")).as_bytes());
            }
            other => out.extend_from_slice(other.to_string().as_bytes()),
        }
    }
    out.extend_from_slice(b"\n}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record { realtime_us: 7, monotonic_us: 8, cursor: "s=1".into(), ..Record::default() };
        record.fields.text("_BOOT_ID", "dropped: it is told above");
        record.fields.text("MESSAGE", "a\tb");
        record.fields.text("TWO", "1");
        record.fields.text("TWO", "2");
        record.fields.push(b"BLOB", b"x\n\0");
        record
    }

    fn exported(wanted: &[&str]) -> Vec<u8> {
        let mut out = Vec::new();
        export(&record(), &wanted.iter().map(|name| (*name).to_owned()).collect(), &mut out);
        out
    }

    #[test]
    fn export_has_lines_and_sized_values() {
        let zeros = "0".repeat(32);
        let head = format!(
            "__CURSOR=s=1\n__REALTIME_TIMESTAMP=7\n__MONOTONIC_TIMESTAMP=8\n__SEQNUM=0\n__SEQNUM_ID={zeros}\n\
             _BOOT_ID={zeros}\n"
        );
        let all = [head.as_bytes(), b"MESSAGE=a\tb\nTWO=1\nTWO=2\nBLOB\n\x03\0\0\0\0\0\0\0x\n\0\n\n"].concat();
        assert_eq!(exported(&[]), all);
        assert_eq!(exported(&["TWO"]), [head.as_bytes(), b"TWO=1\nTWO=2\n\n"].concat());
    }

    #[test]
    fn json_has_lists_and_bytes_and_frames() {
        let shown = |frame, all| {
            let mut out = Vec::new();
            json(&record(), frame, &BTreeSet::new(), all, &mut out);
            String::from_utf8(out).expect("text")
        };
        let value: Value = serde_json::from_str(&shown(Output::Json, false)).expect("json");
        assert_eq!(value["__REALTIME_TIMESTAMP"], "7");
        assert_eq!(value["TWO"], serde_json::json!(["1", "2"]));
        assert_eq!(value["BLOB"], serde_json::json!([120, 10, 0]));
        let pretty = shown(Output::JsonPretty, false);
        assert_eq!(serde_json::from_str::<Value>(&pretty).expect("json"), value);
        assert!(pretty.starts_with("{\n\t\"") && pretty.ends_with("\n}\n"), "{pretty}");
        assert!(
            shown(Output::JsonSse, false).starts_with("data: {") && shown(Output::JsonSse, false).ends_with("}\n\n")
        );
        assert!(shown(Output::JsonSeq, false).starts_with("\x1e{"));
    }

    #[test]
    fn long_values_are_left_out_of_json() {
        let long = vec![b'x'; JSON_MAX];
        assert_eq!(json_value(&long, false), Value::Null);
        assert!(json_value(&long, true).is_string() && json_value(&long[1..], false).is_string());
    }
}
