//! The sheet of a service, and of commands of all kinds. Pure.

use crate::command::{Command, Privilege};
use crate::service::Service;
use crate::sheet::{NOT_SET, Sheet};
use crate::sheet_exec::LoadedOrNot;
use crate::value::{ExitSet, signal_name};

pub(crate) fn service(sheet: &mut Sheet, service: &Service, state: LoadedOrNot) {
    let loaded = state == LoadedOrNot::Loaded;
    let only_loaded = |word: &'static str| if loaded { word } else { "" };
    // What a unit that could not be found would be was never made out.
    let written = loaded || service.kind_written || !service.start.is_empty();
    sheet.put("Type", if written { service.kind.as_str() } else { "" });
    sheet.put("ExitType", service.exit_type.as_str());
    sheet.put("Restart", service.restart.as_str());
    sheet.put("RestartMode", service.restart_mode.as_str());
    sheet.optional("PIDFile", service.pid_file.as_ref());
    sheet.put("NotifyAccess", service.notify_access.as_str());
    times(sheet, service);
    sheet.flag("RootDirectoryStartOnly", service.root_directory_start_only);
    sheet.flag("RemainAfterExit", service.remain_after_exit);
    sheet.flag("GuessMainPID", service.guess_main_pid);
    sheet.put("RestartPreventExitStatus", exit_set(&service.restart_prevent));
    sheet.put("RestartForceExitStatus", exit_set(&service.restart_force));
    sheet.put("SuccessExitStatus", exit_set(&service.success_status));
    sheet.put("MainPID", "0");
    sheet.put("ControlPID", "0");
    sheet.optional("BusName", service.bus_name.as_ref());
    sheet.put("FileDescriptorStoreMax", service.fd_store_max.to_string());
    sheet.put("NFileDescriptorStore", "0");
    sheet.put("FileDescriptorStorePreserve", service.fd_store_preserve.as_str());
    sheet.put("StatusText", "");
    sheet.put("StatusErrno", "0");
    sheet.put("StatusBusError", "");
    sheet.put("StatusVarlinkError", "");
    for name in ["Result", "ReloadResult", "CleanResult", "LiveMountResult"] {
        sheet.put(name, "success");
    }
    sheet.optional("USBFunctionDescriptors", service.usb_descriptors.as_ref());
    sheet.optional("USBFunctionStrings", service.usb_strings.as_ref());
    accounts(sheet);
    sheet.put("NRestarts", "0");
    let known = loaded || service.oom_policy_written;
    sheet.put("OOMPolicy", if known { service.oom_policy.as_str() } else { only_loaded("stop") });
    for file in &service.open_files {
        sheet.put("OpenFile", file.to_string());
    }
    sheet.put("ExtraFileDescriptorNames", "");
    sheet.put("ReloadSignal", service.reload_signal.to_string());
    for name in ["Start", "Exit", "Handoff"] {
        sheet.moment(&format!("ExecMain{name}Timestamp"), (0, 0));
    }
    for name in ["ExecMainPID", "ExecMainCode", "ExecMainStatus"] {
        sheet.put(name, "0");
    }
    for (name, list) in service.commands() {
        commands(sheet, name, list, Forms::Both);
    }
}

fn times(sheet: &mut Sheet, service: &Service) {
    sheet.span("RestartUSec", service.restart_delay);
    sheet.put("RestartSteps", service.restart_steps.to_string());
    sheet.span("RestartMaxDelayUSec", service.restart_max_delay);
    sheet.span("RestartUSecNext", service.restart_delay);
    sheet.span("TimeoutStartUSec", service.timeout_start());
    sheet.span("TimeoutStopUSec", service.timeout_stop);
    sheet.span("TimeoutAbortUSec", service.timeout_abort.unwrap_or(service.timeout_stop));
    sheet.put("TimeoutStartFailureMode", service.timeout_start_mode.as_str());
    sheet.put("TimeoutStopFailureMode", service.timeout_stop_mode.as_str());
    sheet.span("RuntimeMaxUSec", service.runtime_max);
    sheet.span("RuntimeRandomizedExtraUSec", service.runtime_random_extra);
    // What is watched is decided at the start.
    sheet.put("WatchdogUSec", "infinity");
    sheet.moment("WatchdogTimestamp", (0, 0));
}

/// The user and the group that the processes have: numbers, as soon as there are processes.
pub(crate) fn accounts(sheet: &mut Sheet) {
    sheet.put("UID", NOT_SET);
    sheet.put("GID", NOT_SET);
}

/// Codes in order, then signals.
fn exit_set(set: &ExitSet) -> String {
    let (mut codes, mut signals) = (set.codes.clone(), set.signals.clone());
    codes.sort_unstable();
    codes.dedup();
    signals.sort_unstable();
    signals.dedup();
    let numbers = codes.iter().map(ToString::to_string);
    numbers.chain(signals.iter().map(|number| signal_name(*number))).collect::<Vec<_>>().join(" ")
}

/// Which forms a list of commands is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forms {
    /// The plain one.
    Plain,
    /// With the flags in full, too.
    Both,
}

/// How a command ended, or where it is; zero for never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Run {
    /// When it started (wall clock, microseconds).
    pub start_us: u64,
    /// When it ended.
    pub exit_us: u64,
    /// Its process id.
    pub pid: i32,
    /// How it ended: `exited`, `killed`, `dumped`, or empty.
    pub code: &'static str,
    /// Exit status or signal.
    pub status: i32,
}

pub(crate) fn commands(sheet: &mut Sheet, name: &str, list: &[Command], forms: Forms) {
    for command in list {
        sheet.put(name, command_text(command, Flags::Short, Run::default()));
    }
    if forms == Forms::Both {
        for command in list {
            sheet.put(&format!("{name}Ex"), command_text(command, Flags::Words, Run::default()));
        }
    }
}

/// How the prefixes of a command are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flags {
    /// Only `ignore_errors`.
    Short,
    /// All of them, as words.
    Words,
}

/// A command and how it went.
pub fn command_text(command: &Command, flags: Flags, run: Run) -> String {
    let how = match flags {
        Flags::Short => format!("ignore_errors={}", crate::sheet::yes_no(command.ignore_failure)),
        Flags::Words => format!("flags={}", flag_words(command).join(" ")),
    };
    let end = match (run.code, run.status) {
        ("", _) => "code=(null) ; status=0/0".to_owned(),
        ("exited", status) => format!("code=exited ; status={status}"),
        (code, signal) => format!("code={code} ; status={signal}/{}", signal_name(signal)),
    };
    let (path, words) = (&command.path, command.words.join(" "));
    let (start, stop, pid) = (run.start_us, run.exit_us, run.pid);
    format!(
        "{{ path={path} ; argv[]={words} ; {how} ; start_time=[@{start}] ; stop_time=[@{stop}] ; pid={pid} ; {end} }}"
    )
}

fn flag_words(command: &Command) -> Vec<&'static str> {
    let privilege = match command.privilege {
        Privilege::Full => Some("privileged"),
        Privilege::NoSetUid => Some("no-setuid"),
        Privilege::Unit => command.ambient.then_some("ambient"),
    };
    let ignore = command.ignore_failure.then_some("ignore-failure");
    [ignore, privilege, command.no_expansion.then_some("no-env-expand")].into_iter().flatten().collect()
}
