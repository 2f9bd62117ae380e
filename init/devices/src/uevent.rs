//! Messages of the kernel about devices. Pure.

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

/// Reads a message; `None` when it is not one of the kernel's.
pub(crate) fn parse(message: &[u8]) -> Option<Uevent> {
    let mut fields = message.split(|byte| *byte == 0).take(MAX_FIELDS).map(String::from_utf8_lossy);
    // `add@/devices/...`: udevd's own messages begin with `libudev`.
    let header = fields.next()?;
    let (action, path) = header.split_once('@')?;
    if !path.starts_with('/') {
        return None;
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
    Some(event)
}

/// Whether a name stays below /dev.
pub(crate) fn is_node_name(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert_eq!(parse(b"libudev\0\xfe\xed\xca\xfe"), None);
        assert_eq!(parse(b"add@relative\0"), None);
        let event = parse(b"add@/x\0DEVNAME=../etc/passwd\0MODALIAS=\0").unwrap();
        assert_eq!((event.node, event.modalias), (None, None));
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ignored = parse(&bytes);
            let mut message = b"add@/".to_vec();
            message.extend_from_slice(&bytes);
            let _ignored = parse(&message);
        }
    }
}
