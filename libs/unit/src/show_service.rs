//! The properties of a service. Pure.

use crate::command::Command;
use crate::service::Service;
use crate::show::{Lines, kill};
use crate::unit::Unit;
use crate::value::{Span, signal_name};

pub(crate) fn properties(lines: &mut Lines, unit: &Unit, service: &Service) {
    lines.flag("PermissionsStartOnly", service.permissions_start_only);
    lines.flag("RootDirectoryStartOnly", service.root_directory_start_only);
    lines.flag("RemainAfterExit", service.remain_after_exit);
    lines.flag("GuessMainPID", service.guess_main_pid);
    lines.put("Type", service.kind.as_str());
    lines.put("Restart", service.restart.as_str());
    lines.put("NotifyAccess", service.notify_access.as_str());
    lines.put("OOMPolicy", service.oom_policy.as_str());
    lines.put("ReloadSignal", signal_name(service.reload_signal));
    if let Some(path) = &service.pid_file {
        lines.put("PIDFile", path);
    }
    if let Some(name) = &service.bus_name {
        lines.put("BusName", name);
        lines.flag("Bus Name Good", false);
    }
    times(lines, service);
    kill(lines, &service.kill);
    lines.extend(crate::show_exec::properties(unit, &service.exec));
    for (name, commands) in service.commands() {
        command_lines(lines, name, commands);
    }
    if service.fd_store_max > 0 {
        lines.put("File Descriptor Store Max", service.fd_store_max.to_string());
        lines.put("File Descriptor Store Pin", service.fd_store_preserve.as_str());
        lines.put("File Descriptor Store Current", "0");
    }
    for file in &service.open_files {
        lines.put("Open File", file.to_string());
    }
    lines.extend(crate::show_resources::properties(unit));
}

fn times(lines: &mut Lines, service: &Service) {
    lines.span("RestartSec", service.restart_delay);
    lines.put("RestartSteps", service.restart_steps.to_string());
    lines.span("RestartMaxDelaySec", service.restart_max_delay);
    lines.span("TimeoutStartSec", service.timeout_start());
    lines.span("TimeoutStopSec", service.timeout_stop);
    lines.put("TimeoutStartFailureMode", service.timeout_start_mode.as_str());
    lines.put("TimeoutStopFailureMode", service.timeout_stop_mode.as_str());
    if let Some(abort) = service.timeout_abort {
        lines.span("TimeoutAbortSec", abort);
    }
    lines.span("RuntimeMaxSec", service.runtime_max);
    lines.span("RuntimeRandomizedExtraSec", service.runtime_random_extra);
    lines.span("WatchdogSec", service.watchdog.unwrap_or(Span::seconds(0)));
}

/// The command lines of one directive.
pub(crate) fn command_lines(lines: &mut Lines, name: &str, commands: &[Command]) {
    for command in commands {
        let words: Vec<String> = command.words.iter().map(|word| quoted(word)).collect();
        lines.put(&format!("{name}.Command Line"), words.join(" "));
    }
}

/// A word as a shell would read it back: in double quotes if it has to be.
pub(crate) fn quoted(word: &str) -> String {
    let special = |c: char| c.is_ascii_control() || " \"\\`$*?['()<>|&;!".contains(c);
    if !word.is_empty() && !word.contains(special) {
        return word.to_owned();
    }
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' | '`' | '$' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii_control() => out.push_str(&format!("\\{:03o}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
