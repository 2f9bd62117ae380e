//! The language as a JSON schema for editors, from the tables that check it. Pure.

use serde_json::{Map, Value, json};

use crate::keys_cloud::CONFIG;
use crate::language::{Key, Kind, Verdict};

/// The schema of a whole cloud-config.
pub(crate) fn schema() -> Value {
    let mut root = map(CONFIG);
    if let Some(object) = root.as_object_mut() {
        object.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        object.insert("title".into(), "cloud-config of Ferrite".into());
    }
    root
}

fn map(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut value = kind(&key.kind);
        if let Some(object) = value.as_object_mut() {
            let note = match key.verdict {
                Verdict::Done => key.doc.to_string(),
                Verdict::Refused(instead) => format!("not supported: {instead}"),
                verdict => format!("{} ({})", key.doc, verdict.word()).trim_start().to_string(),
            };
            object.insert("description".into(), note.into());
            if matches!(key.verdict, Verdict::NoMeaning | Verdict::Refused(_)) {
                object.insert("deprecated".into(), true.into());
            }
        }
        properties.insert(key.name.into(), value.clone());
        if key.name.contains('_') {
            properties.insert(key.name.replace('_', "-"), value);
        }
    }
    let required: Vec<&str> =
        keys.iter().filter(|key| key.required && !key.name.contains('_')).map(|key| key.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn kind(kind_of: &Kind) -> Value {
    match kind_of {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int => json!({ "type": "integer" }),
        Kind::Text(_) | Kind::Bytes => json!({ "type": "string" }),
        Kind::Scalar(_) => json!({ "type": ["string", "number", "boolean"] }),
        Kind::Mode => json!({ "type": ["string", "integer"], "pattern": "^(0o)?[0-7]{3,5}$" }),
        Kind::Words(words) => json!({ "enum": words_and_truths(words) }),
        Kind::List(item) => json!({ "type": "array", "items": kind(item) }),
        Kind::Map(keys, _) => map(keys),
        Kind::Table(item) => json!({ "type": "object", "additionalProperties": kind(item) }),
        Kind::OneOf(kinds, what) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>(), "title": what }),
        Kind::Null => json!({ "type": "null" }),
        Kind::Any => json!({}),
    }
}

/// `off` without quotes is a truth value to some readers.
fn words_and_truths(words: &[&str]) -> Vec<Value> {
    let truths = words.iter().filter_map(|word| crate::document::truth(word)).map(Value::from);
    words.iter().map(|word| Value::from(*word)).chain(truths).collect()
}
