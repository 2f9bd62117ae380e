//! DigitalOcean: one request, answered on the link itself, so that nobody needs a lease to ask it.

use serde_json::{Map, Value, json};

use super::documents::{Documents, json_bytes};
use super::http::{Client, Patience, Trouble};
use crate::network::Format;

const PATH: &str = "/metadata/v1.json";

/// Asks the service at `base`, such as http://169.254.169.254.
pub(crate) fn fetch(base: &str, patience: Patience) -> Result<Documents, Trouble> {
    let (client, url) = (Client::new(patience), format!("{base}{PATH}"));
    let found = patience.ask(|| client.get(&url, &[])?.found(&url))?;
    let bytes = found.ok_or_else(|| Trouble::Final(format!("'{url}' is not there (status 404)")))?;
    read(&bytes).map_err(|reason| Trouble::Final(format!("'{url}': {reason}")))
}

/// Takes the document apart. Pure.
pub(super) fn read(bytes: &[u8]) -> Result<Documents, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("this is not JSON: {error}"))?;
    if !value.is_object() {
        return Err("this is not the JSON of a droplet".into());
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let id = match value.get("droplet_id") {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => text.clone(),
        _ => return Err("there is no droplet_id".into()),
    };
    let address = |kind: &str, family: &str| {
        let text = value.get("interfaces")?.get(kind)?.get(0)?.get(family)?.get("ip_address")?.as_str()?;
        Some(text.parse::<std::net::IpAddr>().ok()?.to_string())
    };
    let mut meta = Map::new();
    for (key, value) in [
        ("instance-id", Some(id)),
        ("local-hostname", Some(text("hostname").to_string())),
        ("region", Some(text("region").to_string())),
        ("public-ipv4", address("public", "ipv4")),
        ("local-ipv4", address("private", "ipv4")),
        ("public-ipv6", address("public", "ipv6")),
        ("cloud-name", Some("digitalocean".into())),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            meta.insert(key.into(), json!(value));
        }
    }
    if let Some(keys) = value.get("public_keys") {
        meta.insert("public-keys".into(), keys.clone());
    }
    let user_data = text("user_data").as_bytes().to_vec();
    let vendor_data = text("vendor_data").as_bytes().to_vec();
    let network_config = if value.get("interfaces").is_some() { bytes.to_vec() } else { Vec::new() };
    Ok(Documents {
        user_data,
        vendor_data,
        meta_data: json_bytes(&Value::Object(meta)),
        network_config,
        network_format: Format::DigitalOcean,
        ..Documents::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta;

    #[test]
    fn a_droplet_becomes_documents() {
        let key = crate::keys::SAMPLE;
        let text = json!({
            "droplet_id": 2756294, "hostname": "sample.example.org", "region": "nyc3", "public_keys": [key],
            "user_data": "#cloud-config\n", "vendor_data": "#cloud-config\nmanage_etc_hosts: true\n",
            "interfaces": { "public": [{ "mac": "04:01:2a:0f:2a:01",
                "ipv4": { "ip_address": "104.131.20.105", "netmask": "255.255.192.0", "gateway": "104.131.0.1" },
                "ipv6": { "ip_address": "2604:A880:0800:0010:0000:0000:017D:2001", "cidr": 64 } }] },
        });
        let documents = read(text.to_string().as_bytes()).unwrap();
        let (meta, faults) = meta::read(&documents.meta_data);
        assert_eq!((meta.instance_id.as_deref(), meta.public_keys.len(), faults.0.len()), (Some("2756294"), 1, 0));
        assert_eq!(meta.hostname.unwrap().as_str(), "sample");
        assert_eq!(meta.values["public-ipv6"], "2604:a880:800:10::17d:2001");
        assert_eq!(documents.user_data, b"#cloud-config\n");
        assert_eq!((documents.network_config.is_empty(), documents.network_format), (false, Format::DigitalOcean));
    }

    #[test]
    fn garbage_is_no_droplet() {
        for (text, reason) in [("<html>", "not JSON"), ("[]", "not the JSON"), ("{}", "no droplet_id")] {
            assert!(read(text.as_bytes()).unwrap_err().contains(reason), "{text}");
        }
    }
}
