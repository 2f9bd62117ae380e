//! DHCP messages: ours written, the server's read. Pure.
//!
//! Reading trusts nothing: a field that makes no sense is left out, a reply without a usable address is no reply.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};

use crate::lease::{Lease, Route, Times, is_domain_name, is_host_address};

const MAX_ROUTES: usize = 64;
const MAX_SERVERS: usize = 8;
const MAX_DOMAINS: usize = 16;
/// What every link must carry (RFC 791 asks for 576 at the receiver; below it DHCP itself breaks).
const MIN_MTU: u16 = 576;
/// A shorter lease would only make noise.
const MIN_LEASE: Duration = Duration::from_secs(10);
const FOR_EVER: u32 = u32::MAX;
/// The fixed fields and the cookie before the options.
const HEAD_BYTES: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const NAME_FIELD: std::ops::Range<usize> = 44..108;
const FILE_FIELD: std::ops::Range<usize> = 108..236;
const OVERLOAD: u8 = 52;
const END: u8 = 255;
/// The options that a server is asked for.
const ASKED: [OptionCode; 11] = [
    OptionCode::SubnetMask,
    OptionCode::ClasslessStaticRoute,
    OptionCode::Router,
    OptionCode::DomainNameServer,
    OptionCode::NtpServers,
    OptionCode::Hostname,
    OptionCode::DomainName,
    OptionCode::InterfaceMtu,
    OptionCode::DomainSearch,
    OptionCode::Renewal,
    OptionCode::Rebinding,
];
/// What is looked at besides.
const UNASKED: [OptionCode; 3] = [OptionCode::MessageType, OptionCode::ServerIdentifier, OptionCode::AddressLeaseTime];

/// Who we are in every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The hardware address, also our client identifier.
    pub mac: [u8; 6],
    /// The host name we tell the server, when one is set.
    pub hostname: Option<String>,
    /// The client identifier is a DUID of the link (RFC 4361), not the hardware address.
    pub by_duid: bool,
}

impl Identity {
    fn client(&self) -> Vec<u8> {
        let mut client = vec![1];
        if self.by_duid {
            // The number of the association, then DUID-LL.
            let [.., a, b, c, d] = self.mac;
            client = vec![255, a, b, c, d, 0, 3, 0, 1];
        }
        client.extend_from_slice(&self.mac);
        client
    }
}

/// A message to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Who is there?
    Discover,
    /// The address of an offer, please.
    Select { address: Ipv4Addr, server: Ipv4Addr },
    /// The address we had before, please.
    Reboot { address: Ipv4Addr },
    /// More time, from the server that granted the lease (unicast).
    Renew { address: Ipv4Addr, server: Ipv4Addr },
    /// More time, from anyone.
    Rebind { address: Ipv4Addr },
}

impl Request {
    /// From where to where the packet goes: an address we hold is used, a renewal is unicast.
    pub(crate) fn endpoints(&self) -> (Ipv4Addr, Ipv4Addr) {
        match self {
            Self::Discover | Self::Select { .. } | Self::Reboot { .. } => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
            Self::Renew { address, server } => (*address, *server),
            Self::Rebind { address } => (*address, Ipv4Addr::BROADCAST),
        }
    }
}

/// A message from a server, for our transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// You could have this.
    Offer { address: Ipv4Addr, server: Ipv4Addr },
    /// You have this.
    Ack(Box<Lease>),
    /// No.
    Nak,
}

/// The bytes of a request.
pub(crate) fn write(request: &Request, identity: &Identity, xid: u32, seconds: u16) -> Option<Vec<u8>> {
    let none = Ipv4Addr::UNSPECIFIED;
    let ciaddr = match request {
        Request::Renew { address, .. } | Request::Rebind { address } => *address,
        Request::Discover | Request::Select { .. } | Request::Reboot { .. } => none,
    };
    let mut message = Message::new_with_id(xid, ciaddr, none, none, none, &identity.mac);
    message.set_secs(seconds).set_flags(Flags::default());
    let options = message.opts_mut();
    let kind = if *request == Request::Discover { MessageType::Discover } else { MessageType::Request };
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ClientIdentifier(identity.client()));
    match request {
        Request::Select { address, server } => {
            options.insert(DhcpOption::RequestedIpAddress(*address));
            options.insert(DhcpOption::ServerIdentifier(*server));
        }
        Request::Reboot { address } => {
            options.insert(DhcpOption::RequestedIpAddress(*address));
        }
        Request::Discover | Request::Renew { .. } | Request::Rebind { .. } => {}
    }
    if let Some(name) = &identity.hostname {
        options.insert(DhcpOption::Hostname(name.clone()));
    }
    options.insert(DhcpOption::MaxMessageSize(1472));
    options.insert(DhcpOption::ParameterRequestList(ASKED.to_vec()));
    // Our own message always encodes; a failure would be a fault of the library and the request is then not sent.
    message.to_vec().ok()
}

/// A message with the options in it that are looked at, each one that the library can read: an option that it cannot
/// costs itself only. Options in the fields for names (option 52) stand with the others.
fn readable(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, area) = bytes.split_at_checked(HEAD_BYTES)?;
    if !head.ends_with(&COOKIE) {
        return None;
    }
    let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    collect(area, &mut options);
    let overload = options.get(&OVERLOAD).and_then(|data| data.first()).copied().unwrap_or(0);
    for (bit, field) in [(1, FILE_FIELD), (2, NAME_FIELD)] {
        if overload & bit != 0 {
            collect(head.get(field).unwrap_or_default(), &mut options);
        }
    }
    let mut message = head.to_vec();
    for (code, data) in options {
        let option = OptionCode::from(code);
        if !UNASKED.contains(&option) && !ASKED.contains(&option) {
            continue;
        }
        let mut option = Vec::new();
        for part in data.chunks(usize::from(u8::MAX)) {
            option.extend_from_slice(&[code, u8::try_from(part.len()).unwrap_or(u8::MAX)]);
            option.extend_from_slice(part);
        }
        if is_readable(head, &option, code) {
            message.extend_from_slice(&option);
        }
    }
    message.push(END);
    Some(message)
}

/// Whether the library reads an option, and no more than the option: what stands behind it is still there.
fn is_readable(head: &[u8], option: &[u8], code: u8) -> bool {
    const BEHIND: u32 = 0x0102_0304;
    let is_renewal = OptionCode::from(code) == OptionCode::Renewal;
    let behind = if is_renewal { OptionCode::Rebinding } else { OptionCode::Renewal };
    let alone = [head, option, &[u8::from(behind), 4, 1, 2, 3, 4, END]].concat();
    let Ok(message) = Message::decode(&mut Decoder::new(&alone)) else { return false };
    let is_there = match message.opts().get(behind) {
        Some(DhcpOption::Renewal(seconds) | DhcpOption::Rebinding(seconds)) => *seconds == BEHIND,
        _ => false,
    };
    is_there && message.opts().contains(OptionCode::from(code))
}

/// Parts of one option are one (RFC 3396); what is cut off at the end is none.
fn collect(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) {
    while let Some((code, rest)) = bytes.split_first() {
        match *code {
            END => return,
            0 => bytes = rest,
            code => {
                let Some((length, rest)) = rest.split_first() else { return };
                let Some((data, others)) = rest.split_at_checked(usize::from(*length)) else { return };
                options.entry(code).or_default().extend_from_slice(data);
                bytes = others;
            }
        }
    }
}

/// Reads a reply to us; `None` for everything else that may arrive at the port.
pub(crate) fn read(bytes: &[u8], mac: [u8; 6]) -> Option<(u32, Reply)> {
    let message = Message::decode(&mut Decoder::new(&readable(bytes)?)).ok()?;
    // The library panics in `chaddr` when the length a server claims is beyond the field.
    let is_ethernet = usize::from(message.hlen()) == mac.len();
    if message.opcode() != Opcode::BootReply || !is_ethernet || message.chaddr() != mac {
        return None;
    }
    let options = message.opts();
    let server = match options.get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(server)) if is_host_address(*server) => *server,
        _ => return None,
    };
    let address = message.yiaddr();
    let reply = match options.msg_type()? {
        MessageType::Offer if is_host_address(address) => Reply::Offer { address, server },
        MessageType::Ack if is_host_address(address) => Reply::Ack(Box::new(lease(&message, address, server)?)),
        MessageType::Nak => Reply::Nak,
        _ => return None,
    };
    Some((message.xid(), reply))
}

fn lease(message: &Message, address: Ipv4Addr, server: Ipv4Addr) -> Option<Lease> {
    let options = message.opts();
    let prefix = match options.get(OptionCode::SubnetMask) {
        Some(DhcpOption::SubnetMask(mask)) => prefix_of(*mask)?,
        _ => prefix_by_class(address),
    };
    let dns = match options.get(OptionCode::DomainNameServer) {
        Some(DhcpOption::DomainNameServer(servers)) => {
            servers.iter().copied().filter(|server| !server.is_unspecified()).take(MAX_SERVERS).collect()
        }
        _ => Vec::new(),
    };
    let ntp = match options.get(OptionCode::NtpServers) {
        Some(DhcpOption::NtpServers(servers)) => {
            servers.iter().copied().filter(|server| is_host_address(*server)).take(MAX_SERVERS).collect()
        }
        _ => Vec::new(),
    };
    let mtu = match options.get(OptionCode::InterfaceMtu) {
        Some(DhcpOption::InterfaceMtu(mtu)) if *mtu >= MIN_MTU => Some(*mtu),
        _ => None,
    };
    let hostname = match options.get(OptionCode::Hostname) {
        Some(DhcpOption::Hostname(name)) => Some(trimmed(name)).filter(|name| is_domain_name(name)),
        _ => None,
    };
    let times = times(message)?;
    Some(Lease {
        address,
        prefix,
        server,
        // A way over ourselves is none.
        routes: routes(message).into_iter().filter(|route| route.gateway != address).collect(),
        dns,
        ntp,
        search: search(message),
        hostname,
        mtu,
        times: times.0,
    })
}

/// Classless routes win; with them the router option must be ignored (RFC 3442).
fn routes(message: &Message) -> Vec<Route> {
    let options = message.opts();
    if let Some(DhcpOption::ClasslessStaticRoute(classless)) = options.get(OptionCode::ClasslessStaticRoute) {
        let mut routes: Vec<Route> = Vec::new();
        for (net, gateway) in classless.iter().take(MAX_ROUTES) {
            let route = Route { destination: net.network(), prefix: net.prefix_len(), gateway: *gateway };
            let gateway_is_fine = gateway.is_unspecified() || is_host_address(*gateway);
            if gateway_is_fine && !routes.iter().any(|known| same_destination(known, &route)) {
                routes.push(route);
            }
        }
        // One that holds nothing that can be read says nothing.
        if !routes.is_empty() {
            return routes;
        }
    }
    match options.get(OptionCode::Router) {
        Some(DhcpOption::Router(routers)) => routers
            .iter()
            .find(|router| is_host_address(**router))
            .map(|router| Route::default_by(*router))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

fn same_destination(one: &Route, other: &Route) -> bool {
    (one.destination, one.prefix) == (other.destination, other.prefix)
}

fn search(message: &Message) -> Vec<String> {
    let options = message.opts();
    let mut domains: Vec<String> = Vec::new();
    if let Some(DhcpOption::DomainSearch(names)) = options.get(OptionCode::DomainSearch) {
        domains.extend(names.iter().take(MAX_DOMAINS).map(|name| trimmed(&name.to_string())));
    } else if let Some(DhcpOption::DomainName(name)) = options.get(OptionCode::DomainName) {
        // Some servers put a list with blanks into the one name.
        domains.extend(name.split_ascii_whitespace().take(MAX_DOMAINS).map(trimmed));
    }
    domains.retain(|domain| is_domain_name(domain));
    domains
}

/// Servers end names with a dot or, against the standard, with NUL.
fn trimmed(name: &str) -> String {
    name.trim_end_matches('\0').trim_end_matches('.').to_ascii_lowercase()
}

/// The times of the lease inside `Some`; `None` when the server forgot the length, which is not a lease.
struct LeaseTimes(Option<Times>);

fn times(message: &Message) -> Option<LeaseTimes> {
    let options = message.opts();
    let Some(DhcpOption::AddressLeaseTime(seconds)) = options.get(OptionCode::AddressLeaseTime) else {
        return None;
    };
    if *seconds == FOR_EVER {
        return Some(LeaseTimes(None));
    }
    let expire = Duration::from_secs(u64::from(*seconds)).max(MIN_LEASE);
    let rebind = match options.get(OptionCode::Rebinding) {
        Some(DhcpOption::Rebinding(seconds)) => Duration::from_secs(u64::from(*seconds)),
        _ => Duration::ZERO,
    };
    let renew = match options.get(OptionCode::Renewal) {
        Some(DhcpOption::Renewal(seconds)) => Duration::from_secs(u64::from(*seconds)),
        _ => Duration::ZERO,
    };
    let sane = renew >= Duration::from_secs(1) && renew < rebind && rebind < expire;
    let (renew, rebind) = if sane { (renew, rebind) } else { (expire / 2, expire * 7 / 8) };
    Some(LeaseTimes(Some(Times { renew, rebind, expire })))
}

/// The length of a mask; `None` when its ones are not all in front.
fn prefix_of(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (bits.count_ones() == ones && ones > 0).then_some(u8::try_from(ones).ok()?)
}

/// What RFC 2132 wants when no mask was sent.
fn prefix_by_class(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        192..=255 => 24,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    fn reply(kind: MessageType, options: &[DhcpOption]) -> Vec<u8> {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(7, none, Ipv4Addr::new(10, 0, 2, 15), none, none, &MAC);
        message.set_opcode(Opcode::BootReply);
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        message.opts_mut().insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 2, 2)));
        for option in options {
            message.opts_mut().insert(option.clone());
        }
        message.to_vec().unwrap()
    }

    fn ack(options: &[DhcpOption]) -> Lease {
        let mut all = vec![DhcpOption::AddressLeaseTime(3600)];
        all.extend_from_slice(options);
        match read(&reply(MessageType::Ack, &all), MAC) {
            Some((7, Reply::Ack(lease))) => *lease,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_acknowledgement_becomes_a_lease() {
        let lease = ack(&[
            DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)),
            DhcpOption::Router(vec![Ipv4Addr::new(10, 0, 2, 2)]),
            DhcpOption::DomainNameServer(vec![Ipv4Addr::new(10, 0, 2, 3)]),
            DhcpOption::NtpServers(vec![Ipv4Addr::new(10, 0, 2, 4), Ipv4Addr::BROADCAST]),
            DhcpOption::DomainName("Example.org.".into()),
            DhcpOption::Hostname("web1\0".into()),
            DhcpOption::InterfaceMtu(1400),
        ]);
        assert_eq!((lease.prefix, lease.gateway()), (24, Some(Ipv4Addr::new(10, 0, 2, 2))));
        assert_eq!((lease.search, lease.hostname), (vec!["example.org".to_string()], Some("web1".to_string())));
        assert_eq!((lease.mtu, lease.ntp), (Some(1400), vec![Ipv4Addr::new(10, 0, 2, 4)]));
        let seconds = Duration::from_secs;
        assert_eq!(lease.times, Some(Times { renew: seconds(1800), rebind: seconds(3150), expire: seconds(3600) }));
    }

    #[test]
    fn values_that_make_no_sense_are_left_out() {
        let lease = ack(&[
            DhcpOption::InterfaceMtu(68),
            DhcpOption::Hostname("two words".into()),
            DhcpOption::DomainName("a\nnameserver 6.6.6.6".into()),
            DhcpOption::Router(vec![Ipv4Addr::BROADCAST]),
            DhcpOption::Renewal(9000),
            DhcpOption::Rebinding(1),
        ]);
        assert_eq!((lease.mtu, lease.gateway(), lease.hostname), (None, None, None));
        assert_eq!(lease.search, ["a", "nameserver", "6.6.6.6"]);
        assert_eq!(lease.times.unwrap().renew, Duration::from_secs(1800));
        assert_eq!(lease.prefix, 8);
    }

    #[test]
    fn an_option_that_cannot_be_read_costs_itself_only() {
        let mut bytes = reply(MessageType::Ack, &[DhcpOption::AddressLeaseTime(60)]);
        bytes.pop();
        // A domain that points to itself, a route of 33 bits, half an address, a mask of three bytes, one cut off.
        for broken in [
            &[119, 2, 0xc0, 0][..],
            &[121, 9, 33, 10, 0, 0, 0, 0, 10, 0, 0][..],
            &[6, 3, 10, 0, 2][..],
            &[12, 2, 0xff, 0xfe][..],
            &[3, 4, 10, 0, 2, 2][..],
            &[15, 200, b'x'][..],
        ] {
            bytes.extend_from_slice(broken);
        }
        let Some((7, Reply::Ack(lease))) = read(&bytes, MAC) else { panic!("no lease") };
        assert_eq!(lease.gateway(), Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!((lease.search, lease.dns, lease.hostname), (vec![], vec![], None));
    }

    #[test]
    fn options_in_the_fields_for_names_and_in_parts_are_read() {
        let mut bytes = reply(MessageType::Ack, &[DhcpOption::AddressLeaseTime(60)]);
        bytes.pop();
        bytes.extend_from_slice(&[52, 1, 3, 15, 4, b'e', b'x', b'a', b'm', 15, 3, b'p', b'l', b'e', 255]);
        bytes[108..115].copy_from_slice(&[3, 4, 10, 0, 2, 2, 255]);
        bytes[44..51].copy_from_slice(&[6, 4, 10, 0, 2, 3, 255]);
        let Some((7, Reply::Ack(lease))) = read(&bytes, MAC) else { panic!("no lease") };
        assert_eq!(lease.gateway(), Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!((lease.dns, lease.search), (vec![Ipv4Addr::new(10, 0, 2, 3)], vec!["example".to_string()]));
    }

    #[test]
    fn a_lease_of_no_time_is_short_and_one_without_an_end_has_none() {
        assert_eq!(ack(&[DhcpOption::AddressLeaseTime(0)]).times.unwrap().expire, MIN_LEASE);
        assert_eq!(ack(&[DhcpOption::AddressLeaseTime(u32::MAX)]).times, None);
        assert_eq!(ack(&[DhcpOption::Router(vec![Ipv4Addr::new(10, 0, 2, 15)])]).routes, [], "over ourselves");
    }

    #[test]
    fn classless_routes_replace_the_router() {
        let via = Ipv4Addr::new(10, 0, 2, 9);
        let net = |text: &str| text.parse().unwrap();
        let lease = ack(&[
            DhcpOption::Router(vec![Ipv4Addr::new(10, 0, 2, 2)]),
            DhcpOption::ClasslessStaticRoute(vec![
                (net("0.0.0.0/0"), via),
                (net("172.16.0.0/12"), via),
                (net("0.0.0.0/0"), via),
            ]),
        ]);
        let text: Vec<String> = lease.routes.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["0.0.0.0/0 via 10.0.2.9", "172.16.0.0/12 via 10.0.2.9"]);
    }

    #[test]
    fn replies_that_are_not_ours_or_not_usable_are_ignored() {
        let lease_time = [DhcpOption::AddressLeaseTime(60)];
        assert!(read(&reply(MessageType::Ack, &lease_time), [9; 6]).is_none());
        assert!(read(&reply(MessageType::Ack, &[]), MAC).is_none());
        let holes = DhcpOption::SubnetMask(Ipv4Addr::new(255, 0, 255, 0));
        assert!(read(&reply(MessageType::Ack, &[lease_time[0].clone(), holes]), MAC).is_none());
        assert!(read(&reply(MessageType::Discover, &lease_time), MAC).is_none());
        assert!(read(b"", MAC).is_none());
    }

    #[test]
    fn a_request_carries_address_server_and_client_identifier() {
        let identity = Identity { mac: MAC, hostname: Some("web1".into()), by_duid: false };
        let request = Request::Select { address: Ipv4Addr::new(10, 0, 2, 15), server: Ipv4Addr::new(10, 0, 2, 2) };
        let bytes = write(&request, &identity, 42, 3).unwrap();
        let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!((message.xid(), message.secs(), message.chaddr()), (42, 3, &MAC[..]));
        let options = message.opts();
        assert_eq!(options.msg_type(), Some(MessageType::Request));
        assert!(options.contains(OptionCode::RequestedIpAddress) && options.contains(OptionCode::ServerIdentifier));
        assert_eq!(
            options.get(OptionCode::ClientIdentifier),
            Some(&DhcpOption::ClientIdentifier(vec![1, 0x52, 0x54, 0, 1, 2, 3]))
        );
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let _ignored = read(&bytes, MAC);
        }

        #[test]
        fn hostile_options_never_panic(options in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut bytes = reply(MessageType::Ack, &[DhcpOption::AddressLeaseTime(60)]);
            bytes.pop();
            bytes.extend_from_slice(&options);
            let _ignored = read(&bytes, MAC);
        }

        #[test]
        fn damaged_replies_never_panic(changes in proptest::collection::vec((0usize..320, any::<u8>()), 1..6)) {
            let mut bytes = reply(MessageType::Ack, &[
                DhcpOption::AddressLeaseTime(60),
                DhcpOption::DomainName("example.org".into()),
                DhcpOption::ClasslessStaticRoute(vec![("10.0.0.0/8".parse().unwrap(), Ipv4Addr::new(10, 0, 2, 2))]),
            ]);
            for (position, value) in changes {
                if let Some(byte) = bytes.get_mut(position) {
                    *byte = value;
                }
            }
            let _ignored = read(&bytes, MAC);
        }
    }

    #[test]
    fn a_hardware_address_longer_than_its_field_is_no_panic() {
        let mut bytes = reply(MessageType::Ack, &[DhcpOption::AddressLeaseTime(60)]);
        bytes[2] = 146;
        assert!(read(&bytes, MAC).is_none());
    }
}
