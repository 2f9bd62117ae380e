//! networkd: links as `.network`, `.netdev` and `.link` files say; resolv.conf and the host name follow.
//!
//! `plan`, `dhcp::machine`, `dhcp6::machine`, `link_local` and `router` decide and are pure; `observe`, `apply`,
//! `clients` and `daemon` act. Other programs meet this one in `/run/ferrite/network`, `network.json` and
//! `network.sock` beside it, `/run/resolv.conf` and `/run/chrony-dhcp/ferrite.sources`.

mod apply;
mod change;
mod claim;
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
mod link_local;
mod listener;
mod make_link;
mod memory;
mod networkctl;
mod networkctl_text;
mod observe;
mod observed;
mod online;
mod plan;
mod plan_addresses;
mod plan_links;
mod plan_routes;
mod program;
mod report;
mod resolv;
mod router;
mod state;
mod time_sources;
mod wireguard;

pub use program::main;
