//! A YAML document as a tree in which every value knows its line and column. Pure.
//!
//! The reader keeps a budget on size, depth and aliases, so that no document costs more than it weighs.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::fault::{Faults, Severity};

/// The longest document that is read.
pub(crate) const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 100_000;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The value.
    pub value: Value,
    /// Line and column, from 1.
    pub place: (u64, u64),
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing was written.
    Null,
    /// A truth value or a number: the text of it.
    Other(String),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the document.
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Other(_) => "a number or a truth value",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Reads a document. `Err` holds the one fault that stopped the reader.
pub(crate) fn parse(text: &str) -> Result<Node, Faults> {
    let mut faults = Faults::default();
    if text.len() > MAX_BYTES {
        faults.push(Severity::Broken, (1, 1), format!("the document is larger than {MAX_BYTES} bytes"));
        return Err(faults);
    }
    if let Some((line, column)) = control_character(text) {
        faults.push(Severity::Broken, (line, column), "a control character; escape it in a quoted string as \"\\x07\"");
        return Err(faults);
    }
    let options = serde_yaml::options! {
        legacy_octal_numbers: true,
        budget: serde_yaml::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES },
    };
    match serde_yaml::from_str_with_options::<Spanned<Tree>>(text, options) {
        Ok(tree) => Ok(node(tree)),
        Err(error) => {
            let place = error.location().map_or((1, 1), |location| (location.line(), location.column()));
            faults.push(Severity::Broken, place, first_line(&error.without_snippet().to_string()));
            Err(faults)
        }
    }
}

/// The library accepts some that YAML forbids.
fn control_character(text: &str) -> Option<(u64, u64)> {
    for (line, content) in (1..).zip(text.lines()) {
        for (column, character) in (1..).zip(content.chars()) {
            if character.is_control() && !matches!(character, '\t' | '\r' | '\u{85}') {
                return Some((line, column));
            }
        }
    }
    None
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or("not a YAML document").trim_end_matches('.').to_string()
}

/// The tree while it is read; `Spanned` is added around each value by the reader.
enum Tree {
    Null,
    Other(String),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<Tree>, Spanned<Tree>)>),
}

/// The depth is limited by the reader's budget, so this recursion is too.
fn node(tree: Spanned<Tree>) -> Node {
    let place = (tree.referenced.line(), tree.referenced.column());
    let value = match tree.value {
        Tree::Null => Value::Null,
        Tree::Other(text) => Value::Other(text),
        Tree::Text(text) => Value::Text(text),
        Tree::List(items) => Value::List(items.into_iter().map(node).collect()),
        Tree::Map(pairs) => Value::Map(pairs.into_iter().map(|(key, value)| (node(key), node(value))).collect()),
    };
    Node { value, place }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Other(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_string()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Tree, E> {
        Ok(Tree::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_value_knows_its_place() {
        let node = parse("#cloud-config\na: 1\nlist:\n  - x\n  - [y, 'z']\n").unwrap();
        let Value::Map(pairs) = node.value else { panic!("not a map") };
        assert_eq!((pairs[0].0.place, pairs[0].1.place), ((2, 1), (2, 4)));
        let Value::List(items) = &pairs[1].1.value else { panic!("not a list") };
        assert_eq!((items[0].place, items[1].place), ((4, 5), (5, 5)));
    }

    #[test]
    fn faults_of_yaml_have_a_place() {
        for (text, line) in
            [("a: [1\n", 2), ("a: 1\na: 2\n", 2), ("a: b: c\n", 1), ("x: 1\n\ty: 2\n", 2), ("a: \u{7}\n", 1)]
        {
            let faults = parse(text).unwrap_err();
            assert_eq!(faults.0.len(), 1, "{text:?}");
            assert!(faults.0[0].line >= 1 && faults.0[0].line <= line, "{text:?}: {faults}");
        }
    }

    #[test]
    fn hostile_documents_are_refused_quickly() {
        let bomb: String = (0..9).fold("a0: &a0 [x]\n".into(), |text: String, n| {
            let uses = vec![format!("*a{n}"); 9].join(", ");
            format!("{text}a{}: &a{} [{uses}]\n", n + 1, n + 1)
        });
        for text in [bomb, "[".repeat(20_000), "a: &a [*a]\n".into(), "x".repeat(MAX_BYTES + 1), "- ".repeat(5000)] {
            assert!(parse(&text).is_err(), "{}", &text[..20]);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n]{0,300}") {
            let _outcome = parse(&text);
        }
    }
}
