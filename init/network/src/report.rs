//! /run/ferrite/network: how each link is, one line a link, for the login banner, `wait-online` and people. Pure.
//!
//! `LINK STATE ADDRESS/PREFIX GATEWAY DNS[,DNS]`, fields separated by one blank, `-` where there is nothing.

use std::fmt;
use std::net::Ipv4Addr;

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The cable is out.
    NoCarrier,
    /// Waiting for a DHCP server.
    Configuring,
    /// It has an address.
    Configured,
    /// Not ours to configure.
    Unmanaged,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReport {
    /// The name of the link.
    pub link: String,
    /// How far it has come.
    pub state: LinkState,
    /// Address and length of the network.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The next hop of the default route.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
}

impl LinkReport {
    /// Whether the machine can reach other networks over this link.
    pub fn is_online(&self) -> bool {
        self.address.is_some() && self.gateway.is_some()
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoCarrier => "no-carrier",
            Self::Configuring => "configuring",
            Self::Configured => "configured",
            Self::Unmanaged => "unmanaged",
        })
    }
}

/// The text of the file.
pub fn render_report(links: &[LinkReport]) -> String {
    let mut text = String::new();
    for link in links {
        let address = link.address.map(|(address, prefix)| format!("{address}/{prefix}"));
        let gateway = link.gateway.map(|gateway| gateway.to_string());
        let dns: Vec<String> = link.dns.iter().map(ToString::to_string).collect();
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_string());
        let dns = if dns.is_empty() { None } else { Some(dns.join(",")) };
        text.push_str(&format!(
            "{} {} {} {} {}\n",
            link.link,
            link.state,
            or_dash(address),
            or_dash(gateway),
            or_dash(dns)
        ));
    }
    text
}

/// Reads the file back; lines that are not understood are left out.
pub fn parse_report(text: &str) -> Vec<LinkReport> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<LinkReport> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [link, state, address, gateway, dns] = fields.as_slice() else {
        return None;
    };
    let state = match *state {
        "no-carrier" => LinkState::NoCarrier,
        "configuring" => LinkState::Configuring,
        "configured" => LinkState::Configured,
        "unmanaged" => LinkState::Unmanaged,
        _ => return None,
    };
    let address = match *address {
        "-" => None,
        text => {
            let (address, prefix) = text.split_once('/')?;
            Some((address.parse().ok()?, prefix.parse().ok()?))
        }
    };
    let gateway = match *gateway {
        "-" => None,
        text => Some(text.parse().ok()?),
    };
    let dns = match *dns {
        "-" => Vec::new(),
        text => text.split(',').map(str::parse).collect::<Result<_, _>>().ok()?,
    };
    Some(LinkReport { link: (*link).to_string(), state, address, gateway, dns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let links = [
            LinkReport {
                link: "eth0".into(),
                state: LinkState::Configured,
                address: Some(([10, 0, 2, 15].into(), 24)),
                gateway: Some([10, 0, 2, 2].into()),
                dns: vec![[10, 0, 2, 3].into(), [8, 8, 8, 8].into()],
            },
            LinkReport { link: "eth1".into(), state: LinkState::NoCarrier, address: None, gateway: None, dns: vec![] },
        ];
        let text = render_report(&links);
        assert_eq!(text, "eth0 configured 10.0.2.15/24 10.0.2.2 10.0.2.3,8.8.8.8\neth1 no-carrier - - -\n");
        assert_eq!(parse_report(&text), links);
        assert_eq!(parse_report("garbage\n\neth0 up 1 2 3\n"), []);
    }
}
