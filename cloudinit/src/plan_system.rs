//! The name of the machine and its settings: hosts, time, locale, SSH, certificates, mounts and swap. Pure.

use ferrite_trust::AUTHORITIES;

use crate::config::{says, words};
use crate::decode::{self, Encoding};
use crate::document::{Node, Value};
use crate::hostname::HostName;
use crate::plan::{Action, Command, Frequency, Planner, Stage, Step};
use crate::plan_instance::MACHINE_ID;

const HOSTS: &str = "/etc/hosts";
/// Names that mean that nobody chose one.
const NO_NAMES: [&str; 4] = ["", "(none)", "localhost", "localhost.localdomain"];
/// The kinds of host keys that the machine makes, when they are not the usual ones.
const HOST_KEY_KINDS: &str = "/etc/ferrite/ssh-host-key-kinds";
/// Keys that are only recorded.
const RECORDED: [&str; 4] = ["ssh_import_id", "reporting", "disable_ec2_metadata", "updates"];

/// What the documents and the meta-data call the machine.
struct Names {
    /// Without a domain, unless somebody gave both and this one has dots.
    short: String,
    /// With the domain, as far as it is known.
    long: String,
    /// The one that it gets.
    name: String,
}

/// The names that are asked for. A name with dots gives both; the domain is the user's, then the cloud's.
fn names(planner: &Planner<'_>) -> Option<Names> {
    let root = &planner.config.root;
    let text = |key: &str| root.get(key).and_then(Node::text).map(|name| name.trim_end_matches('.').to_string());
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_string();
    let of_cloud = planner.meta.full_name.clone();
    let (short, long, is_chosen) = match (text("hostname"), text("fqdn")) {
        (hostname, Some(fqdn)) => (hostname.unwrap_or_else(|| first(&fqdn)), fqdn, true),
        (Some(hostname), None) if hostname.contains('.') => (first(&hostname), hostname, true),
        (Some(hostname), None) => (hostname.clone(), of_cloud.unwrap_or(hostname), false),
        (None, None) => of_cloud.map(|name| (first(&name), name, true))?,
    };
    let prefers_long = is_chosen && says(root, "prefer_fqdn_over_hostname") == Some(true);
    let name = if prefers_long { long.clone() } else { short.clone() };
    Some(Names { short, long, name })
}

/// Plans the name of the machine.
pub(crate) fn hostname(planner: &mut Planner<'_>) {
    let root = &planner.config.root;
    let of_file = planner.facts.text("/etc/hostname");
    let of_file = of_file.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    // The cloud's name comes first of all, so that there is one for these two keys to keep.
    let of_cloud = planner.meta.full_name.as_ref().map(|name| name.split('.').next().unwrap_or_default().to_string());
    let wanted = match says(root, "preserve_hostname") {
        Some(true) => of_cloud.clone().filter(|_| of_file.is_none()),
        _ => names(planner).map(|names| names.name),
    };
    if let Some(name) = wanted {
        let may_make = says(root, "create_hostname_file") != Some(false) || of_file.is_some() || of_cloud.is_some();
        if may_make && of_file != Some(name.as_str()) {
            planner.file("/etc/hostname", format!("{name}\n"), 0o644, &name);
        }
        planner.plan.steps.push(Step::Hostname { name: name.clone() });
        planner.plan.hostname = name;
        return;
    }
    // A name that a person wrote by hand and that we would not accept is theirs to keep.
    let chosen = of_file.and_then(|text| HostName::parse(text).ok());
    let id = planner.content(MACHINE_ID).map(|id| String::from_utf8_lossy(id).into_owned()).unwrap_or_default();
    let id_before = planner.facts.text(MACHINE_ID);
    // A name that only the machine id gave goes with it.
    let is_old = |known: &str| id != id_before && known == HostName::default_of(&id_before).as_str();
    let nameless =
        planner.facts.kernel_hostname.as_deref().is_some_and(|known| NO_NAMES.contains(&known) || is_old(known));
    let name = chosen.unwrap_or_else(|| HostName::default_of(&id));
    if nameless {
        planner.plan.steps.push(Step::Hostname { name: name.as_str().to_string() });
    }
    let kernel = planner.facts.kernel_hostname.clone().filter(|_| !nameless);
    planner.plan.hostname = kernel.unwrap_or_else(|| name.as_str().to_string());
}

/// Plans the settings.
pub(crate) fn settings(planner: &mut Planner<'_>) {
    hosts(planner);
    time(planner);
    locale(planner);
    ssh(planner);
    certificates(planner);
    fstab(planner);
    resolver(planner);
    seed(planner);
    let root = &planner.config.root;
    for key in RECORDED.iter().filter(|key| root.get(key).is_some()) {
        planner.plan.unsupported.push((*key).to_string());
    }
}

/// localhost stays, whatever the old tools did.
fn hosts(planner: &mut Planner<'_>) {
    let Some(how) = planner.config.root.get("manage_etc_hosts") else {
        return;
    };
    if how.text().and_then(crate::document::truth) == Some(false) {
        return;
    }
    let hostname = planner.plan.hostname.clone();
    let (long, hostname) = names(planner).map_or((hostname.clone(), hostname), |names| (names.long, names.short));
    let text = if how.text() == Some("localhost") {
        let old = planner.facts.text(HOSTS);
        let mut lines: Vec<String> = old
            .lines()
            .filter(|line| line.split_whitespace().next() != Some("127.0.1.1"))
            .map(|line| {
                if line.trim_start().starts_with('#') || line.trim().is_empty() {
                    return line.to_string();
                }
                line.split_whitespace().collect::<Vec<_>>().join("\t")
            })
            .collect();
        if !lines.iter().any(|line| line.starts_with("127.0.0.1\t")) {
            lines.insert(0, "127.0.0.1\tlocalhost".into());
        }
        lines.push(format!("127.0.1.1\t{long}\t{hostname}"));
        lines.join("\n") + "\n"
    } else {
        format!(
            "# Written by ferrite-cloudinit at every boot, because of manage_etc_hosts\n127.0.1.1 {long} {hostname}\n\
             127.0.0.1 localhost\n\n::1 localhost ip6-localhost ip6-loopback\nff02::1 ip6-allnodes\n\
             ff02::2 ip6-allrouters\n"
        )
    };
    planner.file(HOSTS, text, 0o644, "manage_etc_hosts");
}

fn time(planner: &mut Planner<'_>) {
    if let Some(zone) = planner.config.root.get("timezone").and_then(Node::text) {
        let target = format!("/usr/share/zoneinfo/{zone}");
        planner.plan.steps.push(Step::Link { path: "/etc/localtime".into(), target });
    }
    let Some(ntp) = planner.config.root.get("ntp") else {
        return;
    };
    if says(ntp, "enabled") == Some(false) {
        return;
    }
    const HEAD: &str = "# Written by ferrite-cloudinit at every boot\n";
    let servers: Vec<String> = words(ntp.get("servers")).into_iter().chain(words(ntp.get("pools"))).collect();
    let lines = |word: &str, of: &str| words(ntp.get(of)).iter().map(|name| format!("{word} {name}\n")).collect();
    let (peers, allowed): (String, String) = (lines("peer", "peers"), lines("allow", "allow"));
    if servers.is_empty() && peers.is_empty() && allowed.is_empty() {
        return;
    }
    if !servers.is_empty() {
        let text = format!("{HEAD}[Time]\nNTP={}\n", servers.join(" "));
        planner.file("/etc/systemd/timesyncd.conf.d/cloud-init.conf", text, 0o644, "ntp");
    }
    if !peers.is_empty() {
        planner.file("/etc/chrony/sources.d/cloud-init.sources", format!("{HEAD}{peers}"), 0o644, "ntp.peers");
    }
    if !allowed.is_empty() {
        let text = format!("{HEAD}# The machine serves the time to these.\nport 123\n{allowed}");
        planner.file("/etc/chrony/conf.d/50-cloud-init.conf", text, 0o644, "ntp.allow");
    }
    planner.systemctl(&["try-restart", "systemd-timesyncd.service"]);
}

fn locale(planner: &mut Planner<'_>) {
    let root = &planner.config.root;
    if let Some(locale) = root.get("locale").filter(|node| node.truth().is_none()).and_then(Node::text) {
        let path = root.get("locale_configfile").and_then(Node::text).unwrap_or("/etc/locale.conf").to_string();
        planner.file(&path, format!("LANG={locale}\n"), 0o644, "locale");
    }
    let Some(keyboard) = planner.config.root.get("keyboard") else {
        return;
    };
    let text = |key: &str, default: &str| keyboard.get(key).and_then(Node::text).unwrap_or(default).to_string();
    let lines = format!(
        "# Written by ferrite-cloudinit at every boot\nXKBLAYOUT=\"{}\"\nXKBMODEL=\"{}\"\n\
         XKBVARIANT=\"{}\"\nXKBOPTIONS=\"{}\"\nBACKSPACE=\"guess\"\n",
        text("layout", "us"),
        text("model", "pc105"),
        text("variant", ""),
        text("options", "")
    );
    planner.file("/etc/default/keyboard", lines, 0o644, "keyboard");
}

fn ssh(planner: &mut Planner<'_>) {
    let root = planner.config.root.clone();
    let answer = match root.get("ssh_pwauth") {
        Some(node) => node.truth().or_else(|| node.text().and_then(crate::document::truth)),
        None => None,
    };
    if let Some(answer) = answer {
        let line = format!("PasswordAuthentication {}\n", if answer { "yes" } else { "no" });
        planner.file("/etc/ssh/sshd_config.d/50-cloud-init.conf", line, 0o600, "ssh_pwauth");
    }
    if let Some(kinds) = root.get("ssh_genkeytypes").map(|kinds| words(Some(kinds))).filter(|kinds| !kinds.is_empty()) {
        planner.file(HOST_KEY_KINDS, kinds.join("\n") + "\n", 0o644, "ssh_genkeytypes");
    }
    let Some(keys) = root.get("ssh_keys") else {
        return;
    };
    let mut certificates = String::new();
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let base = format!("/etc/ssh/ssh_host_{kind}_key");
        let text = |what: &str| keys.get(&format!("{kind}_{what}")).and_then(Node::text).map(str::to_string);
        let lined = |text: String| if text.ends_with('\n') { text } else { text + "\n" };
        if let Some(text) = text("private") {
            planner.file(&base, lined(text), 0o600, "ssh_keys, a private key");
        }
        if let Some(text) = text("public") {
            planner.file(&format!("{base}.pub"), lined(text), 0o644, "ssh_keys");
        }
        if let Some(text) = text("certificate") {
            planner.file(&format!("{base}-cert.pub"), lined(text), 0o644, "ssh_keys");
            certificates.push_str(&format!("HostCertificate {base}-cert.pub\n"));
        }
    }
    if !certificates.is_empty() {
        planner.file("/etc/ssh/sshd_config.d/50-cloud-init-certificates.conf", certificates, 0o600, "ssh_keys");
    }
}

/// The image cannot change below /usr, so that certificates go to /etc and to the bundle that programs read.
fn certificates(planner: &mut Planner<'_>) {
    let Some(spec) = planner.config.root.get("ca_certs") else {
        return;
    };
    let mut bundle = planner.content(AUTHORITIES).map(<[u8]>::to_vec).unwrap_or_default();
    let before = bundle.clone();
    if says(spec, "remove_defaults") == Some(true) {
        bundle.clear();
    }
    let trusted = spec.get("trusted").map(Node::items).unwrap_or_default();
    for (number, text) in (1..).zip(trusted.iter().filter_map(Node::text)) {
        let pem = format!("{}\n", text.trim());
        let is_there = bundle.windows(pem.len()).any(|window| window == pem.as_bytes());
        if !is_there {
            bundle.extend_from_slice(pem.as_bytes());
        }
        let path = format!("/etc/ssl/certs/cloud-init-ca-cert-{number}.pem");
        planner.file(&path, pem, 0o644, "ca_certs");
    }
    if bundle != before {
        planner.file(AUTHORITIES, bundle, 0o644, "ca_certs, the bundle");
    }
}

const DEFAULT_FIELDS: [Option<&str>; 6] = [None, None, Some("auto"), Some("defaults,nofail"), Some("0"), Some("2")];

fn fstab(planner: &mut Planner<'_>) {
    let root = planner.config.root.clone();
    let (mounts, swap) = (root.get("mounts"), root.get("swap"));
    if mounts.is_none() && swap.is_none() {
        return;
    }
    let is_word = |text: &str| !matches!(text, "None" | "none" | "null" | "");
    let field = |node: Option<&Node>| node.and_then(Node::text).filter(|text| *text != "None").map(str::to_string);
    let defaults: Vec<Option<String>> = match root.get("mount_default_fields") {
        Some(node) => (0..6).map(|index| field(node.items().get(index))).collect(),
        None => DEFAULT_FIELDS.iter().map(|field| field.map(str::to_string)).collect(),
    };
    let before =
        planner.content("/etc/fstab").map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let mut lines: Vec<String> =
        before.lines().filter(|line| !line.contains("comment=cloudconfig")).map(str::to_string).collect();
    let mut units = Vec::new();
    for mount in mounts.map(Node::items).unwrap_or_default() {
        let fields: Vec<String> = (0..6)
            .map(|index| field(mount.items().get(index)).or_else(|| defaults.get(index).cloned().flatten()))
            .map(Option::unwrap_or_default)
            .collect();
        let [what, to, kind, options, dump, pass] = fields.as_slice() else {
            continue;
        };
        if !is_word(what) || to.is_empty() {
            continue;
        }
        let what = &aliased(&root, what);
        let to = if to == "none" || to == "swap" || to.starts_with('/') { to.clone() } else { format!("/{to}") };
        let kind = if kind.is_empty() { "auto" } else { kind };
        let options = if options.is_empty() { "defaults,nofail" } else { options };
        let number = |text: &String, default: &str| if text.is_empty() { default.to_string() } else { text.clone() };
        let (dump, pass) = (number(dump, "0"), number(pass, "2"));
        let to_field = to.replace(' ', "\\040");
        lines.push(format!("{}\t{to_field}\t{kind}\t{options},comment=cloudconfig\t{dump}\t{pass}", device(what)));
        if to.starts_with('/') {
            planner.plan.steps.push(Step::MissingFolder { path: crate::plan_files::clean(&to) });
            units.extend(ferrite_unit::escape::escape_path(&to).map(|name| format!("{name}.mount")));
        }
    }
    if let Some(swap) = swap {
        units.extend(swap_file(planner, swap, &mut lines));
    }
    planner.file(
        "/etc/fstab",
        lines.iter().map(|line| format!("{line}\n")).collect::<String>(),
        0o644,
        "mounts and swap",
    );
    planner.systemctl(&["daemon-reload"]);
    for unit in units {
        planner.systemctl(&["start", &unit]);
    }
}

/// A device by its name in `device_aliases`; `data.1` is the first partition of `data`.
fn aliased(root: &Node, what: &str) -> String {
    let path = |name: &str| root.get("device_aliases").and_then(|aliases| aliases.get(name)).and_then(Node::text);
    let (base, part) = match what.rsplit_once('.') {
        Some((base, number)) if number.parse::<u32>().is_ok() && path(base).is_some() => (base, number),
        _ => (what, ""),
    };
    match path(base) {
        Some(disk) if !part.is_empty() && disk.ends_with(|last: char| last.is_ascii_digit()) => {
            format!("{disk}p{part}")
        }
        Some(disk) => format!("{disk}{part}"),
        None => what.to_string(),
    }
}

/// `vdb` means `/dev/vdb`.
fn device(what: &str) -> String {
    let letters = what.trim_end_matches(|character: char| character.is_ascii_digit());
    let disk = letters.strip_prefix('x').unwrap_or(letters).as_bytes();
    let is_disk = matches!(disk, [b's' | b'h' | b'v', b'd', b'a'..=b'z'])
        || letters == "sr"
        || ["nvme", "mmcblk"].iter().any(|start| what.starts_with(start) && !what.contains([':', '/']));
    if is_disk { format!("/dev/{what}") } else { what.replace(' ', "\\040") }
}

/// The line and the commands of the swap file; the unit to start.
fn swap_file(planner: &mut Planner<'_>, swap: &Node, lines: &mut Vec<String>) -> Option<String> {
    let text = |key: &str| swap.get(key).and_then(Node::text);
    let (Some(path), Some(size)) = (text("filename").or(Some("/swap.img")), text("size")) else {
        planner.plan.warnings.push("swap without 'size' makes nothing".into());
        return None;
    };
    if matches!(size, "0" | "false") {
        return None;
    }
    let bytes = match crate::rules::size_bytes(size) {
        Some(bytes) => bytes.to_string(),
        None => text("maxsize").and_then(crate::rules::size_bytes).unwrap_or(1 << 30).to_string(),
    };
    let line = format!("{path}\tnone\tswap\tsw\t0\t0");
    lines.retain(|known| *known != line);
    lines.push(line);
    let quoted = quote(path);
    let shell = format!(
        "test -e {quoted} || {{ umask 077 && mkdir -p \"$(dirname {quoted})\" && fallocate -l {bytes} {quoted} && \
         mkswap {quoted}; }}"
    );
    let make = Command { stage: Stage::Bootcmd, frequency: Frequency::Always, action: Action::Shell(shell) };
    planner.plan.commands.push(make);
    ferrite_unit::escape::escape_path(path).map(|unit| format!("{unit}.swap"))
}

/// A word for the shell.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn resolver(planner: &mut Planner<'_>) {
    let root = &planner.config.root;
    let (Some(spec), true) = (root.get("resolv_conf"), says(root, "manage_resolv_conf") == Some(true)) else {
        return;
    };
    let mut text = String::from("# Written by ferrite-cloudinit at every boot\n");
    for server in words(spec.get("nameservers")) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    let domains = words(spec.get("searchdomains"));
    if !domains.is_empty() {
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    if let Some(domain) = spec.get("domain").and_then(Node::text) {
        text.push_str(&format!("domain {domain}\n"));
    }
    let sorted = words(spec.get("sortlist"));
    if !sorted.is_empty() {
        text.push_str(&format!("sortlist {}\n", sorted.join(" ")));
    }
    let options: Vec<String> =
        spec.get("options").map(Node::pairs).unwrap_or_default().iter().filter_map(option).collect();
    if !options.is_empty() {
        text.push_str(&format!("options {}\n", options.join(" ")));
    }
    planner.file("/etc/resolv.conf", text, 0o644, "resolv_conf");
}

fn option((key, value): &(Node, Node)) -> Option<String> {
    let key = key.text()?;
    match (value.truth(), value.text()) {
        (Some(true), _) => Some(key.to_string()),
        (Some(false), _) | (None, None) => None,
        (None, Some(text)) => Some(format!("{key}:{text}")),
    }
}

fn seed(planner: &mut Planner<'_>) {
    let Some(spec) = planner.config.root.get("random_seed") else {
        return;
    };
    let text = |key: &str| spec.get(key).and_then(Node::text);
    let bytes = match spec.get("data").map(|node| &node.value) {
        Some(Value::Binary(text)) => decode::base64(text.as_bytes()),
        _ => Ok(text("data").unwrap_or_default().as_bytes().to_vec()),
    };
    let encoding = Encoding::parse(text("encoding").unwrap_or_default());
    let bytes = match bytes.and_then(|bytes| decode::decode(&bytes, encoding)) {
        Ok(bytes) if bytes.is_empty() => return,
        Ok(bytes) => bytes,
        Err(message) => return planner.plan.problems.push(format!("random_seed: {message}")),
    };
    match text("file") {
        Some(path) if !path.starts_with("/dev/") => planner.file(path, bytes, 0o644, "random_seed"),
        Some(_) | None => planner.plan.steps.push(Step::Seed { bytes }),
    }
}
