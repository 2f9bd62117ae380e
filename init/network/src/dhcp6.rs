//! DHCPv6: messages and the states of a client. Pure.

pub(crate) mod machine;
pub(crate) mod message;
