//! Capabilities of processes: their names and sets of them. Pure.

use crate::value::{Parsed, wrong};

/// Names in the order of their numbers.
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// Numbers that a kernel may have one day.
const LIMIT: u8 = 62;

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);
    /// All there may ever be.
    pub const ALL: CapabilitySet = CapabilitySet((1 << (LIMIT + 1)) - 1);

    /// The set of these bits.
    pub fn from_bits(bits: u64) -> CapabilitySet {
        CapabilitySet(bits & Self::ALL.0)
    }

    /// One bit a capability.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Is there none?
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Does the set hold this one?
    pub fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// All that are in one of both.
    pub fn with(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }

    /// All that are not in the other.
    pub fn without(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & !other.0)
    }

    /// The numbers in order.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..=LIMIT).filter(move |number| self.has(*number))
    }

    /// The set that these words name, and the first word that names none.
    pub fn parse(words: &[String]) -> (CapabilitySet, Parsed<()>) {
        let mut set = CapabilitySet::EMPTY;
        let mut fault = Ok(());
        for word in words {
            match number(word) {
                Some(number) => set.0 |= 1 << number,
                None if fault.is_ok() => fault = Err(wrong(word, "a capability such as CAP_NET_ADMIN")),
                None => {}
            }
        }
        (set, fault)
    }

    /// The names of those that kernels of today have, blanks between.
    pub fn text(self) -> String {
        self.numbers().filter_map(name).collect::<Vec<_>>().join(" ")
    }
}

/// The number of a capability by name (any case) or number.
pub fn number(text: &str) -> Option<u8> {
    let position = NAMES.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|n| u8::try_from(n).ok());
    position.or_else(|| text.parse().ok().filter(|number| *number <= LIMIT))
}

/// The name of a capability.
pub fn name(number: u8) -> Option<&'static str> {
    NAMES.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_in_any_case_and_by_number() {
        let words = ["CAP_KILL", "cap_chown", "40", "CAP_NOPE"].map(str::to_owned);
        let (set, fault) = CapabilitySet::parse(&words);
        assert_eq!(set.text(), "cap_chown cap_kill cap_checkpoint_restore");
        assert!(fault.unwrap_err().to_string().contains("CAP_NOPE"));
        assert_eq!(CapabilitySet::ALL.without(set).with(set), CapabilitySet::ALL);
    }
}
