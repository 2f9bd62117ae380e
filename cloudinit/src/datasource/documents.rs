//! What a datasource hands over, the same for all of them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use super::command_line::NoCloudWords;
use crate::document::MAX_BYTES;
use crate::network::Format;

/// The documents of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Documents {
    /// Where they came from.
    pub origin: String,
    /// The user-data; empty when there is none.
    pub user_data: Vec<u8>,
    /// The meta-data as YAML or JSON; empty when there is none.
    pub meta_data: Vec<u8>,
    /// The cloud's own document; empty when there is none.
    pub vendor_data: Vec<u8>,
    /// The description of the network; empty when there is none: DHCP on every link.
    pub network_config: Vec<u8>,
    /// Whose language it is in.
    pub network_format: Format,
    /// The instance id when the meta-data names none.
    pub instance_id: Option<String>,
    /// A name that wins over the meta-data's.
    pub hostname: Option<String>,
    /// Keys beside those of the meta-data.
    pub keys: Vec<String>,
    /// Files that the cloud wants on the machine.
    pub files: Vec<InjectedFile>,
    /// Bytes for the random number generator.
    pub random_seed: Vec<u8>,
    /// What could not be read of them.
    pub problems: Vec<String>,
    /// They say that they apply when there is a network.
    pub waits_for_network: bool,
    /// Why there are none, though there should be.
    pub missing: Option<Missing>,
}

/// Why there are no documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// What happened.
    pub reason: String,
    /// Whether they are in the network, and may come later.
    pub is_remote: bool,
}

/// `dsmode` in the meta-data: what is to be done with the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They apply before there is a network.
    Local,
    /// They apply when there is one; their description of the network before.
    Network,
    /// Only the description of the network and the files apply; somebody else has the documents.
    Pass,
    /// They are not used.
    Disabled,
}

/// A file of the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InjectedFile {
    /// Where it goes.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Documents {
    /// What their meta-data says about their use.
    pub(crate) fn mode(&self) -> Mode {
        // What is wrong with the meta-data is told when it applies.
        let (meta, _) = crate::meta::read(&self.meta_data);
        match meta.values.get("dsmode").and_then(Value::as_str) {
            Some("net") => Mode::Network,
            Some("pass") => Mode::Pass,
            Some("disabled") => Mode::Disabled,
            _ => Mode::Local,
        }
    }

    /// Takes over what a drive that passes the rest on says about the network, and its files.
    pub(crate) fn join_passed(&mut self, passed: Self) {
        if self.network_config.is_empty() {
            self.network_config = passed.network_config;
            self.network_format = passed.network_format;
        }
        let is_new = |file: &InjectedFile| self.files.iter().all(|known| known.path != file.path);
        let files: Vec<InjectedFile> = passed.files.into_iter().filter(is_new).collect();
        self.files.extend(files);
    }

    /// Adds what a seed says beside its documents.
    pub(crate) fn add_words(&mut self, words: &NoCloudWords) {
        if let Some(hostname) = &words.hostname {
            self.hostname = Some(hostname.clone());
        }
        if let Some(id) = &words.instance_id {
            self.instance_id = Some(id.clone());
        }
    }
}

/// Reads a document; `None` when there is none. Its size is known before, because fw_cfg is slow in small pieces.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let reading = || format!("reading '{}'", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(reading),
    };
    let size = usize::try_from(file.metadata().with_context(reading)?.len()).unwrap_or(usize::MAX);
    if size > MAX_BYTES {
        bail!("'{}' is larger than the limit of {MAX_BYTES} bytes", path.display());
    }
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(reading)?;
    if bytes.len() > MAX_BYTES {
        bail!("'{}' is larger than the limit of {MAX_BYTES} bytes", path.display());
    }
    Ok(Some(bytes))
}

/// A JSON document as meta-data.
pub(crate) fn json_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_of_the_meta_data_is_that_of_the_documents() {
        for (text, mode) in [
            ("dsmode: net\n", Mode::Network),
            ("{\"dsmode\": \"pass\"}", Mode::Pass),
            ("dsmode: disabled\n", Mode::Disabled),
            ("dsmode: local\n", Mode::Local),
            ("dsmode: other\n", Mode::Local),
            ("", Mode::Local),
        ] {
            let documents = Documents { meta_data: text.into(), ..Documents::default() };
            assert_eq!(documents.mode(), mode, "{text}");
        }
    }

    #[test]
    fn a_document_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        std::fs::write(&path, vec![b'x'; MAX_BYTES + 1]).unwrap();
        assert!(read_file(&path).unwrap_err().to_string().contains("larger than the limit"));
        assert_eq!(read_file(&folder.path().join("none")).unwrap(), None);
    }
}
