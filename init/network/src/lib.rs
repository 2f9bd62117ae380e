//! networkd: every wired link gets its address by DHCPv4; resolv.conf and the host name follow.
//!
//! `plan` and `dhcp::machine` decide and are pure; `netlink`, `daemon` and `client` act. Other programs meet this
//! one in `/run/ferrite/network` (see `report`) and `/run/resolv.conf`.

mod client;
mod daemon;
mod dhcp;
mod frame;
mod hostname;
mod lease;
mod lease_file;
mod netlink;
mod online;
mod plan;
mod report;
mod resolv;

pub use daemon::{Paths, run};
pub use lease::{Lease, Route};
pub use online::wait_online;
pub use plan::{Change, Link, Observed, Role, plan};
pub use report::{LinkReport, LinkState, parse_report, render_report};
