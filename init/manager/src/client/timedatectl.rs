//! `timedatectl`: the clock, the time zone, and whether somebody keeps the clock right. It acts itself but for the
//! service that asks time servers, which PID 1 starts and stops.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_control::{Client, ClientError};
use ferrite_files::Root;
use ferrite_unit::timestamp;
use ferrite_unit::zone::{LOCAL_ZONE, ZONE_DIRECTORY, ZONE_FILE_MAX, Zone, Zones};

use super::Caller;
use super::options::{Flag, Line, Order, Takes, boolean, parse};
use super::verbs::details;
use crate::disk::read_text;

const HELP: &str = "\
timedatectl [OPTIONS...] COMMAND ...

Query or change system time and date settings.

Commands:
  status                   Show current time settings
  show                     Show properties of systemd-timedated
  set-time TIME            Set system time
  set-timezone ZONE        Set system time zone
  list-timezones           Show known time zones
  set-local-rtc BOOL       Control whether RTC is in local time
  set-ntp BOOL             Enable or disable network time synchronization

Options:
  -h --help                Show this help message
     --version             Show package version
     --no-pager            Accepted: there is no pager
     --no-ask-password     Accepted: nothing is asked
  -p --property=NAME       Show only properties by this name
  -a --all                 Show all properties, including empty ones
     --value               When showing properties, only print the value
  -P NAME                  Equivalent to --value --property=NAME
     --adjust-system-clock Adjust system clock when changing local RTC mode
";

const FLAGS: [Flag; 9] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    (' ', "no-pager", Takes::Nothing),
    (' ', "no-ask-password", Takes::Nothing),
    ('p', "property", Takes::Value),
    ('a', "all", Takes::Nothing),
    (' ', "value", Takes::Nothing),
    ('P', "value-of", Takes::Value),
    (' ', "adjust-system-clock", Takes::Nothing),
];

/// The service that asks time servers.
const SERVICE: &str = "chrony.service";
const RTC: &str = "/sys/class/rtc/rtc0/since_epoch";

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(caller, &words)))
}

fn run(caller: &Caller, words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    if let Some(told) = super::told(&line, HELP) {
        return told;
    }
    let operands: Vec<&str> = line.operands.iter().map(String::as_str).collect();
    match operands[..] {
        [] | ["status"] => super::print(&status(&See::now(caller))),
        ["show"] => super::print(&properties(&See::now(caller), &line)?),
        ["list-timezones"] => super::print(&zones().iter().map(|zone| format!("{zone}\n")).collect::<String>()),
        ["set-timezone", zone] => set_zone(zone),
        ["set-time", time] => set_time(caller, time),
        ["set-ntp", word] => set_ntp(caller, boolean("set-ntp", Some(word))?),
        ["set-local-rtc", word] => match boolean("set-local-rtc", Some(word))? {
            false => Ok(0),
            true => bail!("The real-time clock of Ferrite runs in UTC: local time would be wrong twice a year."),
        },
        ["set-timezone" | "set-time" | "set-ntp" | "set-local-rtc"] => bail!("Too few arguments."),
        [verb, ..] => bail!("Unknown command verb '{verb}' or too many arguments, see timedatectl --help."),
    }
}

/// What there is to see.
struct See {
    now_us: u64,
    zone_name: String,
    zone: Zone,
    rtc_us: Option<u64>,
    is_synchronized: bool,
    /// `None`: there is no such service.
    ntp: Option<String>,
}

impl See {
    fn now(caller: &Caller) -> See {
        let zones = Zones::new(None, |path| std::fs::read(path).ok());
        let seconds = read_text(RTC).trim().parse::<u64>().ok();
        See {
            now_us: crate::clock::wall_us(),
            zone_name: zone_name(),
            zone: zones.local().clone(),
            rtc_us: seconds.map(|seconds| seconds.saturating_mul(1_000_000)),
            is_synchronized: ferrite_sys::clock::is_synchronized(),
            ntp: service_state(caller),
        }
    }
}

/// The name of the zone is where the link leads; without one it is UTC.
fn zone_name() -> String {
    let target = std::fs::read_link(LOCAL_ZONE).unwrap_or_default();
    let target = target.to_string_lossy();
    let name = target.split_once("zoneinfo/").map(|(_, name)| name.to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "Etc/UTC".to_owned())
}

fn service_state(caller: &Caller) -> Option<String> {
    let mut client = Client::connect(&caller.socket()).ok()?;
    let summary = details(&mut client, SERVICE).ok()?.summary;
    (summary.load == "loaded").then_some(summary.active)
}

fn status(see: &See) -> String {
    let seconds = i64::try_from(see.now_us / 1_000_000).unwrap_or(0);
    let offset = see.zone.offset_at(seconds).seconds;
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    let abbreviation = see.zone.abbreviation_at(seconds);
    let rtc = see.rtc_us.map(|us| timestamp::weekday_stamp(us, &Zone::utc()));
    let rtc = rtc.as_deref().map_or("n/a", |text| text.trim_end_matches(" UTC"));
    let yes = |is: bool| if is { "yes" } else { "no" };
    [
        ("Local time", timestamp::weekday_stamp(see.now_us, &see.zone)),
        ("Universal time", timestamp::weekday_stamp(see.now_us, &Zone::utc())),
        ("RTC time", rtc.to_owned()),
        ("Time zone", format!("{} ({abbreviation}, {sign}{hours:02}{minutes:02})", see.zone_name)),
        ("System clock synchronized", yes(see.is_synchronized).to_owned()),
        ("NTP service", see.ntp.clone().unwrap_or_else(|| "n/a".into())),
        ("RTC in local TZ", "no".to_owned()),
    ]
    .iter()
    .map(|(label, value)| format!("{label:>25}: {value}\n"))
    .collect()
}

fn properties(see: &See, line: &Line) -> Result<String> {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rtc = see.rtc_us.map(|us| timestamp::weekday_stamp(us, &see.zone)).unwrap_or_default();
    let all = [
        ("Timezone", see.zone_name.clone()),
        ("LocalRTC", yes(false)),
        ("CanNTP", yes(see.ntp.is_some())),
        ("NTP", yes(see.ntp.as_deref().is_some_and(|state| state != "inactive" && state != "failed"))),
        ("NTPSynchronized", yes(see.is_synchronized)),
        ("TimeUSec", timestamp::weekday_stamp(see.now_us, &see.zone)),
        ("RTCTimeUSec", rtc),
    ];
    let wanted: Vec<&str> = line.values("property").chain(line.values("value-of")).flat_map(|v| v.split(',')).collect();
    let bare = line.has("value") || line.has("value-of");
    let shown = all.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name));
    let shown = shown.filter(|(_, value)| line.has("all") || !wanted.is_empty() || !value.is_empty());
    Ok(shown.map(|(name, value)| if bare { format!("{value}\n") } else { format!("{name}={value}\n") }).collect())
}

/// All zones of the image, sorted, UTC among them.
fn zones() -> Vec<String> {
    let mut found = vec!["UTC".to_owned()];
    let mut open = vec![String::new()];
    while let Some(below) = open.pop() {
        for entry in std::fs::read_dir(Path::new(ZONE_DIRECTORY).join(&below)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && !matches!(name.as_str(), "right" | "posix") {
                open.push(path);
            } else if !is_folder && is_zone(&path) {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Is there a file of this zone?
fn is_zone(name: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && part != ".." && part != ".";
    if !name.split('/').all(is_plain) {
        return false;
    }
    let path = Path::new(ZONE_DIRECTORY).join(name);
    let size = std::fs::metadata(&path).map_or(0, |data| data.len());
    let is_read = usize::try_from(size).is_ok_and(|size| (1..=ZONE_FILE_MAX).contains(&size));
    is_read && std::fs::read(path).is_ok_and(|bytes| Zone::from_file(name, &bytes).is_some())
}

fn need_root(what: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    bail!("Failed to set {what}: Access denied; it needs root: sudo timedatectl ...");
}

fn set_zone(name: &str) -> Result<u8> {
    need_root("time zone")?;
    if name != "UTC" && !is_zone(name) {
        bail!("Failed to set time zone: Invalid or not installed time zone '{name}'; see timedatectl list-timezones.");
    }
    let root = Root::open(Path::new("/"))?;
    // A link that leads nowhere means UTC to everybody, but a machine without the file is told so by the name.
    root.replace_link(LOCAL_ZONE, &format!("../usr/share/zoneinfo/{name}"))?;
    Ok(0)
}

fn set_time(caller: &Caller, text: &str) -> Result<u8> {
    need_root("time")?;
    if service_state(caller).is_some_and(|state| state == "active") {
        bail!("Failed to set time: Automatic time synchronization is enabled; first: timedatectl set-ntp no");
    }
    let us = timestamp::parse(text, crate::clock::wall_us(), &caller.zones());
    let us = us.map_err(|fault| anyhow!("Failed to parse time specification '{text}': {fault}"))?;
    let time = rustix::time::Timespec {
        tv_sec: i64::try_from(us / 1_000_000).context("that is too late")?,
        tv_nsec: i64::try_from(us % 1_000_000 * 1000).context("that is too late")?,
    };
    rustix::time::clock_settime(rustix::time::ClockId::Realtime, time).context("Failed to set time")?;
    ferrite_sys::clock::set_rtc(us / 1_000_000).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error).context("The clock is set; setting the real-time clock failed"),
    })?;
    Ok(0)
}

/// Starts the service now and at every boot, or neither.
fn set_ntp(caller: &Caller, on: bool) -> Result<u8> {
    if service_state(caller).is_none() {
        bail!("Failed to set ntp: NTP not supported: there is no {SERVICE}.");
    }
    let verb = if on { "enable" } else { "disable" };
    let mut command = std::process::Command::new("systemctl");
    let status = command.args([verb, "--now", "--quiet", SERVICE]).status().context("running systemctl")?;
    match status.success() {
        true => Ok(0),
        false => bail!(ClientError::Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see() -> See {
        See {
            now_us: 1_795_672_245_000_000,
            zone_name: "Europe/Berlin".into(),
            zone: Zone::from_rule("CET-1CEST,M3.5.0,M10.5.0/3").expect("a rule"),
            rtc_us: Some(1_795_672_244_000_000),
            is_synchronized: true,
            ntp: Some("active".into()),
        }
    }

    #[test]
    fn the_picture_is_the_usual_one() {
        let text = "               Local time: Thu 2026-11-26 06:50:45 CET\n           Universal time: Thu 2026-11-26 05:50:45 \
            UTC\n                 RTC time: Thu 2026-11-26 05:50:44\n                Time zone: Europe/Berlin (CET, \
            +0100)\nSystem clock synchronized: yes\n              NTP service: active\n          RTC in local TZ: no\n";
        assert_eq!(status(&see()), text);
        let none = See { rtc_us: None, ntp: None, zone: Zone::utc(), zone_name: "Etc/UTC".into(), ..see() };
        assert!(status(&none).contains("RTC time: n/a\n") && status(&none).contains("Etc/UTC (UTC, +0000)\n"));
    }

    #[test]
    fn properties_are_chosen_by_name() {
        let line = |words: &[&str]| {
            parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), &FLAGS, Order::Anywhere)
                .expect("ok")
        };
        let text = properties(&see(), &line(&["x", "show", "-p", "NTP,Timezone"])).expect("shown");
        assert_eq!(text, "Timezone=Europe/Berlin\nNTP=yes\n");
        assert_eq!(properties(&see(), &line(&["x", "show", "-P", "CanNTP"])).expect("shown"), "yes\n");
    }

    #[test]
    fn no_zone_leaves_its_folder() {
        assert!(!is_zone("../../../etc/passwd") && !is_zone("") && !is_zone("/etc/passwd") && !is_zone("zone.tab"));
        assert!(zones().contains(&"UTC".to_owned()));
    }
}
