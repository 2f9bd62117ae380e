//! The daemon among liars and accidents: servers and routers that send nonsense, addresses that others have, settings
//! that nobody may write, kills at any time.
//!
//! Needs root, `ip`, `dnsmasq` and `busybox`. `FERRITE_LONG=1` kills two hundred times.

#[path = "support/lab.rs"]
mod lab;

use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::path::Path;
use std::time::Duration;

use lab::{Lab, interface};

const RANGE: &str = "--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,2m";
const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;

/// A reply to a request, with these options behind the usual ones.
fn reply(request: &[u8], kind: u8, address: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut bytes = request[..240].to_vec();
    bytes[0] = 2;
    bytes[16..20].copy_from_slice(&address);
    bytes.extend_from_slice(&[53, 1, kind, 54, 4, 10, 77, 0, 1, 1, 4, 255, 255, 255, 0]);
    bytes.extend_from_slice(options);
    bytes.push(255);
    bytes
}

/// The kind of a request: its first option.
fn kind(request: &[u8]) -> u8 {
    let options = &request[240..];
    let at = options.windows(2).position(|pair| pair == [53, 1]).expect("every message has a kind");
    options[at + 2]
}

/// What the liar says to the number-th request for its offer.
fn lie(request: &[u8], number: usize) -> Vec<Vec<u8>> {
    let mut stranger = reply(request, OFFER, [10, 66, 66, 66], &[51, 4, 0, 0, 0, 60]);
    stranger[4] ^= 0xff;
    if kind(request) == 1 {
        return vec![stranger, reply(request, OFFER, [10, 77, 0, 50], &[51, 4, 0, 0, 0, 0])];
    }
    if number == 0 {
        return vec![reply(request, NAK, [0; 4], &[]); 20];
    }
    // For ever; an MTU of 68, a domain that points to itself, a route of 33 bits, an option that is cut off, and the
    // router, which is outside the network, in the field for the file's name.
    let options = [
        &[51, 4, 255, 255, 255, 255, 26, 2, 0, 68, 119, 2, 0xc0, 0, 52, 1][..],
        &[121, 9, 33, 10, 0, 0, 0, 0, 10, 0, 0],
    ];
    let mut told = reply(request, ACK, [10, 77, 0, 50], &options.concat());
    told[108..115].copy_from_slice(&[3, 4, 10, 99, 0, 1, 255]);
    let end = told.len() - 1;
    told[end] = 15;
    told.push(200);
    vec![reply(request, ACK, [0, 0, 0, 0], &[51, 4, 0, 0, 0, 60]), told]
}

#[test]
fn a_server_that_lies_is_believed_no_more_than_it_must_be() {
    let mut lab = Lab::new("ha");
    lab.file("99-default.network", "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n");
    let namespace = std::fs::File::open(Path::new("/run/netns").join(lab.far())).unwrap();
    let server = std::thread::spawn(move || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::BindToDevice, &"srv0".into()).unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
        let (mut asked, mut buffer) = (0, vec![0; 2000]);
        while asked < 2 {
            let length = match socket.recv(&mut buffer) {
                // The machine was halted for a moment.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                length => length.expect("the client asks"),
            };
            let request = &buffer[..length];
            for told in lie(request, asked) {
                socket.send_to(&told, "255.255.255.255:68").unwrap();
            }
            asked += usize::from(kind(request) == 3);
        }
    });
    lab.daemon();
    lab.must_be_online();
    server.join().unwrap();
    let addresses = lab.shown(&["-4", "addr", "show", "dev", "eth0"]);
    assert!(addresses.contains("mtu 1500") && addresses.contains("inet 10.77.0.50/24"), "{addresses}");
    let routes = lab.shown(&["route"]);
    assert!(routes.contains("10.99.0.1 dev eth0") && routes.contains("default via 10.99.0.1"), "{routes}");
    // Twenty refusals at once were one, and it was not asked again at once.
    assert_eq!(lab.log().matches("requesting -> selecting").count(), 1, "{}", lab.log());
    assert!(!lab.log().contains("10.66.66.66"), "{}", lab.log());
}

#[test]
fn a_daemon_that_is_killed_at_any_time_loses_no_lease() {
    let kills = if std::env::var_os("FERRITE_LONG").is_some() { 200 } else { 8 };
    let mut lab = Lab::new("hb");
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.daemon();
    lab.must_be_online();
    let before = lab.text("report");
    let lease = lab.path("leases").join(format!("{}.lease", lab.mac("eth0")));
    let watch = lab.watch();
    for number in 0..kills {
        let mut daemon = lab.children.pop().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let text = std::fs::read_to_string(&lease).unwrap();
        assert!(text.starts_with("address=10.77.0.") && text.contains("\ntimes="), "kill {number}: {text}");
        lab.daemon();
        let mut chance = [0; 1];
        rustix::rand::getrandom(&mut chance, rustix::rand::GetRandomFlags::empty()).unwrap();
        // Not to wait for something: the next kill comes by chance.
        std::thread::sleep(Duration::from_millis(u64::from(chance[0])));
    }
    lab.restart_after_kill();
    lab.must_be_online();
    assert_eq!(lab.text("report"), before);
    let seen = watch.end();
    assert!(!seen.contains("Deleted"), "{seen}");
}

#[test]
fn an_address_that_another_machine_has_is_shown() {
    let mut lab = Lab::new("hc");
    lab.ip(&["-n", &lab.far(), "addr", "add", "fd77::5/64", "dev", "srv0", "nodad"]);
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=10.77.0.5/24\nAddress=fd77::5/64\n");
    lab.daemon();
    lab.wait_for_setup("eth0", "failed");
    let status = lab.networkctl(&["status", "eth0"]).unwrap();
    assert!(status.contains("fd77::5 is another machine's, too") && status.contains("(duplicate)"), "{status}");
    let error = String::from_utf8(lab.wait_online(0).stderr).unwrap();
    assert!(error.contains("another machine's"), "{error}");
}

#[test]
fn a_link_local_address_of_ipv4_is_one_that_nobody_has() {
    let mut lab = Lab::new("hd");
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nLinkLocalAddressing=ipv4\n");
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    let own = |lab: &Lab| {
        let shown = lab.shown(&["-4", "addr", "show", "dev", "eth0"]);
        shown.split("inet ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned()
    };
    let first = own(&lab);
    assert!(first.starts_with("169.254.") && first.ends_with("/16"), "{first}");
    assert!(lab.shown(&["route"]).contains("metric 2048"), "{}", lab.shown(&["route"]));
    let state: serde_json::Value = serde_json::from_str(&lab.text("report.json")).unwrap();
    assert_eq!(interface(&state, "eth0").unwrap()["Addresses"][0]["ConfigSource"], "IPv4LL");
    let watch = lab.watch();
    lab.restart();
    lab.wait_for_setup("eth0", "configured");
    assert_eq!(watch.end(), "", "the address stays over a restart");
    // The other end takes the address for itself, and then insists on it.
    lab.ip(&["-n", &lab.far(), "addr", "add", &first, "dev", "srv0"]);
    lab.announce("srv0", first.trim_end_matches("/16"));
    lab.announce("srv0", first.trim_end_matches("/16"));
    lab.wait_for_log("another machine has 169.254.");
    lab.wait_for_state("another address", |state| {
        let link = interface(state, "eth0");
        let addresses = link.and_then(|link| link["Addresses"].as_array());
        addresses.is_some_and(|all| {
            all.iter()
                .any(|one| one["ConfigSource"] == "IPv4LL" && !first.starts_with(one["Address"].as_str().unwrap()))
        })
    });
    assert_ne!(own(&lab), first);
}

#[test]
fn a_link_local_address_serves_until_a_server_answers() {
    let mut lab = Lab::new("he");
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=ipv4\n");
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    assert!(lab.text("report").starts_with("eth0 configured - "), "{}", lab.text("report"));
    assert!(lab.shown(&["-4", "addr", "show", "dev", "eth0"]).contains("inet 169.254."));
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.networkctl(&["renew", "eth0"]).unwrap();
    lab.wait_for_state("a lease", |state| {
        let link = interface(state, "eth0");
        let sources = link.and_then(|link| link["Addresses"].as_array());
        sources.is_some_and(|all| {
            all.iter().any(|one| one["ConfigSource"] == "DHCPv4")
                && all.iter().all(|one| one["ConfigSource"] != "IPv4LL")
        })
    });
}

#[test]
fn settings_that_nobody_may_write_stop_nothing() {
    let mut lab = Lab::new("hf");
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=10.77.0.5/24\nIPv4Forwarding=yes\n");
    lab.daemon_after("mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys");
    lab.wait_for_setup("eth0", "configured");
    let log = lab.log();
    assert!(log.contains("warning: ipv4/conf/eth0/forwarding = 1: Read-only file system"), "{log}");
    assert_eq!(log.matches("conf/eth0/forwarding").count(), 1, "{log}");
}

#[test]
fn ipv6_that_was_switched_off_stays_off() {
    let mut lab = Lab::new("hh");
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=10.77.0.5/24\n");
    let off = "for which in all default; do echo 1 > /proc/sys/net/ipv6/conf/$which/disable_ipv6; done";
    lab.daemon_after(off);
    lab.wait_for_setup("eth0", "configured");
    assert!(!lab.shown(&["addr", "show", "dev", "eth0"]).contains("inet6"), "{}", lab.log());
}

#[test]
fn a_flood_of_advertisements_leaves_the_daemon_answering() {
    const MESSAGES: u16 = 400;
    let mut lab = Lab::new("hg");
    // The router speaks from an address that it may use at once.
    lab.ip(&["-n", &lab.far(), "addr", "add", "fe80::77/64", "dev", "srv0", "nodad"]);
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=10.77.0.5/24\n");
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    lab.wait_for_link_local("eth0");
    let namespace = std::fs::File::open(Path::new("/run/netns").join(lab.far())).unwrap();
    let sender = std::thread::spawn(move || {
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let (family, raw) = (rustix::net::AddressFamily::INET6, rustix::net::SocketType::RAW);
        let socket = rustix::net::socket(family, raw, Some(rustix::net::ipproto::ICMPV6)).unwrap();
        rustix::net::sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
        let scope = nix::net::if_::if_nametoindex("srv0").unwrap();
        let all = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, scope);
        for number in 0..MESSAGES {
            let [high, low] = number.to_be_bytes();
            let mut packet = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
            // A network of its own, and a name server.
            packet.extend_from_slice(&[
                3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0xfd, 0x88, 0, 0, 0, 0, high, low,
            ]);
            packet.extend_from_slice(&[0; 8]);
            packet.extend_from_slice(&[
                25, 3, 0, 0, 0, 0, 1, 0, 0xfd, 0x88, 0, 0, 0, 0, high, low, 0, 0, 0, 0, 0, 0, 0, 1,
            ]);
            rustix::net::sendto(&socket, &packet, rustix::net::SendFlags::empty(), &all).unwrap();
        }
    });
    sender.join().unwrap();
    lab.wait_for_state("name servers, not all of them", |state| {
        interface(state, "eth0").is_some_and(|link| link["DNS"].as_array().is_some_and(|all| all.len() == 8))
    });
    lab.networkctl(&["reload"]).unwrap();
    lab.wait_for_setup("eth0", "configured");
}
