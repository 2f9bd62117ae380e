//! The directories that the manager makes for a unit: `RuntimeDirectory=` and its like. Pure.

use crate::directive::Value;
use crate::lists::{each_escaped, parts, push, relative};
use crate::value::{Parsed, wrong};

/// The directives of the five kinds, in the order of `Exec::all_directories`.
pub(crate) const NAMES: [&str; 5] =
    ["RuntimeDirectory", "StateDirectory", "CacheDirectory", "LogsDirectory", "ConfigurationDirectory"];

/// One directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// Its path below the base directory.
    pub path: String,
    /// Links to it below the base directory.
    pub links: Vec<String>,
    /// `ro`: the processes may not write there.
    pub read_only: bool,
}

/// One of the five kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directories {
    /// The directories; parents come before what is in them.
    pub items: Vec<Directory>,
    /// Mode.
    pub mode: Option<u32>,
}

/// May the directories of a kind have other names, too?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Yes.
    Allowed,
    /// No.
    Refused,
}

impl Directories {
    /// The paths in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.path.as_str())
    }

    /// Takes words `path:link:flags`; the empty value clears the list.
    pub(crate) fn read(&mut self, value: &Value<'_>, links: Links) -> Parsed<()> {
        if value.is_empty() {
            self.items.clear();
            return Ok(());
        }
        each_escaped(value.raw, |word| {
            let fields = parts(word)?;
            let path = |at: usize| match fields.get(at).filter(|field| !field.is_empty()) {
                Some(field) => relative(&value.specifiers.expand(field)?).map(Some),
                None => Ok(None),
            };
            let name = path(0)?.ok_or_else(|| wrong(word, "a relative path"))?;
            if name == "private" || name.starts_with("private/") {
                return Err(wrong(&name, "a path outside of 'private', which the manager keeps for itself"));
            }
            let link = path(1)?;
            if link.is_some() && links == Links::Refused {
                return Err(wrong(word, "a path alone: such directories have no links"));
            }
            let read_only = match fields.get(2).map(String::as_str) {
                None | Some("") => false,
                Some("ro") => true,
                Some(other) => return Err(wrong(other, "ro")),
            };
            if !self.items.iter().any(|item| item.path == name) {
                push(&mut self.items, Directory { path: name.clone(), ..Directory::default() })?;
            }
            if let Some(item) = self.items.iter_mut().find(|item| item.path == name) {
                item.read_only |= read_only;
                if let Some(link) = link {
                    push(&mut item.links, link)?;
                }
            }
            Ok(())
        })
    }

    /// Puts parents before what is in them.
    pub(crate) fn sort(&mut self) {
        self.items.sort_by(|one, other| one.path.split('/').cmp(other.path.split('/')));
    }
}
