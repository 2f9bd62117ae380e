//! What holds of every document, however broken it is.

use std::collections::BTreeMap;

use ferrite_files::{Entry, EntryKind};
use ferrite_netconf::{Content, SourceFile};

use crate::config::{self, Sources};
use crate::facts::{Facts, Seen};
use crate::fault::{Faults, Severity};
use crate::merge::{Strategy, merge};
use crate::{document, meta, network, plan, render, report};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ncore:x:1000:1000::/home/core:/bin/bash\n";
const GROUP: &str = "root:x:0:\nsudo:x:27:\nshadow:x:42:\ncore:x:1000:\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\ncore:!:19000:0:99999:7:::\n";

/// A server that has another include for every URL of even length.
fn nobody(url: &str) -> Result<Vec<u8>, String> {
    if url.len().is_multiple_of(2) { Ok(format!("#include\n{url}x\n").into_bytes()) } else { Err("no".into()) }
}

fn facts() -> Facts {
    let mut facts = Facts { random: "0123456789abcdef".into(), today: 20_000, ..Facts::default() };
    for (name, text) in [("passwd", PASSWD), ("group", GROUP), ("shadow", SHADOW)] {
        let entry = Entry { kind: EntryKind::File, mode: 0o644, owner: (0, 0) };
        let seen = Seen { entry, content: Some(text.into()), target: None };
        facts.seen.insert(format!("/etc/{name}"), Some(seen));
    }
    facts
}

/// A plan says the same twice, keeps its paths below the root, and what is rendered is read back as the same. At the
/// desk a document is broken exactly when it is on the machine, as far as no values and no servers are needed.
pub(super) fn plan_is_sound(bytes: &[u8]) {
    let (meta, _) = meta::read(bytes);
    let environment = BTreeMap::new();
    let sources = Sources { user_data: bytes, vendor_data: bytes, meta: &meta, environment: &environment };
    let (config, faults, _) = config::read(&sources, Some(&nobody));
    let facts = facts();
    let one = plan::plan(&config, &meta, &facts);
    assert!(one == plan::plan(&config, &meta, &facts), "the plan is another one");
    for path in one.paths() {
        assert!(
            path.starts_with('/') && !path.split('/').any(|part| part == ".."),
            "the path '{path}' leaves the root"
        );
        assert!(!path.contains(['\0', '\n']), "the path '{path:?}' is no path");
    }
    let _shown = format!("{one}{}", report::json(&one, &[&faults]));
    let first = render::yaml(&config.root);
    let again = document::parse(&first, &mut Faults::default()).unwrap_or_else(document::Node::empty);
    assert_eq!(render::yaml(&again), first, "what is rendered is not what is read");
    joining_is_associative(&config.root, &again);
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let is_plain = text.starts_with("#cloud-config\n") && !text.contains("ipv4") && !text.contains("ipv6");
    if is_plain {
        let alone = Sources { vendor_data: b"", ..sources };
        let (_, faults, _) = config::read(&alone, None);
        let is_broken = |faults: &Faults| faults.worst() == Some(Severity::Broken);
        assert_eq!(is_broken(&config::validate(bytes)), is_broken(&faults), "validate says otherwise");
    }
}

/// Three documents without a word about joining: it does not matter which two are joined first.
fn joining_is_associative(one: &document::Node, other: &document::Node) {
    let mut fewer = one.clone();
    if let document::Value::Map(pairs) = &mut fewer.value {
        pairs.truncate(pairs.len() / 2);
    }
    let joined = |base: &document::Node, with: &document::Node| merge(base.clone(), with.clone(), &Strategy::DEFAULT);
    let left = joined(&joined(&fewer, other), one);
    let right = joined(&fewer, &joined(other, one));
    assert_eq!(render::yaml(&left), render::yaml(&right), "the order of joining matters");
}

/// Whatever a description says, networkd understands every line of the files that are made of it.
pub(super) fn network_files_are_understood(bytes: &[u8]) {
    use network::Format::{CloudInit, DigitalOcean, Ec2, OpenStack};
    for format in [CloudInit, OpenStack, DigitalOcean, Ec2] {
        let network = network::read(bytes, format);
        let _shown = network.faults.render("network-config", "");
        let source = |file: &network::device::NetworkFile| SourceFile {
            path: format!("{}/{}", network::device::FOLDER, file.name),
            content: Content::Bytes(file.text.clone().into_bytes()),
        };
        let files: Vec<SourceFile> = network.files.iter().map(source).collect();
        let faults = ferrite_netconf::read(&files).faults;
        assert!(faults.is_empty(), "{format:?}: {}\n{files:#?}", faults[0]);
    }
}
