//! `systemd-analyze calendar`: the normal form of an event, and when it elapses.

use anyhow::{Result, anyhow, bail};
use ferrite_unit::calendar::CalendarSpec;
use ferrite_unit::timestamp::{Style, parse};
use ferrite_unit::{timespan, timestamp};

use super::{Call, Language, each, hint};
use crate::client::style::{BLUE, YELLOW};
use crate::client::vertical::Vertical;

/// Prints a table for each event.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let iterations = match call.line.value("iterations") {
        None => 1,
        Some(text) => text.parse().map_err(|_| anyhow!("Failed to parse iterations: Invalid argument"))?,
    };
    let base_us = match call.line.value("base-time") {
        None => call.now_us,
        Some(text) => match parse(text, call.now_us, &call.zones) {
            Ok(base) => base,
            Err(_) => bail!("Failed to parse --base-time= parameter: Invalid argument"),
        },
    };
    each(call, |call, text| table(call, text, iterations, base_us))
}

fn table(call: &Call<'_>, text: &str, iterations: u32, base_us: u64) -> Result<String> {
    let Ok(spec) = CalendarSpec::parse(text, &call.zones) else {
        let hint = hint(call, text, Language::Calendar);
        bail!("Failed to parse calendar specification '{text}': Invalid argument{hint}");
    };
    let normal = spec.to_string();
    let mut table = Vertical::default();
    if normal != text {
        table.field("Original form", text);
    }
    table.field("Normalized form", normal);
    let zone = call.zones.local();
    let mut moment = base_us;
    for number in 1..=iterations {
        let Ok(found) = spec.search_after(moment, &call.zones) else {
            eprintln!("Infinite loop in calendar calculation: {spec}");
            bail!("Failed to determine next elapse for '{text}': Resource deadlock avoided");
        };
        let Some(next) = found else {
            if number == 1 {
                table.painted("Next elapse", "never", YELLOW);
            }
            break;
        };
        moment = next;
        let name = if number == 1 { "Next elapse".to_owned() } else { format!("Iteration #{number}") };
        table.painted(name, timestamp::weekday_stamp(next, zone), BLUE);
        if !zone.is_utc() {
            table.field("(in UTC)", Style::Utc.print(next, zone).unwrap_or_default());
        }
        table.field("From now", timespan::distance(next, call.now_us));
    }
    Ok(table.render(call.colour))
}
