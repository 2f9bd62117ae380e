//! Link-local addresses of IPv4 (RFC 3927): which address is tried, probed, announced, defended and given up. Pure.
//!
//! A machine tries the same address after each boot, made from its hardware address.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::machine::Moment;

const PROBES: u32 = 3;
const ANNOUNCEMENTS: u32 = 2;
/// Before the first probe this much at most, by chance.
const PROBE_WAIT: Duration = Duration::from_secs(1);
const PROBE_MIN: Duration = Duration::from_secs(1);
const ANNOUNCE_WAIT: Duration = Duration::from_secs(2);
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// After so many conflicts addresses are tried slowly.
const MAX_CONFLICTS: u32 = 10;
const RATE_LIMIT: Duration = Duration::from_secs(60);
/// An address that is attacked twice within this time is given up.
const DEFENCE: Duration = Duration::from_secs(10);
const ARP_BYTES: usize = 28;
const REQUEST: u8 = 1;

/// Where the claim to an address stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// No carrier, or nobody wants one; the last address is tried again.
    Stopped { address: Ipv4Addr },
    /// Waiting, then asking whether anybody has it.
    Probing { address: Ipv4Addr, sent: u32, conflicts: u32 },
    /// It is ours; others are told so.
    Announcing { address: Ipv4Addr, sent: u32, defended: Option<Duration> },
    /// It is ours.
    Held { address: Ipv4Addr, defended: Option<Duration> },
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The cable is in, and an address is wanted.
    Start,
    /// The cable is out, or none is wanted.
    Stop,
    /// Another machine uses the address, or probes for it.
    Heard(Arp),
    /// The armed timer ran out.
    TimedOut,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Listen to what is said about this address.
    Listen(Ipv4Addr),
    /// Ask whether anybody has it.
    Probe(Ipv4Addr),
    /// Say that it is ours.
    Announce(Ipv4Addr),
    /// Wake us then (replaces an earlier timer).
    ArmTimer(Duration),
    /// No timer any more.
    DisarmTimer,
    /// The address of `State::held` is new, or there is none any more.
    Configure,
}

/// One message of ARP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arp {
    /// Who speaks.
    pub mac: [u8; 6],
    /// The address that the speaker has; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// The address that is asked about.
    pub target: Ipv4Addr,
}

type Step = Option<(State, Vec<Effect>)>;

impl State {
    /// The address in force.
    pub(crate) fn held(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Announcing { address, .. } | Self::Held { address, .. } => Some(*address),
            Self::Stopped { .. } | Self::Probing { .. } => None,
        }
    }

    /// The address that is tried or held.
    pub(crate) fn address(&self) -> Ipv4Addr {
        match self {
            Self::Stopped { address }
            | Self::Probing { address, .. }
            | Self::Announcing { address, .. }
            | Self::Held { address, .. } => *address,
        }
    }
}

/// The number-th address that a link tries, from 169.254.1.0 to 169.254.254.255.
pub(crate) fn candidate(mac: [u8; 6], number: u32) -> Ipv4Addr {
    use std::hash::Hasher;
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(0x6970_7634_6c6c, number.into());
    hasher.write(&mac);
    let [low, high, ..] = hasher.finish().to_le_bytes();
    Ipv4Addr::new(169, 254, high % 254 + 1, low)
}

/// Takes one step. `None`: the event means nothing in this state.
pub(crate) fn step(state: &State, event: &Event, mac: [u8; 6], moment: Moment) -> Step {
    match (event, state) {
        (Event::Start, State::Stopped { address }) => Some(probe(*address, 0, moment)),
        (Event::Start, State::Probing { .. } | State::Announcing { .. } | State::Held { .. }) => None,
        (Event::Stop, State::Stopped { .. }) => None,
        (Event::Stop, State::Probing { address, .. }) => {
            Some((State::Stopped { address: *address }, vec![Effect::DisarmTimer]))
        }
        (Event::Stop, State::Announcing { address, .. } | State::Held { address, .. }) => {
            Some((State::Stopped { address: *address }, vec![Effect::DisarmTimer, Effect::Configure]))
        }
        (Event::Heard(arp), _) if arp.mac == mac => None,
        (Event::Heard(arp), State::Probing { address, conflicts, .. }) => {
            let is_taken = arp.sender == *address || (arp.sender.is_unspecified() && arp.target == *address);
            is_taken.then(|| probe(next(*address, mac, moment), conflicts.saturating_add(1), moment))
        }
        (Event::Heard(arp), State::Announcing { address, defended, .. } | State::Held { address, defended })
            if arp.sender == *address =>
        {
            Some(attacked(*address, *defended, mac, moment))
        }
        (Event::Heard(_), _) => None,
        (Event::TimedOut, state) => timed_out(state, moment),
    }
}

fn timed_out(state: &State, moment: Moment) -> Step {
    match state {
        State::Probing { address, sent, conflicts } if *sent < PROBES => {
            let sent = sent + 1;
            let wait = if sent < PROBES { PROBE_MIN + chance(PROBE_WAIT, moment) } else { ANNOUNCE_WAIT };
            let state = State::Probing { address: *address, sent, conflicts: *conflicts };
            Some((state, vec![Effect::Probe(*address), Effect::ArmTimer(wait)]))
        }
        State::Probing { address, .. } => {
            let state = State::Announcing { address: *address, sent: 1, defended: None };
            let effects = vec![Effect::Configure, Effect::Announce(*address), Effect::ArmTimer(ANNOUNCE_INTERVAL)];
            Some((state, effects))
        }
        State::Announcing { address, sent, defended } if *sent < ANNOUNCEMENTS => {
            let state = State::Announcing { address: *address, sent: sent + 1, defended: *defended };
            Some((state, vec![Effect::Announce(*address), Effect::ArmTimer(ANNOUNCE_INTERVAL)]))
        }
        State::Announcing { address, defended, .. } => {
            Some((State::Held { address: *address, defended: *defended }, vec![Effect::DisarmTimer]))
        }
        State::Stopped { .. } | State::Held { .. } => None,
    }
}

fn probe(address: Ipv4Addr, conflicts: u32, moment: Moment) -> (State, Vec<Effect>) {
    let wait = if conflicts >= MAX_CONFLICTS { RATE_LIMIT } else { chance(PROBE_WAIT, moment) };
    (State::Probing { address, sent: 0, conflicts }, vec![Effect::Listen(address), Effect::ArmTimer(wait)])
}

/// It is defended once; whoever insists gets it.
fn attacked(address: Ipv4Addr, defended: Option<Duration>, mac: [u8; 6], moment: Moment) -> (State, Vec<Effect>) {
    let is_recent = defended.is_some_and(|then| moment.now.saturating_sub(then) < DEFENCE);
    if is_recent {
        let (state, mut effects) = probe(next(address, mac, moment), 1, moment);
        effects.insert(0, Effect::Configure);
        return (state, effects);
    }
    (State::Held { address, defended: Some(moment.now) }, vec![Effect::Announce(address), Effect::DisarmTimer])
}

/// Another address, by chance: the same one again would only meet the same machine.
fn next(address: Ipv4Addr, mac: [u8; 6], moment: Moment) -> Ipv4Addr {
    let other = candidate(mac, moment.random);
    if other == address { candidate(mac, moment.random.wrapping_add(1)) } else { other }
}

fn chance(most: Duration, moment: Moment) -> Duration {
    most * ((moment.random >> 8) % 256) / 256
}

/// Reads a message of ARP for Ethernet and IPv4.
pub(crate) fn read(packet: &[u8]) -> Option<Arp> {
    let [0, 1, 8, 0, 6, 4, 0, _, rest @ ..] = packet.get(..ARP_BYTES)? else { return None };
    let four = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(rest.get(at..at + 4)?).ok()?));
    Some(Arp { mac: rest.get(..6)?.try_into().ok()?, sender: four(6)?, target: four(16)? })
}

/// A request for an address; from nobody it is a probe, from the same address an announcement.
pub(crate) fn write(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, REQUEST];
    packet.extend_from_slice(&mac);
    packet.extend_from_slice(&sender.octets());
    packet.extend_from_slice(&[0; 6]);
    packet.extend_from_slice(&target.octets());
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 10];

    fn at(now: u64) -> Moment {
        Moment { now: Duration::from_secs(now), random: 0x8000 }
    }

    fn go(state: &State, event: &Event, now: u64) -> (State, Vec<Effect>) {
        step(state, event, MAC, at(now)).expect("this event means something")
    }

    fn first() -> Ipv4Addr {
        candidate(MAC, 0)
    }

    fn probing() -> State {
        go(&State::Stopped { address: first() }, &Event::Start, 0).0
    }

    fn held() -> State {
        let mut state = probing();
        while !matches!(state, State::Held { .. }) {
            state = go(&state, &Event::TimedOut, 1).0;
        }
        state
    }

    #[test]
    fn three_probes_and_two_announcements_make_an_address() {
        let (mut state, mut told) = (probing(), Vec::new());
        assert_eq!(state.held(), None);
        while !matches!(state, State::Held { .. }) {
            let (after, effects) = go(&state, &Event::TimedOut, 1);
            told.extend(effects.into_iter().filter(|effect| !matches!(effect, Effect::ArmTimer(_))));
            state = after;
        }
        let (probe, announce) = (Effect::Probe(first()), Effect::Announce(first()));
        let wanted =
            [probe.clone(), probe.clone(), probe, Effect::Configure, announce.clone(), announce, Effect::DisarmTimer];
        assert_eq!(told, wanted);
        assert_eq!(state.held(), Some(first()));
        assert_eq!(step(&state, &Event::TimedOut, MAC, at(9)), None);
    }

    #[test]
    fn an_address_that_another_has_or_tries_is_not_taken() {
        for (sender, target) in [(first(), Ipv4Addr::BROADCAST), (Ipv4Addr::UNSPECIFIED, first())] {
            let (state, effects) = go(&probing(), &Event::Heard(Arp { mac: OTHER, sender, target }), 1);
            assert_ne!(state.address(), first());
            assert_eq!(effects[0], Effect::Listen(state.address()));
            let own = Event::Heard(Arp { mac: MAC, sender, target });
            assert_eq!(step(&probing(), &own, MAC, at(1)), None, "our own voice");
        }
        let many = State::Probing { address: first(), sent: 1, conflicts: MAX_CONFLICTS };
        let taken = Event::Heard(Arp { mac: OTHER, sender: first(), target: first() });
        assert_eq!(go(&many, &taken, 1).1[1], Effect::ArmTimer(RATE_LIMIT));
    }

    #[test]
    fn an_address_is_defended_once_and_given_to_whoever_insists() {
        let attack = Event::Heard(Arp { mac: OTHER, sender: first(), target: first() });
        let (defended, effects) = go(&held(), &attack, 100);
        assert_eq!((defended.held(), &effects[0]), (Some(first()), &Effect::Announce(first())));
        assert_eq!(go(&defended, &attack, 111).0.held(), Some(first()), "long ago");
        let (lost, effects) = go(&defended, &attack, 105);
        assert_eq!((lost.held(), &effects[0]), (None, &Effect::Configure));
        let question = Event::Heard(Arp { mac: OTHER, sender: Ipv4Addr::UNSPECIFIED, target: first() });
        assert_eq!(step(&held(), &question, MAC, at(100)), None, "the kernel answers a probe");
    }

    #[test]
    fn a_pulled_cable_takes_the_address_and_the_next_one_tries_it_again() {
        let (stopped, effects) = go(&held(), &Event::Stop, 5);
        assert_eq!(effects, [Effect::DisarmTimer, Effect::Configure]);
        assert_eq!(go(&stopped, &Event::Start, 6).0.address(), first());
    }

    #[test]
    fn messages_are_read_as_they_are_written_and_others_are_none() {
        let packet = write(MAC, Ipv4Addr::UNSPECIFIED, first());
        assert_eq!(read(&packet), Some(Arp { mac: MAC, sender: Ipv4Addr::UNSPECIFIED, target: first() }));
        assert_eq!(read(&packet[..27]), None);
        assert_eq!(read(&[&[0, 6], &packet[2..]].concat()), None);
        for number in 0..1000 {
            let [169, 254, third, _] = candidate(MAC, number).octets() else { panic!("of the block") };
            assert!((1..=254).contains(&third));
        }
    }
}
