//! From the documents of a machine to one checked tree and its scripts. Pure but for the fetching of includes.

use std::collections::BTreeMap;

use crate::document::{Node, Value};
use crate::fault::{Faults, Severity};
use crate::formats::{Content, Fetch, Part, Reader, When};
use crate::language::Kind;
use crate::merge::{Strategy, merge};
use crate::meta::MetaData;
use crate::network::device::NetworkFile;
use crate::template::{Missing, Variables};
use crate::{check, keys_cloud, patch};

/// Variables of CoreOS and the keys of meta-data they come from.
pub(crate) const ADDRESSES: [(&str, &[&str]); 4] = [
    ("public_ipv4", &["public-ipv4"]),
    ("private_ipv4", &["local-ipv4", "private-ipv4"]),
    ("public_ipv6", &["public-ipv6", "ipv6"]),
    ("private_ipv6", &["local-ipv6", "private-ipv6"]),
];

/// A script of the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub text: Vec<u8>,
    /// When it runs.
    pub when: When,
}

/// What the documents ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// The keys, checked and joined.
    pub root: Node,
    /// The scripts in order.
    pub scripts: Vec<Script>,
    /// Addresses by the names of CoreOS.
    pub addresses: BTreeMap<&'static str, String>,
    /// The files of networkd, whose description is a document of its own.
    pub network: Vec<NetworkFile>,
    /// What was fetched for `write_files`, by URL.
    pub fetched: BTreeMap<String, Result<Vec<u8>, String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            root: Node::empty(),
            scripts: Vec::new(),
            addresses: BTreeMap::new(),
            network: Vec::new(),
            fetched: BTreeMap::new(),
        }
    }
}

/// The documents and what is known beside them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    /// The user-data.
    pub user_data: &'a [u8],
    /// The cloud's own document.
    pub vendor_data: &'a [u8],
    /// The meta-data.
    pub meta: &'a MetaData,
    /// Variables of the environment, for the addresses.
    pub environment: &'a BTreeMap<String, String>,
}

/// Reads the documents. The faults are those of the user-data and of the vendor-data.
pub(crate) fn read(sources: &Sources<'_>, fetch: Option<Fetch<'_>>) -> (Config, Faults, Faults) {
    let variables = Variables::new(&sources.meta.values, Missing::Fails);
    let addresses = addresses(sources);
    let user = parts(sources.user_data, &variables, &addresses, fetch);
    let (mut root, mut scripts, user_faults) = user;
    let disabled = root.get("vendor_data").and_then(|vendor| vendor.get("enabled")).is_some_and(|enabled| {
        enabled.truth() == Some(false) || enabled.text().is_some_and(|text| crate::document::truth(text) == Some(false))
    });
    let mut vendor_faults = Faults::default();
    if !disabled && !sources.vendor_data.is_empty() {
        let (below, more, faults) = parts(sources.vendor_data, &variables, &addresses, fetch);
        vendor_faults = faults;
        root = merge(root, below, &Strategy::BELOW);
        scripts.splice(0..0, more);
    }
    (Config { root, scripts, addresses, ..Config::default() }, user_faults, vendor_faults)
}

/// The URLs that `write_files` wants.
pub(crate) fn wanted_urls(config: &Config) -> Vec<String> {
    let items = config.root.get("write_files").map(Node::items).unwrap_or_default();
    let urls = items.iter().filter_map(|item| item.get("source")?.get("uri")?.text());
    urls.take(crate::formats::MAX_FETCHES).map(str::to_string).collect()
}

/// Checks a document at the desk, where no values are known and nothing is fetched.
pub(crate) fn validate(bytes: &[u8]) -> Faults {
    let variables = Variables::examples();
    let substitute = |text: &str| text.to_string();
    let mut reader = Reader::new(&variables, &substitute, None);
    reader.read(bytes);
    let (_, _, faults) = join(reader.parts, reader.faults);
    faults
}

fn parts(
    bytes: &[u8],
    variables: &Variables,
    addresses: &BTreeMap<&'static str, String>,
    fetch: Option<Fetch<'_>>,
) -> (Node, Vec<Script>, Faults) {
    let substitute = |text: &str| substitute(text, addresses);
    let mut reader = Reader::new(variables, &substitute, fetch);
    reader.read(bytes);
    join(reader.parts, reader.faults)
}

fn join(parts: Vec<Part>, mut faults: Faults) -> (Node, Vec<Script>, Faults) {
    let mut root = Node::empty();
    let mut scripts = Vec::new();
    for part in parts {
        match part.content {
            Content::Script { text, when } => scripts.push(Script { name: part.name, text, when }),
            Content::Patch(operations) => {
                for operation in &operations {
                    if !patch::apply(&mut root, operation) {
                        faults.push(Severity::Error, operation.place, "the parts before this one have no such path");
                    }
                }
                let kind = Kind::Map(keys_cloud::CONFIG, None);
                root = check::check("the patched document", &root, &kind, &mut faults).unwrap_or_else(Node::empty);
            }
            Content::Config { root: mut next, merge: header } => {
                let how = next.get("merge_how").or_else(|| next.get("merge_type"));
                let strategy = match (&header, how) {
                    (Some(header), _) => Strategy::parse(header),
                    (None, Some(node)) => Strategy::from_node(node),
                    (None, None) => Ok(Strategy::DEFAULT),
                };
                let strategy = strategy.unwrap_or_else(|message| {
                    let place = how.map_or((1, 1), |node| node.place);
                    faults.push(Severity::Error, place, message);
                    Strategy::DEFAULT
                });
                if !strategy.deletes() {
                    drop_nothing(&mut next);
                }
                root = merge(root, next, &strategy);
                drop_nothing(&mut root);
            }
        }
    }
    faults.sort();
    (root, scripts, faults)
}

/// Leaves out the keys without a value.
fn drop_nothing(root: &mut Node) {
    if let Value::Map(pairs) = &mut root.value {
        pairs.retain(|(_, value)| value.value != Value::Null);
    }
}

fn addresses(sources: &Sources<'_>) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    for (name, keys) in ADDRESSES {
        let of_meta = keys.iter().find_map(|key| sources.meta.values.get(key)).and_then(|value| value.as_str());
        let of_environment = sources.environment.get(&format!("COREOS_{}", name.to_ascii_uppercase()));
        let value = of_meta.map(str::to_string).or_else(|| of_environment.cloned());
        if let Some(value) = value.filter(|value| value.parse::<std::net::IpAddr>().is_ok()) {
            found.insert(name, value);
        }
    }
    found
}

/// Replaces `$private_ipv4` and its like. A document of CoreOS gets nothing for an address that is not known; elsewhere
/// the name may be a variable of a script and stays.
fn substitute(text: &str, addresses: &BTreeMap<&'static str, String>) -> String {
    if !ADDRESSES.iter().any(|(name, _)| text.contains(name)) {
        return text.to_string();
    }
    let is_coreos = text.lines().any(|line| line.starts_with("coreos:"));
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        let name =
            ADDRESSES.iter().map(|(name, _)| *name).find(|name| after.get(1..).unwrap_or_default().starts_with(name));
        match name {
            Some(name) if before.ends_with('\\') => {
                out.push_str(before.get(..at - 1).unwrap_or_default());
                out.push('$');
                out.push_str(name);
            }
            Some(name) => {
                out.push_str(before);
                match addresses.get(name) {
                    Some(address) => out.push_str(address),
                    None if is_coreos => {}
                    None => {
                        out.push('$');
                        out.push_str(name);
                    }
                }
            }
            None => {
                out.push_str(before);
                out.push('$');
            }
        }
        rest = after.get(1 + name.map_or(0, str::len)..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Whether a key of the tree says yes.
pub(crate) fn says(node: &Node, key: &str) -> Option<bool> {
    node.get(key).and_then(Node::truth)
}

/// The texts of a list, or of a text with commas between.
pub(crate) fn words(node: Option<&Node>) -> Vec<String> {
    let Some(node) = node else {
        return Vec::new();
    };
    match &node.value {
        Value::Text(text) => {
            text.split(',').map(|word| word.trim().to_string()).filter(|word| !word.is_empty()).collect()
        }
        Value::List(items) => items.iter().filter_map(Node::text).map(str::to_string).collect(),
        Value::Map(pairs) => pairs.iter().filter_map(|(key, _)| key.text()).map(str::to_string).collect(),
        Value::Null | Value::Other(_) | Value::Binary(_) => Vec::new(),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
