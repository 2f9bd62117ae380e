//! How the processes of a unit are stopped: `KillMode=` and its signals. Pure.

use crate::directive::Table;
use crate::value::{boolean, signal, wrong};

/// Which processes are signalled on stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KillMode {
    /// All of the control group.
    #[default]
    ControlGroup,
    /// `SIGTERM` to the main process, `SIGKILL` to all.
    Mixed,
    /// The main process only.
    Process,
    /// None.
    None,
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// `KillMode=`.
    pub mode: KillMode,
    /// `KillSignal=`.
    pub signal: i32,
    /// `RestartKillSignal=`.
    pub restart_signal: Option<i32>,
    /// `FinalKillSignal=`.
    pub final_signal: i32,
    /// `WatchdogSignal=`.
    pub watchdog_signal: i32,
    /// `SendSIGKILL=`.
    pub send_sigkill: bool,
    /// `SendSIGHUP=`.
    pub send_sighup: bool,
}

impl Default for Kill {
    fn default() -> Self {
        Kill {
            mode: KillMode::default(),
            signal: 15,
            restart_signal: None,
            final_signal: 9,
            watchdog_signal: 6,
            send_sigkill: true,
            send_sighup: false,
        }
    }
}

pub(crate) const TABLE: Table<Kill> = &[
    ("KillMode", |kill, value| {
        kill.mode = match value.raw {
            "" | "control-group" => KillMode::ControlGroup,
            "mixed" => KillMode::Mixed,
            "process" => KillMode::Process,
            "none" => KillMode::None,
            other => return Err(wrong(other, "control-group, mixed, process or none")),
        };
        Ok(())
    }),
    ("KillSignal", |kill, value| {
        kill.signal = signal(value.raw)?;
        Ok(())
    }),
    ("RestartKillSignal", |kill, value| {
        kill.restart_signal = Some(signal(value.raw)?);
        Ok(())
    }),
    ("FinalKillSignal", |kill, value| {
        kill.final_signal = signal(value.raw)?;
        Ok(())
    }),
    ("WatchdogSignal", |kill, value| {
        kill.watchdog_signal = signal(value.raw)?;
        Ok(())
    }),
    ("SendSIGKILL", |kill, value| {
        kill.send_sigkill = boolean(value.raw)?;
        Ok(())
    }),
    ("SendSIGHUP", |kill, value| {
        kill.send_sighup = boolean(value.raw)?;
        Ok(())
    }),
];
