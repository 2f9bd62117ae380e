//! NoCloud: the documents as files of a folder or of a web server.

use std::path::Path;

use anyhow::bail;

use super::command_line::NoCloudWords;
use super::documents::{Documents, read_file};
use super::http::{Client, Patience, Trouble};
use crate::meta;

/// The instance id of a seed that has none.
pub(crate) const INSTANCE: &str = "nocloud";

/// How the file of an oem partition is called beside `user-data`.
pub(crate) const OEM_NAMES: [&str; 3] = ["user-data", "user_data", "cloud-config.yml"];

/// Whether a folder has documents.
pub(crate) fn is_seed(folder: &Path) -> bool {
    ["user-data", "meta-data"].iter().any(|name| folder.join(name).is_file())
}

/// Reads the files of a folder. One that has neither user-data nor meta-data is no seed; else what is missing is empty.
pub(crate) fn folder(folder: &Path) -> anyhow::Result<Documents> {
    let read = |name: &str| read_file(&folder.join(name));
    let (user_data, meta_data) = (read("user-data")?, read("meta-data")?);
    if user_data.is_none() && meta_data.is_none() {
        bail!("there is neither user-data nor meta-data in it (an ISO 9660 disk has such names with -J -r only)");
    }
    Ok(Documents {
        user_data: user_data.unwrap_or_default(),
        meta_data: meta_data.unwrap_or_default(),
        vendor_data: read("vendor-data")?.unwrap_or_default(),
        network_config: read("network-config")?.unwrap_or_default(),
        instance_id: Some(INSTANCE.into()),
        ..Documents::default()
    })
}

/// Reads what somebody left on the oem partition: one file, or a seed.
pub(crate) fn oem(root: &Path) -> anyhow::Result<Documents> {
    if root.join("meta-data").exists() {
        return folder(root);
    }
    for name in OEM_NAMES {
        if let Some(user_data) = read_file(&root.join(name))? {
            return Ok(Documents { user_data, ..Documents::default() });
        }
    }
    bail!("there is none of {} in it", OEM_NAMES.join(", "))
}

/// A seed that is nothing but words of the kernel command line.
pub(crate) fn words(words: &NoCloudWords) -> Documents {
    let mut documents = Documents { instance_id: Some(INSTANCE.into()), ..Documents::default() };
    documents.add_words(words);
    documents
}

/// The place of a document: `%s` in a seed stands for its name, else the name is the end.
fn place(seed: &str, name: &str) -> String {
    if seed.contains("%s") { seed.replace("%s", name) } else { format!("{seed}{name}") }
}

/// Fetches the files of a web server. meta-data and user-data must be there.
pub(crate) fn http(seed: &str, patience: Patience) -> Result<Documents, Trouble> {
    let client = Client::of_web(seed, patience)?;
    let required = |name: &str| {
        let url = place(seed, name);
        let found = patience.ask(|| client.get(&url, &[])?.found(&url))?;
        found.ok_or_else(|| Trouble::Final(format!("'{url}' is not there; a seed has meta-data and user-data")))
    };
    let fetch = |name: &str| {
        let url = place(seed, name);
        patience.ask(|| match client.get(&url, &[])?.found(&url) {
            // Stores of objects refuse what they do not have.
            Err(Trouble::Final(reason)) if reason.ends_with(" 403") || reason.ends_with(" 410") => Ok(None),
            other => other,
        })
    };
    let meta_data = required("meta-data")?;
    let (meta, faults) = meta::read(&meta_data);
    if let (true, Some(fault)) = (meta.values.is_null(), faults.0.first()) {
        return Err(Trouble::Final(format!("'{seed}meta-data' cannot be read: {}", fault.message)));
    }
    Ok(Documents {
        meta_data,
        user_data: required("user-data")?,
        vendor_data: fetch("vendor-data")?.unwrap_or_default(),
        network_config: fetch("network-config")?.unwrap_or_default(),
        instance_id: Some(INSTANCE.into()),
        ..Documents::default()
    })
}

/// Fetches a user-data by URL.
pub(crate) fn url(url: &str, patience: Patience) -> Result<Documents, Trouble> {
    let client = Client::of_web(url, patience)?;
    let found = patience.ask(|| client.get(url, &[])?.found(url))?;
    let user_data = found.ok_or_else(|| Trouble::Final(format!("'{url}' is not there (status 404)")))?;
    Ok(Documents { user_data, ..Documents::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_of_the_web_ends_with_the_name_or_has_a_place_for_it() {
        assert_eq!(place("http://a/", "user-data"), "http://a/user-data");
        assert_eq!(place("http://a/?file=%s&id=7", "meta-data"), "http://a/?file=meta-data&id=7");
    }

    #[test]
    fn a_folder_without_documents_is_no_seed_and_an_oem_partition_has_one_of_three_names() {
        let root = tempfile::tempdir().unwrap();
        assert!(folder(root.path()).unwrap_err().to_string().contains("neither user-data nor meta-data"));
        assert!(oem(root.path()).unwrap_err().to_string().contains("cloud-config.yml"));
        std::fs::write(root.path().join("cloud-config.yml"), "#cloud-config\n").unwrap();
        assert_eq!(oem(root.path()).unwrap().user_data, b"#cloud-config\n");
        std::fs::write(root.path().join("meta-data"), "").unwrap();
        assert_eq!(oem(root.path()).unwrap().instance_id.as_deref(), Some(INSTANCE));
    }
}
