//! Joins the trees of several cloud-configs. Pure.
//!
//! Without a word about it a later document replaces whole keys at the top of an earlier one. `merge_how` and
//! `merge_type`, in the document or in the header of its part, ask for something else.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Node, Value};

/// How lists are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListRule {
    Append,
    Prepend,
    Replace,
    Keep,
}

/// How trees are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strategy {
    replace_values: bool,
    delete_nothing: bool,
    map_recursion: Recursion,
    list: ListRule,
    list_recursion: Recursion,
    append_text: bool,
}

/// Which values are joined and not replaced. Maps in maps are joined in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Recursion {
    maps: bool,
    lists: bool,
    texts: bool,
}

impl Recursion {
    fn of(words: &[String]) -> Self {
        let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
        Self {
            maps: has(&["recurse_dict"]),
            lists: has(&["recurse_array", "recurse_list"]),
            texts: has(&["recurse_str"]),
        }
    }

    /// Whether a value is joined to the one that was there.
    fn takes(self, new: &Value) -> bool {
        match new {
            Value::Map(_) => self.maps,
            Value::List(_) => self.lists,
            Value::Text(_) => self.texts,
            Value::Null | Value::Other(_) | Value::Binary(_) => false,
        }
    }
}

impl Strategy {
    /// A later document replaces whole keys.
    pub(crate) const DEFAULT: Self = Self {
        replace_values: true,
        delete_nothing: false,
        map_recursion: Recursion { maps: false, lists: false, texts: false },
        list: ListRule::Replace,
        list_recursion: Recursion { maps: false, lists: false, texts: false },
        append_text: false,
    };

    /// What is there stays, maps are joined: how the cloud's own document comes below the user's.
    pub(crate) const BELOW: Self = Self {
        replace_values: false,
        map_recursion: Recursion { maps: true, lists: false, texts: false },
        list: ListRule::Keep,
        ..Self::DEFAULT
    };

    /// `list(append)+dict(recurse_array)+str()`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in text.split('+').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, rest) = part.split_once('(').ok_or_else(|| usage(text))?;
            let words = rest.strip_suffix(')').ok_or_else(|| usage(text))?;
            let words = words.split(',').map(|word| word.trim().to_string()).filter(|word| !word.is_empty()).collect();
            parts.push((name.trim().to_string(), words));
        }
        Self::of(&parts).ok_or_else(|| usage(text))
    }

    /// The value of `merge_how`: the text, or a list of `{name: list, settings: [append]}`.
    pub(crate) fn from_node(node: &Node) -> Result<Self, String> {
        if let Some(text) = node.text() {
            return Self::parse(text);
        }
        let mut parts = Vec::new();
        for item in node.items() {
            let name = item.get("name").and_then(Node::text).ok_or_else(|| usage("a list without 'name'"))?;
            let settings = item.get("settings").map(Node::items).unwrap_or_default();
            parts.push((name.to_string(), settings.iter().filter_map(Node::text).map(str::to_string).collect()));
        }
        Self::of(&parts).ok_or_else(|| usage(node.value.kind()))
    }

    /// Whether a key without a value removes the one that was there.
    pub(crate) fn deletes(&self) -> bool {
        self.delete_nothing
    }

    fn of(parts: &[(String, Vec<String>)]) -> Option<Self> {
        let known = ["list", "dict", "str"];
        if parts.is_empty() || parts.iter().any(|(name, _)| !known.contains(&name.as_str())) {
            return None;
        }
        let mut strategy = Self { replace_values: false, ..Self::DEFAULT };
        for (name, words) in parts {
            let has = |wanted: &str| words.iter().any(|word| word == wanted);
            match name.as_str() {
                "dict" => {
                    strategy.replace_values = has("replace");
                    strategy.delete_nothing = has("allow_delete");
                    strategy.map_recursion = Recursion::of(words);
                }
                "list" => {
                    strategy.list = match () {
                        () if has("append") => ListRule::Append,
                        () if has("prepend") => ListRule::Prepend,
                        () if has("no_replace") => ListRule::Keep,
                        () => ListRule::Replace,
                    };
                    strategy.list_recursion = Recursion::of(words);
                }
                _ => strategy.append_text = has("append"),
            }
        }
        Some(strategy)
    }
}

fn usage(text: &str) -> String {
    format!("'{}' must be such as 'list(append)+dict(recurse_array)+str()'", crate::check::short(text))
}

/// Joins a document to those before it.
pub(crate) fn merge(base: Node, with: Node, strategy: &Strategy) -> Node {
    let place = base.place;
    let value = match (base.value, with.value) {
        (Value::Map(old), Value::Map(new)) => Value::Map(maps(old, new, strategy)),
        (Value::List(old), Value::List(new)) => Value::List(lists(old, new, strategy)),
        (Value::Text(old), Value::Text(new)) if strategy.append_text => Value::Text(old + &new),
        (Value::Map(old), _) => Value::Map(old),
        (Value::List(_), new) if strategy.list == ListRule::Replace => new,
        (Value::List(old), _) => Value::List(old),
        (Value::Text(_), new) => new,
        (old @ (Value::Null | Value::Other(_) | Value::Binary(_)), _) => old,
    };
    Node { value, place }
}

fn maps(mut old: Vec<(Node, Node)>, new: Vec<(Node, Node)>, strategy: &Strategy) -> Vec<(Node, Node)> {
    let name_of = |key: &Node| key.text().map(|text| text.replace('-', "_"));
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (index, (key, _)) in old.iter().enumerate() {
        if let Some(name) = name_of(key) {
            places.entry(name).or_insert(index);
        }
    }
    let mut gone = BTreeSet::new();
    for (key, value) in new {
        let name = name_of(&key);
        match name.as_ref().and_then(|name| places.get(name).copied()) {
            None => {
                places.extend(name.map(|name| (name, old.len())));
                old.push((key, value));
            }
            Some(index) if value.value == Value::Null && strategy.delete_nothing => {
                name.and_then(|name| places.remove(&name));
                gone.insert(index);
            }
            Some(index) => {
                if let Some((_, slot)) = old.get_mut(index) {
                    let before = std::mem::replace(slot, Node::empty());
                    let joins = matches!(value.value, Value::Map(_)) || strategy.map_recursion.takes(&value.value);
                    *slot = match (strategy.replace_values, joins) {
                        (true, _) => value,
                        (false, true) => merge(before, value, strategy),
                        (false, false) => before,
                    };
                }
            }
        }
    }
    old.into_iter().enumerate().filter(|(index, _)| !gone.contains(index)).map(|(_, pair)| pair).collect()
}

fn lists(mut old: Vec<Node>, mut new: Vec<Node>, strategy: &Strategy) -> Vec<Node> {
    match strategy.list {
        ListRule::Append => {
            old.append(&mut new);
            old
        }
        ListRule::Prepend => {
            new.append(&mut old);
            new
        }
        ListRule::Keep => old,
        // What stands at the same place is replaced; the others of the earlier document stay, those of the later go.
        ListRule::Replace => {
            for (slot, value) in old.iter_mut().zip(new) {
                let before = std::mem::replace(slot, Node::empty());
                let joins = strategy.list_recursion.takes(&value.value);
                *slot = if joins { merge(before, value, strategy) } else { value };
            }
            old
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;
    use crate::fault::Faults;

    fn tree(text: &str) -> Node {
        parse(text, &mut Faults::default()).unwrap()
    }

    fn joined(how: &str, one: &str, other: &str) -> String {
        let strategy = if how.is_empty() { Strategy::DEFAULT } else { Strategy::parse(how).unwrap() };
        crate::render::yaml(&merge(tree(one), tree(other), &strategy))
    }

    #[test]
    fn trees_are_joined_as_asked() {
        let (one, other) = ("a: [1, 2]\nm: {x: 1}\n", "a: [3]\nm: {y: 2}\nz: t\n");
        for (how, expected) in [
            ("", "a:\n  - 3\nm:\n  y: 2\nz: \"t\"\n"),
            ("list(append)+dict(recurse_array)+str()", "a:\n  - 1\n  - 2\n  - 3\nm:\n  x: 1\n  y: 2\nz: \"t\"\n"),
            (
                "dict(recurse_list,recurse_dict)+list(prepend)",
                "a:\n  - 3\n  - 1\n  - 2\nm:\n  x: 1\n  y: 2\nz: \"t\"\n",
            ),
            ("list()+dict()+str()", "a:\n  - 1\n  - 2\nm:\n  x: 1\n  y: 2\nz: \"t\"\n"),
            ("list()+dict(recurse_list)", "a:\n  - 3\n  - 2\nm:\n  x: 1\n  y: 2\nz: \"t\"\n"),
            ("list(no_replace)+dict(recurse_list)", "a:\n  - 1\n  - 2\nm:\n  x: 1\n  y: 2\nz: \"t\"\n"),
        ] {
            assert_eq!(joined(how, one, other), expected, "{how}");
        }
        assert_eq!(joined("dict(allow_delete)", "a: 1\nb: 2\n", "a:\n"), "b: 2\n");
        assert_eq!(joined("dict(recurse_str)+str(append)", "a: x\n", "a: y\n"), "a: \"xy\"\n");
    }

    #[test]
    fn both_forms_of_merge_how_are_read() {
        let list = tree("[{name: list, settings: [append]}, {name: dict, settings: [recurse_array]}]");
        assert_eq!(Strategy::from_node(&list), Strategy::parse("list(append)+dict(recurse_array)"));
        assert!(Strategy::parse("append").is_err() && Strategy::parse("set(x)").is_err());
    }
}
