//! DHCPv6 messages: ours written, the server's read. Pure.

use std::net::Ipv6Addr;
use std::time::Duration;

use dhcproto::v6::{DhcpOption, DhcpOptions, IAAddr, IANA, Message, MessageType, ORO, OptionCode, Status};
use dhcproto::{Decodable, Decoder, Encodable};

use crate::lease::is_domain_name;

/// Kind and number of a message.
const HEAD_BYTES: usize = 4;
const MAX_ADDRESSES: usize = 4;
const MAX_SERVERS: usize = 8;
const MAX_DOMAINS: usize = 16;
/// A shorter life would only make noise.
const MIN_VALID: Duration = Duration::from_secs(10);
/// Our one association of addresses.
const ASSOCIATION: u32 = 1;
/// A server's name is at most this long (RFC 8415).
const MAX_SERVER_ID: usize = 130;

/// An address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeasedAddress {
    pub address: Ipv6Addr,
    pub preferred: Duration,
    pub valid: Duration,
}

/// What a server granted or told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lease6 {
    /// The server's identifier.
    pub server: Vec<u8>,
    /// Addresses; none from a server that only tells things.
    pub addresses: Vec<LeasedAddress>,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// Time servers, addresses and names.
    pub ntp: Vec<String>,
    /// Search domains.
    pub search: Vec<String>,
    /// T1: ask the same server again.
    pub renew: Duration,
    /// T2: ask any server.
    pub rebind: Duration,
}

impl Lease6 {
    /// The longest life of its addresses.
    pub(crate) fn expire(&self) -> Duration {
        self.addresses.iter().map(|address| address.valid).max().unwrap_or_default()
    }
}

/// A message to servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Who is there? With the address that we had.
    Solicit { hint: Option<Ipv6Addr> },
    /// What this server offered, please.
    Select { server: Vec<u8>, addresses: Vec<Ipv6Addr> },
    /// More time, from the server that granted it.
    Renew { server: Vec<u8>, addresses: Vec<Ipv6Addr> },
    /// More time, from anyone.
    Rebind { addresses: Vec<Ipv6Addr> },
    /// Only what else there is to know.
    Inform,
}

/// A message from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// You could have this.
    Advertise(Lease6),
    /// You have this, or this is what I know.
    Granted(Lease6),
    /// No.
    Refused,
}

/// The bytes of a request.
pub(crate) fn write(
    request: &Request,
    mac: [u8; 6],
    hostname: Option<&str>,
    xid: u32,
    elapsed: u16,
) -> Option<Vec<u8>> {
    let (kind, server, addresses): (_, Option<&Vec<u8>>, Option<Vec<Ipv6Addr>>) = match request {
        Request::Solicit { hint } => (MessageType::Solicit, None, Some(hint.iter().copied().collect())),
        Request::Select { server, addresses } => (MessageType::Request, Some(server), Some(addresses.clone())),
        Request::Renew { server, addresses } => (MessageType::Renew, Some(server), Some(addresses.clone())),
        Request::Rebind { addresses } => (MessageType::Rebind, None, Some(addresses.clone())),
        Request::Inform => (MessageType::InformationRequest, None, None),
    };
    let mut message = Message::new(kind);
    message.set_xid_num(xid & 0x00ff_ffff);
    let options = message.opts_mut();
    options.insert(DhcpOption::ClientId(client_id(mac)));
    if let Some(server) = server {
        options.insert(DhcpOption::ServerId(server.clone()));
    }
    options.insert(DhcpOption::ElapsedTime(elapsed));
    if let Some(addresses) = addresses {
        let mut inner = DhcpOptions::new();
        for address in addresses {
            let opts = DhcpOptions::new();
            inner.insert(DhcpOption::IAAddr(IAAddr { addr: address, preferred_life: 0, valid_life: 0, opts }));
        }
        options.insert(DhcpOption::IANA(IANA { id: ASSOCIATION, t1: 0, t2: 0, opts: inner }));
    }
    // The whole name, unqualified: the server may update its zone (RFC 4704).
    if let Some(label) = hostname.map(|name| name.split('.').next().unwrap_or(name)).filter(|label| label.len() < 64) {
        let mut data = vec![0, u8::try_from(label.len()).ok()?];
        data.extend_from_slice(label.as_bytes());
        options.insert(DhcpOption::Unknown(dhcproto::v6::UnknownOption::new(OptionCode::ClientFqdn, data)));
    }
    let wanted = vec![
        OptionCode::DomainNameServers,
        OptionCode::DomainSearchList,
        OptionCode::SntpServers,
        OptionCode::InformationRefreshTime,
        OptionCode::NtpServer,
    ];
    options.insert(DhcpOption::ORO(ORO { opts: wanted }));
    // Our own message always encodes; a failure would be a fault of the library and the request is then not sent.
    message.to_vec().ok()
}

/// Who we are: DUID-LL of the link.
pub(crate) fn client_id(mac: [u8; 6]) -> Vec<u8> {
    let mut id = vec![0, 3, 0, 1];
    id.extend_from_slice(&mac);
    id
}

/// A message with nothing in it but the options that are looked at, each long enough: the library does sums with the
/// lengths of some others before it checks them, so what nobody needs does not reach it.
fn well_formed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, options) = bytes.split_at_checked(HEAD_BYTES)?;
    let mut message = head.to_vec();
    keep(options, &mut message, |code, data| match OptionCode::from(code) {
        OptionCode::ClientId | OptionCode::ServerId | OptionCode::DomainSearchList => Some(data.to_vec()),
        OptionCode::StatusCode => (data.len() >= 2).then(|| data.to_vec()),
        OptionCode::DomainNameServers => data.len().is_multiple_of(16).then(|| data.to_vec()),
        OptionCode::InformationRefreshTime => (data.len() == 4).then(|| data.to_vec()),
        OptionCode::IANA => {
            let (numbers, inner) = data.split_at_checked(12)?;
            let mut association = numbers.to_vec();
            keep(inner, &mut association, |code, data| match OptionCode::from(code) {
                OptionCode::IAAddr => data.get(..24).map(<[u8]>::to_vec),
                OptionCode::StatusCode => (data.len() >= 2).then(|| data.to_vec()),
                _ => None,
            });
            Some(association)
        }
        _ => None,
    });
    Some(message)
}

/// Copies the options that are chosen.
fn keep(bytes: &[u8], out: &mut Vec<u8>, choose: impl Fn(u16, &[u8]) -> Option<Vec<u8>>) {
    each(bytes, |code, data| {
        let Some(chosen) = choose(code, data) else { return };
        out.extend_from_slice(&code.to_be_bytes());
        // It is no longer than what it was made of.
        out.extend_from_slice(&u16::try_from(chosen.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&chosen);
    });
}

/// Goes over options; what is cut off at the end is none.
fn each(mut bytes: &[u8], mut take: impl FnMut(u16, &[u8])) {
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let [code, length] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_be_bytes);
        let Some((data, others)) = rest.split_at_checked(usize::from(length)) else { return };
        take(code, data);
        bytes = others;
    }
}

/// Reads a message to us; `None` for everything else that may arrive at the port.
pub(crate) fn read(bytes: &[u8], mac: [u8; 6]) -> Option<(u32, Reply)> {
    let message = Message::decode(&mut Decoder::new(&well_formed(bytes)?)).ok()?;
    let options = message.opts();
    match options.get(OptionCode::ClientId) {
        Some(DhcpOption::ClientId(id)) if *id == client_id(mac) => {}
        _ => return None,
    }
    let server = match options.get(OptionCode::ServerId) {
        Some(DhcpOption::ServerId(server)) if (1..=MAX_SERVER_ID).contains(&server.len()) => server.clone(),
        _ => return None,
    };
    let lease = |options: &DhcpOptions, server| Lease6 {
        ntp: time_servers(bytes.get(HEAD_BYTES..).unwrap_or_default()),
        ..lease(options, server)
    };
    let xid = message.xid_num();
    let is_refused = refuses(options);
    let reply = match message.msg_type() {
        MessageType::Advertise if is_refused => return None,
        MessageType::Reply if is_refused => Reply::Refused,
        MessageType::Advertise => Reply::Advertise(lease(options, server)),
        MessageType::Reply => Reply::Granted(lease(options, server)),
        _ => return None,
    };
    Some((xid, reply))
}

/// Time servers of option 56 (RFC 5908), or of the older 31 (RFC 4075) where there are none.
fn time_servers(options: &[u8]) -> Vec<String> {
    let (mut servers, mut older) = (Vec::new(), Vec::new());
    each(options, |code, data| match OptionCode::from(code) {
        OptionCode::NtpServer => each(data, |kind, data| {
            servers.extend(match kind {
                1 => time_address(data),
                3 => crate::router::names(data).into_iter().next(),
                // Nobody listens to a group.
                _ => None,
            });
        }),
        OptionCode::SntpServers => older.extend(data.chunks_exact(16).filter_map(time_address)),
        _ => {}
    });
    let mut servers = if servers.is_empty() { older } else { servers };
    servers.truncate(MAX_SERVERS);
    servers
}

fn time_address(data: &[u8]) -> Option<String> {
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?);
    (!address.is_unspecified() && !address.is_multicast()).then(|| address.to_string())
}

fn refuses(options: &DhcpOptions) -> bool {
    let is_bad = |options: &DhcpOptions| match options.get(OptionCode::StatusCode) {
        Some(DhcpOption::StatusCode(code)) => code.status != Status::Success,
        _ => false,
    };
    let inner = match options.get(OptionCode::IANA) {
        Some(DhcpOption::IANA(association)) => is_bad(&association.opts),
        _ => false,
    };
    inner || is_bad(options)
}

fn lease(options: &DhcpOptions, server: Vec<u8>) -> Lease6 {
    let mut lease = Lease6 { server, ..Lease6::default() };
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let (mut t1, mut t2) = (Duration::ZERO, Duration::ZERO);
    if let Some(DhcpOption::IANA(association)) = options.get(OptionCode::IANA)
        && association.id == ASSOCIATION
    {
        (t1, t2) = (seconds(association.t1), seconds(association.t2));
        for option in association.opts.iter() {
            let DhcpOption::IAAddr(address) = option else { continue };
            let usable = !address.addr.is_unspecified() && !address.addr.is_multicast() && !address.addr.is_loopback();
            if usable && address.valid_life > 0 && lease.addresses.len() < MAX_ADDRESSES {
                let valid = seconds(address.valid_life).max(MIN_VALID);
                let preferred = seconds(address.preferred_life).min(valid);
                lease.addresses.push(LeasedAddress { address: address.addr, preferred, valid });
            }
        }
    }
    if let Some(DhcpOption::DomainNameServers(servers)) = options.get(OptionCode::DomainNameServers) {
        lease.dns = servers.iter().copied().filter(|server| !server.is_unspecified()).take(MAX_SERVERS).collect();
    }
    if let Some(DhcpOption::DomainSearchList(names)) = options.get(OptionCode::DomainSearchList) {
        let text = |name: &dhcproto::Name| name.to_string().trim_end_matches('.').to_ascii_lowercase();
        lease.search = names.iter().map(text).filter(|name| is_domain_name(name)).take(MAX_DOMAINS).collect();
    }
    let preferred = lease.addresses.iter().map(|address| address.preferred).min().unwrap_or_default();
    let base = if preferred.is_zero() { lease.expire() } else { preferred };
    let sane = !t1.is_zero() && t1 <= t2 && t2 < lease.expire();
    (lease.renew, lease.rebind) = if sane { (t1, t2) } else { (base / 2, base * 4 / 5) };
    if lease.addresses.is_empty() {
        let refresh = match options.get(OptionCode::InformationRefreshTime) {
            Some(DhcpOption::InformationRefreshTime(time)) => seconds((*time).max(600)),
            // A day, when the server does not say.
            _ => seconds(86_400),
        };
        (lease.renew, lease.rebind) = (refresh, refresh);
    }
    lease
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    pub(crate) fn reply(kind: MessageType, xid: u32, options: &[DhcpOption]) -> Vec<u8> {
        let mut message = Message::new(kind);
        message.set_xid_num(xid);
        message.opts_mut().insert(DhcpOption::ClientId(client_id(MAC)));
        message.opts_mut().insert(DhcpOption::ServerId(vec![0, 1, 9]));
        for option in options {
            message.opts_mut().insert(option.clone());
        }
        message.to_vec().unwrap()
    }

    pub(crate) fn association(preferred: u32, valid: u32) -> DhcpOption {
        let mut opts = DhcpOptions::new();
        let addr = "2001:db8::77".parse().unwrap();
        opts.insert(DhcpOption::IAAddr(IAAddr {
            addr,
            preferred_life: preferred,
            valid_life: valid,
            opts: DhcpOptions::new(),
        }));
        DhcpOption::IANA(IANA { id: ASSOCIATION, t1: 0, t2: 0, opts })
    }

    #[test]
    fn a_reply_becomes_a_lease_with_times() {
        let dns = DhcpOption::DomainNameServers(vec!["2001:db8::53".parse().unwrap()]);
        let bytes = reply(MessageType::Reply, 7, &[association(100, 200), dns]);
        let Some((7, Reply::Granted(lease))) = read(&bytes, MAC) else { panic!("no reply") };
        assert_eq!((lease.addresses.len(), lease.dns.len()), (1, 1));
        assert_eq!((lease.renew.as_secs(), lease.rebind.as_secs(), lease.expire().as_secs()), (50, 80, 200));
        assert!(read(&bytes, [9; 6]).is_none(), "not ours");
    }

    #[test]
    fn time_servers_are_addresses_and_names_and_the_newer_option_counts() {
        let address: Ipv6Addr = "2001:db8::123".parse().unwrap();
        let option = |code: u16, data: &[u8]| {
            let mut bytes = code.to_be_bytes().to_vec();
            bytes.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(data);
            bytes
        };
        let old = option(31, &address.octets());
        assert_eq!(time_servers(&old), ["2001:db8::123"]);
        let group: Ipv6Addr = "ff05::101".parse().unwrap();
        let inner = [option(1, &address.octets()), option(2, &group.octets()), option(3, b"\x04time\x07example\x00")];
        let both = [old, option(56, &inner.concat()), vec![0, 56, 9]].concat();
        assert_eq!(time_servers(&both), ["2001:db8::123", "time.example"]);
        let mut bytes = reply(MessageType::Reply, 7, &[association(100, 200)]);
        bytes.extend_from_slice(&both);
        let Some((7, Reply::Granted(lease))) = read(&bytes, MAC) else { panic!("no reply") };
        assert_eq!((lease.ntp.len(), lease.addresses.len()), (2, 1));
    }

    #[test]
    fn a_server_without_addresses_says_no() {
        let mut opts = DhcpOptions::new();
        let status = dhcproto::v6::StatusCode { status: Status::NoAddrsAvail, msg: String::new() };
        opts.insert(DhcpOption::StatusCode(status));
        let none = DhcpOption::IANA(IANA { id: ASSOCIATION, t1: 0, t2: 0, opts });
        assert_eq!(read(&reply(MessageType::Reply, 7, std::slice::from_ref(&none)), MAC), Some((7, Reply::Refused)));
        assert_eq!(read(&reply(MessageType::Advertise, 7, &[none]), MAC), None);
    }

    #[test]
    fn our_messages_hold_what_a_server_needs() {
        let request = Request::Select { server: vec![1, 2], addresses: vec!["2001:db8::77".parse().unwrap()] };
        let bytes = write(&request, MAC, Some("web1.example.org"), 0x0101_0203, 9).unwrap();
        let message = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        assert_eq!((message.msg_type(), message.xid_num()), (MessageType::Request, 0x01_0203));
        for code in [OptionCode::ClientId, OptionCode::ServerId, OptionCode::IANA, OptionCode::ORO] {
            assert!(message.opts().get(code).is_some(), "{code:?}");
        }
        let inform = write(&Request::Inform, MAC, None, 1, 0).unwrap();
        assert!(Message::decode(&mut Decoder::new(&inform)).unwrap().opts().get(OptionCode::IANA).is_none());
    }

    #[test]
    fn options_that_are_too_short_end_nothing() {
        for code in 0..150_u16 {
            for length in 0..5 {
                let mut bytes = reply(MessageType::Reply, 7, &[association(100, 200)]);
                bytes.extend(code.to_be_bytes());
                bytes.extend([0, length]);
                bytes.extend(vec![0; usize::from(length)]);
                // Inside an association, too.
                let mut inner = vec![0; 12];
                inner.extend(code.to_be_bytes());
                inner.extend([0, length]);
                inner.extend(vec![0; usize::from(length)]);
                bytes.extend([0, 3, 0, inner.len() as u8]);
                bytes.extend(inner);
                let _ignored = read(&bytes, MAC);
            }
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ignored = read(&bytes, MAC);
        }

        #[test]
        fn damaged_replies_never_panic(changes in proptest::collection::vec((0usize..120, any::<u8>()), 1..6)) {
            let mut bytes = reply(MessageType::Reply, 7, &[association(100, 200)]);
            for (position, value) in changes {
                if let Some(byte) = bytes.get_mut(position) {
                    *byte = value;
                }
            }
            let _ignored = read(&bytes, MAC);
        }
    }
}
