//! networkd: links as `.network`, `.netdev` and `.link` files say; resolv.conf and the host name follow.
//!
//! `plan`, `dhcp::machine`, `dhcp6::machine` and `router` decide and are pure; `observe`, `apply`, `clients` and
//! `daemon` act. Other programs meet this one in `/run/ferrite/network`, `network.json` and `network.sock` beside it,
//! and `/run/resolv.conf`.

mod apply;
mod change;
mod client;
mod client6;
mod clients;
mod config_files;
mod control;
mod daemon;
mod dhcp;
mod dhcp6;
mod frame;
mod hostname;
mod lease;
mod lease6_file;
mod lease_file;
mod listener;
mod make_link;
mod networkctl;
mod networkctl_text;
mod observe;
mod observed;
mod online;
mod plan;
mod plan_addresses;
mod plan_links;
mod plan_routes;
mod report;
mod resolv;
mod router;
mod state;
mod wireguard;

pub use daemon::{Paths, run};
pub use networkctl::{Arguments as NetworkctlArguments, networkctl};
pub use online::{Wait, wait_online};
