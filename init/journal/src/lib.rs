//! The log of the system: the daemon that collects it, and the command that shows it.
//!
//! They meet in journal files of `ferrite_journal_file` and in one socket for orders; the daemon is one thread around
//! one epoll.

mod fields;
pub mod journalctl;
pub mod journald;
mod level;
mod places;
