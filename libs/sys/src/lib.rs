//! System calls that no safe library covers, one small module a subject.
//!
//! The only crate of the workspace that may hold `unsafe`.

pub mod autofs;
pub mod block;
pub mod bpf;
pub mod capability;
pub mod clock;
pub mod console;
pub mod crash;
pub mod detach;
pub mod dm;
pub mod epoll;
pub mod icmpv6;
pub mod inherit;
pub mod ipc;
pub mod keyring;
pub mod kmsg;
pub mod launch;
pub mod mapper_events;
pub mod mapping;
pub mod memory;
pub mod module;
pub mod mounts;
pub mod notify;
pub mod packet;
pub mod prctl;
pub mod process;
pub mod random;
pub mod reboot;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod swap;
pub mod terminal;
pub mod watchdog;
