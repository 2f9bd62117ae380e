//! `write_files`: contents, owners and what is added to files that are there. Pure.

use crate::config::says;
use crate::decode::{self, Encoding};
use crate::document::{Node, Value};
use crate::plan::{Planner, Step};

const DEFAULT_MODE: u32 = 0o644;
/// What all files of a document may be together when they are decoded.
pub(crate) const MAX_ALL_BYTES: usize = 16 << 20;
/// Links that lead to links.
const MAX_LINKS: usize = 8;

/// Which files are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Those that wait for nothing.
    First,
    /// Those with `defer: true`.
    Deferred,
}

/// Plans the files of one turn.
pub(crate) fn files(planner: &mut Planner<'_>, turn: Turn) {
    let items = planner.config.root.get("write_files").map(Node::items).unwrap_or_default();
    for item in items {
        let deferred = says(item, "defer") == Some(true);
        if deferred == (turn == Turn::Deferred) {
            file(planner, item);
        }
    }
}

fn file(planner: &mut Planner<'_>, item: &Node) {
    let text = |key: &str| item.get(key).and_then(Node::text);
    let path = resolved(planner, &clean(text("path").unwrap_or_default()));
    let content = match fetched(planner, item) {
        Some(content) => content,
        None => content(item),
    };
    planner.written_bytes = planner.written_bytes.saturating_add(content.len());
    if planner.written_bytes > MAX_ALL_BYTES {
        let message = format!("all files together have more than {MAX_ALL_BYTES} bytes, {path} is left out");
        planner.plan.problems.push(message);
        return;
    }
    let mode = text("permissions").and_then(crate::rules::mode).unwrap_or(DEFAULT_MODE);
    let owner = owner(planner, &path, text("owner").unwrap_or("root:root"));
    if says(item, "append") == Some(true) {
        return append(planner, path, content, text("permissions").map(|_| mode), text("owner").map(|_| owner));
    }
    planner.owned_file(&path, content, mode, owner, "write_files");
}

/// What a plan on the machine fetched before; `None`: nothing was asked for or it failed, and `content` counts.
fn fetched(planner: &mut Planner<'_>, item: &Node) -> Option<Vec<u8>> {
    let uri = item.get("source")?.get("uri")?.text()?.to_string();
    match planner.config.fetched.get(&uri)? {
        Ok(bytes) => Some(bytes.clone()),
        Err(message) => {
            planner.plan.problems.push(format!("fetching '{uri}': {message}"));
            None
        }
    }
}

/// The bytes of `content`; they were checked when the document was read.
fn content(item: &Node) -> Vec<u8> {
    let encoding = Encoding::parse(item.get("encoding").and_then(Node::text).unwrap_or_default());
    let bytes = match item.get("content").map(|node| &node.value) {
        Some(Value::Text(text) | Value::Other(text)) => text.clone().into_bytes(),
        Some(Value::Binary(text)) => decode::base64(text.as_bytes()).unwrap_or_default(),
        Some(Value::Null | Value::List(_) | Value::Map(_)) | None => return Vec::new(),
    };
    decode::decode(&bytes, encoding).unwrap_or_default()
}

/// Adds to what is there. What was added at an earlier boot is not added again.
fn append(planner: &mut Planner<'_>, path: String, content: Vec<u8>, mode: Option<u32>, owner: Option<(u32, u32)>) {
    let planned = planner.plan.steps.iter_mut().rev().find_map(|step| match step {
        Step::File { path: known, content, .. } if *known == path => Some(content),
        _ => None,
    });
    let seen = planner.facts.at(&path);
    if let Some(before) = planned {
        let was_added = seen.is_some_and(|seen| seen.content.as_ref() == Some(before)) && contains(before, &content);
        if !was_added {
            before.extend_from_slice(&content);
        }
        return;
    }
    let mut bytes = seen.and_then(|seen| seen.content.clone()).unwrap_or_default();
    if !contains(&bytes, &content) || content.is_empty() {
        bytes.extend_from_slice(&content);
    }
    let mode = mode.or_else(|| seen.map(|seen| seen.entry.mode)).unwrap_or(DEFAULT_MODE);
    let owner = owner.or_else(|| seen.map(|seen| seen.entry.owner)).unwrap_or((0, 0));
    planner.owned_file(&path, bytes, mode, owner, "write_files, appended");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

/// A path without `.`, `..` and double `/`; `..` cannot leave the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Where the links at a path lead, as far as they were looked at.
fn resolved(planner: &Planner<'_>, path: &str) -> String {
    let mut path = path.to_string();
    for _ in 0..MAX_LINKS {
        let Some(target) = planner.facts.at(&path).and_then(|seen| seen.target.clone()) else {
            break;
        };
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        path = if target.starts_with('/') { clean(&target) } else { clean(&format!("{folder}/{target}")) };
    }
    path
}

/// `user:group` as numbers. Without a group, or with one that is missing, it is root's; a user that is missing is a
/// problem, and root's, too.
fn owner(planner: &mut Planner<'_>, path: &str, text: &str) -> (u32, u32) {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let mut missing = None;
    let uid = match user {
        "" | "root" => 0,
        name => planner.accounts.owner(name).map(|(uid, _)| uid).or_else(|| name.parse().ok()).unwrap_or_else(|| {
            missing = Some(name.to_string());
            0
        }),
    };
    let gid = match group {
        "" | "root" => 0,
        name => planner.accounts.gid(name).or_else(|| name.parse().ok()).unwrap_or(0),
    };
    if let Some(name) = missing {
        planner.plan.problems.push(format!("there is no user '{name}' to own {path}, it belongs to root"));
    }
    (uid, gid)
}
