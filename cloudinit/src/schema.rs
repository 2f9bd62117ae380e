//! The language as a JSON schema for editors, from the tables that check it. Pure.

use serde_json::{Map, Value, json};

use crate::keys_cloud::CONFIG;
use crate::language::{Key, Kind, Rule, Verdict};
use crate::rules;

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
        // Nothing fits where a key is refused.
        let refused = matches!(key.verdict, Verdict::Refused(_));
        let mut value = if refused { json!({ "not": {} }) } else { kind(&key.kind) };
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
        Kind::Bytes => json!({ "type": "string" }),
        Kind::Text(rule) => with_pattern(json!({ "type": "string" }), *rule),
        Kind::Scalar(rule) => with_pattern(json!({ "type": ["string", "number", "boolean"] }), *rule),
        Kind::Mode => json!({ "type": ["string", "integer"], "pattern": "^(0o)?[0-7]{3,5}$" }),
        Kind::Words(words) => json!({ "enum": words_and_truths(words) }),
        Kind::List(item) => json!({ "type": "array", "items": kind(item) }),
        Kind::Count(item, least, usize::MAX) => json!({ "type": "array", "items": kind(item), "minItems": least }),
        Kind::Count(item, least, most) => {
            json!({ "type": "array", "items": kind(item), "minItems": least, "maxItems": most })
        }
        Kind::Map(keys, _) => map(keys),
        Kind::Table(item) => json!({ "type": "object", "additionalProperties": kind(item) }),
        Kind::OneOf(kinds, what) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>(), "title": what }),
        Kind::Null => json!({ "type": "null" }),
        Kind::Any => json!({}),
    }
}

/// Rules as patterns of ECMAScript, as far as a pattern can say what a rule says; each takes all that its rule takes.
const PATTERNS: [(Rule, &str); 10] = [
    (rules::line, r"^[^\n\r]*$"),
    (rules::hostname, r"^[A-Za-z0-9.-]+$"),
    (rules::public_key, r"(ssh-|ecdsa-|sk-)"),
    (rules::path, r"^/.*[^/\n]$"),
    (rules::account, r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$"),
    (rules::certificate, "-----BEGIN CERTIFICATE-----"),
    (
        rules::unit,
        r"^[^/\s]+\.(service|socket|target|mount|automount|swap|timer|path|slice|scope|network|netdev|link)$",
    ),
    (rules::drop_in, r"^[^/\s]+\.conf$"),
    (rules::window_start, r"^([A-Za-z]+ +)?([01]?[0-9]|2[0-3]):[0-5]?[0-9]$"),
    (rules::duration, r"^([0-9.]+(ms|us|ns|h|m|s))+$|^0$"),
];

fn with_pattern(mut value: Value, rule: Rule) -> Value {
    let found = PATTERNS.iter().find(|(known, _)| std::ptr::fn_addr_eq(*known, rule));
    if let (Some((_, pattern)), Some(object)) = (found, value.as_object_mut()) {
        object.insert("pattern".into(), (*pattern).into());
    }
    value
}

/// `off` without quotes is a truth value to some readers.
fn words_and_truths(words: &[&str]) -> Vec<Value> {
    let truths = words.iter().filter_map(|word| crate::document::truth(word)).map(Value::from);
    words.iter().map(|word| Value::from(*word)).chain(truths).collect()
}
