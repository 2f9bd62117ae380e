//! NoCloud: the documents as files of a folder or of a web server.

use std::path::Path;

use super::command_line::NoCloudWords;
use super::documents::{Documents, read_file};
use super::http::{Client, Patience, Trouble};

/// The instance id of a seed that has none.
pub(crate) const INSTANCE: &str = "nocloud";

/// Reads the files of a folder; what is missing is empty.
pub(crate) fn folder(folder: &Path) -> anyhow::Result<Documents> {
    let read = |name: &str| anyhow::Ok(read_file(&folder.join(name))?.unwrap_or_default());
    Ok(Documents {
        user_data: read("user-data")?,
        meta_data: read("meta-data")?,
        vendor_data: read("vendor-data")?,
        network_config: read("network-config")?,
        instance_id: Some(INSTANCE.into()),
        ..Documents::default()
    })
}

/// A seed that is nothing but words of the kernel command line.
pub(crate) fn words(words: &NoCloudWords) -> Documents {
    let mut documents = Documents { instance_id: Some(INSTANCE.into()), ..Documents::default() };
    documents.add_words(words);
    documents
}

/// Fetches the files of a web server. `seed` ends with a slash; meta-data and user-data must be there.
pub(crate) fn http(seed: &str, patience: Patience) -> Result<Documents, Trouble> {
    if seed.starts_with("https://") {
        return Err(Trouble::Final(format!("'{seed}': https is not supported by this version; use http")));
    }
    let client = Client::new();
    let fetch = |name: &str| {
        let url = format!("{seed}{name}");
        patience.ask(|| client.get(&url, &[])?.found(&url))
    };
    let required = |name: &str| {
        let found = fetch(name)?;
        found.ok_or_else(|| Trouble::Final(format!("'{seed}{name}' is not there; a seed has meta-data and user-data")))
    };
    Ok(Documents {
        meta_data: required("meta-data")?,
        user_data: required("user-data")?,
        vendor_data: fetch("vendor-data")?.unwrap_or_default(),
        network_config: fetch("network-config")?.unwrap_or_default(),
        instance_id: Some(INSTANCE.into()),
        ..Documents::default()
    })
}

/// Fetches a user-data by URL.
pub(crate) fn url(url: &str, patience: Patience) -> Result<Documents, Trouble> {
    if !url.starts_with("http://") {
        return Err(Trouble::Final(format!("'{url}': only http:// can be fetched by this version")));
    }
    let client = Client::new();
    let found = patience.ask(|| client.get(url, &[])?.found(url))?;
    let user_data = found.ok_or_else(|| Trouble::Final(format!("'{url}' is not there (status 404)")))?;
    Ok(Documents { user_data, ..Documents::default() })
}
