//! What a machine keeps of its documents for a boot at which they are not there: the description of the network, and
//! the keys of the default user, which are where they were written.
//!
//! Services name links by their hardware address, so that a copy of the machine is not led astray.

use std::path::Path;

use anyhow::Context;
use ferrite_files::{Durability, Root};
use serde_json::{Value, json};

use crate::accounts::Accounts;
use crate::datasource::Documents;
use crate::document::MAX_BYTES;
use crate::keys::PublicKey;
use crate::network::Format;
use crate::plan_users::{DEFAULT_USER, key_file};

const KEPT: &str = "/var/lib/ferrite/cloudinit/network.json";
/// JSON of a text may be longer than the text.
const MAX_KEPT_BYTES: u64 = 4 * MAX_BYTES as u64;

/// Keeps the description of these documents; one that has none is kept as well.
pub(crate) fn keep(documents: &Documents) -> anyhow::Result<()> {
    let path = Path::new(KEPT);
    let known = std::fs::read(path).unwrap_or_default();
    match render(documents) {
        Some(text) if text.as_bytes() == known => Ok(()),
        Some(text) => Ok(ferrite_files::replace(path, text.as_bytes(), 0o600, Durability::Durable)?),
        None if known.is_empty() => Ok(()),
        None => std::fs::remove_file(path).with_context(|| format!("removing '{KEPT}'")),
    }
}

/// The network of this datasource.
pub(crate) fn of(source: &str) -> Option<Documents> {
    network().filter(|documents| documents.origin == source)
}

/// The network that was kept.
pub(crate) fn network() -> Option<Documents> {
    let path = Path::new(KEPT);
    // A machine that has kept nothing is the usual case; what cannot be read is as good as nothing.
    let length = std::fs::metadata(path).ok()?.len();
    let text = std::fs::read(path).ok().filter(|_| length <= MAX_KEPT_BYTES)?;
    parse(&text)
}

/// The keys that the documents of an earlier boot gave the default user.
pub(crate) fn keys(root: &Root) -> anyhow::Result<Vec<PublicKey>> {
    let text = |path: &str| {
        let bytes = root.read(path, MAX_BYTES)?.unwrap_or_default();
        anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let accounts = Accounts::parse(&text("/etc/passwd")?, "", "", "");
    let Some(home) = accounts.home(DEFAULT_USER) else {
        return Ok(Vec::new());
    };
    Ok(text(&key_file(home))?.lines().filter_map(|line| PublicKey::parse(line).ok()).collect())
}

fn render(documents: &Documents) -> Option<String> {
    let format = Format::NAMES.iter().find(|(_, format)| *format == documents.network_format)?.0;
    let text = std::str::from_utf8(&documents.network_config).ok().filter(|text| !text.is_empty())?;
    Some(json!({ "datasource": documents.origin, "format": format, "text": text }).to_string())
}

fn parse(bytes: &[u8]) -> Option<Documents> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    Some(Documents {
        origin: text("datasource")?.into(),
        network_format: Format::parse(text("format")?)?,
        network_config: text("text")?.into(),
        ..Documents::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_documents_only_the_network_is_kept() {
        let documents = Documents {
            origin: "digitalocean".into(),
            user_data: b"secret".to_vec(),
            network_config: b"{\"interfaces\": {}}".to_vec(),
            network_format: Format::DigitalOcean,
            ..Documents::default()
        };
        let text = render(&documents).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(parse(text.as_bytes()), Some(Documents { user_data: Vec::new(), ..documents.clone() }));
        assert_eq!(render(&Documents { network_config: Vec::new(), ..documents }), None);
        assert_eq!(parse(b"{"), None);
    }
}
