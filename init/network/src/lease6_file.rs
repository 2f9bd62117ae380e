//! Leases of DHCPv6 kept on disk, so that a daemon that starts again goes on with them. Parsing is pure.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferrite_files::Durability;

use crate::dhcp6::message::{Lease6, LeasedAddress};
use crate::lease::is_domain_name;

const MAX_BYTES: u64 = 16 * 1024;

/// `<folder>/<mac>.lease6`.
fn path(folder: &Path, mac: [u8; 6]) -> PathBuf {
    folder.join(format!("{}.lease6", ferrite_netconf::Mac(mac)))
}

/// Reads a lease; a missing or damaged file is no lease.
pub(crate) fn load(folder: &Path, mac: [u8; 6]) -> Option<Lease6> {
    let path = path(folder, mac);
    // Any failure to read means the same: nothing is known.
    let metadata = std::fs::metadata(&path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return None;
    }
    parse(&std::fs::read_to_string(path).ok()?)
}

/// Keeps a lease durably.
pub(crate) fn store(folder: &Path, mac: [u8; 6], lease: &Lease6) -> Result<(), ferrite_files::FileError> {
    ferrite_files::replace(&path(folder, mac), render(lease).as_bytes(), 0o644, Durability::Durable)
}

fn render(lease: &Lease6) -> String {
    let server: String = lease.server.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!("server={server}\ntimes={} {}\n", lease.renew.as_secs(), lease.rebind.as_secs());
    for address in &lease.addresses {
        let (preferred, valid) = (address.preferred.as_secs(), address.valid.as_secs());
        text.push_str(&format!("address={} {preferred} {valid}\n", address.address));
    }
    for server in &lease.dns {
        text.push_str(&format!("dns={server}\n"));
    }
    for server in &lease.ntp {
        text.push_str(&format!("ntp={server}\n"));
    }
    for domain in &lease.search {
        text.push_str(&format!("search={domain}\n"));
    }
    text
}

fn parse(text: &str) -> Option<Lease6> {
    let mut lease = Lease6::default();
    let seconds = |text: &str| text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    for line in text.lines() {
        let (key, value) = line.split_once('=')?;
        let words: Vec<&str> = value.split(' ').collect();
        match (key, words.as_slice()) {
            ("server", [hex]) => lease.server = bytes(hex)?,
            ("times", [renew, rebind]) => (lease.renew, lease.rebind) = (seconds(renew)?, seconds(rebind)?),
            ("address", [address, preferred, valid]) => {
                let address: Ipv6Addr = address.parse().ok()?;
                let (preferred, valid) = (seconds(preferred)?, seconds(valid)?);
                lease.addresses.push(LeasedAddress { address, preferred, valid });
            }
            ("dns", [server]) => lease.dns.push(server.parse().ok()?),
            ("ntp", [server]) => lease.ntp.push((*server).to_owned()),
            ("search", [domain]) => lease.search.push(Some(*domain).filter(|name| is_domain_name(name))?.to_owned()),
            // A newer version wrote it.
            _ => {}
        }
    }
    (!lease.server.is_empty()).then_some(lease)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_lease_is_loaded_again_and_damage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let seconds = Duration::from_secs;
        let lease = Lease6 {
            server: vec![0, 1, 255],
            addresses: vec![LeasedAddress {
                address: "2001:db8::7".parse().unwrap(),
                preferred: seconds(60),
                valid: seconds(90),
            }],
            dns: vec!["2001:db8::53".parse().unwrap()],
            ntp: vec!["2001:db8::123".to_owned(), "time.example".to_owned()],
            search: vec!["example.org".to_owned()],
            renew: seconds(30),
            rebind: seconds(48),
        };
        store(folder.path(), [1; 6], &lease).unwrap();
        assert_eq!(load(folder.path(), [1; 6]), Some(lease));
        for text in ["", "server=0", "server=zz", "address=x 1 2", "\0"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
