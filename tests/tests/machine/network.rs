//! Files of links on a booted machine: every kind of link that the image's kernel makes, beside the lease of its wire.

use std::time::Duration;

use ferrite_tests::{Board, Setup};

const PATIENCE: Duration = Duration::from_secs(120);

/// A document that writes the files and leaves the wire to the image's own file.
fn document() -> String {
    let mut text = "#cloud-config\nssh_authorized_keys:\n  - KEY\nwrite_files:\n".to_owned();
    for (name, content) in FILES {
        text.push_str(&format!("  - path: /etc/systemd/network/{name}\n    permissions: '0640'\n    content: |\n"));
        content.lines().for_each(|line| text.push_str(&format!("      {line}\n")));
    }
    text
}

const FILES: [(&str, &str); 13] = [
    ("10-d0.netdev", "[NetDev]\nName=d0\nKind=dummy"),
    ("10-d1.netdev", "[NetDev]\nName=d1\nKind=dummy"),
    ("10-bond0.netdev", "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=active-backup\nMIIMonitorSec=100ms"),
    ("10-v5.netdev", "[NetDev]\nName=v5\nKind=vlan\n[VLAN]\nId=5"),
    ("10-red.netdev", "[NetDev]\nName=red\nKind=vrf\n[VRF]\nTable=100"),
    (
        "10-wg0.netdev",
        "[NetDev]\nName=wg0\nKind=wireguard\n[WireGuard]\nListenPort=51820\n\
         PrivateKey=YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=\n[WireGuardPeer]\n\
         PublicKey=QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU=\nAllowedIPs=10.98.0.0/16\nRouteTable=main\n\
         Endpoint=192.0.2.9:51820",
    ),
    ("20-ports.network", "[Match]\nName=d0 d1\n[Network]\nBond=bond0"),
    ("20-bond0.network", "[Match]\nName=bond0\n[Network]\nVLAN=v5\nAddress=10.91.0.1/24\nAddress=fd91::1/64"),
    (
        "20-v5.network",
        "[Match]\nName=v5\n[Link]\nMTUBytes=1400\n[Network]\nVRF=red\nAddress=10.92.0.1/24\nGateway=10.92.0.2",
    ),
    ("20-red.network", "[Match]\nName=red"),
    ("20-wg0.network", "[Match]\nName=wg0\n[Network]\nAddress=10.97.0.1/24"),
    ("20-faulty.network", "[Match]\nName=d9\n[Network"),
    ("20-d9.netdev", "[NetDev]\nName=d9\nKind=dummy"),
];

#[test]
fn every_kind_of_link_is_made_and_configured() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.user_data(&document())?.boot()?;
    machine.wait_for("the links to be configured", PATIENCE, |machine| {
        let list = machine.ssh("networkctl list --no-legend")?;
        let configured = |name: &str| {
            list.lines().any(|line| line.split_whitespace().nth(1) == Some(name) && line.ends_with(" configured"))
        };
        Ok(["eth0", "bond0", "v5", "red", "wg0"].iter().all(|name| configured(name)).then_some(()))
    })?;
    let list = machine.ssh("networkctl list")?;
    assert!(list.contains(" d0    ether     enslaved    configured"), "{list}");
    assert!(list.lines().any(|line| line.contains(" d9 ") && line.ends_with(" failed")), "{list}");
    assert!(machine.ssh("ip -d link show d1")?.contains("master bond0"));
    assert!(machine.ssh("cat /proc/net/bonding/bond0")?.contains("fault-tolerance (active-backup)"));
    let vlan = machine.ssh("ip -d link show v5")?;
    assert!(vlan.contains("mtu 1400") && vlan.contains("master red") && vlan.contains("id 5"), "{vlan}");
    assert!(machine.ssh("ip route show table 100")?.contains("default via 10.92.0.2 dev v5 proto static"));
    assert!(machine.ssh("ip route")?.contains("10.98.0.0/16 dev wg0 proto static"));
    assert!(machine.ssh("cat /proc/net/udp")?.contains(":CA6C "), "the tunnel listens on port 51820");
    let status = machine.ssh("networkctl status eth0")?;
    assert!(status.contains("Network File: /usr/lib/systemd/network/99-default.network"), "{status}");
    assert!(status.contains("State: routable (configured)"), "{status}");
    // A restart disturbs neither addresses nor this connection.
    let before = machine.ssh("ip -o -4 addr show; ip -o link show type wireguard")?;
    machine.sudo("systemctl restart systemd-networkd.service")?;
    machine.sudo("systemctl start network-online.target")?;
    let without_times = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("valid_lft").next().unwrap_or_default().to_owned()).collect()
    };
    let after = machine.ssh("ip -o -4 addr show; ip -o link show type wireguard")?;
    assert_eq!(without_times(&after), without_times(&before));
    assert!(machine.ssh("journalctl -u ferrite-networkd -o cat")?.contains("20-faulty.network:3: error"));
    machine.power_off()
}
