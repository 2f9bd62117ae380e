//! `systemd-analyze unit-paths`: the directories where units are searched, most important first.

use anyhow::{Result, bail};

use super::Call;
use super::loading::search_path;
use crate::client::print;

/// Prints one directory a line.
pub fn run(call: &Call<'_>) -> Result<u8> {
    if !call.operands().is_empty() {
        bail!("Too many arguments.");
    }
    print(&search_path(call).0.iter().map(|directory| format!("{directory}\n")).collect::<String>())
}
