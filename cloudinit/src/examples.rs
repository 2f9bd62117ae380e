//! An example of every key, for `explain` and docs/cloud-config.md. Pure; the test checks each against its key.

use crate::language::{Key, Kind};

const KEYS: &str = "[ssh-ed25519 AAAA... you@laptop]";
const HASH: &str = "$6$salt$hash";

/// Examples by the path of their key, where the language has none beside the key.
const EXAMPLES: &[(&str, &str)] = &[
    ("user", "{name: admin, shell: /bin/bash}"),
    ("bootcmd", "[[modprobe, wireguard]]"),
    ("coreos", "{update: {reboot-strategy: reboot}}"),
    ("coreos.units.name", "web.service"),
    ("coreos.units.content", "\"[Service]\\nExecStart=/opt/web\\n\""),
    ("coreos.units.drop_ins", "[{name: 10-more.conf, content: \"[Service]\\nNice=5\\n\"}]"),
    ("coreos.units.drop_ins.name", "10-more.conf"),
    ("coreos.units.drop_ins.content", "\"[Service]\\nNice=5\\n\""),
    ("coreos.update.group", "stable"),
    ("coreos.update.server", "https://updates.example.com/"),
    ("coreos.etcd", "{name: n1, addr: '$private_ipv4:4001'}"),
    ("coreos.flannel", "{interface: $private_ipv4}"),
    ("coreos.oem", "{id: mine, name: My image, version-id: '1.2'}"),
    ("ssh_keys", "{ed25519_private: ..., ed25519_public: ...}"),
    ("ssh_genkeytypes", "[ed25519, rsa]"),
    ("disable_root_opts", "no-pty,command=\"echo no\""),
    ("ssh_import_id", "[gh:alice]"),
    ("ssh_publish_hostkeys", "{enabled: false}"),
    ("ssh_publish_hostkeys.blacklist", "[rsa]"),
    ("chpasswd", "{expire: false, users: [{name: core, password: $6$salt$hash}]}"),
    ("chpasswd.users", "[{name: core, type: RANDOM}]"),
    ("chpasswd.users.name", "core"),
    ("chpasswd.users.password", HASH),
    ("chpasswd.list", "[core:$6$salt$hash]"),
    ("password", HASH),
    ("mount_default_fields", "[~, ~, auto, 'defaults,nofail', '0', '2']"),
    ("swap.filename", "/var/swapfile"),
    ("swap.size", "512M"),
    ("swap.maxsize", "2G"),
    ("disk_setup.layout", "[50, [50, 82]]"),
    ("fs_setup.label", "data"),
    ("fs_setup.filesystem", "ext4"),
    ("fs_setup.device", "/dev/vdb"),
    ("fs_setup.partition", "1"),
    ("fs_setup.replace_fs", "ntfs"),
    ("fs_setup.extra_opts", "[-m, '0']"),
    ("fs_setup.cmd", "mkfs -t %(filesystem)s -L %(label)s %(device)s"),
    ("device_aliases", "{data: /dev/vdb}"),
    ("growpart", "{mode: 'off'}"),
    ("growpart.mode", "'off'"),
    ("growpart.devices", "[/]"),
    ("ca_certs.trusted", "- the lines of the certificate"),
    ("ntp.servers", "[ntp.example.com]"),
    ("ntp.pools", "[pool.example.com]"),
    ("ntp.peers", "[10.0.0.2]"),
    ("ntp.allow", "[10.0.0.0/8]"),
    ("ntp.ntp_client", "systemd-timesyncd"),
    ("ntp.config", "{service_name: ntp}"),
    ("ntp.config.confpath", "/etc/ntp.conf"),
    ("ntp.config.check_exe", "ntpd"),
    ("ntp.config.packages", "[ntp]"),
    ("ntp.config.service_name", "ntp"),
    ("ntp.config.template", "server {{ servers[0] }}"),
    ("locale_configfile", "/etc/locale.conf"),
    ("keyboard", "{layout: de}"),
    ("keyboard.layout", "de"),
    ("keyboard.model", "pc105"),
    ("keyboard.variant", "nodeadkeys"),
    ("keyboard.options", "compose:menu"),
    ("random_seed", "{data: c2VlZA==, encoding: b64}"),
    ("random_seed.file", "/dev/urandom"),
    ("random_seed.data", "c2VlZA=="),
    ("random_seed.command", "[pollinate]"),
    ("resolv_conf", "{nameservers: [10.0.0.53]}"),
    ("resolv_conf.nameservers", "[10.0.0.53]"),
    ("resolv_conf.searchdomains", "[example.com]"),
    ("resolv_conf.domain", "example.com"),
    ("resolv_conf.sortlist", "[10.0.0.0/255.0.0.0]"),
    ("resolv_conf.options", "{rotate: true, timeout: 1}"),
    ("power_state", "{mode: reboot, delay: now, condition: test -e /run/reboot}"),
    ("power_state.delay", "+5"),
    ("power_state.message", "rebooting into the new kernel"),
    ("power_state.condition", "test -e /run/reboot"),
    ("final_message", "up after $UPTIME seconds"),
    ("phone_home", "{url: 'https://example.com/$INSTANCE_ID/', post: [hostname]}"),
    ("phone_home.url", "https://example.com/$INSTANCE_ID/"),
    ("phone_home.post", "[hostname, pub_key_ed25519]"),
    ("output", "{all: '| tee -a /var/log/cloud-init-output.log'}"),
    ("output.all", "/var/log/cloud-init-output.log"),
    ("output.init", "/var/log/cloud-init-output.log"),
    ("output.config", "/var/log/cloud-init-output.log"),
    ("output.final", "/var/log/cloud-init-output.log"),
    ("reporting", "{logs: {type: log}}"),
    ("reporting.endpoint", "https://example.com/"),
    ("reporting.timeout", "5"),
    ("reporting.retries", "3"),
    ("reporting.consumer_key", "text"),
    ("reporting.token_key", "text"),
    ("reporting.token_secret", "text"),
    ("reporting.consumer_secret", "text"),
    ("reporting.kvp_file_path", "/var/lib/hyperv/.kvp_pool_1"),
    ("reporting.event_types", "[start]"),
    ("wireguard.interfaces", "[{name: wg0, content: ...}]"),
    ("wireguard.interfaces.name", "wg0"),
    ("wireguard.interfaces.config_path", "/etc/wireguard/wg0.conf"),
    ("wireguard.interfaces.content", "\"[Interface]\\nPrivateKey = ...\\n\""),
    ("wireguard.readinessprobe", "[ping -c 1 10.0.0.1]"),
    ("rsyslog", "{remotes: {central: '10.0.0.9:514'}}"),
    ("rsyslog.remotes", "{central: '10.0.0.9:514'}"),
    ("rsyslog.configs", "['*.* @10.0.0.9']"),
    ("rsyslog.configs.content", "'*.* @10.0.0.9'"),
    ("rsyslog.configs.filename", "10-central.conf"),
    ("rsyslog.config_dir", "/etc/rsyslog.d"),
    ("rsyslog.config_filename", "20-cloud-config.conf"),
    ("rsyslog.service_reload_command", "auto"),
    ("rsyslog.check_exe", "rsyslogd"),
    ("rsyslog.packages", "[rsyslog]"),
    ("ssh", "{emit_keys_to_console: false}"),
    ("authkey_hash", "sha256"),
    ("ssh_key_console_blacklist", "[ssh-rsa]"),
    ("ssh_fp_console_blacklist", "[ssh-rsa]"),
    ("updates", "{network: {when: [boot]}}"),
    ("updates.network", "{when: [boot]}"),
    ("updates.network.when", "[boot]"),
    ("vendor_data", "{enabled: false}"),
    ("vendor_data.enabled", "false"),
    ("vendor_data.prefix", "[/usr/bin/nice]"),
    ("merge_how", "list(append)+dict(recurse_array)+str()"),
    ("merge_type", "list(append)+dict(recurse_array)+str()"),
    ("write_files.path", "/etc/motd"),
    ("write_files.content", "\"hello\\n\""),
    ("write_files.owner", "root:adm"),
    ("write_files.source", "{uri: 'https://example.com/motd'}"),
    ("write_files.source.uri", "https://example.com/motd"),
    ("write_files.source.headers", "{Authorization: Basic ...}"),
    ("users.name", "alice"),
    ("users.gecos", "Alice Example"),
    ("users.homedir", "/home/alice"),
    ("users.primary_group", "users"),
    ("users.groups", "[sudo, docker]"),
    ("users.uid", "2001"),
    ("users.shell", "/bin/bash"),
    ("users.expiredate", "'2030-12-31'"),
    ("users.inactive", "'30'"),
    ("users.passwd", HASH),
    ("users.hashed_passwd", HASH),
    ("users.plain_text_passwd", "a long one"),
    ("users.sudo", "ALL=(ALL) NOPASSWD:ALL"),
    ("users.ssh_authorized_keys", KEYS),
    ("users.ssh_import_id", "[gh:alice]"),
    ("users.selinux_user", "staff_u"),
];

/// The example of a key; a truth value and a word explain themselves.
pub(crate) fn of(path: &str, key: &Key) -> Option<String> {
    let path = path.replace('-', "_");
    let path = path.strip_prefix("user.").map_or(path.clone(), |rest| format!("users.{rest}"));
    if !key.example.is_empty() {
        return Some(key.example.to_string());
    }
    if let Some((_, text)) = EXAMPLES.iter().find(|(known, _)| *known == path) {
        return Some((*text).to_string());
    }
    if path.starts_with("ssh_keys.") {
        return Some("...".into());
    }
    by_kind(&key.kind)
}

fn by_kind(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Bool => Some("true".into()),
        Kind::Int => Some("3".into()),
        Kind::Mode => Some("'0644'".into()),
        Kind::Words(words) => {
            let word = words.first()?;
            Some(if crate::document::truth(word).is_some() { format!("'{word}'") } else { (*word).to_string() })
        }
        Kind::OneOf(kinds, _) => kinds.iter().find_map(by_kind),
        Kind::Text(_)
        | Kind::Scalar(_)
        | Kind::Bytes
        | Kind::List(_)
        | Kind::Count(..)
        | Kind::Map(..)
        | Kind::Table(_)
        | Kind::Null
        | Kind::Any => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::children;
    use crate::fault::Faults;
    use crate::keys_cloud::CONFIG;
    use crate::language::Verdict;

    const PEM: &str = "\"-----BEGIN CERTIFICATE-----\\nMIIB...\\n-----END CERTIFICATE-----\\n\"";
    const KEY: &str = "ssh-ed25519 AAAA... you@laptop";

    /// Every key below, but the options of the programs of CoreOS, whose names say what they are.
    fn walk(keys: &'static [Key], above: &str, seen: &mut Vec<(String, &'static Key)>) {
        for key in keys {
            let path = if above.is_empty() { key.name.to_string() } else { format!("{above}.{}", key.name) };
            let is_options = above == "coreos" && !["units", "update"].contains(&key.name);
            if !is_options {
                walk(children(&key.kind), &path, seen);
            }
            seen.push((path, key));
        }
    }

    #[test]
    fn every_key_has_an_example_that_it_accepts() {
        let mut seen = Vec::new();
        walk(CONFIG, "", &mut seen);
        let mut wrong = Vec::new();
        for (path, key) in &seen {
            if matches!(key.verdict, Verdict::NoMeaning | Verdict::Refused(_)) || matches!(key.kind, Kind::Any) {
                continue;
            }
            let Some(example) = of(path, key) else {
                wrong.push(format!("{path} has no example"));
                continue;
            };
            // What is cut short for people is whole for the check.
            let whole = example
                .replace(KEY, crate::keys::SAMPLE)
                .replace("- the lines of the certificate", &format!("[{PEM}]"));
            let mut faults = Faults::default();
            let node = crate::document::parse(&whole, &mut faults).unwrap_or_else(|| panic!("{path}: {faults}"));
            let kept = crate::check::check(key.name, &node, &key.kind, &mut faults);
            let errors = faults.0.iter().any(|fault| fault.word() == "error");
            let is_shown = whole.contains("...");
            if (kept.is_none() || errors) && !is_shown {
                wrong.push(format!("{path}: {whole}: {faults}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for (path, _) in EXAMPLES {
            assert!(seen.iter().any(|(known, _)| known == path), "{path} is not a key");
        }
    }
}
