//! The log of the system: the daemon that collects it, the command that shows it, and the one that sends it elsewhere.
//!
//! They meet in journal files of `ferrite_journal_file` and in one socket for orders; the daemon is one thread around
//! one epoll.

mod fields;
pub mod journalctl;
pub mod journald;
mod level;
mod places;
pub mod ship;
