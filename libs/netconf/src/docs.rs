//! docs/network.md, made from the tables; a stale one fails the test here.

use std::path::PathBuf;

use crate::key::{Effect, Section};
use crate::sections;

const HEAD: &str = include_str!("network.head.md");

fn tables<T>(title: &str, sections: &[Section<T>], text: &mut String) {
    text.push_str(&format!("\n## `{title}` files\n"));
    for section in sections {
        text.push_str(&format!(
            "\n### `[{}]`{}\n\n",
            section.name,
            if section.repeated.is_some() { ", as often as needed" } else { "" }
        ));
        text.push_str("| key | value | what it does |\n|---|---|---|\n");
        for key in section.keys.iter().filter(|key| matches!(key.effect, Effect::Set(_))) {
            text.push_str(&format!("| `{}=` | {} | {} |\n", key.name, key.value, key.does));
        }
        let idle: Vec<String> = section
            .keys
            .iter()
            .filter(|key| matches!(key.effect, Effect::None))
            .map(|key| format!("`{}=` ({})", key.name, key.does))
            .collect();
        if !idle.is_empty() {
            text.push_str(&format!("\nAccepted with a warning, without effect: {}.\n", idle.join(", ")));
        }
    }
}

#[test]
fn the_documentation_says_what_the_tables_say() {
    let mut text = String::from(HEAD);
    tables(".network", &sections::NETWORK, &mut text);
    tables(".netdev", &sections::NETDEV, &mut text);
    tables(".link", &sections::LINK, &mut text);
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/network.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/network.md is stale: UPDATE_GOLDEN=1 cargo test -p ferrite-netconf --lib docs");
}
