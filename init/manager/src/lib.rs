//! PID 1 of Ferrite: the service manager.
//!
//! Decides in pure modules (`machine`, `transitions`, `jobs`, `transaction`, `X_machine`...), acts in the others.
//! One thread, one loop (`engine`); it never panics, never blocks and never exits while the machine runs.

pub mod client;

pub mod automount_machine;
mod consistency;
mod endings;
pub mod jobs;
pub mod machine;
pub mod mount_machine;
mod mount_table;
mod restarts;
mod sayings;
pub mod timers;
pub mod transaction;
mod transitions;

mod alarms;
pub mod path_machine;
pub mod rate;
pub mod scope_machine;
pub mod socket_machine;
pub mod swap_machine;
pub mod timer_machine;

mod state;

mod changes;
mod cleaning;
mod collect;
mod completion;
mod corruption;
mod draft;
mod engine;
mod file_store;
mod freezer;
mod fstab;
mod generators;
mod keeping;
mod kinds;
mod leftovers;
mod lifecycle;
mod limiting;
mod loading;
mod main_process;
mod moments;
mod notifications;
mod power;
mod queue;
mod reach;
mod recorder;
mod recovery;
mod reexec;
mod reload;
mod restoring;
mod sets;
mod signals;
mod spawn;
mod units;
mod usage;
mod variables;
mod watch;

mod automount_unit;
mod control_process;
mod descriptors;
mod device_unit;
mod glob;
mod held;
mod mount_unit;
mod path_unit;
mod path_watch;
mod scope_unit;
mod socket_accept;
mod socket_open;
mod socket_unit;
mod swap_unit;
mod timer_unit;
mod transient;
mod wanting_devices;

mod accounts;
mod child;
mod child_environment;
mod clock;
mod credentials;
mod directories;
mod disk;
mod facts;
mod groups;
mod host;
mod launching;
mod log;
mod mounting;
mod open_files;
mod sandbox;
mod streams;
mod surroundings;
mod terminals;
mod totals;
mod virtualization;

mod answers;
mod commands;
mod manager_properties;
mod manager_state;
mod pressure;
mod properties;
mod requests;
mod server;
mod survey;
mod unit_files;

mod dump;
mod plan;

mod boot;
mod bus;
mod bus_names;
mod rescue_shell;

mod closing;
mod last_stage;
mod shutdown;
mod start;
mod start_record;

pub use dump::dump;
pub use last_stage::OPTION as LAST_STAGE;
pub use plan::plan;
pub use rescue_shell::run as rescue_shell;
pub use start::{Options, last_stage, run, try_state};
