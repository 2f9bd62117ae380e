//! JSON patches of a cloud-config (`#cloud-config-jsonp`): add, replace and remove, as RFC 6902 has them. Pure.

use crate::document::{self, Node, Value};
use crate::fault::{Faults, Severity};

/// The most operations of one patch.
pub(crate) const MAX_OPERATIONS: usize = 1000;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operation {
    path: Vec<String>,
    change: Change,
    /// Where it stands.
    pub place: (u64, u64),
}

#[derive(Debug, Clone, PartialEq)]
enum Change {
    Add(Node),
    Replace(Node),
    Remove,
}

impl Change {
    /// How deep the tree is that it brings.
    fn depth(&self) -> usize {
        match self {
            Self::Add(node) | Self::Replace(node) => node.depth(),
            Self::Remove => 0,
        }
    }
}

/// Reads the operations of a document; one that is wrong is a fault.
pub(crate) fn read(root: &Node, faults: &mut Faults) -> Vec<Operation> {
    if !matches!(root.value, Value::List(_)) {
        let message = format!("a JSON patch is a list of operations, not {}", root.value.kind());
        faults.push(Severity::Broken, root.place, message);
    }
    let mut operations: Vec<Operation> = Vec::new();
    for item in root.items() {
        if operations.len() >= MAX_OPERATIONS {
            faults.push(Severity::Error, item.place, format!("a patch has at most {MAX_OPERATIONS} operations"));
            break;
        }
        let text = |key: &str| item.get(key).and_then(Node::text);
        let value = item.pairs().iter().find(|(key, _)| key.text() == Some("value")).map(|(_, value)| value.clone());
        let change = match (text("op"), value) {
            (Some("add"), Some(value)) => Change::Add(value),
            (Some("replace"), Some(value)) => Change::Replace(value),
            (Some("remove"), _) => Change::Remove,
            (_, _) => {
                let message = "an operation is {op: add, path: /KEY, value: ...}, or 'replace' or 'remove'";
                faults.push(Severity::Error, item.place, message);
                continue;
            }
        };
        match text("path").and_then(|path| path.strip_prefix('/')) {
            Some(path) if path.split('/').count() + change.depth() > document::MAX_DEPTH => {
                let message = format!("'path' and 'value' lead deeper than {} levels", document::MAX_DEPTH);
                faults.push(Severity::Error, item.place, message);
            }
            Some(path) => {
                let path = path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
                operations.push(Operation { path, change, place: item.place });
            }
            None => faults.push(Severity::Error, item.place, "'path' must begin with '/', such as '/runcmd/0'"),
        }
    }
    operations
}

/// Changes a tree. `false`: there is no such path.
pub(crate) fn apply(root: &mut Node, operation: &Operation) -> bool {
    let Some((last, above)) = operation.path.split_last() else {
        return false;
    };
    let mut node = root;
    for part in above {
        let next = match &mut node.value {
            Value::Map(pairs) => pairs.iter_mut().find(|(key, _)| key.text() == Some(part)).map(|(_, value)| value),
            Value::List(items) => part.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
            Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) => None,
        };
        match next {
            Some(next) => node = next,
            None => return false,
        }
    }
    match &mut node.value {
        Value::Map(pairs) => in_map(pairs, last, operation),
        Value::List(items) => in_list(items, last, &operation.change),
        Value::Null | Value::Other(_) | Value::Text(_) | Value::Binary(_) => false,
    }
}

fn in_map(pairs: &mut Vec<(Node, Node)>, name: &str, operation: &Operation) -> bool {
    let found = pairs.iter().position(|(key, _)| key.text() == Some(name));
    match (&operation.change, found) {
        (Change::Add(value) | Change::Replace(value), Some(index)) => {
            if let Some((_, slot)) = pairs.get_mut(index) {
                *slot = value.clone();
            }
        }
        (Change::Add(value), None) => {
            pairs.push((Node { value: Value::Text(name.into()), place: operation.place }, value.clone()));
        }
        (Change::Remove, Some(index)) => {
            pairs.remove(index);
        }
        (Change::Replace(_) | Change::Remove, None) => return false,
    }
    true
}

fn in_list(items: &mut Vec<Node>, name: &str, change: &Change) -> bool {
    let index = if name == "-" { Some(items.len()) } else { name.parse::<usize>().ok() };
    let Some(index) = index.filter(|index| *index <= items.len()) else {
        return false;
    };
    match change {
        Change::Add(value) => items.insert(index, value.clone()),
        Change::Replace(value) => match items.get_mut(index) {
            Some(slot) => *slot = value.clone(),
            None => return false,
        },
        Change::Remove if index < items.len() => {
            items.remove(index);
        }
        Change::Remove => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;

    #[test]
    fn operations_change_maps_and_lists_and_a_missing_path_is_told() {
        let tree = |text: &str| parse(text, &mut Faults::default()).unwrap();
        let mut root = tree("a: 1\nl: [x, y]\n");
        let patch = "[{op: add, path: /b, value: t}, {op: add, path: /l/0, value: w}, {op: add, path: /l/-, value: z},\
            {op: replace, path: /l/1, value: X}, {op: remove, path: /a}, {op: remove, path: /n/o}]";
        let mut faults = Faults::default();
        let done: Vec<bool> = read(&tree(patch), &mut faults).iter().map(|one| apply(&mut root, one)).collect();
        assert_eq!(done, [true, true, true, true, true, false]);
        assert_eq!(crate::render::yaml(&root), "l:\n  - \"w\"\n  - \"X\"\n  - \"y\"\n  - \"z\"\nb: \"t\"\n");
        assert_eq!(read(&tree("[{op: move, path: /a}, {op: remove, path: a}]"), &mut faults), []);
        assert_eq!(faults.0.len(), 2);
    }
}
