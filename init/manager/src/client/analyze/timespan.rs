//! `systemd-analyze timespan`: a span in microseconds and in systemd's own words.

use anyhow::{Result, bail};
use ferrite_unit::timespan;

use super::{Call, Language, hint};
use crate::client::print;
use crate::client::style::BOLD;
use crate::client::vertical::Vertical;

/// Prints a table for each span; the first fault ends it.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let operands = call.operands();
    for (number, text) in operands.iter().enumerate() {
        let Ok(span) = timespan::parse(text) else {
            let hint = hint(call, text, Language::Timespan);
            bail!("Failed to parse time span '{text}': Invalid argument{hint}");
        };
        let mut table = Vertical::default();
        table.field("Original", text);
        table.field(if call.caller.is_utf8() { "μs" } else { "us" }, span.to_string());
        table.painted("Human", timespan::text(span, 1), BOLD);
        print(&table.render(call.colour))?;
        if number + 1 < operands.len() {
            print("\n")?;
        }
    }
    Ok(0)
}
