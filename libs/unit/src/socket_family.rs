//! Families of sockets by name. Pure.

/// Names without `AF_` by number, from 1.
const NAMES: [&str; 45] = [
    "UNIX",
    "INET",
    "AX25",
    "IPX",
    "APPLETALK",
    "NETROM",
    "BRIDGE",
    "ATMPVC",
    "X25",
    "INET6",
    "ROSE",
    "DECnet",
    "NETBEUI",
    "SECURITY",
    "KEY",
    "NETLINK",
    "PACKET",
    "ASH",
    "ECONET",
    "ATMSVC",
    "RDS",
    "SNA",
    "IRDA",
    "PPPOX",
    "WANPIPE",
    "LLC",
    "IB",
    "MPLS",
    "CAN",
    "TIPC",
    "BLUETOOTH",
    "IUCV",
    "RXRPC",
    "ISDN",
    "PHONET",
    "IEEE802154",
    "CAIF",
    "ALG",
    "NFC",
    "VSOCK",
    "KCM",
    "QIPCRTR",
    "SMC",
    "XDP",
    "MCTP",
];

/// Other names.
const OTHERS: [(&str, i32); 3] = [("LOCAL", 1), ("FILE", 1), ("ROUTE", 16)];

/// The number of a family such as `AF_INET`.
pub fn number(name: &str) -> Option<i32> {
    let (_, short) = name.split_at_checked(3).filter(|(prefix, _)| prefix.eq_ignore_ascii_case("AF_"))?;
    let position =
        NAMES.iter().position(|have| have.eq_ignore_ascii_case(short)).and_then(|at| i32::try_from(at + 1).ok());
    position.or_else(|| OTHERS.iter().find(|(have, _)| have.eq_ignore_ascii_case(short)).map(|(_, number)| *number))
}

/// The name of a family with its prefix.
pub fn name(number: i32) -> Option<String> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    NAMES.get(place).map(|name| format!("AF_{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_the_numbers_of_the_kernel() {
        let numbers = [("AF_UNIX", 1), ("AF_INET6", 10), ("AF_NETLINK", 16), ("AF_ROUTE", 16), ("af_mctp", 45)];
        assert!(numbers.iter().all(|(name, want)| number(name) == Some(*want)));
        assert!(number("UNIX").is_none() && number("AF_NOPE").is_none());
    }
}
