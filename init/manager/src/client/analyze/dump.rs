//! `systemd-analyze dump`: everything that PID 1 knows, in words for people.
//!
//! The client asks for a few units after the others: PID 1 is not kept busy, however many there are.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use ferrite_control::{
    Client, ClientError, JobEntry, MAX_UNITS_SHOWN, Properties, Reply, Request, UnitDetails, UnitSummary,
};
use ferrite_pattern::{is_pattern, matches_unit};
use ferrite_unit::sheet::RELATIONS;
use ferrite_unit::timestamp::Style;
use ferrite_unit::words::{Escapes, split};
use ferrite_unit::zone::Zone;
use ferrite_unit::{UnitName, timespan};

use super::Call;
use crate::client::print;
use crate::client::show::{Stamps, written};
use crate::client::style::visible;
use crate::client::unit_names::full_name;
use crate::client::verbs::details;

/// Moments of the manager: the property and the word.
const MOMENTS: [(&str, &str); 9] = [
    ("Kernel", "kernel"),
    ("InitRD", "initrd"),
    ("Userspace", "userspace"),
    ("Finish", "finish"),
    ("ShutdownStart", "shutdown-start"),
    ("GeneratorsStart", "generators-start"),
    ("GeneratorsFinish", "generators-finish"),
    ("UnitsLoadStart", "units-load-start"),
    ("UnitsLoadFinish", "units-load-finish"),
];

/// Properties that stand first, under systemd's words in a dump.
const WORDS: [(&str, &str); 17] = [
    ("Description", "Description"),
    ("LoadState", "Unit Load State"),
    ("ActiveState", "Unit Active State"),
    ("StateChangeTimestamp", "State Change Timestamp"),
    ("InactiveExitTimestamp", "Inactive Exit Timestamp"),
    ("ActiveEnterTimestamp", "Active Enter Timestamp"),
    ("ActiveExitTimestamp", "Active Exit Timestamp"),
    ("InactiveEnterTimestamp", "Inactive Enter Timestamp"),
    ("NeedDaemonReload", "Need Daemon Reload"),
    ("Transient", "Transient"),
    ("Slice", "Slice"),
    ("ControlGroup", "CGroup"),
    ("InvocationID", "Invocation ID"),
    ("ConditionTimestamp", "Condition Timestamp"),
    ("ConditionResult", "Condition Result"),
    ("AssertTimestamp", "Assert Timestamp"),
    ("AssertResult", "Assert Result"),
];

/// Lists: a line for each of their words.
const LISTS: [(&str, &str); 3] =
    [("Documentation", "Documentation"), ("FragmentPath", "Fragment Path"), ("DropInPaths", "DropIn Path")];

/// Prints the manager, its units and jobs; with patterns only the units that they name.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let mut client = call.connect()?;
    let zone = call.zones.local();
    let jobs = match client.ask(&Request::ListJobs)? {
        Reply::JobQueue(jobs) => jobs,
        _ => bail!(ClientError::Unexpected),
    };
    if call.operands().is_empty() {
        let properties = match client.ask(&Request::ShowManager)? {
            Reply::Properties(properties) => properties,
            _ => bail!(ClientError::Unexpected),
        };
        print(&manager(&properties, zone))?;
    }
    for some in names(&mut client, call.operands())?.chunks(MAX_UNITS_SHOWN) {
        let units = match client.ask(&Request::ShowSome { units: some.to_vec() })? {
            Reply::SomeUnits(units) => units,
            _ => bail!(ClientError::Unexpected),
        };
        let told = |unit: &UnitDetails| of_unit(unit, jobs.iter().find(|job| job.unit == unit.summary.name), zone);
        print(&units.iter().map(told).collect::<String>())?;
    }
    if call.operands().is_empty() {
        print(&jobs.iter().map(|entry| job(entry, "")).collect::<String>())?;
    }
    Ok(0)
}

/// The units that words name; no words: all.
fn names(client: &mut Client, words: &[String]) -> Result<Vec<String>> {
    let units: Vec<UnitSummary> = match client.ask(&Request::ListUnits)? {
        Reply::Units(units) => units,
        _ => bail!(ClientError::Unexpected),
    };
    if words.is_empty() {
        return Ok(units.into_iter().map(|unit| unit.name).collect());
    }
    let mut found = Vec::new();
    for word in words {
        if is_pattern(word) {
            found.extend(units.iter().map(|unit| &unit.name).filter(|name| matches_unit(word, name)).cloned());
        } else {
            found.push(details(client, &full_name(word))?.summary.name);
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|name| seen.insert(name.clone()));
    Ok(found)
}

fn stamp(us: u64, zone: &Zone) -> String {
    if us == 0 { "n/a".to_owned() } else { Style::Pretty.print(us, zone).unwrap_or_else(|| "n/a".to_owned()) }
}

fn manager(properties: &Properties, zone: &Zone) -> String {
    let mut out = format!("Manager: {}\n", visible(properties.text("Version")));
    for (name, word) in MOMENTS {
        let wall = properties.moment_us(&format!("{name}Timestamp"));
        if wall > 0 {
            out.push_str(&format!("Timestamp {word}: {}\n", stamp(wall, zone)));
        }
    }
    for (name, value) in properties.0.iter().filter(|(name, _)| name != "Version" && !name.contains("Timestamp")) {
        out.push_str(&format!("{name}: {}\n", visible(value)));
    }
    out
}

fn of_unit(unit: &UnitDetails, queued: Option<&JobEntry>, zone: &Zone) -> String {
    let properties = &unit.properties;
    let name = unit.summary.name.as_str();
    let mut out = format!("-> Unit {}:\n", visible(name));
    let mut line = |word: &str, value: &str| out.push_str(&format!("\t{word}: {}\n", visible(value)));
    let value = |name: &str| properties.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let words = |property: &str| {
        let text = value(property).unwrap_or_default();
        // A word with characters of the shell stands between quotes.
        split(text, Escapes::Plain).unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect())
    };
    for alias in words("Names").iter().filter(|alias| *alias != name) {
        line("Alias", alias);
    }
    let parsed = UnitName::parse(name).ok();
    for (property, word) in WORDS {
        match value(property) {
            Some(_) if property.ends_with("Timestamp") => line(word, &stamp(properties.moment_us(property), zone)),
            Some(value) => line(word, value),
            None => {}
        }
        if property == "Description" {
            line("Instance", parsed.as_ref().and_then(UnitName::instance).unwrap_or("n/a"));
        }
    }
    let relations = RELATIONS.into_iter().map(|name| (name, name));
    for (property, word) in LISTS.into_iter().chain(relations) {
        words(property).iter().for_each(|value| line(word, value));
    }
    let told = |name: &str| {
        WORDS.iter().chain(&LISTS).any(|(known, _)| *known == name)
            || RELATIONS.contains(&name)
            || name.contains("Timestamp")
            || matches!(name, "Id" | "Names" | "Job")
    };
    let stamps = Stamps { style: Style::Pretty, zone };
    for (name, value) in properties.0.iter().filter(|(name, value)| !told(name) && !value.is_empty()) {
        line(name, &written(name, value, stamps));
    }
    unit.unsupported.iter().for_each(|place| line("Not carried out", place));
    out.push_str(&queued.map(|entry| job(entry, "\t")).unwrap_or_default());
    out
}

fn job(entry: &JobEntry, indent: &str) -> String {
    let mut out = format!("{indent}-> Job {}:\n", entry.id);
    let mut line = |word: &str, value: &str| out.push_str(&format!("{indent}\t{word}: {value}\n"));
    line("Action", &format!("{} -> {}", entry.job, visible(&entry.unit)));
    line("State", &entry.state);
    for (word, us) in [("Queued", entry.queued_us), ("Began", entry.began_us)] {
        if us > 0 {
            line(word, &format!("{} after the start of the kernel", timespan::text(us, 1000)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_told_with_its_relations_and_its_job() {
        let mut unit = UnitDetails::default();
        unit.summary.name = "a@x.service".into();
        for (name, value) in [
            ("Id", "a@x.service"),
            ("Names", "a@x.service other.service"),
            ("Description", "A"),
            ("LoadState", "loaded"),
            ("ActiveState", "activating"),
            ("ActiveEnterTimestamp", "@0"),
            ("InactiveExitTimestamp", "@1700000000000000"),
            ("After", "b.service \"dev-x\\\\x2dy.device\""),
            ("Type", "oneshot"),
            ("StatusText", ""),
        ] {
            unit.properties.insert(name, value);
        }
        let entry = JobEntry {
            id: 7,
            unit: "a@x.service".into(),
            job: "start".into(),
            state: "waiting".into(),
            queued_us: 1_500_000,
            began_us: 0,
        };
        let lines = [
            "-> Unit a@x.service:",
            "\tAlias: other.service",
            "\tDescription: A",
            "\tInstance: x",
            "\tUnit Load State: loaded",
            "\tUnit Active State: activating",
            "\tInactive Exit Timestamp: Tue 2023-11-14 22:13:20 UTC",
            "\tActive Enter Timestamp: n/a",
            "\tAfter: b.service",
            "\tAfter: dev-x\\x2dy.device",
            "\tType: oneshot",
            "\t-> Job 7:",
            "\t\tAction: start -> a@x.service",
            "\t\tState: waiting",
            "\t\tQueued: 1.500s after the start of the kernel",
        ];
        assert_eq!(of_unit(&unit, Some(&entry), &Zone::utc()).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn moments_that_did_not_come_are_left_out() {
        let pairs = [
            ("Version", "Ferrite 1"),
            ("KernelTimestamp", "@0"),
            ("KernelTimestampMonotonic", "0"),
            ("FinishTimestamp", "@1700000000000000"),
            ("NJobs", "0"),
        ];
        let properties = Properties(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
        assert_eq!(
            manager(&properties, &Zone::utc()),
            "Manager: Ferrite 1\nTimestamp finish: Tue 2023-11-14 22:13:20 UTC\nNJobs: 0\n"
        );
    }
}
