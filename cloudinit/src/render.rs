//! Writes a tree as YAML, for `ferrite-cloudinit render`; secrets are left out. Pure.

use crate::document::{Node, Value};

const HIDDEN: &str = "<redacted>";
const SECRETS: [&str; 5] = ["passwd", "password", "private", "secret", "content"];
/// `chpasswd.list` and `random_seed.data`.
const HIDDEN_WHOLE: [&str; 2] = ["list", "data"];

/// A tree as YAML of two blanks a level.
pub(crate) fn yaml(node: &Node) -> String {
    let mut out = String::new();
    block(node, 0, &mut out);
    out
}

/// The same without the values of secrets.
pub(crate) fn redacted(node: &Node) -> Node {
    let value = match &node.value {
        Value::Map(pairs) => Value::Map(
            pairs
                .iter()
                .map(|(key, value)| {
                    let name = key.text().unwrap_or_default().to_ascii_lowercase();
                    let hidden = SECRETS.iter().any(|secret| name.contains(secret)) && value.truth().is_none();
                    let hidden =
                        hidden && !matches!(value.value, Value::Map(_)) || HIDDEN_WHOLE.contains(&name.as_str());
                    let text = || Node { value: Value::Text(HIDDEN.into()), place: value.place };
                    (key.clone(), if hidden { text() } else { redacted(value) })
                })
                .collect(),
        ),
        Value::List(items) => Value::List(items.iter().map(redacted).collect()),
        Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) => node.value.clone(),
    };
    Node { value, place: node.place }
}

/// The depth is that of a document, so this recursion has a limit.
fn block(node: &Node, level: usize, out: &mut String) {
    let indent = "  ".repeat(level);
    match &node.value {
        Value::Map(pairs) if !pairs.is_empty() => {
            for (key, value) in pairs {
                out.push_str(&format!("{indent}{}:", plain(key)));
                nested(value, level, out);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("{indent}-"));
                nested(item, level, out);
            }
        }
        _ => out.push_str(&format!("{indent}{}\n", scalar(node))),
    }
}

fn nested(node: &Node, level: usize, out: &mut String) {
    match &node.value {
        Value::Map(pairs) if !pairs.is_empty() => {
            out.push('\n');
            block(node, level + 1, out);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            block(node, level + 1, out);
        }
        _ => out.push_str(&format!(" {}\n", scalar(node))),
    }
}

fn plain(key: &Node) -> String {
    let text = key.text().unwrap_or("?");
    let simple =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if simple { text.to_string() } else { quoted(text) }
}

fn scalar(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".into(),
        Value::Other(text) => text.clone(),
        Value::Text(text) => quoted(text),
        Value::Binary(text) => format!("!!binary {}", quoted(text)),
        Value::List(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
    }
}

/// JSON strings are YAML strings.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Faults;

    #[test]
    fn what_is_written_is_read_back_and_secrets_are_not_written() {
        let text = "a: [1, x, {b: \"q\\n\", c: }]\nusers:\n  - {name: u, passwd: $6$x, lock_passwd: false}\ne: []\n";
        let tree = crate::document::parse(text, &mut Faults::default()).unwrap();
        let written = yaml(&tree);
        let again = crate::document::parse(&written, &mut Faults::default()).unwrap();
        assert_eq!(yaml(&again), written);
        let shown = yaml(&redacted(&tree));
        assert!(!shown.contains("$6$") && shown.contains("lock_passwd: false"), "{shown}");
    }
}
