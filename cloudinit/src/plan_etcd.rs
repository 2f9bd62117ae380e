//! Options of etcd 0.4 and etcd 2 as the etcd of the image, which is 3.5, reads them. Pure.

/// Options of etcd 2 that etcd 3.5 does not have, with what to know about it.
pub(crate) const LOST: [(&str, &str); 11] = [
    ("ca_file", "use 'trusted-ca-file' and 'client-cert-auth'"),
    ("peer_ca_file", "use 'peer-trusted-ca-file' and 'peer-client-cert-auth'"),
    ("log_package_levels", "use 'debug: true' for more lines"),
    ("discovery_fallback", "there are no proxies to fall back to"),
    ("discovery_proxy", "the discovery service is asked directly"),
    ("proxy", "run 'etcd grpc-proxy' as a unit of your own"),
    ("proxy_dial_timeout", "there are no proxies"),
    ("proxy_failure_wait", "there are no proxies"),
    ("proxy_read_timeout", "there are no proxies"),
    ("proxy_refresh_interval", "there are no proxies"),
    ("proxy_write_timeout", "there are no proxies"),
];

/// What an option of etcd 0.4 is to etcd 3.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Today {
    /// These variables, with the address as a URL.
    Urls(&'static [&'static str]),
    /// This variable, with the value as it is.
    Same(&'static str),
    /// More lines in the log.
    Debug,
    /// Nothing; what to do instead.
    Lost(&'static str),
}

/// The options of etcd 0.4 that etcd 3.5 knows by another name or not at all. Where an address is listened on is said
/// by `bind-addr`, and without it by `addr`.
pub(crate) const OLD: [(&str, Today); 24] = [
    ("addr", Today::Urls(&["ETCD_ADVERTISE_CLIENT_URLS"])),
    ("bind_addr", Today::Urls(&["ETCD_LISTEN_CLIENT_URLS"])),
    ("peer_addr", Today::Urls(&["ETCD_INITIAL_ADVERTISE_PEER_URLS"])),
    ("peer_bind_addr", Today::Urls(&["ETCD_LISTEN_PEER_URLS"])),
    ("peer_election_timeout", Today::Same("ETCD_ELECTION_TIMEOUT")),
    ("peer_heartbeat_interval", Today::Same("ETCD_HEARTBEAT_INTERVAL")),
    ("snapshot_count", Today::Same("ETCD_SNAPSHOT_COUNT")),
    ("verbose", Today::Debug),
    ("very_verbose", Today::Debug),
    ("very_very_verbose", Today::Debug),
    ("ca_file", Today::Lost("use 'trusted-ca-file' and 'client-cert-auth' of 'etcd2'")),
    ("peer_ca_file", Today::Lost("use 'peer-trusted-ca-file' and 'peer-client-cert-auth' of 'etcd2'")),
    ("peers", Today::Lost("name the members in 'initial-cluster'")),
    ("peers_file", Today::Lost("name the members in 'initial-cluster'")),
    ("cluster_active_size", Today::Lost("every member is an active one")),
    ("cluster_remove_delay", Today::Lost("remove a member with 'etcdctl member remove'")),
    ("cluster_sync_interval", Today::Lost("there are no standby members")),
    ("cpu_profile_file", Today::Lost("use 'enable-pprof' of 'etcd2'")),
    ("graphite_host", Today::Lost("the metrics are at /metrics")),
    ("http_read_timeout", Today::Lost("there is no such limit")),
    ("http_write_timeout", Today::Lost("there is no such limit")),
    ("max_result_buffer", Today::Lost("there is no such limit")),
    ("max_retry_attempts", Today::Lost("a member tries until it is there")),
    ("retry_interval", Today::Lost("a member tries until it is there")),
];

/// Options by name.
pub(crate) type Options = [(&'static str, String)];

/// Lines of an environment, and warnings about what is lost.
pub(crate) type Translated = (Vec<(String, String)>, Vec<String>);

/// Options of etcd 2 for etcd 3.5; all others have the same names.
pub(crate) fn of_etcd2(options: &Options) -> Translated {
    let (mut lines, mut warnings) = (Vec::new(), Vec::new());
    for (name, value) in options {
        let lost = LOST.iter().find(|(lost, _)| lost == name);
        match (lost, *name) {
            // What was turned off is not missed.
            (Some(_), _) if matches!(value.as_str(), "off" | "false") => {}
            (Some((_, instead)), _) => warnings.push(warning("etcd2", name, instead)),
            (None, "debug") => lines.push(level(value)),
            (None, _) => lines.push((crate::keys_coreos::variable("etcd2", name), value.clone())),
        }
    }
    (lines, warnings)
}

/// What etcd 3.5 needs besides the options of `etcd` as they are.
pub(crate) fn of_etcd(options: &Options) -> Translated {
    let (mut lines, mut warnings) = (Vec::<(String, String)>::new(), Vec::new());
    let get = |wanted: &str| options.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    let scheme = |name: &str| {
        let certificate = if name.starts_with("peer") { "peer_cert_file" } else { "cert_file" };
        if get(certificate).is_some() { "https" } else { "http" }
    };
    for (name, today) in OLD {
        let Some(value) = get(name) else {
            continue;
        };
        match today {
            Today::Urls(variables) => {
                let url = if value.contains("://") { value.to_string() } else { format!("{}://{value}", scheme(name)) };
                lines.extend(variables.iter().map(|variable| ((*variable).to_string(), url.clone())));
                let (listened, variable) = match name {
                    "addr" => ("bind_addr", "ETCD_LISTEN_CLIENT_URLS"),
                    "peer_addr" => ("peer_bind_addr", "ETCD_LISTEN_PEER_URLS"),
                    _ => continue,
                };
                if get(listened).is_none() {
                    lines.push((variable.into(), url));
                }
            }
            Today::Same(variable) => lines.push((variable.into(), value.into())),
            Today::Debug if value == "true" => lines.push(level(value)),
            Today::Debug => {}
            Today::Lost(instead) => warnings.push(warning("etcd", name, instead)),
        }
    }
    lines.dedup();
    (lines, warnings)
}

fn level(debug: &str) -> (String, String) {
    ("ETCD_LOG_LEVEL".into(), if debug == "true" { "debug" } else { "info" }.into())
}

fn warning(section: &str, name: &str, instead: &str) -> String {
    format!("coreos.{section}.{} has no effect on etcd 3.5: {instead}", name.replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines((lines, _): Translated) -> Vec<String> {
        lines.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn addresses_of_etcd_0_4_become_urls_that_are_listened_on() {
        let options = [("addr", "10.0.0.1:4001".to_string()), ("peer_addr", "10.0.0.1:7001".to_string())];
        let expected = [
            "ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:4001",
            "ETCD_LISTEN_CLIENT_URLS=http://10.0.0.1:4001",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.1:7001",
            "ETCD_LISTEN_PEER_URLS=http://10.0.0.1:7001",
        ];
        assert_eq!(lines(of_etcd(&options)), expected);
        let options =
            [("addr", "a:1".to_string()), ("bind_addr", "0.0.0.0:1".to_string()), ("cert_file", "/c.pem".to_string())];
        let expected = ["ETCD_ADVERTISE_CLIENT_URLS=https://a:1", "ETCD_LISTEN_CLIENT_URLS=https://0.0.0.0:1"];
        assert_eq!(lines(of_etcd(&options)), expected);
    }

    #[test]
    fn what_etcd_3_5_has_not_is_said() {
        let options = [("peers", "a:1,b:1".to_string()), ("very_verbose", "true".into()), ("verbose", "true".into())];
        let (found, warnings) = of_etcd(&options);
        assert_eq!(found, [("ETCD_LOG_LEVEL".to_string(), "debug".to_string())]);
        assert_eq!(warnings, ["coreos.etcd.peers has no effect on etcd 3.5: name the members in 'initial-cluster'"]);
        let (found, warnings) =
            of_etcd2(&[("proxy", "off".to_string()), ("name", "n".into()), ("ca_file", "/c".into())]);
        assert_eq!((found, warnings.len()), (vec![("ETCD_NAME".to_string(), "n".to_string())], 1));
    }

    #[test]
    fn every_old_option_is_one_of_the_language() {
        let known = |section: &str, name: &str| crate::keys_coreos::options(section).iter().any(|key| key.name == name);
        assert!(OLD.iter().all(|(name, _)| known("etcd", name)) && LOST.iter().all(|(name, _)| known("etcd2", name)));
    }
}
