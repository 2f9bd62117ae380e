//! The small languages against answers recorded from systemd: calendar events, time spans, escaping.

use std::path::{Path, PathBuf};

use ferrite_unit::calendar::CalendarSpec;
use ferrite_unit::escape::{Globs, escape_bytes, escape_path_bytes, mangle, unescape_bytes, unescape_path_bytes};
use ferrite_unit::zone::Zones;
use ferrite_unit::{UnitKind, UnitName, timespan, timestamp};

fn golden(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units/golden").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| {
        panic!("reading {}: {error}: the recorded answers must lie beside the repository", path.display())
    });
    String::from_utf8(bytes).expect("recorded answers are UTF-8")
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn read_zone(path: &str) -> Option<Vec<u8>> {
    std::fs::read(path).ok()
}

#[test]
fn calendar_events_are_those_of_systemd() {
    assert!(Path::new("/usr/share/zoneinfo/Europe/Berlin").exists(), "zone files must be installed (tzdata)");
    let text = golden("calendar.tsv");
    let mut faults = Vec::new();
    for row in rows(&text) {
        let [event, zone, base, answers @ ..] = row.as_slice() else { panic!("a short row: {row:?}") };
        let zones = Zones::new(Some(zone), read_zone);
        let expected: Vec<&str> = answers.iter().copied().filter(|answer| !answer.is_empty()).collect();
        let found = calendar_answers(event, base, &zones);
        if found != expected {
            faults.push(format!("{event} | {zone} | {base}\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
}

fn calendar_answers(event: &str, base: &str, zones: &Zones) -> Vec<String> {
    let Ok(spec) = CalendarSpec::parse(event, zones) else { return vec!["ERROR".into()] };
    let mut answers = vec![format!("N:{spec}")];
    let mut moment = timestamp::parse(base, 0, zones).expect("the base time is valid");
    for number in 0..4 {
        match spec.next_after(moment, zones) {
            Some(next) => moment = next,
            None => {
                if number == 0 {
                    answers.push("E:never".into());
                }
                break;
            }
        }
        answers.push(format!("E:{}", timestamp::weekday_stamp(moment, zones.local())));
    }
    answers
}

#[test]
fn time_spans_are_those_of_systemd() {
    for row in rows(&golden("timespan.tsv")) {
        let found = match timespan::parse(row[0]) {
            Ok(span) => vec![span.to_string(), format!("H:{}", timespan::text(span, 1))],
            Err(_) => vec!["ERROR".to_owned()],
        };
        let expected: Vec<&str> = row[1..].iter().copied().filter(|answer| !answer.is_empty()).collect();
        assert_eq!(found, expected, "{:?}", row[0]);
    }
}

#[test]
fn escaping_is_that_of_systemd() {
    let template = UnitName::parse("foo@.service").expect("a template");
    let text_of = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
    for row in rows(&golden("escape.tsv")) {
        let word = row[0].as_bytes();
        let escaped = escape_bytes(word);
        let instance = template.with_instance(&escaped).ok().map(|name| name.as_str().to_owned());
        let found = [
            Some(escaped),
            escape_path_bytes(word),
            mangle(word, Globs::Escaped, UnitKind::Service).map(|mangled| mangled.name),
            instance,
            text_of(unescape_bytes(word)),
            text_of(unescape_path_bytes(word)),
        ];
        let found: Vec<String> = found.into_iter().map(|answer| answer.unwrap_or_else(|| "!".into())).collect();
        assert_eq!(found, row[1..], "{:?}", row[0]);
    }
}
