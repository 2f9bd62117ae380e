//! What PID 1 tells about a unit. Pure.
//!
//! Times are microseconds: `*_us` of the wall clock since 1970, `*_monotonic_us` since the kernel started. Zero means
//! never. Every field but the name has a default, so that an older reader and a newer writer understand each other.

use serde::{Deserialize, Serialize};

use crate::properties::Properties;

/// One line of `systemctl list-units`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitSummary {
    /// Full name.
    pub name: String,
    /// `Description=`, or the name.
    #[serde(default)]
    pub description: String,
    /// loaded, not-found, bad-setting, error, masked or stub.
    #[serde(default)]
    pub load: String,
    /// active, reloading, inactive, failed, activating, deactivating, maintenance.
    #[serde(default)]
    pub active: String,
    /// The state of the unit's own kind: running, exited, dead, mounted, listening...
    #[serde(default)]
    pub sub: String,
    /// The kind of the queued job, if any.
    #[serde(default)]
    pub job: Option<String>,
}

/// Whether a unit starts at boot, in systemd's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enablement {
    /// A link in /etc makes something want it.
    Enabled,
    /// A link in /run does.
    EnabledRuntime,
    /// Reached by a link, itself outside the unit directories.
    Linked,
    /// The same, in /run.
    LinkedRuntime,
    /// A second name of another unit.
    Alias,
    /// Linked to /dev/null.
    Masked,
    /// Linked to /dev/null in /run.
    MaskedRuntime,
    /// Nothing in `[Install]`, or linked from the image: cannot be enabled or disabled.
    Static,
    /// No `[Install]` rule of its own, but `Also=`.
    Indirect,
    /// Has `[Install]`, no link.
    Disabled,
    /// Made by a generator.
    Generated,
    /// Made at run time through the control socket.
    Transient,
    /// The file cannot be read.
    Bad,
    /// There is no file.
    #[default]
    NotFound,
}

impl Enablement {
    /// The word as systemctl prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            Enablement::Enabled => "enabled",
            Enablement::EnabledRuntime => "enabled-runtime",
            Enablement::Linked => "linked",
            Enablement::LinkedRuntime => "linked-runtime",
            Enablement::Alias => "alias",
            Enablement::Masked => "masked",
            Enablement::MaskedRuntime => "masked-runtime",
            Enablement::Static => "static",
            Enablement::Indirect => "indirect",
            Enablement::Disabled => "disabled",
            Enablement::Generated => "generated",
            Enablement::Transient => "transient",
            Enablement::Bad => "bad",
            Enablement::NotFound => "not-found",
        }
    }
}

/// Everything `systemctl status` and `systemctl show` need.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitDetails {
    /// Name, description and states.
    pub summary: UnitSummary,
    /// The unit file.
    pub fragment_path: Option<String>,
    /// Drop-in files in the order they were read.
    pub drop_in_paths: Vec<String>,
    /// `Documentation=`.
    pub documentation: Vec<String>,
    /// Whether it starts at boot.
    pub enablement: Enablement,
    /// What the preset files say: `enabled`, `disabled` or empty.
    pub preset: String,
    /// Why the file could not be loaded.
    pub load_error: Option<String>,
    /// Files changed since they were read.
    pub need_daemon_reload: bool,
    /// Last change of the active state (wall clock).
    pub state_change_us: u64,
    /// Last change of the active state.
    pub state_change_monotonic_us: u64,
    /// Last time it became active (wall clock).
    pub active_enter_us: u64,
    /// Last time it became active.
    pub active_enter_monotonic_us: u64,
    /// Last time it stopped being inactive (wall clock): when the start began.
    pub inactive_exit_us: u64,
    /// Last time it stopped being inactive.
    pub inactive_exit_monotonic_us: u64,
    /// Last time it became inactive (wall clock).
    pub inactive_enter_us: u64,
    /// Last time it became inactive.
    pub inactive_enter_monotonic_us: u64,
    /// Of the running start, or the last one (32 hexadecimal digits).
    pub invocation_id: String,
    /// `Result`: success, exit-code, signal, core-dump, timeout, watchdog, start-limit-hit, resources, protocol...
    pub result: String,
    /// Commands that ran or run, in the order of status: main, control, pre, post.
    pub commands: Vec<CommandStatus>,
    /// Main process, while it runs.
    pub main_pid: Option<i32>,
    /// Its short name.
    pub main_comm: String,
    /// Control process (ExecStartPre= and so on), while it runs.
    pub control_pid: Option<i32>,
    /// Its short name.
    pub control_comm: String,
    /// `STATUS=` of sd_notify.
    pub status_text: String,
    /// Number of automatic restarts.
    pub restarts: u32,
    /// For mounts: what is mounted.
    pub what: Option<String>,
    /// For mounts: where.
    pub where_path: Option<String>,
    /// For sockets: addresses listened on, with kind: `/run/x.sock (Stream)`.
    pub listen: Vec<String>,
    /// For sockets and timers: the units it triggers. For services: who triggers them.
    pub triggers: Vec<String>,
    /// The units that trigger this one.
    pub triggered_by: Vec<String>,
    /// Conditions that were not met at the last start, and when they were checked.
    pub conditions: Vec<ConditionResult>,
    /// When conditions were last checked (wall clock).
    pub condition_us: u64,
    /// Whether they were met.
    pub condition_met: bool,
    /// Directives that this version does not implement: `/path:12: PrivateTmp=`.
    pub unsupported: Vec<String>,
    /// The control group, if it exists.
    pub control_group: Option<ControlGroup>,
    /// All properties under systemd's names, as `systemctl show` prints the values.
    pub properties: Properties,
}

/// A command of a unit and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandStatus {
    /// `ExecStart`, `ExecStartPre`...
    pub directive: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Process id; 0 if it never ran.
    pub pid: i32,
    /// When it started (wall clock).
    pub start_us: u64,
    /// When it ended (wall clock); 0 while it runs.
    pub exit_us: u64,
    /// `exited`, `killed` or `dumped`; empty while it runs.
    pub code: String,
    /// Exit status or signal number.
    pub status: i32,
}

/// One `Condition...=` or `Assert...=`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConditionResult {
    /// `ConditionPathExists=/etc/x`, with its `!` or `|`.
    pub text: String,
    /// Whether it was met.
    pub met: bool,
}

/// A control group and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlGroup {
    /// Path under /sys/fs/cgroup, `/system.slice/ssh.service`.
    pub path: String,
    /// `pids.current`.
    pub tasks: Option<u64>,
    /// `pids.max`; `None`: no limit.
    pub tasks_max: Option<u64>,
    /// `memory.current`.
    pub memory_bytes: Option<u64>,
    /// `memory.peak`.
    pub memory_peak_bytes: Option<u64>,
    /// `usage_usec` of cpu.stat.
    pub cpu_us: Option<u64>,
    /// Its processes, sub-groups included; at most some hundreds.
    pub processes: Vec<GroupProcess>,
}

/// A process of a control group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupProcess {
    /// Process id.
    pub pid: i32,
    /// Command line, blanks between the words, or the short name in brackets.
    pub command: String,
    /// Sub-group relative to the unit's group; empty: the group itself.
    pub group: String,
}
