//! Leases kept on disk, one file a hardware address, so that a machine asks for the address it had. Parsing is pure.
//!
//! Only the address is trusted after a boot: the clock may be wrong, so the server must confirm it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ferrite_files::Durability;

use crate::lease::{Lease, Route, Times, is_domain_name, is_host_address};

const MAX_BYTES: u64 = 16 * 1024;

/// `<folder>/<mac>.lease`.
pub(crate) fn path(folder: &Path, mac: [u8; 6]) -> PathBuf {
    let [a, b, c, d, e, f] = mac;
    folder.join(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}.lease"))
}

/// Reads a lease; a missing or damaged file is no lease.
pub(crate) fn load(folder: &Path, mac: [u8; 6]) -> Option<Lease> {
    let path = path(folder, mac);
    // Any failure to read means the same: there is no earlier address to ask for.
    let metadata = std::fs::metadata(&path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return None;
    }
    parse(&std::fs::read_to_string(path).ok()?)
}

/// Keeps a lease durably.
pub(crate) fn store(folder: &Path, mac: [u8; 6], lease: &Lease) -> Result<(), ferrite_files::FileError> {
    ferrite_files::replace(&path(folder, mac), render(lease).as_bytes(), 0o644, Durability::Durable)
}

fn render(lease: &Lease) -> String {
    let mut text = format!("address={}/{}\nserver={}\n", lease.address, lease.prefix, lease.server);
    for route in &lease.routes {
        text.push_str(&format!("route={}/{} {}\n", route.destination, route.prefix, route.gateway));
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
    if let Some(name) = &lease.hostname {
        text.push_str(&format!("hostname={name}\n"));
    }
    if let Some(mtu) = lease.mtu {
        text.push_str(&format!("mtu={mtu}\n"));
    }
    if let Some(times) = lease.times {
        let (renew, rebind, expire) = (times.renew.as_secs(), times.rebind.as_secs(), times.expire.as_secs());
        text.push_str(&format!("times={renew} {rebind} {expire}\n"));
    }
    text
}

fn parse(text: &str) -> Option<Lease> {
    let mut lease = Lease {
        address: Ipv4Addr::UNSPECIFIED,
        prefix: 0,
        server: Ipv4Addr::UNSPECIFIED,
        routes: Vec::new(),
        dns: Vec::new(),
        ntp: Vec::new(),
        search: Vec::new(),
        hostname: None,
        mtu: None,
        times: None,
    };
    for line in text.lines() {
        let (key, value) = line.split_once('=')?;
        match key {
            "address" => (lease.address, lease.prefix) = network(value)?,
            "server" => lease.server = value.parse().ok()?,
            "route" => {
                let (net, gateway) = value.split_once(' ')?;
                let (destination, prefix) = network(net)?;
                lease.routes.push(Route { destination, prefix, gateway: gateway.parse().ok()? });
            }
            "dns" => lease.dns.push(value.parse().ok()?),
            "ntp" => lease.ntp.push(value.parse().ok()?),
            "search" => lease.search.push(Some(value).filter(|name| is_domain_name(name))?.to_string()),
            "hostname" => lease.hostname = Some(Some(value).filter(|name| is_domain_name(name))?.to_string()),
            "mtu" => lease.mtu = Some(value.parse().ok()?),
            "times" => lease.times = Some(times(value)?),
            // A newer version wrote it.
            _ => {}
        }
    }
    (is_host_address(lease.address) && is_host_address(lease.server)).then_some(lease)
}

fn network(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    Some((address.parse().ok()?, prefix))
}

fn times(text: &str) -> Option<Times> {
    let mut seconds = text.split(' ').map(|part| part.parse::<u32>().ok().map(|s| Duration::from_secs(s.into())));
    Some(Times { renew: seconds.next()??, rebind: seconds.next()??, expire: seconds.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Lease {
        Lease {
            address: [10, 0, 2, 15].into(),
            prefix: 24,
            server: [10, 0, 2, 2].into(),
            routes: vec![Route::default_by([10, 0, 2, 2].into())],
            dns: vec![[10, 0, 2, 3].into()],
            ntp: vec![[10, 0, 2, 4].into()],
            search: vec!["example.org".into()],
            hostname: Some("web1".into()),
            mtu: Some(1400),
            times: Some(Times {
                renew: Duration::from_secs(1),
                rebind: Duration::from_secs(2),
                expire: Duration::from_secs(3),
            }),
        }
    }

    #[test]
    fn a_stored_lease_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        store(folder.path(), [1, 2, 3, 4, 5, 6], &sample()).unwrap();
        assert!(folder.path().join("01:02:03:04:05:06.lease").exists());
        assert_eq!(load(folder.path(), [1, 2, 3, 4, 5, 6]), Some(sample()));
        assert_eq!(load(folder.path(), [0; 6]), None);
    }

    #[test]
    fn damaged_files_are_no_lease() {
        for text in ["", "address=10.0.2.15/24\n", "address=10.0.2.15/99\nserver=10.0.2.2\n", "rubbish", "\0\0\0"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
