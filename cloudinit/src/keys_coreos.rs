//! The keys below `coreos`, and the variables that the options of etcd, fleet, flannel and locksmith become. Pure.

use crate::language::{Key, Kind};
use crate::rules;

const LINE: Kind = Kind::Scalar(rules::line);

const fn text(name: &'static str) -> Key {
    Key::new(name, LINE, "")
}

const fn flag(name: &'static str) -> Key {
    Key::new(name, Kind::Bool, "")
}

const fn decimal(name: &'static str) -> Key {
    Key::new(name, Kind::Scalar(rules::decimal), "")
}

const fn number(name: &'static str) -> Key {
    Key::new(name, Kind::Int, "")
}

/// Below `coreos`.
pub(crate) static COREOS: &[Key] = &[
    Key::new("units", Kind::List(&Kind::Map(UNIT, None)), "units to write, change, enable, mask and start")
        .example("[{name: etcd2.service, command: start}]"),
    Key::new("update", Kind::Map(UPDATE, None), "where updates come from and when the machine reboots for them")
        .example("{reboot-strategy: etcd-lock, group: stable}"),
    Key::new("etcd2", Kind::Map(ETCD2, None), "options of etcd, written as a drop-in of etcd2.service")
        .example("{name: n1, listen-client-urls: 'http://0.0.0.0:2379'}"),
    Key::new("etcd", Kind::Map(ETCD, None), "options of etcd, written as a drop-in of etcd.service"),
    Key::new("fleet", Kind::Map(FLEET, None), "options of fleet, written as a drop-in of fleet.service")
        .example("{metadata: 'region=eu', public-ip: $private_ipv4}"),
    Key::new("flannel", Kind::Map(FLANNEL, None), "options of flannel, written to /run/flannel/options.env"),
    Key::new(
        "locksmith",
        Kind::Map(LOCKSMITH, None),
        "options of locksmithd, written as a drop-in of locksmithd.service",
    )
    .example("{window_start: 'Thu 23:00', window_length: 1h}"),
    Key::new("oem", Kind::Map(OEM, None), "what made the image, written to /etc/oem-release"),
];

static UNIT: &[Key] = &[
    Key::new("name", Kind::Text(rules::unit), "file name of the unit").required(),
    Key::new("content", Kind::Text(rules::any), "the whole unit file"),
    Key::new("enable", Kind::Bool, "enable it, as 'systemctl enable' does"),
    Key::new("mask", Kind::Bool, "mask it"),
    Key::new("runtime", Kind::Bool, "write it below /run, for this boot only"),
    Key::new(
        "command",
        Kind::Words(&[
            "start",
            "stop",
            "restart",
            "reload",
            "try-restart",
            "reload-or-restart",
            "reload-or-try-restart",
        ]),
        "what to do with it at every boot; nothing waits for it",
    ),
    Key::new("drop_ins", Kind::List(&Kind::Map(DROP_IN, None)), "files that change an existing unit"),
];

static DROP_IN: &[Key] = &[
    Key::new("name", Kind::Text(rules::drop_in), "file name, ending in .conf").required(),
    Key::new("content", Kind::Text(rules::any), "the lines"),
];

static UPDATE: &[Key] = &[
    Key::new(
        "reboot_strategy",
        Kind::Words(&["etcd-lock", "reboot", "off", "best-effort"]),
        "whether a reboot after an update asks for a lock, comes at once, or is left to you",
    ),
    Key::new("group", LINE, "the update channel"),
    Key::new("server", LINE, "the update server"),
];

static OEM: &[Key] = &[text("id"), text("name"), text("version_id"), text("home_url"), text("bug_report_url")];

/// Options of etcd 2.
pub(crate) static ETCD2: &[Key] = &[
    text("advertise_client_urls"),
    text("ca_file"),
    text("cert_file"),
    flag("client_cert_auth"),
    text("cors"),
    text("data_dir"),
    flag("debug"),
    text("discovery"),
    text("discovery_fallback"),
    text("discovery_srv"),
    text("discovery_proxy"),
    number("election_timeout"),
    flag("enable_pprof"),
    flag("force_new_cluster"),
    number("heartbeat_interval"),
    text("initial_advertise_peer_urls"),
    text("initial_cluster"),
    Key::new("initial_cluster_state", Kind::Words(&["new", "existing"]), ""),
    text("initial_cluster_token"),
    text("key_file"),
    text("listen_client_urls"),
    text("listen_peer_urls"),
    text("log_package_levels"),
    number("max_snapshots"),
    number("max_wals"),
    text("name"),
    text("peer_ca_file"),
    text("peer_cert_file"),
    text("peer_key_file"),
    flag("peer_client_cert_auth"),
    text("peer_trusted_ca_file"),
    Key::new("proxy", Kind::Words(&["on", "off", "readonly"]), ""),
    number("proxy_dial_timeout"),
    number("proxy_failure_wait"),
    number("proxy_read_timeout"),
    number("proxy_refresh_interval"),
    number("proxy_write_timeout"),
    number("snapshot_count"),
    flag("strict_reconfig_check"),
    text("trusted_ca_file"),
    text("wal_dir"),
];

/// Options of etcd 0.4, and those of etcd 2 that the old tool took here too.
static ETCD: &[Key] = &[
    text("addr"),
    text("advertise_client_urls"),
    text("bind_addr"),
    text("ca_file"),
    text("cert_file"),
    number("cluster_active_size"),
    decimal("cluster_remove_delay"),
    decimal("cluster_sync_interval"),
    text("cors"),
    text("cpu_profile_file"),
    text("data_dir"),
    text("discovery"),
    text("discovery_fallback"),
    text("discovery_proxy"),
    text("discovery_srv"),
    number("election_timeout"),
    flag("force_new_cluster"),
    text("graphite_host"),
    number("heartbeat_interval"),
    decimal("http_read_timeout"),
    decimal("http_write_timeout"),
    text("initial_advertise_peer_urls"),
    text("initial_cluster"),
    Key::new("initial_cluster_state", Kind::Words(&["new", "existing"]), ""),
    text("initial_cluster_token"),
    text("key_file"),
    text("listen_client_urls"),
    text("listen_peer_urls"),
    number("max_result_buffer"),
    number("max_retry_attempts"),
    number("max_snapshots"),
    number("max_wals"),
    text("name"),
    text("peer_addr"),
    text("peer_bind_addr"),
    text("peer_ca_file"),
    text("peer_cert_file"),
    number("peer_election_timeout"),
    number("peer_heartbeat_interval"),
    text("peer_key_file"),
    text("peers"),
    text("peers_file"),
    Key::new("proxy", Kind::Words(&["on", "off", "readonly"]), ""),
    decimal("retry_interval"),
    flag("snapshot"),
    number("snapshot_count"),
    text("trace"),
    flag("verbose"),
    flag("very_verbose"),
    flag("very_very_verbose"),
];

static FLEET: &[Key] = &[
    text("agent_ttl"),
    text("authorized_keys_file"),
    flag("disable_engine"),
    flag("disable_watches"),
    decimal("engine_reconcile_interval"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_key_prefix"),
    decimal("etcd_request_timeout"),
    text("etcd_servers"),
    text("etcd_username"),
    text("etcd_password"),
    text("metadata"),
    text("public_ip"),
    number("token_limit"),
    number("verbosity"),
    flag("verify_units"),
];

static FLANNEL: &[Key] = &[
    text("etcd_endpoints"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_prefix"),
    text("etcd_username"),
    text("etcd_password"),
    text("ip_masq"),
    text("subnet_file"),
    text("interface"),
    text("public_ip"),
];

static LOCKSMITH: &[Key] = &[
    text("endpoint"),
    text("etcd_cafile"),
    text("etcd_certfile"),
    text("etcd_keyfile"),
    text("etcd_username"),
    text("etcd_password"),
    text("group"),
    Key::new("window_start", Kind::Scalar(rules::window_start), "when a reboot is allowed, '[DAY ]HH:MM'"),
    Key::new("window_length", Kind::Scalar(rules::duration), "how long it is allowed"),
];

/// The variable of an option: a section's prefix and the name in capitals, with the exceptions of old.
pub(crate) fn variable(section: &str, option: &str) -> String {
    let prefix = match section {
        "fleet" => "FLEET_",
        "flannel" => "FLANNELD_",
        "locksmith" => "LOCKSMITHD_",
        _ => "ETCD_",
    };
    match (section, option) {
        ("flannel", "interface") => "FLANNELD_IFACE".into(),
        ("locksmith", "window_start") => "REBOOT_WINDOW_START".into(),
        ("etcd", "snapshot_count") => "ETCD_SNAPSHOTCOUNT".into(),
        ("locksmith", "window_length") => "REBOOT_WINDOW_LENGTH".into(),
        _ => format!("{prefix}{}", option.to_ascii_uppercase()),
    }
}

/// The keys of a section whose options become variables, in the order in which they are written.
pub(crate) fn options(section: &str) -> &'static [Key] {
    match section {
        "etcd2" => ETCD2,
        "etcd" => ETCD,
        "fleet" => FLEET,
        "flannel" => FLANNEL,
        _ => LOCKSMITH,
    }
}
