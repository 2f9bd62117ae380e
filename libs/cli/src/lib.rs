//! What every command of Ferrite shares: how an error is printed, exit codes, tables.
//!
//! Pure but for the printing functions. Device and host programs use the same words, so a person meets one style.

mod called;
mod error;
mod table;

pub use called::called;
pub use error::{error_line, exit_with};
pub use table::Table;

/// The command did what was asked.
pub const EXIT_OK: u8 = 0;
/// The command failed.
pub const EXIT_FAILURE: u8 = 1;
/// The command line was wrong.
pub const EXIT_USAGE: u8 = 2;
