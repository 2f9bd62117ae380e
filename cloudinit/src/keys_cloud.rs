//! The keys of a cloud-config at its top. Pure.

use crate::decode::{self, Encoding};
use crate::document::Node;
use crate::fault::{Faults, Severity};
use crate::keys_coreos::COREOS;
use crate::keys_files::{DISK_SETUP, FILES, FS_SETUP, MOUNTS, SWAP};
use crate::keys_users::{GROUPS, SINGLE, USERS};
use crate::language::{Key, Kind, Verdict};
use crate::rules;

const TEXT: Kind = Kind::Text(rules::line);
const LINE: Kind = Kind::Scalar(rules::line);
/// What packages may be named by.
const PACKAGES: Kind = Kind::List(&Kind::OneOf(
    &[TEXT, Kind::List(&LINE), Kind::Table(&Kind::Any)],
    "a name of a package, or [name, version]",
));
const MAP: Kind = Kind::Table(&Kind::Any);
const LIST: Kind = Kind::List(&TEXT);
const COMMANDS: Kind = Kind::Count(
    &Kind::OneOf(
        &[Kind::Text(rules::any), Kind::List(&Kind::Scalar(rules::any))],
        "a command as text, or a list of its words",
    ),
    1,
    usize::MAX,
);

/// All of them.
pub(crate) static CONFIG: &[Key] = &[
    Key::new("hostname", Kind::Text(rules::hostname), "name of the machine, also after a reboot without the key")
        .example("web1"),
    Key::new("fqdn", Kind::Text(rules::hostname), "name with its domain, for /etc/hosts").example("web1.example.com"),
    Key::new("prefer_fqdn_over_hostname", Kind::Bool, "use the name with its domain as the name of the machine"),
    Key::new("preserve_hostname", Kind::Bool, "leave the name of the machine alone"),
    Key::new("create_hostname_file", Kind::Bool, "whether a missing /etc/hostname is made; true without it"),
    Key::new(
        "manage_etc_hosts",
        Kind::OneOf(
            &[Kind::Bool, Kind::Words(&["localhost", "template", "true", "false"])],
            "true, false or 'localhost'",
        ),
        "put the name of the machine into /etc/hosts; localhost stays",
    )
    .example("localhost"),
    Key::new(
        "ssh_authorized_keys",
        Kind::Count(&Kind::Text(rules::public_key), 1, usize::MAX),
        "public keys that may log in as the default user",
    )
    .example("[ssh-ed25519 AAAA... you@laptop]"),
    Key::new("users", USERS, "users to make; 'default' is the user of the image")
        .example("[default, {name: alice, groups: [sudo], ssh_authorized_keys: [...]}]"),
    Key::new("groups", GROUPS, "groups to make, with members").example("[docker, {web: [root]}]"),
    Key::new("user", SINGLE, "changes to the default user"),
    Key::new("write_files", FILES, "files to write, after the users")
        .example("[{path: /etc/motd, content: \"hello\\n\", permissions: '0644'}]"),
    Key::new("runcmd", COMMANDS, "commands at the first boot of an instance, last of all")
        .example("[[systemctl, status], 'echo hi']"),
    Key::new("bootcmd", COMMANDS, "commands at every boot, before everything else"),
    Key::new("coreos", Kind::Map(COREOS, None), "units, updates and the cluster, as on CoreOS"),
    Key::new("ssh_keys", Kind::Map(HOST_KEYS, None), "the machine's own SSH keys"),
    Key::new("ssh_deletekeys", Kind::Bool, "make new SSH host keys for a new instance; true without it"),
    Key::new(
        "ssh_genkeytypes",
        Kind::Count(&Kind::Words(&["rsa", "dsa", "ecdsa", "ed25519"]), 1, usize::MAX),
        "kinds of host keys to make; ed25519 and ecdsa without it",
    ),
    Key::new("disable_root", Kind::Bool, "root may not log in with the keys; true without it"),
    Key::new("disable_root_opts", TEXT, "options in front of root's keys"),
    Key::new("allow_public_ssh_keys", Kind::Bool, "use the keys of the meta-data; true without it"),
    Key::new(
        "ssh_pwauth",
        Kind::OneOf(
            &[Kind::Bool, Kind::Words(&["unchanged", "yes", "no", "true", "false"])],
            "true, false or 'unchanged'",
        ),
        "whether SSH accepts passwords",
    ),
    Key::new("ssh_quiet_keygen", Kind::Bool, "").verdict(Verdict::Silent),
    Key::new("ssh_publish_hostkeys", Kind::Map(PUBLISH, None), "").verdict(Verdict::Silent),
    Key::new("ssh_import_id", LIST, "accounts elsewhere whose keys may log in").verdict(Verdict::Recorded),
    Key::new("chpasswd", Kind::Map(CHPASSWD, None), "passwords of users that exist"),
    Key::new("password", TEXT, "the password of the default user"),
    Key::new("mounts", MOUNTS, "file systems for /etc/fstab").example("[[/dev/vdb, /data, ext4, 'defaults,nofail']]"),
    Key::new(
        "mount_default_fields",
        Kind::Count(&Kind::OneOf(&[Kind::Scalar(rules::line), Kind::Null], "text or nothing"), 6, 6),
        "what a short entry of 'mounts' is filled with",
    ),
    Key::new("swap", Kind::Map(SWAP, None), "a file to swap to").example("{filename: /var/swapfile, size: 64M}"),
    Key::new("disk_setup", DISK_SETUP, "partitions of data disks; a disk that is not blank is left alone")
        .example("{/dev/vdb: {table_type: gpt, layout: [50, 50]}}"),
    Key::new("fs_setup", FS_SETUP, "file systems of data disks; what is not blank is left alone")
        .example("[{device: /dev/vdb, partition: 1, filesystem: ext4, label: data}]"),
    Key::new("device_aliases", Kind::Table(&TEXT), "names for disks in the two keys before"),
    Key::new("growpart", Kind::Map(GROW, None), "the image grows its own partition").verdict(Verdict::Silent),
    Key::new(
        "resize_rootfs",
        Kind::OneOf(&[Kind::Bool, Kind::Words(&["noblock"])], "true, false or 'noblock'"),
        "the image grows its own file system",
    )
    .verdict(Verdict::Silent),
    Key::new("ca_certs", Kind::Map(CA_CERTS, Some(authorities)), "certificate authorities to trust")
        .example("{trusted: [...]}"),
    Key::new("ntp", Kind::OneOf(&[Kind::Map(NTP, None), Kind::Null], "a map of 'key: value' lines"), "time servers")
        .example("{servers: [ntp.example.com]}"),
    Key::new("timezone", Kind::Text(rules::timezone), "the time zone").example("Europe/Berlin"),
    Key::new("locale", Kind::OneOf(&[TEXT, Kind::Bool], "a locale such as 'C.UTF-8'"), "the locale").example("C.UTF-8"),
    Key::new("locale_configfile", Kind::Text(rules::path), "where the locale is written"),
    Key::new("keyboard", Kind::Map(KEYBOARD, None), "the keyboard of the console"),
    Key::new("random_seed", Kind::Map(SEED, Some(seed)), "bytes for the random number generator"),
    Key::new("manage_resolv_conf", Kind::Bool, "write /etc/resolv.conf from 'resolv_conf'"),
    Key::new("resolv_conf", Kind::Map(RESOLV_CONF, None), "name servers"),
    Key::new("power_state", Kind::Map(POWER, None), "power off or reboot when all is done"),
    Key::new("final_message", Kind::Text(rules::any), "a line for the console when all is done"),
    Key::new("phone_home", Kind::Map(PHONE_HOME, None), "tell a server that all is done, once for an instance"),
    Key::new("output", Kind::Map(OUTPUT, None), "the journal has the output").verdict(Verdict::Silent),
    Key::new("reporting", Kind::Table(&REPORTER), "").verdict(Verdict::Recorded),
    Key::new("disable_ec2_metadata", Kind::Bool, "").verdict(Verdict::Recorded),
    Key::new("wireguard", Kind::Map(WIREGUARD, None), "tunnels of WireGuard, for networkd")
        .example("{interfaces: [{name: wg0, content: ...}]}"),
    Key::new(
        "rsyslog",
        Kind::Map(RSYSLOG, None),
        "the first of its 'remotes' gets the journal as syslog over TCP; the rest is ignored",
    ),
    Key::new(
        "failure",
        Kind::Words(&["continue", "halt"]),
        "what follows when not all can be applied; without it the \
        machine goes on and says that it is degraded",
    ),
    Key::new("ssh", Kind::Map(CONSOLE_KEYS, None), "").verdict(Verdict::Silent),
    Key::new("no_ssh_fingerprints", Kind::Bool, "").verdict(Verdict::Silent),
    Key::new("authkey_hash", TEXT, "").verdict(Verdict::Silent),
    Key::new("ssh_key_console_blacklist", LIST, "").verdict(Verdict::Silent),
    Key::new("ssh_fp_console_blacklist", LIST, "").verdict(Verdict::Silent),
    Key::new("updates", Kind::Map(UPDATES, None), "").verdict(Verdict::Recorded),
    Key::new("vendor_data", Kind::Map(VENDOR_DATA, None), "whether the cloud's own document applies"),
    Key::new("merge_how", Kind::Any, "how this document is joined to those before it"),
    Key::new("merge_type", Kind::Any, "the same as 'merge_how'"),
    Key::silent("cloud_init_modules"),
    Key::silent("cloud_config_modules"),
    Key::silent("cloud_final_modules"),
    Key::silent("system_info"),
    Key::new("launch_index", Kind::Int, "").verdict(Verdict::Silent),
    Key::silent("version"),
    Key::silent("datasource"),
    Key::silent("datasource_list"),
    Key::new("network", Kind::Any, "").verdict(Verdict::Refused(
        "a description of the network is a document of its own, 'network-config'; see docs/cloud-config.md",
    )),
    Key::silent("create_hostname"),
    Key::no_meaning("packages", PACKAGES),
    Key::no_meaning("package_update", Kind::Bool),
    Key::no_meaning("package_upgrade", Kind::Bool),
    Key::no_meaning("package_reboot_if_required", Kind::Bool),
    Key::no_meaning("apt", MAP),
    Key::no_meaning("apt_pipelining", Kind::Any),
    Key::no_meaning("apt_update", Kind::Bool),
    Key::no_meaning("apt_upgrade", Kind::Bool),
    Key::no_meaning("apt_reboot_if_required", Kind::Bool),
    Key::no_meaning("snap", MAP),
    Key::no_meaning("byobu_by_default", Kind::Any),
    Key::no_meaning("lxd", MAP),
    Key::no_meaning("ubuntu_advantage", MAP),
    Key::no_meaning("ubuntu_pro", MAP),
    Key::no_meaning("drivers", MAP),
    Key::no_meaning("landscape", MAP),
    Key::no_meaning("chef", MAP),
    Key::no_meaning("puppet", MAP),
    Key::no_meaning("salt_minion", MAP),
    Key::no_meaning("mcollective", MAP),
    Key::no_meaning("ansible", MAP),
    Key::no_meaning("yum_repos", MAP),
    Key::no_meaning("yum_repo_dir", Kind::Any),
    Key::no_meaning("zypper", MAP),
    Key::no_meaning("apk_repos", MAP),
    Key::no_meaning("rh_subscription", MAP),
    Key::no_meaning("spacewalk", MAP),
    Key::no_meaning("fan", MAP),
    Key::no_meaning("grub_dpkg", Kind::Any),
    Key::no_meaning("autoinstall", Kind::Any),
    Key::no_meaning("rpi", MAP),
    Key::no_meaning("migrate", Kind::Any),
];

static HOST_KEYS: &[Key] = &[
    Key::new("rsa_private", Kind::Text(rules::any), "the private RSA key"),
    Key::new("rsa_public", Kind::Text(rules::any), "the public RSA key"),
    Key::new("rsa_certificate", Kind::Text(rules::any), "a certificate of it"),
    Key::new("ecdsa_private", Kind::Text(rules::any), "the private ECDSA key"),
    Key::new("ecdsa_public", Kind::Text(rules::any), "the public ECDSA key"),
    Key::new("ecdsa_certificate", Kind::Text(rules::any), "a certificate of it"),
    Key::new("ed25519_private", Kind::Text(rules::any), "the private Ed25519 key"),
    Key::new("ed25519_public", Kind::Text(rules::any), "the public Ed25519 key"),
    Key::new("ed25519_certificate", Kind::Text(rules::any), "a certificate of it"),
];

static CHPASSWD: &[Key] = &[
    Key::new("expire", Kind::Bool, "must be changed at the first login; true without it"),
    Key::new("users", Kind::List(&Kind::Map(PASSWORDS, Some(password))), "users and their passwords"),
    Key::new(
        "list",
        Kind::OneOf(
            &[Kind::Text(passwords), Kind::Count(&Kind::Text(passwords), 1, usize::MAX)],
            "lines of 'NAME:PASSWORD'",
        ),
        "lines of NAME:PASSWORD",
    ),
];

static PASSWORDS: &[Key] = &[
    Key::new("name", Kind::Text(rules::account), "the user").required(),
    Key::new("password", TEXT, "the password or its hash"),
    Key::new("type", Kind::Words(&["hash", "text", "RANDOM"]), "what 'password' is; 'hash' without it"),
];

static CA_CERTS: &[Key] = &[
    Key::new("remove_defaults", Kind::Bool, "trust none of the image's authorities"),
    Key::new("trusted", Kind::Count(&Kind::Text(rules::certificate), 1, usize::MAX), "certificates in PEM"),
];

/// A map without keys does nothing.
fn authorities(spec: &Node, faults: &mut Faults) -> bool {
    if spec.pairs().is_empty() {
        faults.push(Severity::Desk, spec.place, "'ca_certs' is empty; give it 'trusted' or 'remove_defaults'");
    }
    true
}

static NTP: &[Key] = &[
    Key::new("enabled", Kind::Bool, "whether the clock is set from the network"),
    Key::new("servers", LIST, "time servers"),
    Key::new("pools", LIST, "names that stand for many servers"),
    Key::new("peers", LIST, "machines that keep the time with this one"),
    Key::new("allow", LIST, "networks that the time is served to; without it no port is open"),
    Key::new("ntp_client", TEXT, "").verdict(Verdict::Recorded),
    Key::new("config", Kind::Map(NTP_CONFIG, None), "").verdict(Verdict::Recorded),
];

static NTP_CONFIG: &[Key] = &[
    Key::new("confpath", TEXT, ""),
    Key::new("check_exe", TEXT, ""),
    Key::new("packages", LIST, ""),
    Key::new("service_name", TEXT, ""),
    Key::new("template", Kind::Text(rules::any), ""),
];

static PUBLISH: &[Key] = &[Key::new("enabled", Kind::Bool, ""), Key::new("blacklist", LIST, "")];

static KEYBOARD: &[Key] = &[
    Key::new("layout", TEXT, "the layout").required(),
    Key::new("model", TEXT, "the model"),
    Key::new("variant", TEXT, "the variant"),
    Key::new("options", TEXT, "options"),
];

static SEED: &[Key] = &[
    Key::new("file", Kind::Text(rules::path), "where the bytes are written; /dev/urandom without it"),
    Key::new("data", Kind::Bytes, "the bytes"),
    Key::new("encoding", Kind::Words(&["raw", "base64", "b64", "gzip", "gz"]), "how they are written"),
    Key::new("command", LIST, "").verdict(Verdict::Recorded),
    Key::new("command_required", Kind::Bool, "").verdict(Verdict::Recorded),
];

static RESOLV_CONF: &[Key] = &[
    Key::new("nameservers", LIST, "addresses"),
    Key::new("searchdomains", LIST, "domains to try"),
    Key::new("domain", TEXT, "the own domain"),
    Key::new("sortlist", LIST, "networks whose addresses come first"),
    Key::new(
        "options",
        Kind::Table(&Kind::OneOf(&[Kind::Bool, Kind::Scalar(rules::line), Kind::Null], "a value")),
        "options",
    ),
];

static POWER: &[Key] = &[
    Key::new("mode", Kind::Words(&["poweroff", "reboot", "halt"]), "what to do").required(),
    Key::new("delay", Kind::Scalar(delay), "'now' or minutes, '+5'"),
    Key::new("message", Kind::Text(rules::any), "what the console is told before"),
    Key::new("timeout", Kind::Int, "(it comes after the commands, however long they take)").verdict(Verdict::Silent),
    Key::new(
        "condition",
        Kind::OneOf(&[Kind::Bool, Kind::Text(rules::any), Kind::List(&LINE)], "true, false or a command"),
        "a command that decides",
    ),
];

static GROW: &[Key] = &[
    Key::new(
        "mode",
        Kind::OneOf(&[Kind::Words(&["auto", "growpart", "gpart", "off"]), Kind::Bool], "'auto', 'growpart' or 'off'"),
        "",
    ),
    Key::new("devices", LIST, ""),
    Key::new("ignore_growroot_disabled", Kind::Bool, ""),
];

const SINK: Kind = Kind::OneOf(&[Kind::Text(rules::any), Kind::List(&LINE), MAP], "text, a list or a map");

static OUTPUT: &[Key] =
    &[Key::new("all", SINK, ""), Key::new("init", SINK, ""), Key::new("config", SINK, ""), Key::new("final", SINK, "")];

const REPORTER: Kind = Kind::Map(
    &[
        Key::new("type", Kind::Words(&["log", "print", "webhook", "hyperv"]), "").required(),
        Key::new("level", Kind::Words(&["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]), ""),
        Key::new("endpoint", LINE, ""),
        Key::new("timeout", LINE, ""),
        Key::new("retries", LINE, ""),
        Key::new("consumer_key", LINE, ""),
        Key::new("token_key", LINE, ""),
        Key::new("token_secret", LINE, ""),
        Key::new("consumer_secret", LINE, ""),
        Key::new("kvp_file_path", LINE, ""),
        Key::new("event_types", LIST, ""),
    ],
    None,
);

static RSYSLOG: &[Key] = &[
    Key::new("remotes", Kind::Table(&LINE), "names and addresses; the first gets the journal"),
    Key::new(
        "configs",
        Kind::List(&Kind::OneOf(&[Kind::Text(rules::any), Kind::Map(RSYSLOG_CONFIG, None)], "text or a map")),
        "",
    )
    .verdict(Verdict::Silent),
    Key::new("config_dir", TEXT, "").verdict(Verdict::Silent),
    Key::new("config_filename", TEXT, "").verdict(Verdict::Silent),
    Key::new("service_reload_command", Kind::OneOf(&[Kind::Words(&["auto"]), LIST], "'auto' or a list"), "")
        .verdict(Verdict::Silent),
    Key::new("check_exe", TEXT, "").verdict(Verdict::Silent),
    Key::new("install_rsyslog", Kind::Bool, "").verdict(Verdict::Silent),
    Key::new("packages", LIST, "").verdict(Verdict::Silent),
];

static RSYSLOG_CONFIG: &[Key] =
    &[Key::new("content", Kind::Text(rules::any), "").required(), Key::new("filename", TEXT, "")];

static CONSOLE_KEYS: &[Key] = &[Key::new("emit_keys_to_console", Kind::Bool, "").required()];

static UPDATES: &[Key] = &[Key::new("network", Kind::Map(UPDATES_WHEN, None), "")];

static UPDATES_WHEN: &[Key] =
    &[Key::new("when", Kind::List(&Kind::Words(&["boot-new-instance", "boot-legacy", "boot", "hotplug"])), "")];

/// The bytes must be what the encoding says.
fn seed(spec: &Node, faults: &mut Faults) -> bool {
    let Some(data) = spec.get("data") else {
        return true;
    };
    let encoding = Encoding::parse(spec.get("encoding").and_then(Node::text).unwrap_or_default());
    match data.text().map_or(Ok(Vec::new()), |text| decode::decode(text.as_bytes(), encoding)) {
        Ok(_) => true,
        Err(message) => {
            faults.push(Severity::Error, data.place, message);
            false
        }
    }
}

fn password(spec: &Node, faults: &mut Faults) -> bool {
    let is_random = spec.get("type").and_then(Node::text) == Some("RANDOM");
    if let (true, Some(password)) = (is_random, spec.get("password")) {
        let message = "'type: RANDOM' makes a password, and this one is not used; leave out one of the two";
        faults.push(Severity::Desk, password.place, message);
    }
    if !is_random && spec.get("password").is_none() {
        faults.push(Severity::Error, spec.place, "'password' is missing; give it, or 'type: RANDOM'");
        return false;
    }
    true
}

static WIREGUARD: &[Key] = &[
    Key::new("interfaces", Kind::Count(&Kind::Map(TUNNEL, Some(tunnel)), 1, usize::MAX), "the tunnels").required(),
    Key::new("readinessprobe", LIST, "").verdict(Verdict::Recorded),
];

static TUNNEL: &[Key] = &[
    Key::new("name", Kind::Text(crate::network::device::link_name), "the name of the link").required(),
    Key::new("config_path", Kind::Text(rules::path), "where it is written, too; /etc/wireguard/NAME.conf without it"),
    Key::new("content", Kind::Text(rules::any), "the file that wg-quick would read, without its commands").required(),
];

fn tunnel(spec: &Node, faults: &mut Faults) -> bool {
    let text = |key: &str| spec.get(key).and_then(Node::text).unwrap_or_default();
    let place = spec.get("content").map_or(spec.place, |node| node.place);
    if let Err(message) = crate::network::wireguard::quick(text("name"), text("content"), place) {
        faults.push(Severity::Warning, place, format!("{message}; the file is written, the tunnel is not made"));
    }
    true
}

static PHONE_HOME: &[Key] = &[
    Key::new("url", Kind::Text(rules::line), "where to").required(),
    Key::new(
        "post",
        Kind::OneOf(&[Kind::Words(&["all"]), Kind::List(&Kind::Words(&crate::plan_late::REPORTED))], "'all' or a list"),
        "what to send; all without it",
    ),
    Key::new("tries", Kind::Int, "how often to try"),
];

static VENDOR_DATA: &[Key] = &[
    Key::new("enabled", Kind::OneOf(&[Kind::Bool, TEXT], "true or false"), "whether it applies; true without it"),
    Key::new("prefix", Kind::OneOf(&[TEXT, Kind::List(&LINE)], "text or a list of texts"), "in front of its scripts"),
];

fn passwords(text: &str) -> Result<(), String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.all(|line| line.split_once(':').is_some_and(|(name, _)| !name.is_empty())) {
        true => Ok(()),
        false => Err("each line must be a name, ':' and a password".into()),
    }
}

fn delay(text: &str) -> Result<(), String> {
    let minutes = text.strip_prefix('+').unwrap_or(text);
    if text == "now" || !minutes.is_empty() && minutes.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(format!("'{}' must be 'now' or minutes such as '+5'", crate::check::short(text)))
}
