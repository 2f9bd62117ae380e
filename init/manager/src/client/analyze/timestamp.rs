//! `systemd-analyze timestamp`: a moment in all its forms.

use anyhow::{Result, bail};
use ferrite_unit::timestamp::{Style, parse};
use ferrite_unit::{timespan, timestamp};

use super::{Call, Language, each, hint};
use crate::client::style::BLUE;
use crate::client::vertical::Vertical;

/// Prints a table for each moment.
pub fn run(call: &Call<'_>) -> Result<u8> {
    each(call, table)
}

fn table(call: &Call<'_>, text: &str) -> Result<String> {
    let Ok(moment) = parse(text, call.now_us, &call.zones) else {
        let hint = hint(call, text, Language::Timestamp);
        bail!("Failed to parse \"{text}\": Invalid argument{hint}");
    };
    let zone = call.zones.local();
    let mut table = Vertical::default();
    table.field("Original form", text);
    table.painted("Normalized form", timestamp::weekday_stamp(moment, zone), BLUE);
    if !zone.is_utc() {
        table.field("(in UTC)", Style::Utc.print(moment, zone).unwrap_or_default());
    }
    let (seconds, rest) = (moment / timespan::SECOND_US, moment % timespan::SECOND_US);
    table.field("UNIX seconds", if rest == 0 { format!("@{seconds}") } else { format!("@{seconds}.{rest:06}") });
    table.field("From now", timespan::distance(moment, call.now_us));
    Ok(table.render(call.colour))
}
