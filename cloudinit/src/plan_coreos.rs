//! The `coreos` keys: addresses, updates, options of the cluster's programs, units. Pure.

use crate::config::{Config, says};
use crate::document::Node;
use crate::keys_coreos::{options, variable};
use crate::plan::{Planner, Step};
use crate::plan_etcd;
use crate::rules::NETWORK_SUFFIXES;

const ENVIRONMENT: &str = "/etc/environment";
const DROP_IN: &str = "20-cloudinit.conf";
const UPDATE: &str = "/etc/coreos/update.conf";
const UPDATE_OF_IMAGE: &str = "/usr/share/coreos/update.conf";

/// Plans everything below `coreos`, and the addresses.
pub(crate) fn coreos(planner: &mut Planner<'_>) {
    environment(planner);
    let config: &Config = planner.config;
    let Some(spec) = config.root.get("coreos") else {
        return;
    };
    oem(planner, spec);
    flannel(planner, spec);
    let mut changed = false;
    for (section, unit) in [
        ("etcd", "etcd.service"),
        ("etcd2", "etcd2.service"),
        ("fleet", "fleet.service"),
        ("locksmith", "locksmithd.service"),
    ] {
        changed |= drop_in(planner, spec, section, unit);
    }
    changed |= etcd3(planner, spec);
    units(planner, spec, changed);
    update(planner, spec);
}

/// /etc/environment keeps what is in it.
fn environment(planner: &mut Planner<'_>) {
    let ours = |step: &Step| step.path() == Some(ENVIRONMENT);
    if planner.config.addresses.is_empty() || planner.plan.steps.iter().any(ours) {
        return;
    }
    let mut lines: Vec<String> = planner.facts.text(ENVIRONMENT).lines().map(str::to_string).collect();
    for (name, address) in &planner.config.addresses {
        let key = format!("COREOS_{}=", name.to_ascii_uppercase());
        let line = format!("{key}{address}");
        match lines.iter_mut().find(|known| known.starts_with(&key)) {
            Some(known) => *known = line,
            None => lines.push(line),
        }
    }
    planner.file(ENVIRONMENT, lines.join("\n") + "\n", 0o644, "addresses");
}

fn oem(planner: &mut Planner<'_>, spec: &Node) {
    let Some(oem) = spec.get("oem") else {
        return;
    };
    let text = |key: &str| oem.get(key).and_then(Node::text).unwrap_or_default();
    let lines = format!(
        "ID={}\nVERSION_ID={}\nNAME=\"{}\"\nHOME_URL=\"{}\"\nBUG_REPORT_URL=\"{}\"\n",
        text("id"),
        text("version_id"),
        text("name"),
        text("home_url"),
        text("bug_report_url")
    );
    planner.file("/etc/oem-release", lines, 0o644, "coreos.oem");
}

/// The options of a section as `KEY=VALUE`, in the order of the language.
fn variables(spec: &Node, section: &str) -> Vec<(&'static str, String)> {
    let Some(node) = spec.get(section) else {
        return Vec::new();
    };
    let value = |name: &str| {
        let node = node.get(name)?;
        match node.truth() {
            Some(truth) => Some(truth.to_string()),
            None => node.text().map(str::to_string),
        }
    };
    options(section).iter().filter_map(|key| Some((key.name, value(key.name)?))).collect()
}

fn flannel(planner: &mut Planner<'_>, spec: &Node) {
    let lines: String = variables(spec, "flannel")
        .iter()
        .map(|(name, value)| format!("{}={value}\n", variable("flannel", name)))
        .collect();
    if !lines.is_empty() {
        planner.file("/run/flannel/options.env", lines, 0o644, "coreos.flannel");
    }
}

fn drop_in(planner: &mut Planner<'_>, spec: &Node, section: &str, unit: &str) -> bool {
    let options = variables(spec, section);
    let lines = options.iter().map(|(name, value)| setting(&variable(section, name), value));
    write_drop_in(planner, &format!("{unit}.d/{DROP_IN}"), &lines.collect::<String>(), &format!("coreos.{section}"))
}

fn write_drop_in(planner: &mut Planner<'_>, file: &str, lines: &str, note: &str) -> bool {
    if lines.is_empty() {
        return false;
    }
    let path = format!("/run/systemd/system/{file}");
    planner.file(&path, format!("[Service]\n{lines}"), 0o644, note);
    true
}

/// Quotes and backslashes are escaped; `%` stays, because documents use specifiers such as `%H`.
fn setting(name: &str, value: &str) -> String {
    format!("Environment=\"{name}={}\"\n", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What the etcd of the image, which is 3.5, reads: the options of etcd 2 beside those of etcd2.service, and those of
/// etcd 0.4 that have other names today.
fn etcd3(planner: &mut Planner<'_>, spec: &Node) -> bool {
    let (file, note, (lines, warnings)) = match spec.get("etcd") {
        Some(_) => ("30-etcd3.conf", "coreos.etcd for etcd 3.5", plan_etcd::of_etcd(&variables(spec, "etcd"))),
        None => (DROP_IN, "coreos.etcd2 for etcd 3.5", plan_etcd::of_etcd2(&variables(spec, "etcd2"))),
    };
    planner.plan.warnings.extend(warnings);
    let lines: String = lines.iter().map(|(name, value)| setting(name, value)).collect();
    write_drop_in(planner, &format!("etcd.service.d/{file}"), &lines, note)
}

/// The folder of a unit or of a network file.
fn folder(name: &str, runtime: bool) -> String {
    let is_network = name.rsplit_once('.').is_some_and(|(_, suffix)| NETWORK_SUFFIXES.contains(&suffix));
    let top = if runtime { "/run" } else { "/etc" };
    format!("{top}/systemd/{}", if is_network { "network" } else { "system" })
}

fn units(planner: &mut Planner<'_>, spec: &Node, changed_before: bool) {
    let units = spec.get("units").map(Node::items).unwrap_or_default();
    let mut changed = changed_before;
    let mut network = false;
    let mut enabled: Vec<Vec<String>> = Vec::new();
    for unit in units {
        let name = unit.get("name").and_then(Node::text).unwrap_or_default();
        let runtime = says(unit, "runtime") == Some(true);
        let folder = folder(name, runtime);
        let is_network = folder.ends_with("/network");
        let path = format!("{folder}/{name}");
        for drop_in in unit.get("drop_ins").map(Node::items).unwrap_or_default() {
            let text = |key: &str| drop_in.get(key).and_then(Node::text).unwrap_or_default().to_string();
            if !text("content").is_empty() {
                planner.file(
                    &format!("{path}.d/{}", text("name")),
                    text("content"),
                    0o644,
                    &format!("drop-in of {name}"),
                );
                changed = true;
            }
        }
        if let Some(content) = unit.get("content").and_then(Node::text).filter(|content| !content.is_empty()) {
            planner.file(&path, content, 0o644, &format!("unit {name}"));
            changed = true;
            network |= is_network;
        }
        if says(unit, "mask") == Some(true) {
            planner.plan.steps.push(Step::Link { path, target: "/dev/null".into() });
            changed = true;
        } else if is_masked(planner, &path) {
            planner.plan.steps.push(Step::Unlink { path });
            changed = true;
        }
        if says(unit, "enable") == Some(true) && !is_network {
            let mut words = vec!["enable".to_string()];
            words.extend(runtime.then(|| "--runtime".to_string()));
            words.push(name.to_string());
            enabled.push(words);
        }
    }
    for words in &enabled {
        planner.systemctl(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if changed {
        planner.systemctl(&["daemon-reload"]);
    }
    if network {
        planner.systemctl(&["restart", "systemd-networkd.service"]);
    }
    for unit in units {
        let text = |key: &str| unit.get(key).and_then(Node::text);
        if let (Some(name), Some(command)) = (text("name"), text("command")) {
            planner.systemctl(&[command, name]);
        }
    }
}

fn is_masked(planner: &Planner<'_>, path: &str) -> bool {
    let was_planned = planner.plan.steps.iter().any(|step| step.path() == Some(path));
    let seen = planner.facts.at(path);
    !was_planned && seen.is_some_and(|seen| seen.target.as_deref() == Some("/dev/null"))
}

fn update(planner: &mut Planner<'_>, spec: &Node) {
    let Some(update) = spec.get("update") else {
        return;
    };
    let text = |key: &str| {
        let node = update.get(key)?;
        // `off` without quotes is a truth value of YAML 1.1.
        node.text().map(str::to_string)
    };
    let base = if planner.facts.at(UPDATE).is_some() { UPDATE } else { UPDATE_OF_IMAGE };
    let mut lines: Vec<String> = planner.facts.text(base).lines().map(str::to_string).collect();
    let strategy = text("reboot_strategy");
    for (key, value) in [("GROUP", text("group")), ("REBOOT_STRATEGY", strategy.clone()), ("SERVER", text("server"))] {
        let Some(value) = value else {
            continue;
        };
        let start = format!("{key}=");
        match lines.iter_mut().find(|line| line.starts_with(&start)) {
            Some(line) => *line = format!("{start}{value}"),
            None => lines.push(format!("{start}{value}")),
        }
    }
    planner.file(UPDATE, lines.join("\n") + "\n", 0o644, "coreos.update");
    match strategy.as_deref() {
        Some("off") => {
            let path = "/run/systemd/system/locksmithd.service".to_string();
            planner.plan.steps.push(Step::Link { path, target: "/dev/null".into() });
            planner.systemctl(&["stop", "locksmithd.service"]);
        }
        Some(_) => planner.systemctl(&["restart", "locksmithd.service"]),
        None => {}
    }
    if text("group").is_some() || text("server").is_some() {
        planner.systemctl(&["restart", "update-engine.service"]);
    }
}
