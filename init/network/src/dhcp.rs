//! The DHCPv4 client: what it says (`message`) and when (`machine`). Pure.

pub(crate) mod machine;
pub(crate) mod message;
