//! Time zones: from a zone file's bytes or a rule in the `TZ` variable. Pure: whoever has files hands in a reader.
//!
//! Local times that a change of the clock skips or repeats are resolved as C's `mktime` does it, because the known
//! answers of calendar events come from there: a repeated time keeps the offset of the time before it, a skipped one
//! moves into the period of daylight saving.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::civil::Civil;

/// Where zone files are.
pub const ZONE_DIRECTORY: &str = "/usr/share/zoneinfo";
/// The zone of the machine.
pub const LOCAL_ZONE: &str = "/etc/localtime";
/// Bytes of a zone file that are read.
pub const ZONE_FILE_MAX: usize = 1024 * 1024;

/// Reads a whole small file; `None` where there is none.
pub type Reader = fn(&str) -> Option<Vec<u8>>;

/// A time zone.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    /// Abbreviations of standard time and of daylight saving.
    names: [String; 2],
    /// What the abbreviation is where there is no file.
    fixed: Option<String>,
}

/// What a zone's clocks do at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// Seconds ahead of UTC.
    pub seconds: i64,
    /// Is it daylight saving?
    pub dst: bool,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Zone {
        Zone { zone: TimeZone::UTC, names: ["UTC".into(), "UTC".into()], fixed: Some("UTC".into()) }
    }

    /// The zone of a zone file.
    pub fn from_file(name: &str, bytes: &[u8]) -> Option<Zone> {
        if !bytes.starts_with(b"TZif") || bytes.len() > ZONE_FILE_MAX {
            return None;
        }
        let zone = TimeZone::tzif(name, bytes).ok()?;
        Some(Zone { zone, names: names_of_rule(footer(bytes).unwrap_or("UTC0")), fixed: None })
    }

    /// The zone of a rule such as `CET-1CEST,M3.5.0,M10.5.0/3`.
    pub fn from_rule(rule: &str) -> Option<Zone> {
        Some(Zone { zone: TimeZone::posix(rule).ok()?, names: names_of_rule(rule), fixed: None })
    }

    /// The abbreviations of standard time and of daylight saving.
    pub fn names(&self) -> [&str; 2] {
        [&self.names[0], &self.names[1]]
    }

    /// Are its clocks those of UTC, by name?
    pub fn is_utc(&self) -> bool {
        self.names[0] == "UTC" && self.names[1] == "UTC" && self.offset_at(0).seconds == 0
    }

    /// What its clocks do at a moment.
    pub fn offset_at(&self, seconds: i64) -> Offset {
        let info = self.zone.to_offset_info(stamp(seconds));
        Offset { seconds: i64::from(info.offset().seconds()), dst: info.dst().is_dst() }
    }

    /// The abbreviation at a moment.
    pub fn abbreviation_at(&self, seconds: i64) -> String {
        match &self.fixed {
            Some(name) => name.clone(),
            None => self.zone.to_offset_info(stamp(seconds)).abbreviation().to_owned(),
        }
    }

    /// What its clocks show at a moment.
    pub fn civil(&self, seconds: i64) -> Civil {
        Civil::from_seconds(seconds.saturating_add(self.offset_at(seconds).seconds))
    }

    /// The moment when its clocks show this; `guess` is the offset of the moment before, and becomes this one's.
    ///
    /// `dst` demands daylight saving or standard time. `None`: there is no such moment.
    pub fn moment(&self, civil: Civil, dst: Option<bool>, guess: &mut i64) -> Option<i64> {
        let wanted = civil.to_seconds();
        let distance = |moment: i64| (wanted - moment - self.offset_at(moment).seconds, self.offset_at(moment).dst);
        let mut moment = wanted - *guess;
        let (mut before, mut before_that, mut was_dst) = (moment, moment, false);
        // A skipped time swings between two moments; a few rounds tell.
        for _ in 0..8 {
            let (missing, is_dst) = distance(moment);
            if missing == 0 {
                if dst.is_some_and(|dst| dst != is_dst) {
                    moment = self.other_side(wanted, moment, !is_dst)?;
                }
                *guess = wanted - moment;
                return Some(moment);
            }
            let swings = moment == before_that && moment != before;
            if swings && dst.map_or(is_dst || !was_dst, |dst| dst != is_dst) {
                *guess = wanted - moment;
                return Some(moment);
            }
            (before_that, before, was_dst) = (before, moment, is_dst);
            moment += missing;
        }
        None
    }

    /// The moment that shows `wanted` with the offset of the nearest period of the other kind.
    fn other_side(&self, wanted: i64, moment: i64, dst: bool) -> Option<i64> {
        const STRIDE: i64 = 601_200;
        const REACH: i64 = 446;
        (1..=REACH).find_map(|step| {
            [-step, step].into_iter().find_map(|step| {
                let offset = self.offset_at(moment + step * STRIDE);
                (offset.dst == dst).then(|| wanted - offset.seconds)
            })
        })
    }
}

/// The zones of a machine.
#[derive(Debug, Clone)]
pub struct Zones {
    local: Zone,
    read: Reader,
}

impl Zones {
    /// The zones that a reader finds; `variable` is `TZ` of the environment.
    pub fn new(variable: Option<&str>, read: Reader) -> Zones {
        let from_path = |path: &str| read(path).and_then(|bytes| Zone::from_file(path, &bytes));
        let named = |name: &str| from_path(&format!("{ZONE_DIRECTORY}/{name}"));
        let local = match variable.map(|text| text.strip_prefix(':').unwrap_or(text)) {
            None => from_path(LOCAL_ZONE),
            Some("" | "UTC" | "UTC0") => None,
            Some(path) if path.starts_with('/') => from_path(path),
            Some(text) => named(text).or_else(|| Zone::from_rule(text)).or_else(|| Some(nameless(text))),
        };
        Zones { local: local.unwrap_or_else(Zone::utc), read }
    }

    /// Only UTC: for tests and for machines without zone files.
    pub fn utc() -> Zones {
        Zones { local: Zone::utc(), read: |_| None }
    }

    /// The zone of the machine.
    pub fn local(&self) -> &Zone {
        &self.local
    }

    /// A zone by its name, such as `Europe/Berlin`.
    pub fn named(&self, name: &str) -> Option<Zone> {
        if name == "UTC" {
            return Some(Zone::utc());
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/');
        if name.is_empty() || !name.chars().all(plain) || name.split('/').any(str::is_empty) {
            return None;
        }
        (self.read)(&format!("{ZONE_DIRECTORY}/{name}")).and_then(|bytes| Zone::from_file(name, &bytes))
    }
}

/// A name that means nothing: UTC under its leading letters.
fn nameless(text: &str) -> Zone {
    let name: String = text.chars().take_while(char::is_ascii_alphabetic).collect();
    let name = if name.len() < 3 { "UTC".to_owned() } else { name };
    Zone { zone: TimeZone::UTC, names: [name.clone(), name.clone()], fixed: Some(name) }
}

fn stamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// The rule in the last line of a zone file.
fn footer(bytes: &[u8]) -> Option<&str> {
    let text = bytes.strip_suffix(b"\n")?;
    let start = text.iter().rposition(|byte| *byte == b'\n')? + 1;
    let rule = std::str::from_utf8(text.get(start..)?).ok()?;
    (!rule.is_empty()).then_some(rule)
}

/// The abbreviations in a rule: letters, or anything between `<` and `>`.
fn names_of_rule(rule: &str) -> [String; 2] {
    let one = |text: &str| -> (String, usize) {
        if let Some(inner) = text.strip_prefix('<') {
            let end = inner.find('>').unwrap_or(inner.len());
            return (inner.get(..end).unwrap_or_default().to_owned(), (end + 2).min(text.len()));
        }
        let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
        (text.get(..end).unwrap_or_default().to_owned(), end)
    };
    let (standard, length) = one(rule);
    let rest =
        rule.get(length..).unwrap_or_default().trim_start_matches(|c: char| "+-:".contains(c) || c.is_ascii_digit());
    let (summer, _) = one(rest);
    let summer = if summer.is_empty() { standard.clone() } else { summer };
    [standard, summer]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        Zone::from_rule("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule")
    }

    fn at(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> Civil {
        Civil { year, month, day, hour, minute, second: 0 }
    }

    #[test]
    fn a_rule_gives_offsets_and_names() {
        let zone = berlin();
        assert_eq!(zone.names(), ["CET", "CEST"]);
        assert_eq!(zone.offset_at(1_735_732_800), Offset { seconds: 3600, dst: false });
        assert_eq!(zone.abbreviation_at(1_751_328_000), "CEST");
        assert_eq!(names_of_rule("<+01>-1"), ["+01", "+01"]);
        assert_eq!(names_of_rule("EST5EDT,M3.2.0,M11.1.0"), ["EST", "EDT"]);
        assert!(Zone::utc().is_utc() && !zone.is_utc());
    }

    #[test]
    fn a_skipped_time_moves_into_daylight_saving() {
        let zone = berlin();
        for guess in [3600, 7200] {
            let moment = zone.moment(at(2025, 3, 30, 2, 30), None, &mut guess.clone()).expect("some moment");
            assert_eq!(zone.civil(moment), at(2025, 3, 30, 3, 30));
        }
    }

    #[test]
    fn a_repeated_time_keeps_the_offset_before_it() {
        let zone = berlin();
        let twice = at(2025, 10, 26, 2, 30);
        let summer = zone.moment(twice, None, &mut 7200).expect("a moment");
        let winter = zone.moment(twice, None, &mut 3600).expect("a moment");
        assert_eq!(winter - summer, 3600);
        assert_eq!(zone.moment(twice, Some(false), &mut 7200), Some(winter));
    }

    #[test]
    fn demanded_daylight_saving_in_winter_is_an_hour_earlier() {
        let zone = berlin();
        let moment = zone.moment(at(2025, 1, 31, 12, 0), Some(true), &mut 3600).expect("a moment");
        assert_eq!(zone.civil(moment), at(2025, 1, 31, 11, 0));
    }

    #[test]
    fn the_variable_chooses_the_local_zone() {
        let none: Reader = |_| None;
        assert!(Zones::new(None, none).local().is_utc());
        assert!(Zones::new(Some(""), none).local().is_utc());
        assert_eq!(Zones::new(Some("EST5EDT,M3.2.0,M11.1.0"), none).local().names(), ["EST", "EDT"]);
        assert_eq!(Zones::new(Some("Foo/Bar"), none).local().abbreviation_at(0), "Foo");
        assert!(Zones::utc().named("UTC").is_some());
        for bad in ["", "/etc/localtime", "../x", "Europe//Berlin", "Europe/"] {
            assert!(Zones::new(Some("UTC"), |_| panic!("must not be read")).named(bad).is_none(), "{bad}");
        }
    }
}
