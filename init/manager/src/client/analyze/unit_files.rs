//! `systemd-analyze unit-files`: which name leads to which unit file, and which names one unit has.

use std::collections::BTreeMap;

use anyhow::Result;
use ferrite_unit::UnitName;
use ferrite_unit::names::NameMap;

use super::Call;
use super::loading::{open, search_path};
use crate::client::print;
use crate::facts::matches;

/// Prints the names that fit one of the patterns, or all.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let files = open(call)?;
    let map = NameMap::build(&search_path(call), &files);
    print(&text(&map, call.operands()))
}

fn text(map: &NameMap, patterns: &[String]) -> String {
    let fits = |name: &UnitName| {
        patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern.as_bytes(), name.as_str().as_bytes()))
    };
    let mut text = String::new();
    let mut others: BTreeMap<UnitName, Vec<String>> = BTreeMap::new();
    for name in map.names() {
        let found = map.find(name);
        if let Some(fragment) = found.fragment.filter(|_| fits(name)) {
            text.push_str(&format!("ids: {name} → {fragment}\n"));
        }
        if found.id != *name && fits(&found.id) {
            others.entry(found.id).or_default().push(name.to_string());
        }
    }
    for (unit, names) in others {
        text.push_str(&format!("aliases: {unit} ← {}\n", names.join(", ")));
    }
    text
}
