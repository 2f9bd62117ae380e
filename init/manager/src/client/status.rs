//! `systemctl status`: everything about a unit on one screen. Pure: details, processes, log lines and time come in.

use ferrite_control::{CommandStatus, ControlGroup, UnitDetails};
use ferrite_unit::timespan;
use ferrite_unit::timestamp::weekday_stamp;
use ferrite_unit::zone::Zone;

use super::group_tree::{self, Group};
use super::listing::shorten;
use super::sizes::bytes;
use super::style::{Colour, GREY, RED, YELLOW, dot, enablement_colour, paint, state_colour, visible};

/// What the picture depends on besides the unit.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub now_us: u64,
    pub colour: Colour,
    /// Columns for the command lines of processes; `None`: do not shorten.
    pub width: Option<usize>,
    pub zone: &'a Zone,
}

const LABEL_WIDTH: usize = 11;

/// The block of one unit, without log lines.
pub fn unit(details: &UnitDetails, view: View<'_>) -> String {
    let mut out = String::new();
    heading(details, view, &mut out);
    loaded(details, view, &mut out);
    for (number, path) in details.drop_in_paths.iter().enumerate() {
        drop_in(details, number, path, view, &mut out);
    }
    active(details, view, &mut out);
    failed_conditions(details, view, &mut out);
    if !details.invocation_id.is_empty() {
        line(&mut out, "Invocation", &details.invocation_id);
    }
    list(&mut out, "TriggeredBy", &details.triggered_by);
    list(&mut out, "Triggers", &details.triggers);
    list(&mut out, "Docs", &details.documentation);
    if let Some(path) = &details.where_path {
        line(&mut out, "Where", &visible(path));
    }
    if let Some(what) = &details.what {
        line(&mut out, "What", &visible(what));
    }
    list(&mut out, "Listen", &details.listen);
    processes(details, view, &mut out);
    if !details.status_text.is_empty() {
        line(&mut out, "Status", &format!("\"{}\"", visible(&details.status_text)));
    }
    if let Some(group) = &details.control_group {
        resources(group, view, &mut out);
        control_group(group, details, view, &mut out);
    }
    for directive in &details.unsupported {
        out.push_str(&paint(&format!("Not supported: {}", visible(directive)), YELLOW, view.colour));
        out.push('\n');
    }
    out
}

fn line(out: &mut String, label: &str, value: &str) {
    out.push_str(&format!("{label:>LABEL_WIDTH$}: {value}\n"));
}

fn list(out: &mut String, label: &str, values: &[String]) {
    for (number, value) in values.iter().enumerate() {
        let indent = " ".repeat(LABEL_WIDTH + 2);
        match number {
            0 => line(out, label, &visible(value)),
            _ => out.push_str(&format!("{indent}{}\n", visible(value))),
        }
    }
}

fn heading(details: &UnitDetails, view: View<'_>, out: &mut String) {
    let summary = &details.summary;
    let mark = paint(dot(&summary.active), state_colour(&summary.active), view.colour);
    out.push_str(&format!("{mark} {}", visible(&summary.name)));
    if !summary.description.is_empty() && summary.description != summary.name {
        out.push_str(&format!(" - {}", visible(&summary.description)));
    }
    out.push('\n');
}

fn loaded(details: &UnitDetails, view: View<'_>, out: &mut String) {
    let load = details.summary.load.as_str();
    let load_colour = if matches!(load, "error" | "not-found" | "bad-setting") { RED } else { "" };
    let word = paint(load, load_colour, view.colour);
    let enablement = details.enablement.as_str();
    let value = match (&details.load_error, &details.fragment_path) {
        (Some(reason), _) => format!("{word} (Reason: {})", visible(reason)),
        (None, _) if load == "masked" => format!("{word} (Reason: Unit {} is masked.)", details.summary.name),
        (None, Some(path)) => {
            let mut text = format!("{word} ({}", visible(path));
            if enablement != "not-found" {
                let painted = paint(enablement, enablement_colour(enablement), view.colour);
                text.push_str(&format!("; {painted}"));
            }
            if !details.preset.is_empty() {
                let painted = paint(&details.preset, enablement_colour(&details.preset), view.colour);
                text.push_str(&format!("; preset: {painted}"));
            }
            text + ")"
        }
        (None, None) => word,
    };
    line(out, "Loaded", &value);
}

fn drop_in(details: &UnitDetails, number: usize, path: &str, view: View<'_>, out: &mut String) {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folder_of = |index: usize| details.drop_in_paths.get(index)?.rsplit_once('/').map(|(folder, _)| folder);
    let starts_folder = number == 0 || folder_of(number - 1) != Some(folder);
    let ends_folder = folder_of(number + 1) != Some(folder);
    if starts_folder {
        match number {
            0 => line(out, "Drop-In", &visible(folder)),
            _ => out.push_str(&format!("{}{}\n", " ".repeat(LABEL_WIDTH + 2), visible(folder))),
        }
    }
    let branch = paint(if ends_folder { "└─" } else { "├─" }, GREY, view.colour);
    out.push_str(&format!("{}{branch}{}\n", " ".repeat(LABEL_WIDTH + 2), visible(file)));
}

fn active(details: &UnitDetails, view: View<'_>, out: &mut String) {
    let summary = &details.summary;
    let states = if summary.sub.is_empty() || summary.sub == summary.active {
        summary.active.clone()
    } else {
        format!("{} ({})", summary.active, summary.sub)
    };
    let states = paint(&states, state_colour(&summary.active), view.colour);
    let frozen = match details.properties.text("FreezerState") {
        "" | "running" => String::new(),
        state => format!(" {}", paint(&format!("({state})"), YELLOW, view.colour)),
    };
    let result = match details.result.as_str() {
        "" | "success" => String::new(),
        result => format!(" (Result: {result})"),
    };
    let moment = match summary.active.as_str() {
        "active" | "reloading" => details.active_enter_us,
        "inactive" | "failed" => details.inactive_enter_us,
        "activating" => details.inactive_exit_us,
        _ => details.state_change_us,
    };
    let since = match if moment == 0 { details.state_change_us } else { moment } {
        0 => String::new(),
        us => format!(" since {}; {}", weekday_stamp(us, view.zone), timespan::distance(us, view.now_us)),
    };
    line(out, "Active", &format!("{states}{frozen}{result}{since}"));
}

fn failed_conditions(details: &UnitDetails, view: View<'_>, out: &mut String) {
    if details.condition_met || details.condition_us == 0 {
        return;
    }
    let when = format!(
        "{}; {}",
        weekday_stamp(details.condition_us, view.zone),
        timespan::distance(details.condition_us, view.now_us)
    );
    line(out, "Condition", &format!("start condition {} at {when}", paint("unmet", YELLOW, view.colour)));
    let unmet: Vec<_> = details.conditions.iter().filter(|condition| !condition.met).collect();
    for (number, condition) in unmet.iter().enumerate() {
        let branch = if number + 1 == unmet.len() { "└─" } else { "├─" };
        let indent = " ".repeat(LABEL_WIDTH + 2);
        out.push_str(&format!("{indent}{branch} {} was not met\n", visible(&condition.text)));
    }
}

fn processes(details: &UnitDetails, view: View<'_>, out: &mut String) {
    for command in details.commands.iter().filter(|command| command.exit_us != 0) {
        let is_main = command.directive == "ExecStart" && Some(command.pid) == last_main_pid(details);
        let argv = visible(&command.argv.join(" "));
        let text = format!("{} {}={argv} {}", command.pid, command.directive, outcome(command, view));
        line(out, "Process", &text);
        if is_main && details.main_pid.is_none() {
            line(out, "Main PID", &format!("{} {}", command.pid, outcome(command, view)));
        }
    }
    if let Some(pid) = details.main_pid.filter(|pid| *pid > 0) {
        line(out, "Main PID", &named(pid, &details.main_comm));
    }
    if let Some(pid) = details.control_pid.filter(|pid| *pid > 0) {
        line(out, "Cntrl PID", &named(pid, &details.control_comm));
    }
}

/// The process of the last ExecStart= that ended, for units whose main process is gone.
fn last_main_pid(details: &UnitDetails) -> Option<i32> {
    let ended = |command: &&CommandStatus| command.directive == "ExecStart" && command.exit_us != 0;
    details.commands.iter().rfind(ended).map(|command| command.pid)
}

fn named(pid: i32, comm: &str) -> String {
    if comm.is_empty() { pid.to_string() } else { format!("{pid} ({})", visible(comm)) }
}

fn outcome(command: &CommandStatus, view: View<'_>) -> String {
    let is_good = command.code == "exited" && command.status == 0;
    let status = if command.code == "exited" {
        match exit_word(command.status) {
            Some(word) => format!("{}/{word}", command.status),
            None => command.status.to_string(),
        }
    } else {
        signal_word(command.status)
    };
    let text = paint(&format!("status={status}"), if is_good { "" } else { RED }, view.colour);
    let word = if command.code == "exited" { "status" } else { "signal" };
    format!("(code={}, {})", command.code, text.replacen("status", word, 1))
}

/// systemd's words for exit statuses.
pub fn exit_word(status: i32) -> Option<&'static str> {
    Some(match status {
        0 => "SUCCESS",
        1 => "FAILURE",
        2 => "INVALIDARGUMENT",
        3 => "NOTIMPLEMENTED",
        4 => "NOPERMISSION",
        5 => "NOTINSTALLED",
        6 => "NOTCONFIGURED",
        7 => "NOTRUNNING",
        200 => "CHDIR",
        201 => "NICE",
        202 => "FDS",
        203 => "EXEC",
        204 => "MEMORY",
        205 => "LIMITS",
        206 => "OOM_ADJUST",
        207 => "SIGNAL_MASK",
        208 => "STDIN",
        209 => "STDOUT",
        210 => "CHROOT",
        211 => "IOPRIO",
        214 => "SETSCHEDULER",
        216 => "GROUP",
        217 => "USER",
        218 => "CAPABILITIES",
        219 => "CGROUP",
        220 => "SETSID",
        222 => "STDERR",
        224 => "PAM",
        225 => "NETWORK",
        226 => "NAMESPACE",
        227 => "NO_NEW_PRIVILEGES",
        228 => "SECCOMP",
        233 => "RUNTIME_DIRECTORY",
        235 => "CHOWN",
        238 => "STATE_DIRECTORY",
        239 => "CACHE_DIRECTORY",
        240 => "LOGS_DIRECTORY",
        241 => "CONFIGURATION_DIRECTORY",
        _ => return None,
    })
}

fn signal_word(number: i32) -> String {
    match nix::sys::signal::Signal::try_from(number) {
        Ok(signal) => signal.as_str().trim_start_matches("SIG").to_owned(),
        Err(_) => number.to_string(),
    }
}

fn resources(group: &ControlGroup, view: View<'_>, out: &mut String) {
    if let Some(tasks) = group.tasks {
        let limit = match group.tasks_max {
            Some(limit) => paint(&format!(" (limit: {limit})"), GREY, view.colour),
            None => String::new(),
        };
        line(out, "Tasks", &format!("{tasks}{limit}"));
    }
    if let Some(memory) = group.memory_bytes {
        let peak = match group.memory_peak_bytes {
            Some(peak) => paint(&format!(" (peak: {})", bytes(peak)), GREY, view.colour),
            None => String::new(),
        };
        line(out, "Memory", &format!("{}{peak}", bytes(memory)));
    }
    if let Some(cpu) = group.cpu_us {
        line(out, "CPU", &timespan::text(cpu, 1000));
    }
}

fn control_group(group: &ControlGroup, details: &UnitDetails, view: View<'_>, out: &mut String) {
    if group.path.is_empty() || group.processes.is_empty() {
        return;
    }
    line(out, "CGroup", &visible(&group.path));
    let indent = " ".repeat(LABEL_WIDTH + 2);
    let mut own: Vec<_> = group.processes.iter().filter(|process| process.group.is_empty()).collect();
    own.sort_by_key(|process| process.pid);
    let mut groups: Vec<&str> = group.processes.iter().map(|process| process.group.as_str()).collect();
    groups.retain(|name| !name.is_empty());
    groups.sort_unstable();
    groups.dedup();
    let entries = own.len() + groups.len();
    let branch = |last: bool| paint(if last { "└─" } else { "├─" }, GREY, view.colour);
    let digits = group.processes.iter().map(|process| process.pid.to_string().len()).max().unwrap_or(0);
    let process_line = |pid: i32, command: &str, used: usize| {
        let room = view.width.map(|width| width.saturating_sub(used + digits + 1).max(20));
        format!("{pid:>digits$} {}", shorten(&visible(command), room))
    };
    for (number, process) in own.iter().enumerate() {
        let text = process_line(process.pid, &process.command, indent.len() + 2);
        let is_main = Some(process.pid) == details.main_pid;
        let text = if is_main { text } else { paint(&text, GREY, view.colour) };
        out.push_str(&format!("{indent}{}{text}\n", branch(number + 1 == entries)));
    }
    for (number, name) in groups.iter().enumerate() {
        let is_last = own.len() + number + 1 == entries;
        out.push_str(&format!("{indent}{}{}\n", branch(is_last), visible(name)));
        let inner: Vec<_> = group.processes.iter().filter(|process| process.group == *name).collect();
        let stem = if is_last { "  ".to_owned() } else { paint("│ ", GREY, view.colour) };
        for (position, process) in inner.iter().enumerate() {
            let text = process_line(process.pid, &process.command, indent.len() + 4);
            out.push_str(&format!("{indent}{stem}{}{text}\n", branch(position + 1 == inner.len())));
        }
    }
}

/// What `systemctl status` without a unit tells.
#[derive(Debug, Default)]
pub struct Machine {
    pub host: String,
    pub state: String,
    pub units: usize,
    pub failed: usize,
    pub jobs: usize,
    pub since_us: u64,
    pub version: String,
    pub tainted: String,
    /// Where all control groups are, and what is in there.
    pub control_group: String,
    pub groups: Group,
}

/// `systemctl status` without a unit: the machine as a whole.
pub fn machine(machine: &Machine, view: View<'_>) -> String {
    let state = machine.state.as_str();
    let colour = match state {
        "running" => super::style::GREEN,
        "degraded" | "maintenance" => RED,
        _ => YELLOW,
    };
    let mut out = format!("{} {}\n", paint("●", colour, view.colour), visible(&machine.host));
    let field = |out: &mut String, label: &str, value: &str| out.push_str(&format!("{label:>9}: {value}\n"));
    field(&mut out, "State", &paint(state, colour, view.colour));
    field(&mut out, "Units", &format!("{} loaded (incl. loaded aliases)", machine.units));
    field(&mut out, "Jobs", &format!("{} queued", machine.jobs));
    field(&mut out, "Failed", &format!("{} units", machine.failed));
    if machine.since_us > 0 {
        let since = weekday_stamp(machine.since_us, view.zone);
        field(&mut out, "Since", &format!("{since}; {}", timespan::distance(machine.since_us, view.now_us)));
    }
    field(&mut out, "Ferrite", &machine.version);
    if !machine.tainted.is_empty() {
        field(&mut out, "Tainted", &machine.tainted);
    }
    field(&mut out, "CGroup", &machine.control_group);
    let look = group_tree::Look { colour: view.colour, width: view.width, is_utf8: true };
    out + &group_tree::render(&machine.groups, &" ".repeat(LABEL_WIDTH), look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_control::{ConditionResult, Enablement, GroupProcess, UnitSummary};

    const NOW: u64 = 1_795_619_045_000_000;
    fn view(zone: &Zone) -> View<'_> {
        View { now_us: NOW, colour: Colour::Off, width: None, zone }
    }

    fn service() -> UnitDetails {
        UnitDetails {
            summary: UnitSummary {
                name: "ssh.service".into(),
                description: "OpenBSD Secure Shell server".into(),
                load: "loaded".into(),
                active: "active".into(),
                sub: "running".into(),
                job: None,
            },
            fragment_path: Some("/usr/lib/systemd/system/ssh.service".into()),
            enablement: Enablement::Enabled,
            preset: "enabled".into(),
            active_enter_us: NOW - 5_000_000,
            result: "success".into(),
            ..UnitDetails::default()
        }
    }

    fn process(pid: i32, command: &str, group: &str) -> GroupProcess {
        GroupProcess { pid, command: command.into(), group: group.into() }
    }

    #[test]
    fn a_running_service_looks_like_systemds() {
        let details = UnitDetails {
            drop_in_paths: vec![
                "/etc/systemd/system/ssh.service.d/10-a.conf".into(),
                "/etc/systemd/system/ssh.service.d/20-b.conf".into(),
            ],
            invocation_id: "0123456789abcdef0123456789abcdef".into(),
            documentation: vec!["man:sshd(8)".into(), "man:sshd_config(5)".into()],
            triggered_by: vec!["ssh.socket".into()],
            commands: vec![CommandStatus {
                directive: "ExecStartPre".into(),
                argv: vec!["/usr/sbin/sshd".into(), "-t".into()],
                pid: 700,
                exit_us: 1,
                code: "exited".into(),
                ..CommandStatus::default()
            }],
            main_pid: Some(712),
            main_comm: "sshd".into(),
            status_text: "Ready".into(),
            control_group: Some(ControlGroup {
                path: "/system.slice/ssh.service".into(),
                tasks: Some(2),
                tasks_max: Some(1119),
                memory_bytes: Some(3_355_443),
                memory_peak_bytes: Some(4 << 20),
                cpu_us: Some(45_678),
                processes: vec![
                    process(1712, "sshd-session: core", "session"),
                    process(712, "\"sshd: /usr/sbin/sshd -D\"", ""),
                ],
            }),
            ..service()
        };
        assert_eq!(
            unit(&details, view(&Zone::utc())),
            "● ssh.service - OpenBSD Secure Shell server
     Loaded: loaded (/usr/lib/systemd/system/ssh.service; enabled; preset: enabled)
    Drop-In: /etc/systemd/system/ssh.service.d
             ├─10-a.conf
             └─20-b.conf
     Active: active (running) since Wed 2026-11-25 15:04:00 UTC; 5s ago
 Invocation: 0123456789abcdef0123456789abcdef
TriggeredBy: ssh.socket
       Docs: man:sshd(8)
             man:sshd_config(5)
    Process: 700 ExecStartPre=/usr/sbin/sshd -t (code=exited, status=0/SUCCESS)
   Main PID: 712 (sshd)
     Status: \"Ready\"
      Tasks: 2 (limit: 1119)
     Memory: 3.1M (peak: 4M)
        CPU: 45ms
     CGroup: /system.slice/ssh.service
             ├─ 712 \"sshd: /usr/sbin/sshd -D\"
             └─session
               └─1712 sshd-session: core
"
        );
    }

    #[test]
    fn a_failed_service_says_how_its_process_ended() {
        let mut details = service();
        details.summary.active = "failed".into();
        details.summary.sub = "failed".into();
        details.result = "exit-code".into();
        details.inactive_enter_us = NOW - 65_000_000;
        details.commands = vec![CommandStatus {
            directive: "ExecStart".into(),
            argv: vec!["/bin/false".into()],
            pid: 9,
            exit_us: 1,
            code: "exited".into(),
            status: 1,
            ..CommandStatus::default()
        }];
        details.unsupported = vec!["/a.service:3: PrivateTmp=".into()];
        assert_eq!(
            unit(&details, view(&Zone::utc())),
            "× ssh.service - OpenBSD Secure Shell server
     Loaded: loaded (/usr/lib/systemd/system/ssh.service; enabled; preset: enabled)
     Active: failed (Result: exit-code) since Wed 2026-11-25 15:03:00 UTC; 1min 5s ago
    Process: 9 ExecStart=/bin/false (code=exited, status=1/FAILURE)
   Main PID: 9 (code=exited, status=1/FAILURE)
Not supported: /a.service:3: PrivateTmp=
"
        );
        details.commands[0].code = "killed".into();
        details.commands[0].status = 9;
        assert!(unit(&details, view(&Zone::utc())).contains("   Main PID: 9 (code=killed, signal=KILL)\n"));
    }

    #[test]
    fn what_did_not_start_says_why() {
        let mut details = service();
        details.summary.active = "inactive".into();
        details.summary.sub = "dead".into();
        details.active_enter_us = 0;
        details.condition_us = NOW - 1_000_000;
        details.conditions = vec![ConditionResult { text: "ConditionPathExists=/x".into(), met: false }];
        assert_eq!(
            unit(&details, view(&Zone::utc())),
            "○ ssh.service - OpenBSD Secure Shell server
     Loaded: loaded (/usr/lib/systemd/system/ssh.service; enabled; preset: enabled)
     Active: inactive (dead)
  Condition: start condition unmet at Wed 2026-11-25 15:04:04 UTC; 1s ago
             └─ ConditionPathExists=/x was not met
"
        );
        details.summary.load = "masked".into();
        details.condition_us = 0;
        details.fragment_path = None;
        assert!(
            unit(&details, view(&Zone::utc())).contains("     Loaded: masked (Reason: Unit ssh.service is masked.)\n")
        );
    }

    #[test]
    fn a_terminal_gets_colours_and_no_surprises() {
        let mut details = service();
        details.summary.description = "evil\x1b[2J".into();
        let text = unit(&details, View { colour: Colour::On, ..view(&Zone::utc()) });
        assert!(text.starts_with("\x1b[0;1;32m●\x1b[0m ssh.service - evil\\x1b[2J\n"), "{text}");
        assert!(text.contains("\x1b[0;1;32mactive (running)\x1b[0m since"), "{text}");
    }

    #[test]
    fn the_machine_as_a_whole_is_told_with_its_processes() {
        let own = Group { name: "init.scope".into(), processes: vec![(1, "init".into())], ..Group::default() };
        let whole = Machine {
            host: "box".into(),
            state: "degraded".into(),
            units: 43,
            failed: 1,
            since_us: NOW - 60_000_000,
            version: "0.1.0".into(),
            control_group: "/".into(),
            groups: Group { groups: vec![own], ..Group::default() },
            ..Machine::default()
        };
        assert_eq!(
            machine(&whole, view(&Zone::utc())),
            "● box
    State: degraded
    Units: 43 loaded (incl. loaded aliases)
     Jobs: 0 queued
   Failed: 1 units
    Since: Wed 2026-11-25 15:03:05 UTC; 1min 0s ago
  Ferrite: 0.1.0
   CGroup: /
           └─init.scope
             └─1 init
"
        );
    }
}
