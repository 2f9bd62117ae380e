//! Messages of the kernel about devices, and what those of one turn ask to be looked at. Pure.
//!
//! However many messages tell of a device, it is looked at once: what it is now counts, not what it was in between.

use std::collections::{BTreeMap, BTreeSet};

const MAX_FIELDS: usize = 128;

/// What happened to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// It appeared.
    Add,
    /// Something about it is new (a medium, a partition table).
    Change,
    /// It went away.
    Remove,
    /// `bind`, `move` and the rest: of no interest here.
    Other,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uevent {
    /// What happened.
    pub action: Action,
    /// `block`, `tty` and so on.
    pub subsystem: String,
    /// The node below /dev, when it has one.
    pub node: Option<String>,
    /// What modules know it by.
    pub modalias: Option<String>,
}

/// Why a message is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not one of the kernel's.
    Foreign,
    /// Its end is missing: what it said is lost.
    Torn,
}

/// Reads a message.
pub(crate) fn parse(message: &[u8]) -> Result<Uevent, Unreadable> {
    let mut fields = message.split(|byte| *byte == 0).take(MAX_FIELDS).map(String::from_utf8_lossy);
    // `add@/devices/...`: udevd's own messages begin with `libudev`.
    let header = fields.next().unwrap_or_default();
    let (action, path) = header.split_once('@').ok_or(Unreadable::Foreign)?;
    if !path.starts_with('/') {
        return Err(Unreadable::Foreign);
    }
    // The kernel ends every field, the last one too.
    if message.last() != Some(&0) {
        return Err(Unreadable::Torn);
    }
    let action = match action {
        "add" => Action::Add,
        "change" => Action::Change,
        "remove" => Action::Remove,
        _ => Action::Other,
    };
    let mut event = Uevent { action, subsystem: String::new(), node: None, modalias: None };
    for field in fields {
        match field.split_once('=') {
            Some(("SUBSYSTEM", value)) => event.subsystem = value.to_string(),
            Some(("DEVNAME", value)) if is_node_name(value) => event.node = Some(value.to_string()),
            Some(("MODALIAS", value)) if !value.is_empty() => event.modalias = Some(value.to_string()),
            Some(_) | None => {}
        }
    }
    Ok(event)
}

/// Whether a name stays below /dev.
pub(crate) fn is_node_name(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// What became of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// Its class.
    pub subsystem: String,
    /// It appeared: its permissions are to be set.
    pub is_new: bool,
    /// It went at least once: what it had is free.
    pub went: bool,
    /// It is there at the end.
    pub is_there: bool,
}

/// What the messages of one turn ask to be looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Aliases whose modules are to be loaded.
    pub aliases: BTreeSet<String>,
    /// The nodes, by name.
    pub nodes: BTreeMap<String, Look>,
}

/// Sums messages up.
pub(crate) fn work(events: &[Uevent]) -> Work {
    let mut work = Work::default();
    for event in events {
        if event.action == Action::Other {
            continue;
        }
        if event.action != Action::Remove {
            work.aliases.extend(event.modalias.clone());
        }
        let Some(node) = &event.node else { continue };
        let look = work.nodes.entry(node.clone()).or_insert_with(|| Look {
            subsystem: event.subsystem.clone(),
            is_new: false,
            went: false,
            is_there: true,
        });
        look.subsystem.clone_from(&event.subsystem);
        look.is_there = event.action != Action::Remove;
        look.went |= event.action == Action::Remove;
        look.is_new = look.is_there && (look.is_new || event.action == Action::Add);
    }
    work
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(action: Action, node: &str) -> Uevent {
        Uevent { action, subsystem: "block".into(), node: Some(node.into()), modalias: None }
    }

    #[test]
    fn a_message_of_the_kernel_is_read() {
        let message =
            b"add@/devices/x/vda1\0ACTION=add\0DEVPATH=/devices/x/vda1\0SUBSYSTEM=block\0DEVNAME=vda1\0SEQNUM=1\0";
        let event = parse(message).unwrap();
        assert_eq!((event.action, event.subsystem.as_str()), (Action::Add, "block"));
        assert_eq!((event.node.as_deref(), event.modalias), (Some("vda1"), None));
    }

    #[test]
    fn messages_of_others_and_names_that_leave_dev_are_refused() {
        assert_eq!(parse(b"libudev\0\xfe\xed\xca\xfe"), Err(Unreadable::Foreign));
        assert_eq!(parse(b"add@relative\0"), Err(Unreadable::Foreign));
        assert_eq!(parse(b""), Err(Unreadable::Foreign));
        let event = parse(b"add@/x\0DEVNAME=../etc/passwd\0MODALIAS=\0").unwrap();
        assert_eq!((event.node, event.modalias), (None, None));
    }

    #[test]
    fn a_torn_message_is_told_from_a_whole_one_wherever_it_is_torn() {
        let whole = b"add@/devices/x/vda12\0SUBSYSTEM=block\0DEVNAME=vda12\0";
        assert_eq!(parse(whole).unwrap().node.as_deref(), Some("vda12"));
        for length in b"add@/devices/x/vda12".len()..whole.len() {
            match parse(&whole[..length]) {
                Err(Unreadable::Torn) => {}
                Ok(event) => assert!(whole[length - 1] == 0 && event.node.is_none(), "{length}"),
                Err(Unreadable::Foreign) => panic!("{length}"),
            }
        }
    }

    #[test]
    fn many_messages_about_a_device_are_one_look() {
        use Action::{Add, Change, Other, Remove};
        let events = [event(Remove, "sda"), event(Add, "sdb"), event(Remove, "sdb"), event(Add, "sda")];
        let work = work(&events);
        let look = |node: &str| {
            let Look { is_new, went, is_there, .. } = work.nodes[node];
            (is_new, went, is_there)
        };
        assert_eq!((look("sda"), look("sdb")), ((true, true, true), (false, true, false)));
        let storm: Vec<Uevent> = (0..10_000)
            .map(|number| event([Change, Add, Other, Change][number % 4], ["sda", "sdb"][number / 2 % 2]))
            .collect();
        let work = super::work(&storm);
        assert_eq!(work.nodes.len(), 2);
        assert!(work.nodes.values().all(|look| look.is_there && !look.went));
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ignored = parse(&bytes);
            let mut message = b"add@/".to_vec();
            message.extend_from_slice(&bytes);
            if let Ok(event) = parse(&message) {
                let _ignored = work(&[event]);
            }
        }
    }
}
