//! Which packets the processes of a unit may send and get (`IPAddressAllow=`, `IPAddressDeny=`,
//! `RestrictNetworkInterfaces=`), how many there are (`IPAccounting=`), and which ports they may take (`SocketBind…=`):
//! as programs for the kernel. Pure.

use std::net::IpAddr;

use ferrite_sys::bpf::{Instruction, Place};
use ferrite_unit::resources::{Network, SocketBind};

use super::assembler::{
    ADD, ADD_TO_MEMORY, AND_32, CALL, EXIT, FROM_NETWORK, IF, IF_GREATER, IF_LESS, IF_NOT, IF_NOT_32, LOAD_MAP,
    LOAD_WORD, MOVE, MOVE_REGISTER, STORE_WORD, end, instruction, rule,
};

/// What is to be known of a unit and the slices above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Are packets counted?
    pub count: bool,
    /// Peers that are allowed, whatever comes after.
    pub allow: Vec<Network>,
    /// Peers that are not.
    pub deny: Vec<Network>,
    /// The numbers of interfaces, and whether they are those that are allowed.
    pub interfaces: Option<(bool, Vec<u32>)>,
    /// Ports that may be taken, whatever comes after.
    pub bind_allow: Vec<SocketBind>,
    /// Ports that may not.
    pub bind_deny: Vec<SocketBind>,
}

impl Rules {
    /// Do packets have to be looked at?
    pub fn concern_packets(&self) -> bool {
        self.count || !self.allow.is_empty() || !self.deny.is_empty() || self.interfaces.is_some()
    }

    /// Do ports?
    pub fn concern_ports(&self) -> bool {
        !self.bind_allow.is_empty() || !self.bind_deny.is_empty()
    }
}

/// The counters of a unit: bytes and packets that came, then those that went.
pub const COUNTERS: u32 = 4;

/// Offsets in what the kernel tells of a packet: `struct __sk_buff`.
const LENGTH: i16 = 0;
const PROTOCOL: i16 = 16;
const INTERFACE: i16 = 40;
/// The protocols of a packet, as they stand in it.
const IPV4: i32 = 0x0800_u16.to_be() as i32;
const IPV6: i32 = 0x86dd_u16.to_be() as i32;
/// Functions of the kernel.
const LOOK_UP: i32 = 1;
const LOAD_BYTES: i32 = 26;
/// Where the program keeps the address of the peer, below the end of its stack.
const PEER: i16 = -24;

/// The program for packets at [`Place::Ingress`] or [`Place::Egress`]: 1 lets them pass, 0 does not. `counters` is the
/// file of the counters.
pub fn packets(rules: &Rules, place: Place, counters: Option<i32>) -> Vec<Instruction> {
    let comes = place == Place::Ingress;
    // Register 6: the packet, 9: the version of its protocol.
    let mut code = vec![instruction(MOVE_REGISTER, 0x16, 0, 0)];
    if let Some(file) = counters {
        let first = if comes { 0 } else { 2 };
        count(&mut code, file, first, instruction(LOAD_WORD, 0x61, LENGTH, 0));
        count(&mut code, file, first + 1, instruction(MOVE, 0x01, 0, 1));
    }
    if rules.interfaces.as_ref().is_some_and(|(allow, numbers)| *allow && numbers.is_empty()) {
        // None of the interfaces is there. The kernel takes no program with instructions that are never reached.
        end(&mut code, 0);
        return code;
    }
    interfaces(&mut code, rules);
    if !rules.allow.is_empty() || !rules.deny.is_empty() {
        load_peer(&mut code, comes);
        for (networks, says) in [(&rules.allow, 1), (&rules.deny, 0)] {
            networks.iter().for_each(|network| rule(&mut code, tests_of(network), says));
        }
    }
    end(&mut code, 1);
    code
}

/// Adds what `amount` puts into register 1 to a counter.
fn count(code: &mut Vec<Instruction>, file: i32, key: i32, amount: Instruction) {
    const OF_FILE: u8 = 0x10;
    code.extend([
        instruction(STORE_WORD, 0x0a, -4, key),
        instruction(MOVE_REGISTER, 0xa2, 0, 0),
        instruction(ADD, 0x02, 0, -4),
        instruction(LOAD_MAP, OF_FILE | 1, 0, file),
        instruction(0, 0, 0, 0),
        instruction(CALL, 0, 0, LOOK_UP),
        instruction(IF, 0x00, 2, 0),
        amount,
        instruction(ADD_TO_MEMORY, 0x10, 0, 0),
    ]);
}

fn interfaces(code: &mut Vec<Instruction>, rules: &Rules) {
    let Some((allow, numbers)) = &rules.interfaces else { return };
    code.push(instruction(LOAD_WORD, 0x67, INTERFACE, 0));
    let number = |number: &u32| i32::try_from(*number).unwrap_or(-1);
    if !allow {
        numbers.iter().for_each(|one| rule(code, vec![instruction(IF_NOT, 0x07, 0, number(one))], 0));
        return;
    }
    // Over the tests that are left and the two instructions that end the program.
    for (at, one) in numbers.iter().enumerate() {
        let over = i16::try_from(numbers.len() - at + 1).unwrap_or(i16::MAX);
        code.push(instruction(IF, 0x07, over, number(one)));
    }
    end(code, 0);
}

/// Puts the address of the other side onto the stack; what is not IP passes.
fn load_peer(code: &mut Vec<Instruction>, comes: bool) {
    let (offset_4, offset_6) = if comes { (12, 8) } else { (16, 24) };
    code.push(instruction(LOAD_WORD, 0x67, PROTOCOL, 0));
    code.extend([
        instruction(IF, 0x07, 3, IPV4),
        instruction(IF, 0x07, 6, IPV6),
        instruction(MOVE, 0x00, 0, 1),
        instruction(EXIT, 0, 0, 0),
        instruction(MOVE, 0x09, 0, 4),
        instruction(MOVE, 0x02, 0, offset_4),
        instruction(MOVE, 0x04, 0, 4),
        instruction(IF, 0x09, 3, 4),
        instruction(MOVE, 0x09, 0, 6),
        instruction(MOVE, 0x02, 0, offset_6),
        instruction(MOVE, 0x04, 0, 16),
        instruction(MOVE_REGISTER, 0x61, 0, 0),
        instruction(MOVE_REGISTER, 0xa3, 0, 0),
        instruction(ADD, 0x03, 0, i32::from(PEER)),
        instruction(CALL, 0, 0, LOAD_BYTES),
        // A packet without the header that it claims to have does not pass.
        instruction(IF, 0x00, 2, 0),
    ]);
    end(code, 0);
}

/// Is the peer one of these?
fn tests_of(network: &Network) -> Vec<Instruction> {
    let (version, bytes): (i32, Vec<u8>) = match network.address {
        IpAddr::V4(address) => (4, address.octets().to_vec()),
        IpAddr::V6(address) => (6, address.octets().to_vec()),
    };
    let mut tests = vec![instruction(IF_NOT, 0x09, 0, version)];
    let mut left = u32::from(network.prefix);
    let mut place = PEER;
    for word in bytes.chunks_exact(4) {
        let bits = left.min(32);
        left -= bits;
        if bits == 0 {
            break;
        }
        let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0).to_be();
        let value = word.try_into().map_or(0, u32::from_ne_bytes) & mask;
        tests.push(instruction(LOAD_WORD, 0xa1, place, 0));
        if bits < 32 {
            tests.push(instruction(AND_32, 0x01, 0, mask.cast_signed()));
        }
        tests.push(instruction(IF_NOT_32, 0x01, 0, value.cast_signed()));
        place += 4;
    }
    tests
}

/// Offsets in what the kernel tells of a socket that is bound: `struct bpf_sock_addr`.
const PORT: i16 = 24;
const TRANSPORT: i16 = 36;

/// The program for sockets at [`Place::Bind4`] or [`Place::Bind6`]: 1 lets them have the port, 0 does not.
pub fn ports(rules: &Rules, place: Place) -> Vec<Instruction> {
    let family = if place == Place::Bind4 { "ipv4" } else { "ipv6" };
    // Register 4: the protocol above IP, 5: the port.
    let mut code = vec![
        instruction(LOAD_WORD, 0x14, TRANSPORT, 0),
        instruction(LOAD_WORD, 0x15, PORT, 0),
        instruction(FROM_NETWORK, 0x05, 0, 16),
    ];
    for (list, says) in [(&rules.bind_allow, 1), (&rules.bind_deny, 0)] {
        for bind in list.iter().filter(|bind| bind.family.is_none_or(|wanted| wanted == family)) {
            let mut tests = Vec::new();
            if let Some(protocol) = bind.protocol {
                tests.push(instruction(IF_NOT, 0x04, 0, if protocol == "tcp" { 6 } else { 17 }));
            }
            if let Some((first, last)) = bind.ports {
                tests.push(instruction(IF_LESS, 0x05, 0, i32::from(first)));
                tests.push(instruction(IF_GREATER, 0x05, 0, i32::from(last)));
            }
            if tests.is_empty() {
                // It speaks of all sockets: what comes after is never reached.
                end(&mut code, says);
                return code;
            }
            rule(&mut code, tests, says);
        }
    }
    end(&mut code, 1);
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str, prefix: u8) -> Network {
        Network { address: text.parse().unwrap(), prefix }
    }

    #[test]
    fn only_the_bits_of_the_prefix_are_compared() {
        let tests = |text, prefix| tests_of(&network(text, prefix)).len();
        assert_eq!((tests("0.0.0.0", 0), tests("10.0.0.0", 8), tests("10.1.2.3", 32)), (1, 4, 3));
        assert_eq!((tests("::", 0), tests("fe80::", 64), tests("fe80::1", 65), tests("::1", 128)), (1, 5, 8, 9));
        let last = *tests_of(&network("192.168.0.0", 16)).last().unwrap();
        assert_eq!(last.immediate, i32::from_ne_bytes([192, 168, 0, 0]));
    }

    #[test]
    fn rules_of_the_other_family_are_left_out() {
        let bind = |family| SocketBind { family, protocol: Some("tcp"), ports: Some((80, 90)) };
        let rules = Rules { bind_deny: vec![bind(Some("ipv4")), bind(None)], ..Rules::default() };
        assert_eq!((ports(&rules, Place::Bind4).len(), ports(&rules, Place::Bind6).len()), (15, 10));
        assert!(rules.concern_ports() && !rules.concern_packets());
    }
}
