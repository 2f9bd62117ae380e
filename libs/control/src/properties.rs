//! Properties under systemd's names, in its order. Pure.
//!
//! A list that `systemctl show` prints line by line has several entries of one name. Moments are `@microseconds`,
//! alone or within a value: whoever prints them knows the zone.

use std::ops::Index;

use serde::{Deserialize, Serialize};

/// Names with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(pub Vec<(String, String)>);

impl Properties {
    /// The value of this name; of several the first.
    pub fn get(&self, name: &str) -> Option<&String> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value)
    }

    /// The value of this name, or nothing.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).map_or("", String::as_str)
    }

    /// All values of this name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value)
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// A moment, in microseconds of the wall clock; 0 is never.
    pub fn moment_us(&self, name: &str) -> u64 {
        self.text(name).strip_prefix('@').and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Adds a property, or writes over the one of this name.
    pub fn insert(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(have, _)| have == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }
}

impl Index<&str> for Properties {
    type Output = String;

    fn index(&self, name: &str) -> &String {
        const NOTHING: &String = &String::new();
        self.get(name).unwrap_or(NOTHING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_keep_their_order_and_their_lines() {
        let pairs = [("Listen", "a"), ("Listen", "b"), ("LastTriggerUSec", "@12"), ("NRestarts", "3")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut properties = Properties(pairs);
        assert_eq!(properties.all("Listen").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((properties.moment_us("LastTriggerUSec"), properties.number("NRestarts")), (12, Some(3)));
        properties.insert("NRestarts", "4");
        assert_eq!((properties["NRestarts"].as_str(), properties["Nonsense"].as_str()), ("4", ""));
        let text = serde_json::to_string(&properties).expect("json");
        assert!(text.starts_with(r#"[["Listen","a"],"#), "{text}");
    }
}
