//! The states of a DHCPv6 client (RFC 8415) and every transition between them. Pure.
//!
//! The first server that offers an address gets the request: waiting for a better one would cost a second of each boot.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::dhcp::machine::Moment;
use crate::dhcp6::message::{Lease6, Reply, Request};

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(120);
const SELECT_ATTEMPTS: u32 = 5;
/// Servers that refuse what they offered are left in peace for so long.
const REFUSAL_WAIT: Duration = Duration::from_secs(10);
const RENEWAL_WAIT: Duration = Duration::from_secs(10);

/// A lease and when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub lease: Lease6,
    pub since: Duration,
}

/// One exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub xid: u32,
    pub attempt: u32,
    pub began: Duration,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An address, and the rest.
    Address,
    /// Only the rest.
    Information,
}

/// Where the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing is asked; what is held is kept until it ends.
    Stopped { held: Option<Held> },
    /// Looking for servers.
    Soliciting { exchange: Exchange, hint: Option<Ipv6Addr> },
    /// Took an offer.
    Requesting { exchange: Exchange, offer: Lease6 },
    /// Asking for information.
    Informing { exchange: Exchange, held: Option<Held> },
    /// All is well.
    Bound { held: Held },
    /// Asking the server for more time.
    Renewing { exchange: Exchange, held: Held },
    /// Asking any server for more time.
    Rebinding { exchange: Exchange, held: Held },
}

/// What happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Begin, or go on after the cable was out.
    Start(Mode),
    /// The cable is out, or nobody wants it any more.
    Stop,
    /// A server spoke.
    Reply { xid: u32, reply: Reply },
    /// Somebody wants more time now.
    Renew,
    /// The armed timer ran out.
    TimedOut,
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Send this.
    Send { request: Request, exchange: Exchange },
    /// Wake us then (replaces an earlier timer).
    ArmTimer(Duration),
    /// No timer any more.
    DisarmTimer,
    /// The lease of `State::held` is new.
    Configure,
    /// There is no lease any more.
    Deconfigure,
}

type Step = Option<(State, Vec<Effect>)>;

impl State {
    /// The lease that is in force.
    pub(crate) fn held(&self) -> Option<&Held> {
        match self {
            Self::Stopped { held } | Self::Informing { held, .. } => held.as_ref(),
            Self::Bound { held } | Self::Renewing { held, .. } | Self::Rebinding { held, .. } => Some(held),
            Self::Soliciting { .. } | Self::Requesting { .. } => None,
        }
    }

    /// Its name, for the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "stopped",
            Self::Soliciting { .. } => "soliciting",
            Self::Requesting { .. } => "requesting",
            Self::Informing { .. } => "informing",
            Self::Bound { .. } => "bound",
            Self::Renewing { .. } => "renewing",
            Self::Rebinding { .. } => "rebinding",
        }
    }

    fn exchange(&self) -> Option<&Exchange> {
        match self {
            Self::Soliciting { exchange, .. }
            | Self::Requesting { exchange, .. }
            | Self::Informing { exchange, .. }
            | Self::Renewing { exchange, .. }
            | Self::Rebinding { exchange, .. } => Some(exchange),
            Self::Stopped { .. } | Self::Bound { .. } => None,
        }
    }
}

/// Takes one step. `None`: the event means nothing in this state.
pub(crate) fn step(state: &State, event: &Event, moment: Moment) -> Step {
    match event {
        Event::Start(mode) => start(state, *mode, moment),
        Event::Stop => match state {
            State::Stopped { .. } => None,
            _ => {
                let held = state.held().cloned();
                let timer = held.as_ref().map_or(Effect::DisarmTimer, |held| end_timer(held, moment.now));
                Some((State::Stopped { held }, vec![timer]))
            }
        },
        Event::Reply { xid, reply } if state.exchange().is_some_and(|exchange| exchange.xid & 0x00ff_ffff == *xid) => {
            replied(state, reply, moment)
        }
        Event::Reply { .. } => None,
        Event::Renew => match state {
            State::Bound { .. } => timed_out(state, moment),
            State::Soliciting { hint, .. } => Some(solicit(begin(moment), *hint, moment)),
            State::Stopped { .. }
            | State::Requesting { .. }
            | State::Informing { .. }
            | State::Renewing { .. }
            | State::Rebinding { .. } => None,
        },
        Event::TimedOut => timed_out(state, moment),
    }
}

fn start(state: &State, mode: Mode, moment: Moment) -> Step {
    match (state, mode) {
        (State::Stopped { held: Some(held) }, Mode::Address) if !held.lease.addresses.is_empty() => {
            Some(ask_again(held, begin(moment), Asked::Anyone, moment))
        }
        (State::Stopped { .. }, Mode::Address) => Some(solicit(begin(moment), None, moment)),
        (State::Stopped { held }, Mode::Information) => Some(inform(begin(moment), held.clone(), moment)),
        // A router began to speak of addresses.
        (State::Informing { .. }, Mode::Address) => Some(solicit(begin(moment), None, moment)),
        (State::Bound { held }, Mode::Address) if held.lease.addresses.is_empty() => {
            Some(solicit(begin(moment), None, moment))
        }
        _ => None,
    }
}

fn replied(state: &State, reply: &Reply, moment: Moment) -> Step {
    match (state, reply) {
        (State::Soliciting { .. }, Reply::Advertise(offer)) if !offer.addresses.is_empty() => {
            Some(request(begin(moment), offer.clone(), moment))
        }
        (State::Requesting { .. } | State::Renewing { .. } | State::Rebinding { .. }, Reply::Granted(lease))
            if !lease.addresses.is_empty() =>
        {
            let held = Held { lease: lease.clone(), since: moment.now };
            let timer = Effect::ArmTimer(lease.renew);
            Some((State::Bound { held }, vec![Effect::Configure, timer]))
        }
        (State::Informing { .. }, Reply::Granted(lease)) => {
            let held = Held { lease: lease.clone(), since: moment.now };
            let timer = Effect::ArmTimer(lease.renew);
            Some((State::Bound { held }, vec![Effect::Configure, timer]))
        }
        (State::Requesting { .. }, Reply::Refused | Reply::Granted(_)) => {
            let state = State::Soliciting { exchange: begin(moment), hint: None };
            Some((state, vec![Effect::ArmTimer(REFUSAL_WAIT)]))
        }
        (State::Renewing { .. } | State::Rebinding { .. }, Reply::Refused | Reply::Granted(_)) => Some(lose(moment)),
        _ => None,
    }
}

fn timed_out(state: &State, moment: Moment) -> Step {
    match state {
        State::Stopped { held: Some(_) } => {
            Some((State::Stopped { held: None }, vec![Effect::Deconfigure, Effect::DisarmTimer]))
        }
        State::Stopped { held: None } => None,
        State::Soliciting { exchange, hint } => Some(solicit(*exchange, *hint, moment)),
        State::Requesting { exchange, offer } if exchange.attempt < SELECT_ATTEMPTS => {
            Some(request(*exchange, offer.clone(), moment))
        }
        State::Requesting { .. } => Some(solicit(begin(moment), None, moment)),
        State::Informing { exchange, held } => Some(inform(*exchange, held.clone(), moment)),
        State::Bound { held } if held.lease.addresses.is_empty() => {
            Some(inform(begin(moment), Some(held.clone()), moment))
        }
        State::Bound { held } => Some(ask_again(held, begin(moment), Asked::Server, moment)),
        State::Renewing { exchange, held } => Some(ask_again(held, *exchange, Asked::Server, moment)),
        State::Rebinding { exchange, held } => Some(ask_again(held, *exchange, Asked::Anyone, moment)),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Server,
    Anyone,
}

/// Before T2 the server is asked, then anyone; at the end the addresses are gone.
fn ask_again(held: &Held, exchange: Exchange, asked: Asked, moment: Moment) -> (State, Vec<Effect>) {
    let lease = &held.lease;
    let age = moment.now.saturating_sub(held.since);
    if age >= lease.expire() {
        return lose(moment);
    }
    let addresses = lease.addresses.iter().map(|address| address.address).collect();
    let exchange = Exchange { attempt: exchange.attempt.saturating_add(1), ..exchange };
    let held = held.clone();
    if asked == Asked::Server && age < lease.rebind {
        let request = Request::Renew { server: lease.server.clone(), addresses };
        let wait = backoff(exchange.attempt, moment.random).max(RENEWAL_WAIT).min(lease.rebind.saturating_sub(age));
        return (State::Renewing { exchange, held }, vec![Effect::Send { request, exchange }, Effect::ArmTimer(wait)]);
    }
    let wait = backoff(exchange.attempt, moment.random).min(lease.expire().saturating_sub(age));
    let send = Effect::Send { request: Request::Rebind { addresses }, exchange };
    (State::Rebinding { exchange, held }, vec![send, Effect::ArmTimer(wait)])
}

fn lose(moment: Moment) -> (State, Vec<Effect>) {
    let (state, mut effects) = solicit(begin(moment), None, moment);
    effects.insert(0, Effect::Deconfigure);
    (state, effects)
}

fn begin(moment: Moment) -> Exchange {
    Exchange { xid: moment.random, attempt: 0, began: moment.now }
}

fn again(exchange: Exchange, request: Request, moment: Moment) -> (Exchange, Vec<Effect>) {
    let wait = backoff(exchange.attempt, moment.random);
    let exchange = Exchange { attempt: exchange.attempt.saturating_add(1), ..exchange };
    (exchange, vec![Effect::Send { request, exchange }, Effect::ArmTimer(wait)])
}

fn solicit(exchange: Exchange, hint: Option<Ipv6Addr>, moment: Moment) -> (State, Vec<Effect>) {
    let (exchange, effects) = again(exchange, Request::Solicit { hint }, moment);
    (State::Soliciting { exchange, hint }, effects)
}

fn request(exchange: Exchange, offer: Lease6, moment: Moment) -> (State, Vec<Effect>) {
    let addresses = offer.addresses.iter().map(|address| address.address).collect();
    let (exchange, effects) = again(exchange, Request::Select { server: offer.server.clone(), addresses }, moment);
    (State::Requesting { exchange, offer }, effects)
}

fn inform(exchange: Exchange, held: Option<Held>, moment: Moment) -> (State, Vec<Effect>) {
    let (exchange, effects) = again(exchange, Request::Inform, moment);
    (State::Informing { exchange, held }, effects)
}

/// 1, 2, 4 ... 120 seconds, a tenth more or less by chance.
fn backoff(attempt: u32, random: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << attempt.min(7)).min(LONGEST_WAIT);
    wait * 9 / 10 + wait * ((random >> 8) % 256) / 1280
}

fn end_timer(held: &Held, now: Duration) -> Effect {
    let end = held.since + held.lease.expire().max(held.lease.renew);
    Effect::ArmTimer(end.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp6::message::LeasedAddress;

    fn at(seconds: u64) -> Moment {
        Moment { now: Duration::from_secs(seconds), random: 7 }
    }

    fn lease() -> Lease6 {
        let address = LeasedAddress {
            address: "2001:db8::77".parse().unwrap(),
            preferred: Duration::from_secs(100),
            valid: Duration::from_secs(200),
        };
        Lease6 {
            server: vec![1],
            addresses: vec![address],
            renew: Duration::from_secs(50),
            rebind: Duration::from_secs(80),
            ..Lease6::default()
        }
    }

    fn go(state: &State, event: Event, moment: Moment) -> (State, Vec<Effect>) {
        step(state, &event, moment).unwrap_or_else(|| panic!("{event:?} means nothing in {}", state.name()))
    }

    #[test]
    fn an_address_is_found_kept_and_lost() {
        let stopped = State::Stopped { held: None };
        let (state, _) = go(&stopped, Event::Start(Mode::Address), at(0));
        assert_eq!(state.name(), "soliciting");
        let (state, _) = go(&state, Event::Reply { xid: 7, reply: Reply::Advertise(lease()) }, at(1));
        let (state, effects) = go(&state, Event::Reply { xid: 7, reply: Reply::Granted(lease()) }, at(2));
        assert_eq!(effects, [Effect::Configure, Effect::ArmTimer(Duration::from_secs(50))]);
        let (renewing, _) = go(&state, Event::TimedOut, at(52));
        assert_eq!(renewing.name(), "renewing");
        let (bound, _) = go(&renewing, Event::Reply { xid: 7, reply: Reply::Granted(lease()) }, at(60));
        assert_eq!(bound.held().unwrap().since, Duration::from_secs(60));
        let (rebinding, _) = go(&renewing, Event::TimedOut, at(83));
        assert_eq!(rebinding.name(), "rebinding");
        let (lost, effects) = go(&rebinding, Event::TimedOut, at(203));
        assert_eq!((lost.name(), &effects[0]), ("soliciting", &Effect::Deconfigure));
    }

    #[test]
    fn what_is_held_outlives_the_cable_and_is_confirmed() {
        let held = Held { lease: lease(), since: Duration::ZERO };
        let (stopped, _) = go(&State::Bound { held }, Event::Stop, at(10));
        assert!(stopped.held().is_some());
        let (state, effects) = go(&stopped, Event::Start(Mode::Address), at(20));
        assert_eq!(state.name(), "rebinding");
        assert!(matches!(&effects[0], Effect::Send { request: Request::Rebind { .. }, .. }));
        let (gone, effects) = go(&stopped, Event::TimedOut, at(200));
        assert_eq!((gone.held(), &effects[0]), (None, &Effect::Deconfigure));
    }

    #[test]
    fn information_needs_no_address() {
        let (state, _) = go(&State::Stopped { held: None }, Event::Start(Mode::Information), at(0));
        let told = Lease6 { server: vec![1], renew: Duration::from_secs(600), ..Lease6::default() };
        let (bound, effects) = go(&state, Event::Reply { xid: 7, reply: Reply::Granted(told) }, at(1));
        assert_eq!((bound.name(), &effects[0]), ("bound", &Effect::Configure));
        let (asking, _) = go(&bound, Event::TimedOut, at(601));
        assert_eq!((asking.name(), asking.held().is_some()), ("informing", true));
        assert_eq!(go(&asking, Event::Start(Mode::Address), at(602)).0.name(), "soliciting");
    }

    #[test]
    fn replies_to_others_and_strange_ones_mean_nothing() {
        let (state, _) = go(&State::Stopped { held: None }, Event::Start(Mode::Address), at(0));
        assert_eq!(step(&state, &Event::Reply { xid: 8, reply: Reply::Advertise(lease()) }, at(1)), None);
        assert_eq!(step(&state, &Event::Reply { xid: 7, reply: Reply::Granted(lease()) }, at(1)), None);
        assert_eq!(step(&state, &Event::Start(Mode::Information), at(1)), None);
    }
}
