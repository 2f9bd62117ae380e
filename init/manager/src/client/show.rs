//! `systemctl show`: properties under systemd's names, in its order. Pure.
//!
//! PID 1 tells moments as `@microseconds`: here they are written out in the caller's zone and style.

use ferrite_control::Properties;
use ferrite_unit::sheet::{ALLOW_LISTS, NOT_SET, UNPRINTABLE};
use ferrite_unit::timestamp::Style;
use ferrite_unit::zone::Zone;

use super::arguments::Arguments;

/// How moments are written.
#[derive(Clone, Copy)]
pub struct Stamps<'a> {
    pub style: Style,
    pub zone: &'a Zone,
}

impl Stamps<'_> {
    fn text(self, us: u64) -> Option<String> {
        if us == 0 { None } else { self.style.print(us, self.zone) }
    }
}

/// The value as it is printed.
pub fn written(name: &str, value: &str, stamps: Stamps<'_>) -> String {
    if let Some(us) = value.strip_prefix('@').and_then(|us| us.parse().ok()) {
        return stamps.text(us).unwrap_or_default();
    }
    if name.ends_with("USecMonotonic") {
        return value.parse().map_or_else(|_| value.to_owned(), |us| ferrite_unit::timespan::text(us, 1));
    }
    if name == "TimersCalendar" {
        return with_moment(value, "next_elapse=", stamps, "(null)");
    }
    if name.starts_with("Exec") && value.starts_with("{ path=") {
        let begun = with_moment(value, "start_time=[", stamps, "n/a");
        return with_moment(&begun, "stop_time=[", stamps, "n/a");
    }
    value.to_owned()
}

/// Writes out the last moment behind a mark.
fn with_moment(value: &str, mark: &str, stamps: Stamps<'_>, never: &str) -> String {
    let found = value.rfind(&format!("{mark}@")).and_then(|at| {
        let (head, rest) = value.split_at_checked(at + mark.len())?;
        let rest = rest.strip_prefix('@')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, tail) = rest.split_at_checked(end)?;
        Some(format!("{head}{}{tail}", stamps.text(digits.parse().ok()?).unwrap_or_else(|| never.to_owned())))
    });
    found.unwrap_or_else(|| value.to_owned())
}

/// Is there nothing to say, so that only who asks for it is told?
fn is_empty(name: &str, value: &str) -> bool {
    match value {
        "" => !ALLOW_LISTS.contains(&name),
        "~" => ALLOW_LISTS.contains(&name),
        UNPRINTABLE => true,
        NOT_SET => name.ends_with("ActionExitStatus"),
        _ => false,
    }
}

/// Prints the asked properties, or all that are not empty, in the order in which PID 1 tells them.
pub fn render(properties: &Properties, arguments: &Arguments, stamps: Stamps<'_>) -> String {
    let asked = &arguments.properties;
    let mut out = String::new();
    for (name, value) in &properties.0 {
        if !asked.is_empty() && !asked.contains(name) {
            continue;
        }
        let value = written(name, value, stamps);
        if asked.is_empty() && !arguments.all && is_empty(name, &value) {
            continue;
        }
        if !arguments.value {
            out.push_str(name);
            out.push('=');
        }
        out.push_str(&value);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(pairs: &[(&str, &str)], line: &str) -> String {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let words: Vec<String> = format!("systemctl show {line}").split_whitespace().map(str::to_owned).collect();
        let arguments = super::super::arguments::parse(&words).expect("valid");
        let utc = Zone::utc();
        render(&Properties(pairs.collect()), &arguments, Stamps { style: Style::Pretty, zone: &utc })
    }

    #[test]
    fn moments_are_written_out_wherever_they_stand() {
        for (name, value, text) in [
            ("UserspaceTimestamp", "@1795619045000000", "Wed 2026-11-25 15:04:05 UTC"),
            ("UserspaceTimestamp", "@0", ""),
            ("UserspaceTimestampMonotonic", "27", "27"),
            ("NextElapseUSecMonotonic", "5500000", "5.500000s"),
            ("NextElapseUSecMonotonic", "18446744073709551615", "infinity"),
            ("TimersCalendar", "{ OnCalendar=daily ; next_elapse=@0 }", "{ OnCalendar=daily ; next_elapse=(null) }"),
            (
                "ExecStart",
                "{ path=/a ; argv[]=/a start_time=[@7] ; start_time=[@1795619045000000] ; stop_time=[@0] ; pid=1 }",
                "{ path=/a ; argv[]=/a start_time=[@7] ; start_time=[Wed 2026-11-25 15:04:05 UTC] ; \
                 stop_time=[n/a] ; pid=1 }",
            ),
        ] {
            assert_eq!(rendered(&[(name, value)], "--all"), format!("{name}={text}\n"));
        }
    }

    #[test]
    fn what_says_nothing_is_told_only_when_asked_for() {
        let pairs = [
            ("Type", "notify"),
            ("PIDFile", ""),
            ("Listen", "a"),
            ("Listen", "b"),
            ("SystemCallFilter", "~"),
            ("RestrictAddressFamilies", ""),
            ("Conditions", "[unprintable]"),
            ("MemoryCurrent", "[not set]"),
            ("FailureActionExitStatus", "[not set]"),
        ];
        let short = "Type=notify\nListen=a\nListen=b\nRestrictAddressFamilies=\nMemoryCurrent=[not set]\n";
        assert_eq!(rendered(&pairs, ""), short);
        assert_eq!(rendered(&pairs, "--all").lines().count(), pairs.len());
        assert_eq!(rendered(&pairs, "-p Nonsense,PIDFile -p Type"), "Type=notify\nPIDFile=\n");
        assert_eq!(rendered(&pairs, "-P Listen,Type"), "notify\na\nb\n");
    }
}
