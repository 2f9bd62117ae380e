//! `ferrite-slots confirm`: watches the first start of a slot under test, marks it good or gives it up. Acts.
//!
//! It is the gate itself that restarts the machine: a slot that boots and is of no use would be kept for ever
//! otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use ferrite_control::{Client, Reply, Request as InitRequest, ShutdownAction};
use ferrite_layout::durable::replace_file;
use ferrite_layout::severity::{SEVERITY_PATH, Severity};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::change::{self, Change, Outcome};
use crate::gate::{self, Before, Patience, Seen, Verdict};
use crate::host;
use crate::places::Places;
use crate::protocol::Request;
use crate::talk::Talk;

/// Folders of checks, a file of a later one takes the place of one with the same name.
const FOLDERS: [&str; 2] = ["/usr/lib/ferrite/healthcheck.d", "/etc/ferrite/healthcheck.d"];
/// A check that takes longer has failed.
const CHECK_TIME: Duration = Duration::from_secs(30);
/// From one look to the next.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The target that says which units a boot needs.
const TARGET: &str = "boot-complete.target";
/// What the last good start had.
const LAST_GOOD: &str = "last-good";
/// Kernel settings, and who sets what the administrator wants.
const KERNEL: &str = "/proc/sys/kernel";
const SYSCTL: &str = "/usr/lib/systemd/systemd-sysctl";

/// Whether a failed check costs the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Required,
    Wanted,
}

/// Marks the running slot good as soon as it deserves it. A slot that is good already is not examined.
pub fn confirm(places: &Places) -> anyhow::Result<()> {
    let facts = places.boot().read_facts()?;
    let flags = host::snapshot(places).flags;
    let on_trial = facts.slot.is_some_and(|slot| flags.is_some_and(|flags| !flags.flags(slot).good()));
    if on_trial {
        if let Some(reason) = examine(places) {
            return give_up(places, &reason);
        }
        be_patient(places);
    }
    match change::apply(&places.boot(), &Change::MarkGood)? {
        Outcome::Changed(text) | Outcome::Unchanged(text) => println!("{text}"),
    }
    remember(places)?;
    // An engine that does not run finds out when it starts.
    if let Ok(mut talk) = Talk::connect(&places.socket()) {
        let _ = talk.order(&Request::SlotsChanged);
    }
    Ok(())
}

/// Looks until the slot is good; the reason if it is not.
fn examine(places: &Places) -> Option<String> {
    let (config, _) = host::configuration(places);
    let line = fs::read_to_string(places.path("/proc/cmdline")).unwrap_or_default();
    let patience = Patience {
        settle: seconds(&line, "ferrite.settle").unwrap_or(config.settle),
        timeout: seconds(&line, "ferrite.confirm-timeout").unwrap_or(config.confirm_timeout),
    };
    let before =
        Before { default_route: fs::read_to_string(places.state(LAST_GOOD)).is_ok_and(|text| has_route(&text)) };
    let begin = Instant::now();
    let (mut healthy_since, mut told) = (None, None);
    loop {
        let fault = gate::fault(&look(places), before);
        if fault != told {
            println!("{}", fault.as_deref().map_or("healthy".to_string(), |fault| format!("not healthy: {fault}")));
        }
        match gate::judge(healthy_since, begin.elapsed(), fault.as_deref(), patience) {
            Verdict::Wait(since) => healthy_since = since,
            Verdict::Good => return None,
            Verdict::Bad(reason) => return Some(reason),
        }
        told = fault;
        // Health makes no event: it is what remains when nothing happens.
        std::thread::sleep(LOOK_AGAIN.min(patience.settle / 2).max(Duration::from_millis(200)));
    }
}

fn seconds(command_line: &str, key: &str) -> Option<Duration> {
    let value = command_line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))?;
    value.parse().ok().map(Duration::from_secs)
}

/// The other slot, which is good, starts next: nothing would be gained by two more starts of this one.
fn give_up(places: &Places, reason: &str) -> anyhow::Result<()> {
    eprintln!("this slot is not good: {reason}; restarting the machine");
    if let Err(error) = change::apply(&places.boot(), &Change::FallBack(reason.to_string())) {
        eprintln!("noting the reason: {error:#}, restarting all the same");
    }
    let request = InitRequest::Shutdown { action: ShutdownAction::Reboot, force: 0, argument: None };
    Client::connect(&places.init_socket())
        .and_then(|mut client| client.ask(&request))
        .context("asking for a restart")?;
    Ok(())
}

fn look(places: &Places) -> Seen {
    let mut seen = Seen {
        units_down: units_down(places).unwrap_or_else(|error| vec![format!("states cannot be asked for: {error:#}")]),
        state_fault: state_fault(places).err().map(|error| error.to_string()),
        default_route: default_route(places),
        ..Seen::default()
    };
    for ((weight, name), path) in checks(places) {
        match (weight, run_check(&path)) {
            (_, Ok(())) => {}
            (Weight::Required, Err(why)) => seen.checks_failed.push(format!("{name}: {why}")),
            (Weight::Wanted, Err(why)) => eprintln!("wanted health check {name}: {why}, going on"),
        }
    }
    seen
}

/// Units that the target needs and that are not up.
fn units_down(places: &Places) -> anyhow::Result<Vec<String>> {
    let mut client = Client::connect(&places.init_socket())?;
    let Reply::Unit(target) = client.ask(&InitRequest::Show { unit: TARGET.into() })? else {
        anyhow::bail!("PID 1 answers something else");
    };
    let needed: Vec<&str> = target.properties.text("Requires").split_whitespace().collect();
    let Reply::Units(units) = client.ask(&InitRequest::ListUnits)? else {
        anyhow::bail!("PID 1 answers something else");
    };
    let down = units.iter().filter(|unit| needed.contains(&unit.name.as_str()));
    // A restart that is under way ends well or as failed.
    let down = down.filter(|unit| !["active", "reloading", "activating"].contains(&unit.active.as_str()));
    Ok(down.map(|unit| format!("{} is {}", unit.name, unit.active)).collect())
}

fn state_fault(places: &Places) -> anyhow::Result<()> {
    let path = places.state("probe");
    replace_file(&path, b"x", 0o600)?;
    Ok(fs::remove_file(&path)?)
}

fn default_route(places: &Places) -> bool {
    let ipv4 = fs::read_to_string(places.path("/proc/net/route")).unwrap_or_default();
    let ipv6 = fs::read_to_string(places.path("/proc/net/ipv6_route")).unwrap_or_default();
    routes_lead_out(&ipv4, &ipv6)
}

/// From the kernel's tables: destination and mask of zeros, through a gateway.
fn routes_lead_out(ipv4: &str, ipv6: &str) -> bool {
    let word = |line: &str, index: usize| line.split_whitespace().nth(index).unwrap_or("-").to_string();
    let zeros = |text: String| !text.is_empty() && text.bytes().all(|byte| byte == b'0');
    let out4 = |line: &str| zeros(word(line, 1)) && zeros(word(line, 7)) && word(line, 2) != "00000000";
    let out6 = |line: &str| zeros(word(line, 0)) && word(line, 1) == "00" && word(line, 9) != "lo";
    ipv4.lines().skip(1).any(out4) || ipv6.lines().any(out6)
}

fn remember(places: &Places) -> anyhow::Result<()> {
    let path = places.state(LAST_GOOD);
    let now = default_route(places);
    let before = fs::read_to_string(&path).ok();
    if before.as_deref().map(has_route) == Some(now) {
        return Ok(());
    }
    fs::create_dir_all(places.state("")).context("making the folder of the engine")?;
    Ok(replace_file(&path, format!("default-route={}\n", if now { "yes" } else { "no" }).as_bytes(), 0o644)?)
}

fn has_route(text: &str) -> bool {
    text.lines().any(|line| line == "default-route=yes")
}

/// The checks in the order of weight and name.
fn checks(places: &Places) -> BTreeMap<(Weight, String), PathBuf> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        for (weight, name) in [(Weight::Required, "required.d"), (Weight::Wanted, "wanted.d")] {
            // Most machines have no such folder.
            let Ok(entries) = fs::read_dir(places.path(folder).join(name)) else { continue };
            for path in entries.flatten().map(|entry| entry.path()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let runs =
                    fs::metadata(&path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
                if runs {
                    found.insert((weight, name), path);
                } else {
                    // A link to /dev/null takes a check of the image out.
                    found.remove(&(weight, name));
                }
            }
        }
    }
    found
}

/// Runs a check in a group of its own, which is killed when time is over.
fn run_check(path: &Path) -> Result<(), String> {
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("it does not start: {error}"))?;
    let ended = wait_until(&child, CHECK_TIME).map_err(|error| format!("it cannot be watched: {error}"))?;
    if !ended && let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        // It may just have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = child.wait().map_err(|error| format!("it cannot be waited for: {error}"))?;
    match (ended, status.success()) {
        (false, _) => Err(format!("not done after {} s", CHECK_TIME.as_secs())),
        (true, true) => Ok(()),
        (true, false) => Err(status.to_string()),
    }
}

fn wait_until(child: &Child, time: Duration) -> io::Result<bool> {
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let end = Instant::now() + time;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).unwrap_or_default();
        match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The kernel becomes as patient as it was before the slot was under test; what the administrator set is set again, as
/// it may be the same as what early boot had set.
fn be_patient(places: &Places) {
    // A slot that was good from the start of the machine on has no note.
    let Ok(note) = fs::read_to_string(places.path(SEVERITY_PATH)) else { return };
    for fault in Severity::parse(&note).lower(&places.path(KERNEL)) {
        eprintln!("{fault}, going on without");
    }
    match Command::new(places.path(SYSCTL)).stdin(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("{SYSCTL}: {status}, going on"),
        Err(error) => eprintln!("starting {SYSCTL}: {error}, going on"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_seen_in_the_tables_of_the_kernel() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let out = "eth0\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n";
        let local = "eth0\t0002000A\t00000000\t0001\t0\t0\t1024\t00FFFFFF\t0\t0\t0\n";
        assert!(routes_lead_out(&format!("{head}{out}"), ""));
        assert!(!routes_lead_out(&format!("{head}{local}"), ""));
        let zeros = "0".repeat(32);
        let out = format!("{zeros} 00 {zeros} 00 fe800000000000000000000000000001 00000400 00 00 00000003 eth0\n");
        let loopback = format!("{zeros} 00 {zeros} 00 {zeros} ffffffff 00 00 00200200 lo\n");
        assert!(routes_lead_out("", &out) && !routes_lead_out("", &loopback) && !routes_lead_out("", ""));
    }

    #[test]
    fn checks_are_found_replaced_and_taken_out_by_name_and_run_to_an_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let places = Places::below(folder.path());
        let add = |path: &str, text: &str, mode: u32| {
            let path = places.path(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(&path, text).expect("a check");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        };
        add("/usr/lib/ferrite/healthcheck.d/required.d/10-good", "#!/bin/sh\nexit 0\n", 0o755);
        add("/usr/lib/ferrite/healthcheck.d/required.d/20-bad", "#!/bin/sh\nexit 3\n", 0o755);
        add("/usr/lib/ferrite/healthcheck.d/required.d/30-out", "#!/bin/sh\nexit 3\n", 0o755);
        add("/usr/lib/ferrite/healthcheck.d/wanted.d/10-bad", "#!/bin/sh\nexit 4\n", 0o755);
        add("/etc/ferrite/healthcheck.d/required.d/30-out", "", 0o644);
        add("/etc/ferrite/healthcheck.d/required.d/README", "no check", 0o644);
        let found = checks(&places);
        let names: Vec<&str> = found.keys().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["10-good", "20-bad", "10-bad"]);
        let outcomes: Vec<_> = found.values().map(|path| run_check(path)).collect();
        assert_eq!(outcomes, [Ok(()), Err("exit status: 3".into()), Err("exit status: 4".into())]);
        add("/etc/ferrite/healthcheck.d/required.d/20-bad", "#!/bin/sh\nexit 0\n", 0o755);
        let failed: Vec<_> = checks(&places).values().filter(|path| run_check(path).is_err()).cloned().collect();
        assert_eq!(failed.len(), 1, "the administrator's takes the place of the image's: {failed:?}");
    }
}
