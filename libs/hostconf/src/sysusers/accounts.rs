//! The accounts of a machine by name and number, from the texts of /etc/passwd and /etc/group. Pure.

use std::collections::BTreeMap;

/// Names and numbers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Names {
    by_name: BTreeMap<String, u32>,
    by_id: BTreeMap<u32, String>,
}

impl Names {
    /// Reads lines of `name:password:number:...`; the first of a name or number counts, others are passed over.
    pub fn read(text: &str) -> Self {
        let mut names = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(_), Some(id)) = (fields.next(), fields.next(), fields.next()) else { continue };
            if let Ok(id) = id.parse()
                && !name.is_empty()
                && !name.starts_with(['+', '-', '#'])
            {
                names.add(name, id);
            }
        }
        names
    }

    /// Adds one.
    pub fn add(&mut self, name: &str, id: u32) {
        self.by_name.entry(name.to_string()).or_insert(id);
        self.by_id.entry(id).or_insert_with(|| name.to_string());
    }

    /// The number of a name.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name of a number.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    /// Whether somebody else has the number.
    pub(crate) fn is_of_another(&self, id: u32, name: &str) -> bool {
        self.name(id).is_some_and(|owner| owner != name)
    }
}

/// All accounts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// Users.
    pub users: Names,
    /// Groups.
    pub groups: Names,
}

impl Accounts {
    /// Reads both files.
    pub fn read(passwd: &str, group: &str) -> Self {
        Self { users: Names::read(passwd), groups: Names::read(group) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_none_are_passed_over_and_the_first_counts() {
        let names = Names::read("root:x:0:0::/:/bin/sh\n#c:x:1\n+nis:x:2\nbad\nx:y:z\nroot:x:5\ntoor:x:0\n");
        assert_eq!((names.id("root"), names.id("toor"), names.name(0)), (Some(0), Some(0), Some("root")));
        assert_eq!((names.id("nis"), names.id("bad"), names.name(5)), (None, None, Some("root")));
    }
}
