//! What happens when all else is done: the final message, the call home, and where the journal is sent. Pure.

use crate::config::words;
use crate::document::{Node, Value};
use crate::plan::{Action, Command, Frequency, Planner, Stage};

/// This program, for what is left to the late commands.
pub(crate) const PROGRAM: &str = "/usr/lib/ferrite/ferrite-cloudinit";
const SHIP: &str = "/etc/ferrite/journal-ship.conf";
const SHIP_UNIT: &str = "ferrite-journal-ship.service";
/// The port of syslog.
const PORT: u16 = 514;
/// What is sent home.
pub(crate) const REPORTED: [&str; 6] =
    ["pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn"];

/// Plans the end.
pub(crate) fn end(planner: &mut Planner<'_>) {
    rsyslog(planner);
    phone_home(planner);
    let message = planner.config.root.get("final_message").and_then(Node::text).map(str::to_string);
    if let Some(message) = message {
        own(planner, Frequency::Always, vec!["final-message".into(), message]);
    }
}

fn own(planner: &mut Planner<'_>, frequency: Frequency, mut words: Vec<String>) {
    words.insert(0, PROGRAM.into());
    planner.plan.commands.push(Command { stage: Stage::Script, frequency, action: Action::Words(words) });
}

fn phone_home(planner: &mut Planner<'_>) {
    let Some(spec) = planner.config.root.get("phone_home") else {
        return;
    };
    let Some(url) = spec.get("url").and_then(Node::text) else {
        return;
    };
    let instance = planner.meta.instance_id.as_deref().unwrap_or_default();
    let url = url.replace("$INSTANCE_ID", instance).replace("${INSTANCE_ID}", instance);
    let asked = words(spec.get("post"));
    let all = asked.is_empty() || asked.iter().any(|name| name == "all");
    let names: Vec<&str> = REPORTED.into_iter().filter(|name| all || asked.iter().any(|known| known == name)).collect();
    let tries = spec.get("tries").and_then(Node::text).unwrap_or("10");
    let words = ["phone-home", "--tries", tries, "--post", &names.join(","), &url].map(str::to_string);
    own(planner, Frequency::Instance, words.to_vec());
}

/// There is no rsyslog; the first machine that it would send to gets the journal.
fn rsyslog(planner: &mut Planner<'_>) {
    let Some(spec) = planner.config.root.get("rsyslog").cloned() else {
        return;
    };
    let remotes: Vec<&str> = match spec.get("remotes").map(|node| &node.value) {
        Some(Value::Map(pairs)) => pairs.iter().filter_map(|(_, value)| value.text()).collect(),
        _ => Vec::new(),
    };
    let ignored = spec.pairs().iter().filter_map(|(key, _)| key.text()).filter(|key| *key != "remotes");
    let ignored: Vec<&str> = ignored.collect();
    if !ignored.is_empty() {
        let message = format!("rsyslog: the image has no rsyslog, without use: {}", ignored.join(", "));
        planner.plan.warnings.push(message);
    }
    let Some(address) = remotes.first().and_then(|remote| address_of(remote)) else {
        return;
    };
    if remotes.len() > 1 {
        planner.plan.warnings.push(format!("rsyslog: the journal is sent to one machine, {address}"));
    }
    let text = format!("# Written by ferrite-cloudinit, because of rsyslog\n[Ship]\nTo=syslog://{address}\nFrom=end\n");
    planner.file(SHIP, text, 0o644, "rsyslog");
    planner.systemctl(&["restart", SHIP_UNIT]);
}

/// `HOST:PORT` of `[FILTER] [@|@@]HOST[:PORT]`.
fn address_of(remote: &str) -> Option<String> {
    let last = remote.split('#').next().unwrap_or_default().split_whitespace().last()?;
    let host = last.trim_start_matches('@');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    if host.is_empty() || !host.bytes().all(plain) {
        return None;
    }
    let bare_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let has_port = !bare_v6 && host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    Some(match (has_port, bare_v6) {
        (true, _) => host.to_string(),
        (false, true) => format!("[{host}]:{PORT}"),
        (false, false) => format!("{host}:{PORT}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_of_rsyslog_are_hosts_with_ports() {
        for (remote, address) in [
            ("10.0.4.1", Some("10.0.4.1:514")),
            ("*.* @@logs.example.com:10514", Some("logs.example.com:10514")),
            ("@2001:db8::1", Some("[2001:db8::1]:514")),
            ("*.info @[2001:db8::1]:601 # home", Some("[2001:db8::1]:601")),
            ("a/b", None),
            ("", None),
        ] {
            assert_eq!(address_of(remote).as_deref(), address, "{remote}");
        }
    }
}
