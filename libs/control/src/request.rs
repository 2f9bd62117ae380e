//! What a client may ask. Pure.
//!
//! On the wire a request is the serde form of the enum: `"list_units"`, `{"show":{"unit":"ssh.service"}}`,
//! `{"kill":15}`. Unit names are raw text here: PID 1 parses them.

use serde::{Deserialize, Serialize};

/// One line from a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// All loaded units; the client filters. Answer: `Reply::Units`.
    ListUnits,
    /// All unit files on disk with their enablement. Answer: `Reply::UnitFiles`.
    ListUnitFiles,
    /// The job queue. Answer: `Reply::JobQueue`.
    ListJobs,
    /// Everything about one unit, loaded on demand; load state `not-found` if there is none. Answer: `Reply::Unit`.
    Show {
        /// The unit's name.
        unit: String,
    },
    /// Everything about some units, at most `MAX_UNITS_SHOWN`. Answer: `Reply::SomeUnits`.
    ShowSome {
        /// Their names.
        units: Vec<String>,
    },
    /// The properties of the manager itself (`Version`, `SystemState`, `NFailedUnits`...). Answer: `Reply::Properties`.
    ShowManager,
    /// When all loaded units changed, and how they are linked. Answer: `Reply::Times`.
    Times,
    /// The directives of loaded units that this version does not carry out. Answer: `Reply::Gaps`.
    Gaps,
    /// Chooses what PID 1 logs, and where to; what is not given stays. Answer: `Reply::Done`.
    SetLog {
        /// The least important level that is written: `emerg` to `debug`.
        #[serde(default)]
        level: Option<String>,
        /// `auto`, `kmsg`, `console`, `null`...
        #[serde(default)]
        target: Option<String>,
    },
    /// Queues one job a unit. Answer: `Reply::Jobs`, when all are queued or, with `wait`, when all are finished.
    Job {
        /// What to do.
        verb: JobVerb,
        /// To which units.
        units: Vec<String>,
        /// How it goes together with queued jobs.
        #[serde(default)]
        mode: JobMode,
        /// Answer only when the jobs are finished.
        wait: bool,
    },
    /// Sends a signal to processes of a unit. Answer: `Reply::Done`.
    KillUnit {
        /// The unit's name.
        unit: String,
        /// Which of its processes.
        whom: KillWhom,
        /// Signal number.
        signal: i32,
    },
    /// Forgets failures; no names means all units. Answer: `Reply::Done`.
    ResetFailed {
        /// The units' names.
        units: Vec<String>,
    },
    /// Reads all unit files again. Answer: `Reply::Done`.
    DaemonReload,
    /// Executes PID 1 again in place. Answer: `Reply::Done`, by the new image.
    DaemonReexec,
    /// Makes PID 1 crash, to see what comes after; refused unless it was started for such tests. No answer.
    InjectFault(InjectedFault),
    /// The state of the whole system. Answer: `Reply::SystemState`, with `wait` only when the boot is over.
    IsSystemRunning {
        /// Wait until the state is neither `initializing` nor `starting`.
        wait: bool,
    },
    /// Changes the environment of all services: first takes names out, then puts assignments in. Answer: `Reply::Done`.
    SetEnvironment {
        /// `NAME=value`.
        #[serde(default)]
        set: Vec<String>,
        /// `NAME`, or `NAME=value` for only this value.
        #[serde(default)]
        unset: Vec<String>,
    },
    /// Whether services that do not say that they live are ended. Answer: `Reply::Done`.
    SetServiceWatchdogs(bool),
    /// The default target. Answer: `Reply::Text`.
    GetDefault,
    /// Ends the system. Answer: `Reply::Done`, as soon as the shutdown is queued.
    Shutdown {
        /// How.
        action: ShutdownAction,
        /// 0: stop units in order; 1 (`--force`): kill and unmount; 2 (`--force --force`): at once.
        #[serde(default)]
        force: u8,
        /// A word for the firmware or the boot loader (`--reboot-argument=`).
        #[serde(default)]
        argument: Option<String>,
    },
    /// Makes units that live until they end (`systemd-run`) and starts the first.
    /// Answer: `Reply::Jobs` with one report, when the job is queued or, with `wait`, when it is finished.
    StartTransient(TransientRequest),
    /// Changes settings of a unit that may run already (`systemctl set-property`). Answer: `Reply::Done`.
    SetProperty {
        /// The unit's name.
        unit: String,
        /// Forget them at the next boot.
        runtime: bool,
        /// `NAME=value` as in a unit file, without section.
        settings: Vec<String>,
    },
    /// Freezes all processes of a unit, or thaws them. Answer: `Reply::Done`, when the kernel has done it.
    SetFrozen {
        /// The unit's name.
        unit: String,
        /// Are they to be frozen?
        frozen: bool,
    },
    /// Removes files of a unit that is down. Answer: `Reply::Done`, when they are gone.
    Clean {
        /// The unit's name.
        unit: String,
        /// `runtime`, `state`, `cache`, `logs`, `configuration`, `fdstore` or `all`.
        what: Vec<String>,
    },
    /// Answer: `Reply::Unit`, as soon as the unit is inactive or failed and has no job.
    WaitInactive {
        /// The unit's name.
        unit: String,
    },
    /// Takes jobs out of the queue; no numbers means all. Answer: `Reply::Done`.
    CancelJobs {
        /// Their numbers.
        jobs: Vec<u32>,
    },
    /// Runs a command as another user, with three descriptors in the same message.
    /// Answers: `Reply::Started`, later `Reply::Exit` or `Reply::Signal`.
    Run(RunRequest),
    /// After `Run`: sends this signal to the command's process group. No answer.
    Kill(i32),
}

impl Request {
    /// Whether the request changes nothing and is allowed to everybody.
    pub fn is_read_only(&self) -> bool {
        match self {
            Request::ListUnits
            | Request::ListUnitFiles
            | Request::ListJobs
            | Request::Show { .. }
            | Request::ShowSome { .. }
            | Request::ShowManager
            | Request::Times
            | Request::Gaps
            | Request::IsSystemRunning { .. }
            | Request::WaitInactive { .. }
            | Request::GetDefault => true,
            Request::Job { .. }
            | Request::SetEnvironment { .. }
            | Request::SetServiceWatchdogs(_)
            | Request::SetLog { .. }
            | Request::KillUnit { .. }
            | Request::ResetFailed { .. }
            | Request::DaemonReload
            | Request::DaemonReexec
            | Request::InjectFault(_)
            | Request::Shutdown { .. }
            | Request::StartTransient(_)
            | Request::SetProperty { .. }
            | Request::CancelJobs { .. }
            | Request::SetFrozen { .. }
            | Request::Clean { .. }
            | Request::Run(_)
            | Request::Kill(_) => false,
        }
    }
}

/// A way to crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InjectedFault {
    /// A panic.
    Panic,
    /// Memory that is not there.
    Memory,
    /// The end of the stack.
    Stack,
    /// An abort.
    Abort,
    /// No memory is left.
    Allocation,
}

/// What a job does to its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobVerb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Stop it if it runs, then start it.
    Restart,
    /// Restart it only if it runs.
    TryRestart,
    /// Run its reload command.
    Reload,
    /// Reload it, or restart it if it cannot reload; start it if it does not run.
    ReloadOrRestart,
    /// The same, but do nothing if it does not run.
    TryReloadOrRestart,
}

impl JobVerb {
    /// The word as systemctl spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            JobVerb::Start => "start",
            JobVerb::Stop => "stop",
            JobVerb::Restart => "restart",
            JobVerb::TryRestart => "try-restart",
            JobVerb::Reload => "reload",
            JobVerb::ReloadOrRestart => "reload-or-restart",
            JobVerb::TryReloadOrRestart => "try-reload-or-restart",
        }
    }
}

/// How a new job goes together with the jobs in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobMode {
    /// Fail if a queued job conflicts.
    Fail,
    /// Replace a conflicting job.
    #[default]
    Replace,
    /// Replace, and be irreplaceable afterwards.
    ReplaceIrreversibly,
    /// Start this unit and stop all others.
    Isolate,
    /// Ignore all dependencies.
    IgnoreDependencies,
    /// As `Fail`, but stop what is in the way.
    Lenient,
    /// Cancel all other jobs.
    Flush,
    /// Ignore what the unit needs, but keep the order.
    IgnoreRequirements,
    /// Stop also what would start the unit again.
    Triggering,
    /// Restart what depends on the unit and runs.
    RestartDependencies,
}

impl JobMode {
    /// The mode of a `--job-mode=` argument.
    pub fn parse(text: &str) -> Option<JobMode> {
        match text {
            "fail" => Some(JobMode::Fail),
            "replace" => Some(JobMode::Replace),
            "replace-irreversibly" => Some(JobMode::ReplaceIrreversibly),
            "isolate" => Some(JobMode::Isolate),
            "ignore-dependencies" => Some(JobMode::IgnoreDependencies),
            "lenient" => Some(JobMode::Lenient),
            "flush" => Some(JobMode::Flush),
            "ignore-requirements" => Some(JobMode::IgnoreRequirements),
            "triggering" => Some(JobMode::Triggering),
            "restart-dependencies" => Some(JobMode::RestartDependencies),
            _ => None,
        }
    }
}

/// Which processes of a unit get a signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillWhom {
    /// The main process.
    Main,
    /// The control process.
    Control,
    /// Every process of the control group.
    #[default]
    All,
}

/// How the system ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShutdownAction {
    /// Restart the machine.
    Reboot,
    /// Switch it off.
    Poweroff,
    /// Stop the processor.
    Halt,
    /// Start the kernel that was loaded for this.
    Kexec,
    /// Start PID 1 and everything above it again.
    SoftReboot,
}

/// Units that no file on disk describes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransientRequest {
    /// The units, at least one; the first is started, the others are loaded for it to start (a timer's service).
    pub units: Vec<TransientUnit>,
    /// How the job goes together with queued jobs.
    #[serde(default)]
    pub mode: JobMode,
    /// Answer only when the job is finished.
    #[serde(default)]
    pub wait: bool,
    /// Three descriptors come with the message: standard input, output and error of the service's processes.
    #[serde(default)]
    pub descriptors: bool,
}

/// One unit of a [`TransientRequest`]. A loaded unit of its name is replaced if it has no file and is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransientUnit {
    /// Full name.
    pub name: String,
    /// A unit file, which PID 1 keeps below its transient directory until the unit is gone.
    pub text: String,
    /// For a scope: processes that move into it.
    #[serde(default)]
    pub pids: Vec<i32>,
}

/// A command to run as another user (`sudo`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// The command and its arguments, at least one. A name without a slash is looked up in PATH by PID 1's child.
    pub argv: Vec<String>,
    /// Working directory; `None`: the user's home.
    pub cwd: Option<String>,
    /// `NAME=value` pairs, the whole environment of the command.
    pub env: Vec<String>,
    /// User name or number; `None`: root.
    pub user: Option<String>,
    /// Standard input is a terminal that no session owns: `setsid` and make it the controlling terminal.
    #[serde(default)]
    pub tty: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_form_is_the_one_of_the_contract() {
        let text = |request: &Request| serde_json::to_string(request).expect("a request is always json");
        assert_eq!(text(&Request::ListUnits), r#""list_units""#);
        assert_eq!(text(&Request::Kill(15)), r#"{"kill":15}"#);
        assert_eq!(text(&Request::Show { unit: "a.service".into() }), r#"{"show":{"unit":"a.service"}}"#);
        let job = Request::Job {
            verb: JobVerb::TryRestart,
            units: vec!["a.service".into()],
            mode: JobMode::default(),
            wait: true,
        };
        assert_eq!(text(&job), r#"{"job":{"verb":"try-restart","units":["a.service"],"mode":"replace","wait":true}}"#);
    }

    #[test]
    fn a_request_with_an_unknown_verb_or_field_is_refused() {
        assert!(serde_json::from_str::<Request>(r#""frobnicate""#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"show":{"unit":"a","x":1}}"#).is_err());
    }

    #[test]
    fn only_questions_are_read_only() {
        assert!(Request::ListUnits.is_read_only());
        assert!(!Request::DaemonReload.is_read_only());
        assert!(!Request::Kill(9).is_read_only());
    }
}
