//! Acts: reads what the banner tells. Whatever is absent leaves its section out: a login prompt must always appear.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferrite_control::{Client, ClientError, Reply, Request};
use ferrite_layout::BootFacts;
use ferrite_layout::facts::FACTS_PATH;
use ferrite_layout::snapshot::{SLOTS_PATH, Snapshot};

use crate::banner::Facts;
use crate::fingerprint::{self, Fingerprint};
use crate::host_keys::KINDS;

/// Most bytes of any file that is read.
const LIMIT_BYTES: u64 = 64 * 1024;
const PID1_TIMEOUT: Duration = Duration::from_secs(5);

/// Where everything lies; other places in tests.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Facts of this boot.
    pub facts: PathBuf,
    /// Slot flags for everybody.
    pub snapshot: PathBuf,
    /// Links and addresses.
    pub network: PathBuf,
    /// What became of the cloud-config.
    pub cloud_config: PathBuf,
    /// The release that waits for a restart.
    pub update: PathBuf,
    /// Name of the system.
    pub os_release: PathBuf,
    /// Folder of the host keys.
    pub ssh: PathBuf,
    /// Socket of PID 1.
    pub control: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            facts: FACTS_PATH.into(),
            snapshot: SLOTS_PATH.into(),
            network: "/run/ferrite/network".into(),
            cloud_config: "/run/ferrite/cloudinit/status".into(),
            update: "/run/ferrite/update-pending".into(),
            os_release: "/etc/os-release".into(),
            ssh: "/etc/ssh".into(),
            control: ferrite_control::SOCKET_PATH.into(),
        }
    }
}

/// Reads everything.
pub fn gather(paths: &Paths) -> Facts {
    Facts {
        name: read(&paths.os_release).map(|text| os_name(&text)).unwrap_or_default(),
        boot: read(&paths.facts).map(|text| BootFacts::parse(&text)),
        slots: read(&paths.snapshot).map(|text| Snapshot::parse(&text)),
        network: read(&paths.network).unwrap_or_default(),
        cloud_config: read(&paths.cloud_config).unwrap_or_default(),
        update: read(&paths.update).unwrap_or_default(),
        fingerprints: fingerprints(&paths.ssh),
        failed_units: match failed_units(&paths.control) {
            Ok(units) => Some(units),
            Err(error) => {
                eprintln!("{}, leaving failed units out", ferrite_cli::error_line(&error.into()));
                None
            }
        },
    }
}

fn fingerprints(folder: &Path) -> Vec<Fingerprint> {
    let key = |kind: &str| read(&folder.join(format!("ssh_host_{kind}_key.pub")));
    KINDS.iter().filter_map(|kind| fingerprint::of_public_key(&key(kind)?)).collect()
}

fn failed_units(socket: &Path) -> Result<Vec<String>, ClientError> {
    let mut client = Client::connect(socket)?;
    client.set_timeout(Some(PID1_TIMEOUT))?;
    let Reply::Units(units) = client.ask(&Request::ListUnits)? else { return Err(ClientError::Unexpected) };
    Ok(units.into_iter().filter(|unit| unit.active == "failed").map(|unit| unit.name).collect())
}

fn os_name(text: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix("NAME=")).unwrap_or_default();
    value.trim_matches(['"', '\'']).to_string()
}

/// `None` for whatever cannot be read: the section is left out.
fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(LIMIT_BYTES).read_to_end(&mut bytes)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_control::UnitSummary;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    fn paths(folder: &Path) -> Paths {
        let at = |name: &str| folder.join(name);
        Paths {
            facts: at("boot"),
            snapshot: at("slots"),
            network: at("network"),
            cloud_config: at("status"),
            update: at("update-pending"),
            os_release: at("os-release"),
            ssh: folder.to_path_buf(),
            control: at("init.sock"),
        }
    }

    #[test]
    fn whatever_is_absent_is_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(gather(&paths(folder.path())), Facts::default());
    }

    #[test]
    fn files_and_pid_1_are_asked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let paths = paths(folder.path());
        let listener = UnixListener::bind(&paths.control).expect("a socket");
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a client comes");
            let mut question = String::new();
            BufReader::new(&stream).read_line(&mut question).expect("it asks");
            let unit = |name: &str, active: &str| UnitSummary {
                name: name.into(),
                active: active.into(),
                ..UnitSummary::default()
            };
            let units = Reply::Units(vec![unit("a.service", "active"), unit("b.service", "failed")]);
            let answer = ferrite_control::encode(&units, 1 << 16).expect("it fits");
            (&stream).write_all(&answer).expect("it is sent");
            question
        });
        fs::write(&paths.os_release, "ID=x\nNAME=\"Ferrite Linux\"\n").expect("it can be written");
        fs::write(&paths.facts, BootFacts { version: "7".into(), ..BootFacts::default() }.render()).expect("written");
        let facts = gather(&paths);
        assert_eq!(server.join().expect("the server ends"), "\"list_units\"\n");
        assert_eq!(facts.failed_units.as_deref(), Some(&["b.service".to_string()][..]));
        assert_eq!(facts.name, "Ferrite Linux");
        assert_eq!(facts.boot.map(|boot| boot.version).as_deref(), Some("7"));
    }
}
