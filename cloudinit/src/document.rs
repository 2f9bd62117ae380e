//! A YAML document as a tree in which every value knows its line, column and source text. Pure.
//!
//! Built from parser events, because a value's type is the business of the key it stands under: `0644` is a mode in
//! one place and a word in another. The reader keeps a budget on size, depth and aliases, so that no document costs
//! more than it weighs.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use crate::fault::{Faults, Severity};

/// The longest document that is read.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Lists in lists and maps in maps.
pub(crate) const MAX_DEPTH: usize = 64;
/// Values after every alias was replaced by what it stands for.
pub(crate) const MAX_NODES: usize = 100_000;
/// Bytes of text after every alias was replaced.
pub(crate) const MAX_TEXT_BYTES: usize = 4 << 20;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The value.
    pub value: Value,
    /// Line and column, from 1.
    pub place: (u64, u64),
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing was written.
    Null,
    /// A word without quotes that YAML takes for a truth value or a number: its source text.
    Other(String),
    /// Text.
    Text(String),
    /// `!!binary`, still in base64.
    Binary(String),
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
            Self::Other(text) if truth(text).is_some() => "a truth value",
            Self::Other(_) => "a number",
            Self::Text(_) => "text",
            Self::Binary(_) => "binary data",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

impl Node {
    /// The text of a text, a number or a truth value, as it was written.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Other(text) => Some(text),
            Value::Null | Value::Binary(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The truth value, with the words of YAML 1.1.
    pub(crate) fn truth(&self) -> Option<bool> {
        match &self.value {
            Value::Other(text) => truth(text),
            Value::Null | Value::Text(_) | Value::Binary(_) | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) | Value::Map(_) => &[],
        }
    }

    /// The pairs of a map; none of anything else.
    pub(crate) fn pairs(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Map(pairs) => pairs,
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) | Value::List(_) => &[],
        }
    }

    /// The value of a key, `-` and `_` being the same; the last one of several. A value of nothing is absent.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        let found = self.pairs().iter().rev().find(|(key, _)| key.text().is_some_and(|text| same_key(text, name)));
        found.map(|(_, value)| value).filter(|value| value.value != Value::Null)
    }

    /// How many levels of lists and maps there are.
    pub(crate) fn depth(&self) -> usize {
        match &self.value {
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) => 0,
            Value::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Map(pairs) => 1 + pairs.iter().map(|(key, value)| key.depth().max(value.depth())).max().unwrap_or(0),
        }
    }

    /// An empty map.
    pub(crate) fn empty() -> Self {
        Self { value: Value::Map(Vec::new()), place: (1, 1) }
    }
}

/// Whether two keys are one when `-` and `_` are.
pub(crate) fn same_key(one: &str, other: &str) -> bool {
    one.len() == other.len()
        && one.bytes().zip(other.bytes()).all(|(a, b)| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_')))
}

/// The truth value of a word, with those of YAML 1.1.
pub(crate) fn truth(word: &str) -> Option<bool> {
    match word {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// The text of a document as editors of other systems save it: a mark at its beginning is no part of it, and JSON may
/// have tabs where YAML has blanks. `Err`: what it is instead of UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<String, &'static str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("UTF-16, not UTF-8; save it as UTF-8");
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8; save it as UTF-8")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // JSON has no tab inside of a text.
    Ok(if text.trim_start().starts_with('{') { text.replace('\t', " ") } else { text.into() })
}

/// Reads a document; `None`: it cannot be used, and a fault says why. Duplicate keys are faults, the last one counts.
pub(crate) fn parse(text: &str, faults: &mut Faults) -> Option<Node> {
    if text.len() > MAX_BYTES {
        faults.push(Severity::Broken, (1, 1), format!("the document is larger than {MAX_BYTES} bytes"));
        return None;
    }
    if let Some(place) = control_character(text) {
        faults.push(Severity::Broken, place, "a control character; escape it in a quoted string as \"\\x07\"");
        return None;
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let outcome = match event {
            Ok((event, span)) => builder.take(event, &span, faults),
            Err(error) => Err(syntax(&error, text)),
        };
        if let Err((place, message)) = outcome {
            faults.push(Severity::Broken, place, message);
            return None;
        }
    }
    Some(builder.root.unwrap_or(Node { value: Value::Null, place: (1, 1) }))
}

/// The parser accepts some that YAML forbids.
fn control_character(text: &str) -> Option<(u64, u64)> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')) {
        return None;
    }
    for (line, content) in (1..).zip(text.lines()) {
        for (column, character) in (1..).zip(content.chars()) {
            if character.is_control() && !matches!(character, '\t' | '\r' | '\u{85}') {
                return Some((line, column));
            }
        }
    }
    None
}

type Refusal = ((u64, u64), String);

/// What the parser says, and what usually helps.
fn syntax(error: &ScanError, text: &str) -> Refusal {
    let (mut line, mut column) = (error.marker().line(), error.marker().col() + 1);
    let said = error.info().lines().next().unwrap_or("not a YAML document").trim_end_matches('.').to_string();
    if said.contains("tab") {
        // The parser names the value that the tab seems to go on.
        let tabbed = |(_, source): &(usize, &str)| source.trim_start_matches(' ').starts_with('\t');
        if let Some((found, source)) = (1..).zip(text.lines()).skip(line.saturating_sub(1)).find(tabbed) {
            (line, column) = (found, source.len() - source.trim_start_matches(' ').len() + 1);
        }
    }
    let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let remedy = if source.trim_start_matches(' ').starts_with('\t') {
        "; indent with spaces, not with tabs"
    } else if said.contains("mapping values") {
        "; quote a text that contains ': ', and put nested keys on lines of their own"
    } else if said.contains("placement of ':'") {
        "; a '[', '{' or quote above it may not be closed"
    } else if source.contains(": @") || source.contains(": %") || source.contains(": `") {
        "; quote a text that begins with '@', '%' or '`'"
    } else {
        ""
    };
    ((line.max(1) as u64, column as u64), format!("not YAML: {said}{remedy}"))
}

/// The name of a tag of YAML itself; all others ask for objects of some program.
fn known_tag(tag: Option<&Tag>, place: (u64, u64)) -> Result<Option<String>, Refusal> {
    const KNOWN: [&str; 11] =
        ["str", "int", "bool", "float", "null", "seq", "map", "binary", "timestamp", "omap", "set"];
    let Some(tag) = tag else {
        return Ok(None);
    };
    match tag.suffix_in_namespace("tag:yaml.org,2002:") {
        Some(suffix) if KNOWN.contains(&suffix.as_ref()) => Ok(Some(suffix.into_owned())),
        None if tag.suffix().is_empty() => Ok(Some("str".into())),
        Some(_) | None => {
            Err((place, format!("the tag '{}' is not one of YAML; leave it out or quote the text", tag.suffix())))
        }
    }
}

/// A list or a map that is not complete yet.
enum Open {
    List { items: Vec<Node>, place: (u64, u64), anchor: usize },
    Map { pairs: Vec<(Node, Node)>, key: Option<Node>, place: (u64, u64), anchor: usize },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, (Node, Size)>,
    all: Size,
    documents: usize,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span, faults: &mut Faults) -> Result<(), Refusal> {
        let place = (span.start.line().max(1) as u64, span.start.col() as u64 + 1);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((place, "a second document begins here; user-data is one document".into()));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = known_tag(tag.as_deref(), place)?;
                let node = Node { value: scalar(&text, style, tag.as_deref()), place };
                let size = size(&node.value);
                self.add(node, anchor, size)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                known_tag(tag.as_deref(), place)?;
                self.begin(Open::List { items: Vec::new(), place, anchor }, place)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                known_tag(tag.as_deref(), place)?;
                self.begin(Open::Map { pairs: Vec::new(), key: None, place, anchor }, place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(faults)?,
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err((place, "an alias inside of what it stands for; a value cannot contain itself".into()));
                };
                self.add(node, 0, size)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, open: Open, place: (u64, u64)) -> Result<(), Refusal> {
        if self.open.len() >= MAX_DEPTH {
            return Err((place, format!("lists and maps are nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, faults: &mut Faults) -> Result<(), Refusal> {
        let (value, place, anchor) = match self.open.pop() {
            Some(Open::List { items, place, anchor }) => (Value::List(items), place, anchor),
            Some(Open::Map { pairs, place, anchor, .. }) => (Value::Map(finish(pairs, faults)), place, anchor),
            None => return Ok(()),
        };
        // What is inside was counted when it was read.
        let size = if anchor == 0 { Size { values: 1, bytes: 0 } } else { size(&value) };
        self.add(Node { value, place }, anchor, size)
    }

    /// Adds a value; of one with an anchor a copy is kept, which counts as much.
    fn add(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), Refusal> {
        self.all = self.all.and(size);
        if anchor != 0 {
            self.all = self.all.and(size);
        }
        if self.all.values > MAX_NODES {
            let message = format!("the document has more than {MAX_NODES} values when its aliases are read");
            return Err((node.place, message));
        }
        if self.all.bytes > MAX_TEXT_BYTES {
            let message = format!("the document has more than {MAX_TEXT_BYTES} bytes when its aliases are read");
            return Err((node.place, message));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { pairs, key, .. }) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
        Ok(())
    }
}

/// What a value costs.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    values: usize,
    bytes: usize,
}

impl Size {
    fn and(self, more: Self) -> Self {
        Self { values: self.values.saturating_add(more.values), bytes: self.bytes.saturating_add(more.bytes) }
    }
}

/// What there is in a value. Aliases inside are already replaced, so the budget holds.
fn size(value: &Value) -> Size {
    let one = Size { values: 1, bytes: 0 };
    match value {
        Value::Null => one,
        Value::Other(text) | Value::Text(text) | Value::Binary(text) => Size { bytes: text.len(), ..one },
        Value::List(items) => items.iter().fold(one, |sum, item| sum.and(size(&item.value))),
        Value::Map(pairs) => {
            pairs.iter().fold(one, |sum, (key, value)| sum.and(size(&key.value)).and(size(&value.value)))
        }
    }
}

/// Merge keys are replaced by what they bring; of duplicate keys the last one stays.
fn finish(pairs: Vec<(Node, Node)>, faults: &mut Faults) -> Vec<(Node, Node)> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut map: Vec<(Node, Node)> = Vec::new();
    let mut merged: Vec<(Node, Node)> = Vec::new();
    for (key, value) in pairs {
        if key.value == Value::Text("<<".into()) {
            match &value.value {
                Value::List(items) => merged.extend(items.iter().flat_map(|item| item.pairs().to_vec())),
                Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) | Value::Map(_) => {
                    merged.extend(value.pairs().to_vec());
                }
            }
            continue;
        }
        let name = key.text().unwrap_or_default().to_string();
        match seen.get(&name).copied().filter(|_| key.text().is_some()) {
            Some(index) => {
                if let Some(first) = map.get_mut(index) {
                    let (line, again) = (first.0.place.0, key.place);
                    let message =
                        format!("'{name}' was given before, on line {line}; keep one of them, the last counts");
                    faults.push(Severity::Desk, again, message);
                    *first = (key, value);
                }
            }
            None => {
                seen.insert(name, map.len());
                map.push((key, value));
            }
        }
    }
    for (key, value) in merged {
        let name = key.text().unwrap_or_default().to_string();
        if let std::collections::btree_map::Entry::Vacant(place) = seen.entry(name) {
            place.insert(map.len());
            map.push((key, value));
        }
    }
    map
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Value {
    match tag {
        Some("binary") => return Value::Binary(text.to_string()),
        Some("str") => return Value::Text(text.to_string()),
        _ => {}
    }
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_string());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        _ if truth(text).is_some() || is_number(text) => Value::Other(text.to_string()),
        _ => Value::Text(text.to_string()),
    }
}

/// Integers and decimal numbers as YAML 1.1 sees them, without its clock times and digits of base 60.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix: &str, ok: fn(&u8) -> bool| {
        digits.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.as_bytes().iter().all(ok))
    };
    if radix("0x", u8::is_ascii_hexdigit) || radix("0o", |byte| (b'0'..=b'7').contains(byte)) {
        return true;
    }
    if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    mantissa.bytes().any(|byte| byte.is_ascii_digit())
        && whole.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
        && !whole.starts_with('_')
        && all_digits(part)
        && !exponent.is_empty()
        && all_digits(exponent)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
