//! `systemctl show`: properties under systemd's names. Pure.
//!
//! PID 1 sends a map of properties; what the typed answer holds is added when the map lacks it.

use std::collections::BTreeMap;

use ferrite_control::UnitDetails;
use ferrite_unit::timestamp::Style;
use ferrite_unit::zone::Zone;

use super::arguments::Arguments;

/// The properties of a unit.
pub fn properties(details: &UnitDetails, zone: &Zone) -> BTreeMap<String, String> {
    let summary = &details.summary;
    let group = details.control_group.as_ref();
    let mut map = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        map.insert(name.to_owned(), value);
    };
    let stamp = |us: u64| Style::Pretty.print(us, zone).unwrap_or_default();
    let yes_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let number = |value: Option<u64>| value.map_or_else(|| "[not set]".to_owned(), |value| value.to_string());
    put("Id", summary.name.clone());
    put("Description", summary.description.clone());
    put("LoadState", summary.load.clone());
    put("ActiveState", summary.active.clone());
    put("SubState", summary.sub.clone());
    put("FragmentPath", details.fragment_path.clone().unwrap_or_default());
    put("DropInPaths", details.drop_in_paths.join(" "));
    put("Documentation", details.documentation.join(" "));
    put(
        "UnitFileState",
        match details.enablement {
            ferrite_control::Enablement::NotFound => String::new(),
            enablement => enablement.as_str().to_owned(),
        },
    );
    put("UnitFilePreset", details.preset.clone());
    put("NeedDaemonReload", yes_no(details.need_daemon_reload));
    put("InvocationID", details.invocation_id.clone());
    put("StateChangeTimestampMonotonic", details.state_change_monotonic_us.to_string());
    put("ActiveEnterTimestampMonotonic", details.active_enter_monotonic_us.to_string());
    put("InactiveExitTimestampMonotonic", details.inactive_exit_monotonic_us.to_string());
    put("InactiveEnterTimestampMonotonic", details.inactive_enter_monotonic_us.to_string());
    put("StateChangeTimestamp", stamp(details.state_change_us));
    put("ActiveEnterTimestamp", stamp(details.active_enter_us));
    put("InactiveExitTimestamp", stamp(details.inactive_exit_us));
    put("InactiveEnterTimestamp", stamp(details.inactive_enter_us));
    put("ConditionTimestamp", stamp(details.condition_us));
    put("ConditionResult", yes_no(details.condition_met));
    put("Triggers", details.triggers.join(" "));
    put("TriggeredBy", details.triggered_by.join(" "));
    put("ControlGroup", group.map(|group| group.path.clone()).unwrap_or_default());
    if summary.name.ends_with(".service") {
        put("Result", details.result.clone());
        put("MainPID", details.main_pid.unwrap_or(0).to_string());
        put("ControlPID", details.control_pid.unwrap_or(0).to_string());
        put("StatusText", details.status_text.clone());
        put("NRestarts", details.restarts.to_string());
        put("TasksCurrent", number(group.and_then(|group| group.tasks)));
        put("MemoryCurrent", number(group.and_then(|group| group.memory_bytes)));
        put("MemoryPeak", number(group.and_then(|group| group.memory_peak_bytes)));
        put("CPUUsageNSec", number(group.and_then(|group| group.cpu_us).map(|us| us.saturating_mul(1000))));
        let main = details.commands.iter().rfind(|command| command.directive == "ExecStart");
        put("ExecMainPID", main.map_or(0, |command| command.pid).to_string());
        put("ExecMainStatus", main.map_or(0, |command| command.status).to_string());
        put("ExecMainStartTimestamp", stamp(main.map_or(0, |command| command.start_us)));
        put("ExecMainExitTimestamp", stamp(main.map_or(0, |command| command.exit_us)));
    }
    map.extend(details.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
    write_times(&mut map, &stamp);
    map
}

/// Writes out the moments of timers, which PID 1 tells in microseconds.
fn write_times(map: &mut BTreeMap<String, String>, stamp: &dyn Fn(u64) -> String) {
    if let Some(calendar) = map.get_mut("TimersCalendar") {
        *calendar = with_stamps(calendar, stamp);
    }
    for (name, value) in map {
        let Ok(us) = value.parse::<u64>() else { continue };
        match name.as_str() {
            "NextElapseUSecRealtime" | "LastTriggerUSec" => *value = stamp(us),
            "NextElapseUSecMonotonic" => *value = ferrite_unit::timespan::text(us, 1),
            _ => {}
        }
    }
}

/// Writes the moments of calendar events out.
fn with_stamps(calendar: &str, stamp: &dyn Fn(u64) -> String) -> String {
    let line = |line: &str| {
        let parts = line.strip_suffix(" }").and_then(|line| line.rsplit_once('@'));
        match parts.and_then(|(head, moment)| Some((head, moment.parse::<u64>().ok()?))) {
            Some((head, 0)) => format!("{head}(null) }}"),
            Some((head, us)) => format!("{head}{} }}", stamp(us)),
            None => line.to_owned(),
        }
    };
    calendar.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Prints the asked properties, or all that are not empty.
pub fn render(properties: &BTreeMap<String, String>, arguments: &Arguments) -> String {
    let mut out = String::new();
    let mut push = |name: &str, value: &str| {
        // Those that are a list of pairs take a line for each.
        let lines = match name {
            "Listen" | "Paths" | "TimersMonotonic" | "TimersCalendar" => value.split('\n').collect(),
            _ => vec![value],
        };
        for line in lines {
            if !arguments.value {
                out.push_str(name);
                out.push('=');
            }
            out.push_str(&line.replace('\n', "\\n"));
            out.push('\n');
        }
    };
    if arguments.properties.is_empty() {
        for (name, value) in properties.iter().filter(|(_, value)| arguments.all || !value.is_empty()) {
            push(name, value);
        }
    }
    for name in &arguments.properties {
        if let Some(value) = properties.get(name) {
            push(name, value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moments_of_calendar_events_are_written_out() {
        let stamp = |us: u64| format!("<{us}>");
        let text = "{ OnCalendar=*-*-* 03:00:00 ; next_elapse=@12 }\n{ OnCalendar=daily ; next_elapse=@0 }\nodd";
        let lines = "{ OnCalendar=*-*-* 03:00:00 ; next_elapse=<12> }\n{ OnCalendar=daily ; next_elapse=(null) }\nodd";
        assert_eq!(with_stamps(text, &stamp), lines);
    }

    #[test]
    fn asked_properties_come_in_the_order_asked_and_the_server_has_the_last_word() {
        let mut details = UnitDetails { main_pid: Some(7), result: "success".into(), ..UnitDetails::default() };
        details.summary.name = "a.service".into();
        details.properties.insert("Result".into(), "timeout".into());
        details.properties.insert("Type".into(), "notify".into());
        let map = properties(&details, &Zone::utc());
        let asked = Arguments {
            properties: ["Type", "Nonsense", "MainPID", "Result", "StatusText"].map(str::to_owned).into(),
            ..Arguments::default()
        };
        assert_eq!(render(&map, &asked), "Type=notify\nMainPID=7\nResult=timeout\nStatusText=\n");
        assert_eq!(render(&map, &Arguments { value: true, ..asked }), "notify\n7\ntimeout\n\n");
        assert!(!render(&map, &Arguments::default()).contains("StatusText"));
        assert!(render(&map, &Arguments { all: true, ..Arguments::default() }).contains("StatusText=\n"));
    }
}
