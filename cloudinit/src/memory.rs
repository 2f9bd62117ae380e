//! What a service said about the network, kept for a boot at which it does not answer before there is one.
//!
//! Links are named by their hardware address, so that a copy of the machine is not led astray.

use std::path::Path;

use anyhow::Context;
use ferrite_files::Durability;
use serde_json::{Value, json};

use crate::datasource::Documents;
use crate::network::Format;

const KEPT: &str = "/var/lib/ferrite/cloudinit/network.json";
const MAX_BYTES: u64 = 4 << 20;

/// Keeps the description of these documents. One that does not come from a service is where it was at the next boot.
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

/// What was kept of this datasource.
pub(crate) fn of(source: &str) -> Option<Documents> {
    let path = Path::new(KEPT);
    // A machine that has kept nothing is the usual case; what cannot be read is as good as nothing.
    let length = std::fs::metadata(path).ok()?.len();
    let text = std::fs::read(path).ok().filter(|_| length <= MAX_BYTES)?;
    parse(&text).filter(|documents| documents.origin == source)
}

fn render(documents: &Documents) -> Option<String> {
    let is_kept = matches!(documents.network_format, Format::Ec2 | Format::DigitalOcean);
    let format = Format::NAMES.iter().find(|(_, format)| *format == documents.network_format)?.0;
    let text = std::str::from_utf8(&documents.network_config).ok().filter(|text| is_kept && !text.is_empty())?;
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
    fn what_a_service_said_is_kept_and_what_is_on_a_disk_is_not() {
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
        assert_eq!(render(&Documents { network_format: Format::CloudInit, ..documents.clone() }), None);
        assert_eq!(render(&Documents { network_config: Vec::new(), ..documents }), None);
        assert_eq!(parse(b"{"), None);
    }
}
