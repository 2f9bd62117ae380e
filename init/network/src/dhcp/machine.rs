//! The states of a DHCPv4 client (RFC 2131 figure 5) and every transition between them. Pure.
//!
//! An address outlives a pulled cable: it is kept until its lease ends, and confirmed when the carrier returns.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::dhcp::message::{Reply, Request};
use crate::lease::Lease;

/// Tries before an unconfirmed old address is forgotten for a new one.
const REBOOT_ATTEMPTS: u32 = 3;
/// Tries before an offer counts as withdrawn.
const SELECT_ATTEMPTS: u32 = 4;
/// The first wait for an answer; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(64);
/// Servers that refuse what they offered are left in peace for so long.
const REFUSAL_WAIT: Duration = Duration::from_secs(10);
/// The shortest wait between two renewals.
const RENEWAL_WAIT: Duration = Duration::from_secs(60);

/// A lease and when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// What was granted.
    pub lease: Lease,
    /// On the machine's clock that never jumps.
    pub since: Duration,
}

/// One exchange with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The transaction id.
    pub xid: u32,
    /// How many messages were sent.
    pub attempt: u32,
    /// When it began.
    pub began: Duration,
}

/// Where the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// No carrier. A lease is kept until it ends; an old address is asked for again.
    Stopped { held: Option<Held>, wanted: Option<Ipv4Addr> },
    /// Asking for the address we had (INIT-REBOOT).
    Rebooting { exchange: Exchange, held: Option<Held>, wanted: Ipv4Addr },
    /// Looking for servers.
    Selecting { exchange: Exchange },
    /// Took an offer.
    Requesting { exchange: Exchange, address: Ipv4Addr, server: Ipv4Addr },
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
    /// The cable is in.
    CarrierUp,
    /// The cable is out.
    CarrierDown,
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
    Send { request: Request, xid: u32, seconds: u16 },
    /// Wake us then (replaces an earlier timer).
    ArmTimer(Duration),
    /// No timer any more.
    DisarmTimer,
    /// The lease of `State::held` is new: configure and keep it.
    Configure,
    /// There is no lease any more.
    Deconfigure,
}

/// What the machine may not find out by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Now, on a clock that never jumps.
    pub now: Duration,
    /// A fresh random number.
    pub random: u32,
}

type Step = Option<(State, Vec<Effect>)>;

impl State {
    /// The lease that is in force.
    pub(crate) fn held(&self) -> Option<&Held> {
        match self {
            Self::Stopped { held, .. } | Self::Rebooting { held, .. } => held.as_ref(),
            Self::Bound { held } | Self::Renewing { held, .. } | Self::Rebinding { held, .. } => Some(held),
            Self::Selecting { .. } | Self::Requesting { .. } => None,
        }
    }

    /// Its name, for the log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Stopped { .. } => "stopped",
            Self::Rebooting { .. } => "rebooting",
            Self::Selecting { .. } => "selecting",
            Self::Requesting { .. } => "requesting",
            Self::Bound { .. } => "bound",
            Self::Renewing { .. } => "renewing",
            Self::Rebinding { .. } => "rebinding",
        }
    }

    fn exchange(&self) -> Option<&Exchange> {
        match self {
            Self::Rebooting { exchange, .. }
            | Self::Selecting { exchange }
            | Self::Requesting { exchange, .. }
            | Self::Renewing { exchange, .. }
            | Self::Rebinding { exchange, .. } => Some(exchange),
            Self::Stopped { .. } | Self::Bound { .. } => None,
        }
    }
}

/// Takes one step. `None`: the event means nothing in this state.
pub(crate) fn step(state: &State, event: &Event, moment: Moment) -> Step {
    match event {
        Event::CarrierUp => carrier_up(state, moment),
        Event::CarrierDown => carrier_down(state, moment),
        Event::Renew => renew(state, moment),
        Event::TimedOut => timed_out(state, moment),
        Event::Reply { xid, reply } if state.exchange().is_some_and(|exchange| exchange.xid == *xid) => {
            replied(state, reply, moment)
        }
        Event::Reply { .. } => None,
    }
}

fn carrier_up(state: &State, moment: Moment) -> Step {
    match state {
        State::Stopped { held, wanted } => {
            let wanted = held.as_ref().map(|held| held.lease.address).or(*wanted);
            Some(match wanted {
                Some(wanted) => reboot(begin(moment), held.clone(), wanted, moment),
                None => select(moment),
            })
        }
        State::Rebooting { .. }
        | State::Selecting { .. }
        | State::Requesting { .. }
        | State::Bound { .. }
        | State::Renewing { .. }
        | State::Rebinding { .. } => None,
    }
}

fn carrier_down(state: &State, moment: Moment) -> Step {
    let wanted = match state {
        State::Stopped { .. } => return None,
        State::Rebooting { wanted, .. } => Some(*wanted),
        State::Selecting { .. } => None,
        State::Requesting { address, .. } => Some(*address),
        State::Bound { held } | State::Renewing { held, .. } | State::Rebinding { held, .. } => {
            Some(held.lease.address)
        }
    };
    let held = state.held().cloned();
    let timer = match held.as_ref().and_then(|held| remaining(held, moment.now)) {
        Some(left) => Effect::ArmTimer(left),
        None => Effect::DisarmTimer,
    };
    Some((State::Stopped { held, wanted }, vec![timer]))
}

fn replied(state: &State, reply: &Reply, moment: Moment) -> Step {
    match (state, reply) {
        (State::Selecting { exchange }, Reply::Offer { address, server }) => {
            let exchange = Exchange { attempt: 0, ..*exchange };
            Some(request(exchange, *address, *server, moment))
        }
        (
            State::Requesting { .. } | State::Rebooting { .. } | State::Renewing { .. } | State::Rebinding { .. },
            Reply::Ack(lease),
        ) => {
            let held = Held { lease: (**lease).clone(), since: moment.now };
            let mut effects = vec![Effect::Configure];
            effects.push(renewal_timer(&held, moment.now));
            Some((State::Bound { held }, effects))
        }
        (State::Rebooting { held: None, .. }, Reply::Nak) => Some(select(moment)),
        (State::Requesting { .. }, Reply::Nak) => {
            let wait = REFUSAL_WAIT * 7 / 8 + REFUSAL_WAIT * ((moment.random >> 8) % 256) / 1024;
            Some((State::Selecting { exchange: begin(moment) }, vec![Effect::ArmTimer(wait)]))
        }
        (State::Rebooting { held: Some(_), .. } | State::Renewing { .. } | State::Rebinding { .. }, Reply::Nak) => {
            Some(lose(moment))
        }
        (_, Reply::Offer { .. } | Reply::Ack(_) | Reply::Nak) => None,
    }
}

/// The server is asked whatever the clock says; whoever looks for servers looks at once.
fn renew(state: &State, moment: Moment) -> Step {
    match state {
        State::Bound { held } => {
            let exchange = Exchange { attempt: 1, ..begin(moment) };
            let request = Request::Renew { address: held.lease.address, server: held.lease.server };
            let wait = remaining(held, moment.now).map_or(RENEWAL_WAIT, |left| left.min(RENEWAL_WAIT));
            let effects = vec![send(request, exchange, moment), Effect::ArmTimer(wait)];
            Some((State::Renewing { exchange, held: held.clone() }, effects))
        }
        State::Selecting { .. } => Some(select(moment)),
        State::Stopped { .. }
        | State::Rebooting { .. }
        | State::Requesting { .. }
        | State::Renewing { .. }
        | State::Rebinding { .. } => None,
    }
}

fn timed_out(state: &State, moment: Moment) -> Step {
    match state {
        State::Stopped { held: Some(held), .. } => {
            let wanted = Some(held.lease.address);
            Some((State::Stopped { held: None, wanted }, vec![Effect::Deconfigure, Effect::DisarmTimer]))
        }
        State::Stopped { held: None, .. } => None,
        State::Rebooting { exchange, held, wanted } if exchange.attempt < REBOOT_ATTEMPTS => {
            Some(reboot(*exchange, held.clone(), *wanted, moment))
        }
        // Nobody said no: the lease is still ours until it ends.
        State::Rebooting { held: Some(held), .. } => {
            let timer = renewal_timer(held, moment.now);
            Some((State::Bound { held: held.clone() }, vec![timer]))
        }
        State::Rebooting { held: None, .. } => Some(select(moment)),
        State::Selecting { exchange } => Some(discover(*exchange, moment)),
        State::Requesting { exchange, address, server } if exchange.attempt < SELECT_ATTEMPTS => {
            Some(request(*exchange, *address, *server, moment))
        }
        State::Requesting { .. } => Some(select(moment)),
        State::Bound { held } => Some(ask_for_time(begin(moment), held, moment)),
        State::Renewing { exchange, held } | State::Rebinding { exchange, held } => {
            Some(ask_for_time(*exchange, held, moment))
        }
    }
}

/// After T1 the server is asked, after T2 anyone, at the end the address is gone.
fn ask_for_time(exchange: Exchange, held: &Held, moment: Moment) -> (State, Vec<Effect>) {
    let Some(times) = held.lease.times else {
        return (State::Bound { held: held.clone() }, vec![Effect::DisarmTimer]);
    };
    let age = moment.now.saturating_sub(held.since);
    if age >= times.expire {
        return lose(moment);
    }
    let address = held.lease.address;
    let held = held.clone();
    let exchange = Exchange { attempt: exchange.attempt.saturating_add(1), ..exchange };
    if age < times.renew {
        let timer = renewal_timer(&held, moment.now);
        return (State::Bound { held }, vec![timer]);
    }
    if age < times.rebind {
        let send = send(Request::Renew { address, server: held.lease.server }, exchange, moment);
        let wait = renewal_wait(times.rebind.saturating_sub(age));
        return (State::Renewing { exchange, held }, vec![send, Effect::ArmTimer(wait)]);
    }
    let send = send(Request::Rebind { address }, exchange, moment);
    let wait = renewal_wait(times.expire.saturating_sub(age));
    (State::Rebinding { exchange, held }, vec![send, Effect::ArmTimer(wait)])
}

/// Half of what is left, a minute at least, but never past the border.
fn renewal_wait(left: Duration) -> Duration {
    (left / 2).max(RENEWAL_WAIT).min(left)
}

fn lose(moment: Moment) -> (State, Vec<Effect>) {
    let (state, mut effects) = select(moment);
    effects.insert(0, Effect::Deconfigure);
    (state, effects)
}

fn select(moment: Moment) -> (State, Vec<Effect>) {
    discover(begin(moment), moment)
}

fn discover(exchange: Exchange, moment: Moment) -> (State, Vec<Effect>) {
    let (exchange, effects) = try_again(exchange, Request::Discover, moment);
    (State::Selecting { exchange }, effects)
}

fn request(exchange: Exchange, address: Ipv4Addr, server: Ipv4Addr, moment: Moment) -> (State, Vec<Effect>) {
    let (exchange, effects) = try_again(exchange, Request::Select { address, server }, moment);
    (State::Requesting { exchange, address, server }, effects)
}

fn reboot(exchange: Exchange, held: Option<Held>, wanted: Ipv4Addr, moment: Moment) -> (State, Vec<Effect>) {
    let (exchange, effects) = try_again(exchange, Request::Reboot { address: wanted }, moment);
    (State::Rebooting { exchange, held, wanted }, effects)
}

fn begin(moment: Moment) -> Exchange {
    Exchange { xid: moment.random, attempt: 0, began: moment.now }
}

fn try_again(exchange: Exchange, request: Request, moment: Moment) -> (Exchange, Vec<Effect>) {
    let wait = backoff(exchange.attempt, moment.random);
    let exchange = Exchange { attempt: exchange.attempt.saturating_add(1), ..exchange };
    (exchange, vec![send(request, exchange, moment), Effect::ArmTimer(wait)])
}

fn send(request: Request, exchange: Exchange, moment: Moment) -> Effect {
    let seconds = moment.now.saturating_sub(exchange.began).as_secs();
    Effect::Send { request, xid: exchange.xid, seconds: u16::try_from(seconds).unwrap_or(u16::MAX) }
}

/// 1, 2, 4 ... 64 seconds, an eighth more or less by chance, so that machines started together do not ask together.
fn backoff(attempt: u32, random: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << attempt.min(6)).min(LONGEST_WAIT);
    let chance = (random >> 8) % 256;
    wait * 7 / 8 + wait * chance / 1024
}

fn renewal_timer(held: &Held, now: Duration) -> Effect {
    match held.lease.times {
        Some(times) => Effect::ArmTimer((held.since + times.renew).saturating_sub(now)),
        None => Effect::DisarmTimer,
    }
}

/// How long the lease still holds; `None` is for ever.
pub(crate) fn remaining(held: &Held, now: Duration) -> Option<Duration> {
    held.lease.times.map(|times| (held.since + times.expire).saturating_sub(now))
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
