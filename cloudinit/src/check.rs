//! Checks a tree against the language: all faults at once, and the part of the tree that can be used. Pure.
//!
//! A list loses its bad items and a map its bad keys; a map that is an item of a list goes as a whole when one of its
//! values is wrong, because half a file or half a unit is worse than none.

use crate::document::{Node, Value, same_key};
use crate::fault::{Faults, Severity};
use crate::language::{Key, Kind, Verdict, nearest};

/// Checks a value; `None`: it cannot be used, and a fault says why.
pub(crate) fn check(name: &str, node: &Node, kind: &Kind, faults: &mut Faults) -> Option<Node> {
    match kind {
        Kind::Any => Some(node.clone()),
        Kind::Null => {
            matches!(node.value, Value::Null).then(|| node.clone()).or_else(|| wrong(name, node, kind, faults))
        }
        Kind::Bool => boolean(name, node, faults),
        Kind::Int => match node.text().map(|text| text.replace('_', "").parse::<i64>()) {
            Some(Ok(_)) => Some(node.clone()),
            Some(Err(_)) | None => wrong(name, node, kind, faults),
        },
        Kind::Mode => mode(name, node, faults),
        Kind::Text(rule) => match &node.value {
            Value::Text(text) => obeys(node, rule(text), faults),
            Value::Other(text) => {
                // What may be a password stays out of messages, which go to the log.
                let example = if is_secret(name) { String::new() } else { format!(": \"{text}\"") };
                let message = format!("'{name}' must be text, not {}; quote it{example}", node.value.kind());
                faults.push(Severity::Error, node.place, message);
                None
            }
            Value::Null | Value::Binary(_) | Value::List(_) | Value::Map(_) => wrong(name, node, kind, faults),
        },
        Kind::Bytes => match &node.value {
            Value::Text(_) | Value::Binary(_) => Some(node.clone()),
            Value::Null | Value::Other(_) | Value::List(_) | Value::Map(_) => wrong(name, node, kind, faults),
        },
        Kind::Scalar(rule) => match node.text() {
            Some(text) => obeys(node, rule(text), faults),
            None => wrong(name, node, kind, faults),
        },
        Kind::Words(words) => word(name, node, words, kind, faults),
        Kind::List(item) => match &node.value {
            Value::List(items) => {
                let kept = items.iter().filter_map(|each| check_item(name, each, item, faults)).collect();
                Some(Node { value: Value::List(kept), place: node.place })
            }
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) | Value::Map(_) => {
                wrong(name, node, kind, faults)
            }
        },
        Kind::Count(item, least, most) => {
            let kept = check(name, node, &Kind::List(item), faults)?;
            count(name, node, (*least, *most), faults);
            Some(kept)
        }
        Kind::Map(keys, together) => match &node.value {
            Value::Map(_) => {
                let kept = check_map(node, keys, Whole::No, faults)?;
                together.is_none_or(|together| together(&kept, faults)).then_some(kept)
            }
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) | Value::List(_) => {
                wrong(name, node, kind, faults)
            }
        },
        Kind::Table(item) => match &node.value {
            Value::Map(pairs) => Some(table(pairs, item, node.place, faults)),
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) | Value::List(_) => {
                wrong(name, node, kind, faults)
            }
        },
        Kind::OneOf(kinds, _) => match kinds.iter().find(|kind| fits(node, kind)) {
            Some(kind) => check(name, node, kind, faults),
            None => wrong(name, node, kind, faults),
        },
    }
}

/// Whether a map is worth anything with one of its values missing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    Yes,
    No,
}

fn check_item(name: &str, item: &Node, kind: &Kind, faults: &mut Faults) -> Option<Node> {
    let kind = match kind {
        Kind::OneOf(kinds, _) => kinds.iter().find(|kind| fits(item, kind)).unwrap_or(kind),
        other => other,
    };
    match (kind, &item.value) {
        (Kind::Map(keys, together), Value::Map(_)) => {
            let kept = check_map(item, keys, Whole::Yes, faults)?;
            together.is_none_or(|together| together(&kept, faults)).then_some(kept)
        }
        (_, Value::Null) if !fits(item, kind) => {
            let message = format!("an empty item in '{name}', ignored; quote a '~' or 'null' that is meant as text");
            faults.push(Severity::Warning, item.place, message);
            None
        }
        _ => check(name, item, kind, faults),
    }
}

fn check_map(node: &Node, keys: &'static [Key], whole: Whole, faults: &mut Faults) -> Option<Node> {
    let mut kept = Vec::new();
    let mut complete = true;
    for (key, value) in node.pairs() {
        let Some(name) = key.text() else {
            let message = format!("a key must be text, not {}", key.value.kind());
            faults.push(Severity::Error, key.place, message);
            continue;
        };
        let Some(known) = keys.iter().find(|known| same_key(known.name, name)) else {
            faults.push(Severity::Error, key.place, unknown(name, keys));
            continue;
        };
        match known.verdict {
            Verdict::NoMeaning => {
                let before = faults.0.len();
                if value.value != Value::Null {
                    let _checked = check(name, value, &known.kind, faults);
                }
                if faults.0.len() == before {
                    let message = format!("'{name}' has no meaning on an image without a package manager, ignored");
                    faults.push(Severity::Warning, key.place, message);
                }
                continue;
            }
            Verdict::Refused(instead) => {
                faults.push(Severity::Error, key.place, format!("'{name}' is not supported: {instead}"));
                continue;
            }
            Verdict::Silent | Verdict::Done | Verdict::Recorded => {}
        }
        if value.value == Value::Null && !fits(value, &known.kind) {
            faults.push(Severity::Warning, key.place, format!("'{name}' has no value, ignored"));
            continue;
        }
        // With '-' and with '_' it is one key, which the reader of YAML cannot know.
        let again = kept.iter().position(|(before, _): &(Node, Node)| before.text() == Some(known.name));
        if let Some(before) = again.map(|index| kept.remove(index)) {
            let line = before.0.place.0;
            let message = format!("'{name}' was given before, on line {line}, with '-' or '_'; the last counts");
            faults.push(Severity::Desk, key.place, message);
        }
        match check(name, value, &known.kind, faults) {
            Some(value) => {
                let key = Node { value: Value::Text(known.name.into()), place: key.place };
                kept.push((key, value));
            }
            None => complete = false,
        }
    }
    let map = Node { value: Value::Map(kept), place: node.place };
    // A key that is refused says enough about the map it is in.
    let refused = |(key, _): &(Node, Node)| {
        let name = key.text().unwrap_or_default();
        keys.iter().any(|known| same_key(known.name, name) && matches!(known.verdict, Verdict::Refused(_)))
    };
    if node.pairs().iter().any(refused) && keys.iter().any(|key| key.required && node.get(key.name).is_none()) {
        return None;
    }
    let missing = keys.iter().filter(|key| key.required && node.get(key.name).is_none());
    for key in missing.clone() {
        faults.push(Severity::Error, node.place, format!("'{}' is missing; it must be given here", key.name));
    }
    if missing.count() > 0 {
        return None;
    }
    (complete || whole == Whole::No).then_some(map)
}

fn table(pairs: &[(Node, Node)], item: &Kind, place: (u64, u64), faults: &mut Faults) -> Node {
    let mut kept = Vec::new();
    for (key, value) in pairs {
        let Some(name) = key.text() else {
            faults.push(Severity::Error, key.place, format!("a key must be text, not {}", key.value.kind()));
            continue;
        };
        if let Some(value) = check(name, value, item, faults) {
            kept.push((Node { value: Value::Text(name.into()), place: key.place }, value));
        }
    }
    Node { value: Value::Map(kept), place }
}

fn boolean(name: &str, node: &Node, faults: &mut Faults) -> Option<Node> {
    match (&node.value, node.text().and_then(crate::document::truth)) {
        (Value::Other(_), Some(_)) => Some(node.clone()),
        (Value::Text(text), Some(_)) => {
            let message = format!("'{name}' is a truth value in quotes; write {text} without them");
            faults.push(Severity::Desk, node.place, message);
            Some(Node { value: Value::Other(text.clone()), place: node.place })
        }
        _ => wrong(name, node, &Kind::Bool, faults),
    }
}

/// What works on the machine with any number of items, and is a mistake with some.
fn count(name: &str, node: &Node, (least, most): (usize, usize), faults: &mut Faults) {
    let found = node.items().len();
    let message = match () {
        () if found == 0 && least > 0 => format!("'{name}' is an empty list; leave it out or give it items"),
        () if found < least => format!("'{name}' must have {least} items, not {found}"),
        () if found > most => format!("'{name}' has at most {most} items, not {found}; the others are ignored"),
        () => return,
    };
    faults.push(Severity::Desk, node.place, message);
}

/// Permissions count as they are written; YAML itself would read `0644` as octal and `644` as decimal.
fn mode(name: &str, node: &Node, faults: &mut Faults) -> Option<Node> {
    let Some(text) = node.text() else {
        return wrong(name, node, &Kind::Mode, faults);
    };
    if crate::rules::mode(text).is_none() {
        let message = format!("'{name}' must be permissions in octal, such as '0644', not '{}'", short(text));
        faults.push(Severity::Error, node.place, message);
        return None;
    }
    if matches!(node.value, Value::Other(_)) {
        let message = format!("'{name}' is read as the octal number {text}; other tools may not, quote it: '{text}'");
        faults.push(Severity::Warning, node.place, message);
    }
    Some(node.clone())
}

fn word(name: &str, node: &Node, words: &[&str], kind: &Kind, faults: &mut Faults) -> Option<Node> {
    let Some(text) = node.text() else {
        return wrong(name, node, kind, faults);
    };
    let truth = crate::document::truth(text).filter(|_| matches!(node.value, Value::Other(_)));
    let same = |word: &&str| *word == text || truth.is_some() && crate::document::truth(word) == truth;
    match words.iter().find(|word| same(word)) {
        Some(word) => Some(Node { value: Value::Text((*word).into()), place: node.place }),
        None => {
            let meant = nearest(text, words.iter().copied()).map(|word| format!("; did you mean '{word}'?"));
            let message =
                format!("'{name}' must be {}, not '{}'{}", kind.what(), short(text), meant.unwrap_or_default());
            faults.push(Severity::Error, node.place, message);
            None
        }
    }
}

fn obeys(node: &Node, outcome: Result<(), String>, faults: &mut Faults) -> Option<Node> {
    match outcome {
        Ok(()) => Some(node.clone()),
        Err(message) => {
            faults.push(Severity::Error, node.place, message);
            None
        }
    }
}

fn wrong(name: &str, node: &Node, kind: &Kind, faults: &mut Faults) -> Option<Node> {
    let mut message = format!("'{name}' must be {}, not {}", kind.what(), node.value.kind());
    if let Value::Other(text) = &node.value
        && matches!(kind, Kind::Bytes)
        && !is_secret(name)
    {
        message = format!("{message}; quote it: \"{text}\"");
    }
    if let (Value::Map(pairs), true) = (&node.value, takes_text(kind))
        && !is_secret(name)
        && let [(key, value)] = pairs.as_slice()
        && let (Some(key), Some(value)) = (key.text(), value.text())
    {
        message = format!("{message}; quote it because it contains ': ': \"{}: {}\"", short(key), short(value));
    }
    faults.push(Severity::Error, node.place, message);
    None
}

/// Whether a text without quotes that contains ': ' may have been meant.
fn takes_text(kind: &Kind) -> bool {
    match kind {
        Kind::Text(_) | Kind::Scalar(_) => true,
        Kind::OneOf(kinds, _) => kinds.iter().any(takes_text),
        Kind::Bool
        | Kind::Int
        | Kind::Mode
        | Kind::Bytes
        | Kind::Words(_)
        | Kind::List(_)
        | Kind::Count(..)
        | Kind::Map(..)
        | Kind::Table(_)
        | Kind::Null
        | Kind::Any => false,
    }
}

/// Whether a value has the outer shape of a kind; the checks inside come later and are more exact.
fn fits(node: &Node, kind: &Kind) -> bool {
    match (kind, &node.value) {
        (Kind::Any, _) | (Kind::Null, Value::Null) | (Kind::List(_) | Kind::Count(..), Value::List(_)) => true,
        (Kind::Map(..) | Kind::Table(_), Value::Map(_)) => true,
        (Kind::Bool, _) => node.truth().is_some(),
        (Kind::Bytes, Value::Text(_) | Value::Binary(_)) => true,
        (Kind::Int, Value::Other(text)) => text.parse::<i64>().is_ok(),
        (Kind::Text(_), Value::Text(_)) | (Kind::Scalar(_) | Kind::Mode, Value::Text(_) | Value::Other(_)) => true,
        (Kind::Words(words), Value::Text(text)) => words.contains(&text.as_str()),
        (Kind::Words(words), Value::Other(_)) => {
            let truth = node.truth();
            let same =
                |word: &&str| node.text() == Some(word) || truth.is_some() && crate::document::truth(word) == truth;
            words.iter().any(same)
        }
        (Kind::OneOf(kinds, _), _) => kinds.iter().any(|kind| fits(node, kind)),
        _ => false,
    }
}

/// Says that a key is not known, and what was meant.
pub(crate) fn unknown(name: &str, keys: &'static [Key]) -> String {
    if let Some(hidden) = invisible(name) {
        let code = u32::from(hidden);
        return format!("'{}' holds the invisible character U+{code:04X}; delete it and type a blank", short(name));
    }
    match nearest(name, keys.iter().map(|key| key.name)) {
        Some(meant) => format!("'{}' is not a key here; did you mean '{meant}'?", short(name)),
        None => format!("'{}' is not a key here; 'ferrite-cloudinit explain' lists the keys", short(name)),
    }
}

/// A character that looks like a blank or like nothing, and is neither to YAML.
pub(crate) fn invisible(text: &str) -> Option<char> {
    text.chars().find(|character| {
        matches!(
            character,
            '\u{a0}' | '\u{ad}' | '\u{2000}'..='\u{200f}' | '\u{202f}' | '\u{2060}' | '\u{3000}' | '\u{feff}'
        )
    })
}

fn is_secret(name: &str) -> bool {
    ["passwd", "password", "private", "list", "content"].iter().any(|word| name.contains(word))
}

/// A text fit for a message.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(60).map(|character| if character.is_control() { ' ' } else { character }).collect()
}
