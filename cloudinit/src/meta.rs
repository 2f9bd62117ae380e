//! meta-data, in the spelling of NoCloud: instance id, name and keys. Pure.
//!
//! It comes from the one who starts the machine, so what is good in it applies even when the user-data is broken.

use crate::datasource::Documents;
use crate::document::{self, Node, Value};
use crate::fault::{Faults, Severity};
use crate::hostname::HostName;
use crate::keys::PublicKey;

const MAX_KEYS: usize = 1000;

/// What the meta-data says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MetaData {
    /// Changes when the machine is a new one.
    pub instance_id: Option<String>,
    /// The name of the machine.
    pub hostname: Option<HostName>,
    /// The name as it was given, perhaps with a domain.
    pub full_name: Option<String>,
    /// Keys that may log in as the default user.
    pub public_keys: Vec<PublicKey>,
    /// Everything, for templates and addresses.
    pub values: serde_json::Value,
}

/// Reads meta-data; what is wrong is left out and named.
pub(crate) fn read(bytes: &[u8]) -> (MetaData, Faults) {
    let mut faults = Faults::default();
    let mut meta = MetaData::default();
    let text = match document::text(bytes) {
        Ok(text) => text,
        Err(reason) => {
            faults.push(Severity::Error, (1, 1), format!("the meta-data is {reason}"));
            return (meta, faults);
        }
    };
    if text.trim().is_empty() {
        return (meta, faults);
    }
    let Some(root) = document::parse(&text, &mut faults) else {
        return (meta, faults);
    };
    let pairs = match &root.value {
        Value::Map(pairs) => pairs,
        Value::Null => return (meta, faults),
        other => {
            faults.push(Severity::Error, root.place, format!("the meta-data is {}, not a map", other.kind()));
            return (meta, faults);
        }
    };
    meta.values = json(&root);
    for (key, value) in pairs {
        match (&key.value, &value.value) {
            (Value::Text(name), Value::Text(text) | Value::Other(text)) if name == "instance-id" => {
                meta.instance_id = Some(text.chars().filter(|character| !character.is_control()).take(128).collect());
            }
            (Value::Text(name), Value::Text(text)) if matches!(name.as_str(), "local-hostname" | "hostname") => {
                match HostName::parse(text) {
                    Ok(name) => {
                        meta.hostname = Some(name);
                        meta.full_name = Some(text.trim().to_string());
                    }
                    Err(message) => faults.push(Severity::Error, value.place, message),
                }
            }
            (Value::Text(name), _) if matches!(name.as_str(), "public-keys" | "public_keys") => {
                collect_keys(value, &mut meta.public_keys, &mut faults);
            }
            (Value::Text(name), _) if name == "network-interfaces" => {
                let message = "'network-interfaces' is not read; describe the network in 'network-config'";
                faults.push(Severity::Warning, key.place, message);
            }
            // The rest of the meta-data is for other programs.
            (_, _) => {}
        }
    }
    (meta, faults)
}

/// Adds what a datasource says beside its meta-data: a name that wins, an id where there is none, more keys.
pub(crate) fn complete(meta: &mut MetaData, documents: &Documents, faults: &mut Faults) {
    // Meta-data that cannot be read may have named another instance, so that the machine counts as none.
    let is_unreadable = meta.values.is_null() && !faults.0.is_empty();
    match documents.hostname.as_deref().map(|text| (text, HostName::parse(text))) {
        Some((text, Ok(name))) => {
            meta.hostname = Some(name);
            meta.full_name = Some(text.to_string());
        }
        Some((_, Err(message))) => faults.push(Severity::Error, (1, 1), message),
        None => {}
    }
    if meta.instance_id.is_none() && !is_unreadable {
        meta.instance_id.clone_from(&documents.instance_id);
    }
    for key in &documents.keys {
        match PublicKey::parse(key) {
            Ok(key) => meta.public_keys.push(key),
            Err(message) => {
                faults.push(Severity::Error, (1, 1), format!("sshkey= of the kernel command line: {message}"))
            }
        }
    }
}

/// A text of lines, a list of texts, or a map from names to either.
fn collect_keys(value: &Node, keys: &mut Vec<PublicKey>, faults: &mut Faults) {
    let nodes: Vec<&Node> = match &value.value {
        Value::List(items) => items.iter().collect(),
        Value::Map(pairs) => pairs
            .iter()
            .flat_map(|(_, value)| match &value.value {
                Value::List(items) => items.iter().collect(),
                Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) | Value::Map(_) => vec![value],
            })
            .collect(),
        Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) => vec![value],
    };
    for node in nodes {
        match &node.value {
            Value::Text(text) => {
                for line in text.lines().filter(|line| !line.trim().is_empty()).take(MAX_KEYS) {
                    match PublicKey::parse(line) {
                        Ok(key) if keys.len() < MAX_KEYS => keys.push(key),
                        Ok(_) => {}
                        Err(message) => faults.push(Severity::Error, node.place, message),
                    }
                }
            }
            Value::Null => {}
            other => faults.push(Severity::Error, node.place, format!("a key must be text, not {}", other.kind())),
        }
    }
}

/// A tree as JSON. The depth is that of a document.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Other(text) | Value::Text(text) | Value::Binary(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(pairs) => serde_json::Value::Object(
            pairs.iter().filter_map(|(key, value)| Some((key.text()?.to_string(), json(value)))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SAMPLE;

    #[test]
    fn keys_come_as_text_list_or_map() {
        for keys in [
            format!("public-keys: {SAMPLE}\n"),
            format!("public-keys:\n  - {SAMPLE}\n"),
            format!("public-keys:\n  alice: {SAMPLE}\n"),
            format!("public-keys:\n  alice: [\"{SAMPLE}\"]\n"),
        ] {
            let (meta, faults) = read(format!("instance-id: i-1\nlocal-hostname: web1\n{keys}").as_bytes());
            assert_eq!((meta.public_keys.len(), faults.0.len()), (1, 0), "{keys}");
            assert_eq!(meta.instance_id.as_deref(), Some("i-1"));
            assert_eq!(meta.hostname.unwrap().as_str(), "web1");
        }
    }

    #[test]
    fn it_may_come_from_an_editor_of_another_system_or_as_json() {
        for text in [
            "\u{feff}instance-id: i-1\r\nlocal-hostname: web1\r\n",
            "{\r\n\t\"instance-id\":\t\"i-1\",\r\n\t\"local-hostname\": \"web1\"\r\n}\r\n",
            "# made by hand\n---\ninstance-id: 'i-1'\nlocal-hostname: web1\n...\n",
        ] {
            let (meta, faults) = read(text.as_bytes());
            assert_eq!(faults.0, [], "{text}");
            assert_eq!((meta.instance_id.as_deref(), meta.hostname.unwrap().as_str()), (Some("i-1"), "web1"), "{text}");
        }
        let wide: Vec<u8> = "\u{feff}instance-id: i".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(read(&wide).1.0[0].message.contains("UTF-16"));
    }

    #[test]
    fn broken_meta_data_is_named_and_empty() {
        for text in ["[", "- a", "a: \u{1}"] {
            let (meta, faults) = read(text.as_bytes());
            assert_eq!((meta, faults.0.len()), (MetaData::default(), 1), "{text}");
        }
    }
}
