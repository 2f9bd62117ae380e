//! Tests of the DHCP client: the whole table as text, and the stories that matter.

use super::*;
use crate::lease::Times;

const MOMENT: Moment = Moment { now: Duration::from_secs(1000), random: 0x1234_5678 };

fn lease(last: u8) -> Lease {
    Lease {
        address: [10, 0, 0, last].into(),
        prefix: 24,
        server: [10, 0, 0, 1].into(),
        routes: vec![],
        dns: vec![],
        ntp: vec![],
        search: vec![],
        hostname: None,
        mtu: None,
        times: Some(Times {
            renew: Duration::from_secs(500),
            rebind: Duration::from_secs(875),
            expire: Duration::from_secs(1000),
        }),
    }
}

fn held(since: u64) -> Held {
    Held { lease: lease(5), since: Duration::from_secs(since) }
}

fn exchange(attempt: u32) -> Exchange {
    Exchange { xid: 7, attempt, began: Duration::from_secs(998) }
}

fn states() -> Vec<(&'static str, State)> {
    let address = Ipv4Addr::from([10, 0, 0, 5]);
    let server = Ipv4Addr::from([10, 0, 0, 1]);
    vec![
        ("stopped", State::Stopped { held: None, wanted: None }),
        ("stopped, lease", State::Stopped { held: Some(held(900)), wanted: None }),
        ("rebooting", State::Rebooting { exchange: exchange(1), held: None, wanted: address }),
        ("rebooting, last", State::Rebooting { exchange: exchange(3), held: None, wanted: address }),
        ("rebooting, lease", State::Rebooting { exchange: exchange(3), held: Some(held(900)), wanted: address }),
        ("selecting", State::Selecting { exchange: exchange(2) }),
        ("requesting", State::Requesting { exchange: exchange(1), address, server }),
        ("requesting, last", State::Requesting { exchange: exchange(4), address, server }),
        ("bound, T1", State::Bound { held: held(500) }),
        ("renewing", State::Renewing { exchange: exchange(1), held: held(400) }),
        ("renewing, T2", State::Renewing { exchange: exchange(1), held: held(100) }),
        ("rebinding", State::Rebinding { exchange: exchange(2), held: held(100) }),
        ("rebinding, end", State::Rebinding { exchange: exchange(2), held: held(0) }),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let offer = Reply::Offer { address: [10, 0, 0, 9].into(), server: [10, 0, 0, 1].into() };
    vec![
        ("carrier up", Event::CarrierUp),
        ("carrier down", Event::CarrierDown),
        ("offer", Event::Reply { xid: 7, reply: offer }),
        ("ack", Event::Reply { xid: 7, reply: Reply::Ack(Box::new(lease(9))) }),
        ("nak", Event::Reply { xid: 7, reply: Reply::Nak }),
        ("foreign ack", Event::Reply { xid: 8, reply: Reply::Ack(Box::new(lease(9))) }),
        ("renew", Event::Renew),
        ("timed out", Event::TimedOut),
    ]
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Send { request, seconds, .. } => {
            let name = format!("{request:?}");
            format!("send {} after {seconds} s", name.split([' ', '{']).next().unwrap_or_default())
        }
        Effect::ArmTimer(wait) => format!("timer {:.1} s", wait.as_secs_f64()),
        Effect::DisarmTimer => "no timer".to_string(),
        Effect::Configure => "configure".to_string(),
        Effect::Deconfigure => "deconfigure".to_string(),
    }
}

#[test]
fn the_table_of_all_transitions_is_as_reviewed() {
    let mut table = String::new();
    for (state_name, state) in states() {
        for (event_name, event) in events() {
            if let Some((next, effects)) = step(&state, &event, MOMENT) {
                let effects: Vec<String> = effects.iter().map(effect).collect();
                table.push_str(&format!(
                    "{state_name:17} {event_name:13} {:11} [{}]\n",
                    next.name(),
                    effects.join(", ")
                ));
            }
        }
    }
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dhcp-machine.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, &table).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert!(table == expected, "the table changed; UPDATE_GOLDEN=1 rewrites {}:\n{table}", golden.display());
}

#[test]
fn waits_double_and_never_pass_a_minute_and_a_bit() {
    let waits: Vec<u64> = (0..9).map(|attempt| backoff(attempt, 128 << 8).as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
    for random in [0, 1 << 8, 0xffff_ffff] {
        let wait = backoff(3, random);
        assert!(wait >= Duration::from_secs(7) && wait <= Duration::from_secs(9));
    }
}

#[test]
fn an_address_survives_a_pulled_cable_until_its_lease_ends() {
    let bound = State::Bound { held: held(900) };
    let (stopped, effects) = step(&bound, &Event::CarrierDown, MOMENT).unwrap();
    assert_eq!(effects, [Effect::ArmTimer(Duration::from_secs(900))]);
    assert!(stopped.held().is_some());
    let (rebooting, _) = step(&stopped, &Event::CarrierUp, MOMENT).unwrap();
    assert!(matches!(rebooting, State::Rebooting { held: Some(_), .. }));
    let (ended, effects) = step(&stopped, &Event::TimedOut, MOMENT).unwrap();
    assert_eq!(effects[0], Effect::Deconfigure);
    assert!(ended.held().is_none());
}

#[test]
fn a_lease_for_ever_is_never_renewed() {
    let mut for_ever = lease(9);
    for_ever.times = None;
    let requesting = State::Requesting { exchange: exchange(1), address: for_ever.address, server: for_ever.server };
    let event = Event::Reply { xid: 7, reply: Reply::Ack(Box::new(for_ever)) };
    let (_, effects) = step(&requesting, &event, MOMENT).unwrap();
    assert_eq!(effects, [Effect::Configure, Effect::DisarmTimer]);
}
