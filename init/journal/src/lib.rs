//! The log of the system: the daemon that collects it, and the command that shows it.
//!
//! They meet in the files of `ferrite_control::log_files`; the daemon is one thread around one epoll.

pub mod journalctl;
pub mod journald;
