//! From the tree of a cloud-config to what this version understands of it. Pure.
//!
//! `-` and `_` are the same in a key. Unknown keys are warnings, wrong values errors of their own part; both with
//! a place.

use crate::document::{self, Node, Value};
use crate::fault::{Faults, Severity};
use crate::hostname::HostName;
use crate::keys::PublicKey;

const HEADER: &str = "#cloud-config";
const MAX_KEYS: usize = 1000;
/// Keys that work; the rest of the language is refused by name.
const SUPPORTED: [&str; 2] = ["hostname", "ssh_authorized_keys"];

/// What a cloud-config asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// Keys that may log in as `core`.
    pub ssh_authorized_keys: Vec<PublicKey>,
    /// The name of the machine.
    pub hostname: Option<HostName>,
}

/// Reads user-data. Faults come in the order of the document; with a broken document the config is empty.
pub(crate) fn read(bytes: &[u8]) -> (Config, Faults) {
    let mut faults = Faults::default();
    let mut config = Config::default();
    match text(bytes) {
        Ok(None) => {}
        Ok(Some(text)) => match document::parse(text) {
            Ok(root) => interpret(&root, &mut config, &mut faults),
            Err(broken) => faults = broken,
        },
        Err((place, message)) => faults.push(Severity::Broken, place, message),
    }
    faults.sort();
    (config, faults)
}

type Refusal = ((u64, u64), String);

/// The text of a cloud-config; `None` when there is nothing in it.
fn text(bytes: &[u8]) -> Result<Option<&str>, Refusal> {
    if bytes.len() > document::MAX_BYTES {
        return Err(((1, 1), format!("the document is larger than {} bytes", document::MAX_BYTES)));
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(((1, 1), "compressed user-data is not supported by this version; give it uncompressed".into()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ((line as u64, 1), "the document is not UTF-8; save it as UTF-8".to_string())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(None);
    }
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim_end();
    if first.eq_ignore_ascii_case(HEADER) {
        return Ok(Some(text));
    }
    Err(((1, 1), refusal_of(first)))
}

fn refusal_of(first: &str) -> String {
    let known = [
        ("#!", "scripts are"),
        ("#include", "'#include' is"),
        ("#cloud-boothook", "boothooks are"),
        ("#cloud-config-archive", "archives are"),
        ("#part-handler", "part handlers are"),
        ("## template:", "templates are"),
        ("MIME-Version:", "MIME documents are"),
        ("Content-Type:", "MIME documents are"),
        ("{", "Ignition and JSON are"),
    ];
    match known.iter().find(|(start, _)| first.starts_with(start)) {
        Some((_, what)) => format!("{what} not supported by this version; user-data must begin with '{HEADER}'"),
        None => format!("user-data must begin with the line '{HEADER}'"),
    }
}

fn interpret(root: &Node, config: &mut Config, faults: &mut Faults) {
    let pairs = match &root.value {
        Value::Map(pairs) => pairs,
        Value::Null => return,
        other => {
            let message = format!("the document is {}, not a map of keys; write 'key: value' lines", other.kind());
            faults.push(Severity::Broken, root.place, message);
            return;
        }
    };
    for (key, value) in pairs {
        let Value::Text(name) = &key.value else {
            faults.push(Severity::Error, key.place, format!("a key must be text, not {}", key.value.kind()));
            continue;
        };
        match name.replace('-', "_").as_str() {
            "ssh_authorized_keys" => config.ssh_authorized_keys = keys(name, value, faults),
            "hostname" => config.hostname = hostname(name, value, faults),
            _ => faults.push(Severity::Warning, key.place, unknown_key(name)),
        }
    }
}

fn unknown_key(name: &str) -> String {
    let shown: String = name.chars().take(60).filter(|character| !character.is_control()).collect();
    match SUPPORTED.iter().find(|known| distance(known, &name.replace('-', "_")) <= 2) {
        Some(known) => format!("'{shown}' is not a key of cloud-config; did you mean '{known}'? ignored"),
        None => format!("'{shown}' is not supported by this version, ignored"),
    }
}

/// Edits between two words; words of very different length are simply far apart.
fn distance(one: &str, other: &str) -> usize {
    if one.len().abs_diff(other.len()) > 3 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, left) in one.chars().enumerate() {
        let mut previous = std::mem::replace(&mut row[0], line + 1);
        for (column, right) in other.iter().enumerate() {
            let change = previous + usize::from(left != *right);
            previous = row[column + 1];
            row[column + 1] = change.min(previous + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

fn keys(name: &str, value: &Node, faults: &mut Faults) -> Vec<PublicKey> {
    match &value.value {
        Value::List(items) => items.iter().take(MAX_KEYS).filter_map(|item| key(item, faults)).collect(),
        Value::Null => {
            faults.push(Severity::Warning, value.place, format!("'{name}' has no value, ignored"));
            Vec::new()
        }
        Value::Text(_) => {
            faults.push(Severity::Warning, value.place, format!("'{name}' should be a list; put '- ' before the key"));
            key(value, faults).into_iter().collect()
        }
        other => {
            let message = format!("'{name}' must be a list of keys, not {}", other.kind());
            faults.push(Severity::Error, value.place, message);
            Vec::new()
        }
    }
}

fn key(item: &Node, faults: &mut Faults) -> Option<PublicKey> {
    let outcome = match &item.value {
        Value::Text(text) => PublicKey::parse(text),
        other => Err(format!("a key must be text, not {}", other.kind())),
    };
    outcome.map_err(|message| faults.push(Severity::Error, item.place, message)).ok()
}

fn hostname(name: &str, value: &Node, faults: &mut Faults) -> Option<HostName> {
    let outcome = match &value.value {
        Value::Text(text) => HostName::parse(text),
        Value::Null => {
            faults.push(Severity::Warning, value.place, format!("'{name}' has no value, ignored"));
            return None;
        }
        Value::Other(text) => Err(format!("'{name}' must be text; quote it: {name}: \"{text}\"")),
        Value::List(_) | Value::Map(_) => Err(format!("'{name}' must be text, not {}", value.value.kind())),
    };
    outcome.map_err(|message| faults.push(Severity::Error, value.place, message)).ok()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
