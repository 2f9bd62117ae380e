//! OpenStack's drive, version 2: the newest folder below openstack/, and the files it names.
//!
//! A drive without meta_data.json is used all the same: CoreOS did, and people rely on it.

use std::path::Path;

use serde_json::{Value, json};

use super::documents::{Documents, InjectedFile, json_bytes, read_file};
use crate::decode;
use crate::network::Format;

const MAX_VERSIONS: usize = 100;
const MAX_FILES: usize = 100;

/// The files of a version, as they are on the drive.
#[derive(Debug, Clone, Default)]
struct Raw {
    user_data: Option<Vec<u8>>,
    meta_data: Option<Vec<u8>>,
    vendor_data: Option<Vec<u8>>,
    vendor_data2: Option<Vec<u8>>,
    network_data: Option<Vec<u8>>,
    ec2: Option<Vec<u8>>,
}

/// Reads a mounted drive.
pub(crate) fn read(root: &Path) -> anyhow::Result<Documents> {
    let Some(version) = newest(root)? else {
        anyhow::bail!("there is no folder of a version below openstack/");
    };
    let folder = root.join("openstack").join(version);
    let raw = Raw {
        user_data: read_file(&folder.join("user_data"))?,
        meta_data: read_file(&folder.join("meta_data.json"))?,
        vendor_data: read_file(&folder.join("vendor_data.json"))?,
        vendor_data2: read_file(&folder.join("vendor_data2.json"))?,
        network_data: read_file(&folder.join("network_data.json"))?,
        ec2: read_file(&root.join("ec2/latest/meta-data.json"))?,
    };
    let (mut documents, wanted) = interpret(&raw);
    for (path, source) in wanted {
        match content(root, &source) {
            Ok(content) => documents.files.push(InjectedFile { path, content }),
            Err(problem) => documents.problems.push(format!("file '{path}' of the drive: {problem}")),
        }
    }
    Ok(documents)
}

/// The newest version by its date; `latest` only when there is no date.
fn newest(root: &Path) -> anyhow::Result<Option<String>> {
    let entries = match std::fs::read_dir(root.join("openstack")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let names = entries.flatten().take(MAX_VERSIONS).map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(newest_of(names))
}

fn newest_of(names: impl Iterator<Item = String>) -> Option<String> {
    let is_date = |name: &str| {
        name.len() == 10
            && name.chars().enumerate().all(|(at, letter)| match at {
                4 | 7 => letter == '-',
                _ => letter.is_ascii_digit(),
            })
    };
    // Digits sort before letters, so that `latest` would win by name alone.
    names.filter(|name| is_date(name) || name == "latest").max_by_key(|name| (is_date(name), name.clone()))
}

/// Reads the content of a file; its name is the drive's, and it must stay on the drive.
fn content(root: &Path, name: &str) -> Result<Vec<u8>, String> {
    let inner = name.trim_start_matches('/');
    if inner.is_empty() || inner.split('/').any(|part| part == "..") {
        return Err(format!("'{name}' is not a place on the drive"));
    }
    let found = read_file(&root.join("openstack").join(inner)).map_err(|error| format!("{error:#}"))?;
    found.ok_or_else(|| format!("'openstack/{inner}' is missing"))
}

/// The documents, and the files that are named: where they go and where they are. Pure.
fn interpret(raw: &Raw) -> (Documents, Vec<(String, String)>) {
    let mut documents = Documents { user_data: raw.user_data.clone().unwrap_or_default(), ..Documents::default() };
    let mut parse = |name: &str, bytes: &Option<Vec<u8>>| {
        // Editors of Windows put a mark before the text.
        let bytes = bytes.as_deref()?;
        serde_json::from_slice::<Value>(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
            .map_err(|error| documents.problems.push(format!("{name} of the drive is not JSON: {error}, ignored")))
            .ok()
    };
    let meta = parse("meta_data.json", &raw.meta_data);
    let vendor = [("vendor_data.json", &raw.vendor_data), ("vendor_data2.json", &raw.vendor_data2)]
        .map(|(name, bytes)| parse(name, bytes));
    let network = parse("network_data.json", &raw.network_data);
    let ec2 = parse("ec2/latest/meta-data.json", &raw.ec2);
    documents.network_config = network.as_ref().map(json_bytes).unwrap_or_default();
    documents.network_format = Format::OpenStack;
    documents.vendor_data = vendor.iter().rev().flatten().find_map(vendor_text).unwrap_or_default();
    let Some(meta) = meta else {
        // The keys of the EC2 tree are spelled as those of NoCloud.
        documents.meta_data = ec2.as_ref().map(json_bytes).unwrap_or_default();
        return (documents, Vec::new());
    };
    match meta.get("random_seed").and_then(Value::as_str).map(|text| decode::base64(text.as_bytes())) {
        Some(Ok(bytes)) => documents.random_seed = bytes,
        Some(Err(error)) => documents.problems.push(format!("random_seed of the drive: {error}")),
        None => {}
    }
    let files = meta.get("files").and_then(Value::as_array).into_iter().flatten().take(MAX_FILES).filter_map(|file| {
        let text = |key: &str| Some(file.get(key)?.as_str()?.to_string());
        Some((text("path")?, text("content_path")?))
    });
    let files = files.collect();
    documents.meta_data = json_bytes(&meta_data(&meta, ec2.as_ref()));
    (documents, files)
}

/// These bytes as every file of a drive.
#[cfg(test)]
pub(super) fn interpret_anything(bytes: &[u8]) -> Documents {
    let all = || Some(bytes.to_vec());
    let raw = Raw {
        user_data: all(),
        meta_data: all(),
        vendor_data: all(),
        vendor_data2: all(),
        network_data: all(),
        ec2: all(),
    };
    interpret(&raw).0
}

/// The keys of the drive in the spelling of NoCloud, all others beside them.
fn meta_data(meta: &Value, ec2: Option<&Value>) -> Value {
    let mut map = ec2.and_then(Value::as_object).cloned().unwrap_or_default();
    map.extend(meta.as_object().cloned().unwrap_or_default());
    map.remove("random_seed");
    map.remove("files");
    map.remove("admin_pass");
    let mut take = |from: &str, to: &str| {
        if let Some(value) = map.remove(from) {
            map.insert(to.into(), value);
        }
    };
    take("uuid", "instance-id");
    take("hostname", "local-hostname");
    take("public_keys", "public-keys");
    take("availability_zone", "availability-zone");
    let has_keys = map.get("public-keys").and_then(Value::as_object).is_some_and(|keys| !keys.is_empty());
    if let Some(keys) = map.get("keys").and_then(Value::as_array).filter(|_| !has_keys) {
        let keys: Vec<Value> = keys
            .iter()
            .filter(|key| key.get("type").and_then(Value::as_str) == Some("ssh"))
            .filter_map(|key| key.get("data").cloned())
            .collect();
        map.insert("public-keys".into(), keys.into());
    }
    if let Some(name) = map.get("name").cloned() {
        map.entry("local-hostname").or_insert(name);
    }
    map.insert("cloud-name".into(), json!("openstack"));
    Value::Object(map)
}

/// The document for us in a vendor's: the whole text, or the key `cloud-init`.
fn vendor_text(value: &Value) -> Option<Vec<u8>> {
    let value = value.get("cloud-init").unwrap_or(value);
    Some(value.as_str()?.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta;

    #[test]
    fn the_newest_date_wins_and_latest_is_the_last_resort() {
        let newest = |names: &[&str]| newest_of(names.iter().map(ToString::to_string));
        assert_eq!(newest(&["2012-08-10", "latest", "2018-08-27", "content"]).as_deref(), Some("2018-08-27"));
        assert_eq!(newest(&["latest", "content"]).as_deref(), Some("latest"));
        assert_eq!(newest(&["content"]), None);
    }

    #[test]
    fn keys_names_and_ids_are_spelled_as_elsewhere() {
        let key = crate::keys::SAMPLE;
        let raw = Raw {
            meta_data: Some(
                json!({ "uuid": "u-1", "hostname": "cd.novalocal", "public_keys": { "a": format!("{key}\n") },
                    "random_seed": "c2VlZA==", "files": [{ "path": "/etc/x", "content_path": "/content/0000" }] })
                .to_string()
                .into_bytes(),
            ),
            vendor_data: Some(b"{\"cloud-init\": \"#cloud-config\\n\"}".to_vec()),
            ..Raw::default()
        };
        let (documents, files) = interpret(&raw);
        let (meta, faults) = meta::read(&documents.meta_data);
        assert_eq!((meta.instance_id.as_deref(), meta.public_keys.len(), faults.0.len()), (Some("u-1"), 1, 0));
        assert_eq!(meta.hostname.unwrap().as_str(), "cd");
        assert_eq!((documents.random_seed, documents.vendor_data), (b"seed".to_vec(), b"#cloud-config\n".to_vec()));
        assert_eq!(files, [("/etc/x".into(), "/content/0000".into())]);
    }

    #[test]
    fn a_drive_without_meta_data_has_user_data_and_broken_json_is_named() {
        let raw = Raw { user_data: Some(b"#!/bin/sh\n".to_vec()), ..Raw::default() };
        assert_eq!(interpret(&raw).0.user_data, b"#!/bin/sh\n");
        let marked = "\u{feff}{\"uuid\": \"u-2\", \"dsmode\": \"net\"}";
        let documents = interpret(&Raw { meta_data: Some(marked.into()), ..raw.clone() }).0;
        assert_eq!(
            (meta::read(&documents.meta_data).0.instance_id.as_deref(), documents.problems.len()),
            (Some("u-2"), 0)
        );
        assert_eq!(documents.mode(), crate::datasource::documents::Mode::Network);
        let raw = Raw { network_data: Some(b"{".to_vec()), ..raw };
        let problems = interpret(&raw).0.problems;
        assert!(problems.len() == 1 && problems[0].starts_with("network_data.json of the drive is not JSON"));
    }

    #[test]
    fn content_outside_the_drive_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(content(folder.path(), "/../../etc/passwd").unwrap_err().contains("not a place on the drive"));
        assert!(content(folder.path(), "content/0000").unwrap_err().contains("missing"));
    }
}
