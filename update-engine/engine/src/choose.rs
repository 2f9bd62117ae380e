//! Chooses a release out of a channel document. Pure.

use ferrite_payload::channel::{Channel, Payload, Release, place_of};

use crate::machine::Machine;

/// What there is for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Nothing newer.
    UpToDate,
    /// Something newer, which failed here before.
    Blocked(u64),
    /// Something newer, later.
    NotYet(u64),
    /// Maybe something, but the server that steers says this.
    Held(String),
    /// Something newer, for machines that took another release before, which the channel does not offer.
    OutOfReach {
        /// The release.
        serial: u64,
        /// The serial that it wants.
        minimum: u64,
    },
    /// A release to be installed.
    Take(Box<Offer>),
}

/// A release and how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its serial.
    pub serial: u64,
    /// Its version.
    pub version: String,
    /// The delta from what runs.
    pub delta: Option<Payload>,
    /// The whole of it, and what is taken if the delta fails.
    pub full: Payload,
    /// Where the payloads are, if that is not the server of the configuration.
    pub base: Option<String>,
}

/// The newest release that this machine takes now.
pub fn choose(channel: &Channel, machine: &Machine, now: u64) -> Choice {
    let mut refused = Choice::UpToDate;
    let ours = |release: &&Release| release.board == machine.board && !release.withdrawn;
    let mut newest: Vec<&Release> = channel.releases.iter().filter(ours).collect();
    newest.sort_by_key(|release| std::cmp::Reverse(release.serial));
    for release in newest {
        let serial = release.serial;
        if machine.accepts(serial).is_err() {
            if machine.blocked.contains(&serial) && serial > machine.serial && refused == Choice::UpToDate {
                refused = Choice::Blocked(serial);
            }
        } else if machine.serial < release.minimum {
            refused = Choice::OutOfReach { serial, minimum: release.minimum };
        } else if !release.is_due(place_of(&machine.id, serial), now) {
            refused = Choice::NotYet(serial);
        } else {
            return Choice::Take(Box::new(Offer {
                serial,
                version: release.version.clone(),
                delta: release.delta_from(machine.serial).cloned(),
                full: release.full.clone(),
                base: None,
            }));
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::Slot;
    use ferrite_payload::Hash;
    use ferrite_payload::channel::{Delta, Rollout};

    fn machine(serial: u64) -> Machine {
        Machine {
            product: "ferrite".into(),
            board: "qemu".into(),
            id: "0123".into(),
            running: Slot::A,
            serial,
            root: Hash::default(),
            floor: 0,
            blocked: Default::default(),
        }
    }

    fn payload(name: String) -> Payload {
        Payload { id: Hash::of(name.as_bytes()), path: name, size_bytes: 1 }
    }

    fn release(serial: u64) -> Release {
        Release {
            board: "qemu".into(),
            version: format!("1.{serial}"),
            serial,
            minimum: 0,
            full: payload(format!("full-{serial}")),
            deltas: vec![Delta { from: serial - 1, payload: payload(format!("delta-{serial}")) }],
            rollout: None,
            withdrawn: false,
            urgent: false,
        }
    }

    fn choice(releases: Vec<Release>, machine: &Machine) -> String {
        let mut channel = Channel::empty("ferrite", "stable");
        channel.releases = releases;
        match choose(&channel, machine, 1000) {
            Choice::Take(offer) => {
                let delta = offer.delta.map_or(String::new(), |delta| format!(" {}", delta.path));
                format!("take {}{delta} {}", offer.serial, offer.full.path)
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_release_that_the_machine_may_take_is_chosen() {
        let late = Some(Rollout { start: 2000, hours: 0, percent: 100 });
        let other_board = Release { board: "metal".into(), ..release(9) };
        let cases: Vec<(&str, Vec<Release>, Machine, &str)> = vec![
            ("nothing there", vec![], machine(5), "UpToDate"),
            ("only older and the same", vec![release(4), release(5)], machine(5), "UpToDate"),
            ("in any order", vec![release(7), release(6)], machine(5), "take 7 full-7"),
            ("with its delta", vec![release(6)], machine(5), "take 6 delta-6 full-6"),
            ("another board", vec![other_board], machine(5), "UpToDate"),
            ("withdrawn", vec![Release { withdrawn: true, ..release(7) }, release(6)], machine(4), "take 6 full-6"),
            ("not its turn", vec![Release { rollout: late, ..release(7) }], machine(5), "NotYet(7)"),
            ("urgent", vec![Release { rollout: late, urgent: true, ..release(7) }], machine(5), "take 7 full-7"),
            (
                "one step first",
                vec![Release { minimum: 6, ..release(7) }, release(6)],
                machine(5),
                "take 6 delta-6 full-6",
            ),
            ("no step", vec![Release { minimum: 6, ..release(7) }], machine(5), "OutOfReach { serial: 7, minimum: 6 }"),
            ("blocked", vec![release(7)], Machine { blocked: [7].into(), ..machine(5) }, "Blocked(7)"),
            (
                "newer than blocked",
                vec![release(7), release(8)],
                Machine { blocked: [7].into(), ..machine(5) },
                "take 8 full-8",
            ),
            ("below the floor", vec![release(7)], Machine { floor: 8, ..machine(5) }, "UpToDate"),
        ];
        for (what, releases, machine, wanted) in cases {
            assert_eq!(choice(releases, &machine), wanted, "{what}");
        }
    }
}
