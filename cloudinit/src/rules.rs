//! Rules of single texts: each says what is wrong and what would be right. Pure.

use crate::hostname::HostName;
use crate::keys::PublicKey;

/// Kinds of units that can be written.
const UNIT_SUFFIXES: [&str; 10] =
    ["service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice", "scope"];
/// Files of the network, which `coreos.units` takes too.
pub(crate) const NETWORK_SUFFIXES: [&str; 3] = ["network", "netdev", "link"];
/// What the names of time zones begin with, and those that are one word.
const REGIONS: [&str; 19] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Brazil",
    "Canada",
    "Chile",
    "Etc",
    "Europe",
    "Indian",
    "Mexico",
    "Pacific",
    "US",
    "posix",
    "right",
    "SystemV",
];
const ZONES: [&str; 46] = [
    "UTC",
    "GMT",
    "CET",
    "EET",
    "MET",
    "WET",
    "EST",
    "MST",
    "HST",
    "EST5EDT",
    "CST6CDT",
    "MST7MDT",
    "PST8PDT",
    "Zulu",
    "UCT",
    "Universal",
    "Greenwich",
    "GB",
    "GB-Eire",
    "Eire",
    "Cuba",
    "Egypt",
    "Hongkong",
    "Iceland",
    "Iran",
    "Israel",
    "Jamaica",
    "Japan",
    "Kwajalein",
    "Libya",
    "NZ",
    "NZ-CHAT",
    "Navajo",
    "PRC",
    "Poland",
    "Portugal",
    "ROC",
    "ROK",
    "Singapore",
    "Turkey",
    "W-SU",
    "GMT0",
    "GMT+0",
    "GMT-0",
    "Factory",
    "localtime",
];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Any text.
pub(crate) fn any(_text: &str) -> Result<(), String> {
    Ok(())
}

/// Text of one line.
pub(crate) fn line(text: &str) -> Result<(), String> {
    if text.contains(['\n', '\r', '\0']) {
        Err("a line break is not allowed here; write one line".into())
    } else {
        Ok(())
    }
}

/// A name of a machine, perhaps with a domain.
pub(crate) fn hostname(text: &str) -> Result<(), String> {
    if text.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        return Err("typographic quotes are part of the text; use the straight quotes \" or '".into());
    }
    if text.contains(['\n', '\r']) {
        return Err("a host name has no line breaks".into());
    }
    let labels_fit = text.trim_end_matches('.').split('.').all(|label| HostName::parse(label).is_ok());
    if !labels_fit || text.len() > 253 {
        HostName::parse(text)?;
        return Err("a domain name is up to 253 letters, digits, hyphens and dots, at most 63 between dots".into());
    }
    Ok(())
}

/// A public key.
pub(crate) fn public_key(text: &str) -> Result<(), String> {
    PublicKey::parse(text).map(|_| ())
}

/// A path from the root.
pub(crate) fn path(text: &str) -> Result<(), String> {
    line(text)?;
    if !text.starts_with('/') || text.contains('\0') {
        return Err(format!("'{}' must be a path from the root, beginning with '/'", crate::check::short(text)));
    }
    if text.ends_with('/') {
        return Err(format!("'{}' names a folder; name the file in it", crate::check::short(text)));
    }
    Ok(())
}

/// A name of a user or group.
pub(crate) fn account(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let body = text.strip_suffix('$').unwrap_or(text);
    if body.is_empty() || text.len() > 32 || !body.bytes().all(plain) || body.starts_with(['-', '.']) {
        return Err(format!(
            "'{}' is not a name of a user or group; use up to 32 letters, digits, '_', '.' and '-'",
            crate::check::short(text)
        ));
    }
    if body.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("'{text}' is only digits, so it would be taken for a number; begin it with a letter"));
    }
    Ok(())
}

/// `user` or `user:group`.
pub(crate) fn owner(text: &str) -> Result<(), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let fits = |name: &str| name.is_empty() || name.parse::<u32>().is_ok() || account(name).is_ok();
    if text.is_empty() || !fits(user) || !fits(group) {
        return Err(format!("'{}' must be an owner such as 'root' or 'root:adm'", crate::check::short(text)));
    }
    Ok(())
}

/// Text that ends up as one field of /etc/passwd.
pub(crate) fn field(text: &str) -> Result<(), String> {
    if text.contains([':', '\n', '\r', '\0']) {
        return Err("':' and line breaks are not allowed in a field of /etc/passwd".into());
    }
    Ok(())
}

/// A hash of a password.
pub(crate) fn hash(text: &str) -> Result<(), String> {
    field(text)?;
    if text.contains(char::is_whitespace) { Err("a password hash has no blanks".into()) } else { Ok(()) }
}

/// A day as `YYYY-MM-DD`.
pub(crate) fn day(text: &str) -> Result<(), String> {
    day_number(text)
        .map(|_| ())
        .ok_or_else(|| format!("'{}' must be a day such as '2030-12-31'", crate::check::short(text)))
}

/// Days since 1970.
pub(crate) fn day_number(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day): (i64, i64, i64) = (year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
    if parts.next().is_some()
        || !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    // Days of a civil date: years begin in March, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// A certificate.
pub(crate) fn certificate(text: &str) -> Result<(), String> {
    if text.contains("-----BEGIN CERTIFICATE-----") && text.contains("-----END CERTIFICATE-----") {
        return Ok(());
    }
    Err("not a certificate in PEM; it begins with '-----BEGIN CERTIFICATE-----', after 'trusted:' and '- |'".into())
}

/// A time zone of the database.
pub(crate) fn timezone(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'-' | b'/');
    let first = text.split('/').next().unwrap_or_default();
    let fits = if text.contains('/') { REGIONS.contains(&first) } else { ZONES.contains(&first) };
    if !fits || !text.bytes().all(plain) || text.contains("//") {
        let meant = crate::language::nearest(first, REGIONS.into_iter().chain(ZONES));
        if let (Some(meant), true) = (meant, !fits && !first.is_empty()) {
            let meant = text.replacen(first, meant, 1);
            return Err(format!("'{}' is not a time zone; did you mean '{meant}'?", crate::check::short(text)));
        }
        return Err(format!("'{}' must be a time zone such as 'Europe/Berlin' or 'UTC'", crate::check::short(text)));
    }
    Ok(())
}

/// A file name of a unit or a network file.
pub(crate) fn unit(text: &str) -> Result<(), String> {
    let shown = crate::check::short(text);
    if text.contains('/') || text.contains("..") || text.contains(char::is_whitespace) || text.starts_with('.') {
        return Err(format!("'{shown}' must be a file name of a unit, without '/', '..' and blanks"));
    }
    match text.rsplit_once('.') {
        Some((stem, suffix))
            if !stem.is_empty()
                && text.len() <= 255
                && (UNIT_SUFFIXES.contains(&suffix) || NETWORK_SUFFIXES.contains(&suffix)) =>
        {
            Ok(())
        }
        other => {
            let known = UNIT_SUFFIXES.into_iter().chain(NETWORK_SUFFIXES);
            let meant = other.and_then(|(stem, suffix)| Some((stem, crate::language::nearest(suffix, known)?)));
            Err(match meant {
                Some((stem, suffix)) => format!("'{shown}' has no suffix of a unit; did you mean '{stem}.{suffix}'?"),
                None => format!(
                    "'{shown}' has no suffix of a unit; write '{shown}.service', or .socket, .mount, .timer, .target"
                ),
            })
        }
    }
}

/// A file name of a drop-in.
pub(crate) fn drop_in(text: &str) -> Result<(), String> {
    let shown = crate::check::short(text);
    if text.contains('/') || text.contains("..") || text.contains(char::is_whitespace) || !text.ends_with(".conf") {
        return Err(format!("'{shown}' must be a file name that ends in '.conf', such as '10-more.conf'"));
    }
    Ok(())
}

/// `[Day ]HH:MM`, the start of a reboot window.
pub(crate) fn window_start(text: &str) -> Result<(), String> {
    let (day, time) = match text.split_once(' ') {
        Some((day, time)) => (Some(day.to_ascii_lowercase()), time.trim()),
        None => (None, text),
    };
    let number = |text: &str, below: u32| text.len() <= 2 && text.parse::<u32>().is_ok_and(|number| number < below);
    let time_fits = time.split_once(':').is_some_and(|(hour, minute)| number(hour, 24) && number(minute, 60));
    if !time_fits || day.is_some_and(|day| !DAYS.iter().any(|known| day.starts_with(known))) {
        return Err(format!("'{}' must be a time such as '14:00' or 'Thu 23:00'", crate::check::short(text)));
    }
    Ok(())
}

/// A duration such as `1h30m`.
pub(crate) fn duration(text: &str) -> Result<(), String> {
    let mut rest = text;
    let mut count = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit = ["ms", "us", "ns", "h", "m", "s"].into_iter().find(|unit| after.starts_with(unit));
        let (Ok(_), Some(unit)) = (number.parse::<f64>(), unit) else {
            count = 0;
            break;
        };
        rest = after.get(unit.len()..).unwrap_or_default();
        count += 1;
    }
    if count == 0 && text != "0" {
        return Err(format!("'{}' must be a duration such as '1h' or '1h30m'", crate::check::short(text)));
    }
    Ok(())
}

/// A number with or without a point.
pub(crate) fn decimal(text: &str) -> Result<(), String> {
    text.parse::<f64>()
        .ok()
        .filter(|number| number.is_finite() && *number >= 0.0)
        .map(|_| ())
        .ok_or_else(|| format!("'{}' must be a number of seconds such as '2' or '0.5'", crate::check::short(text)))
}

/// A size such as `512M`.
pub(crate) fn size(text: &str) -> Result<(), String> {
    size_bytes(text)
        .map(|_| ())
        .or(if text == "auto" { Some(()) } else { None })
        .ok_or_else(|| format!("'{}' must be a size such as '512M' or 'auto'", crate::check::short(text)))
}

/// The bytes of a size.
pub(crate) fn size_bytes(text: &str) -> Option<u64> {
    let upper = text.trim().to_ascii_uppercase();
    let plain = upper.strip_suffix('B').unwrap_or(&upper);
    let (digits, factor) = match plain.as_bytes().last()? {
        b'K' => (plain.get(..plain.len() - 1)?, 1 << 10),
        b'M' => (plain.get(..plain.len() - 1)?, 1 << 20),
        b'G' => (plain.get(..plain.len() - 1)?, 1 << 30),
        b'T' => (plain.get(..plain.len() - 1)?, 1u64 << 40),
        _ => (plain, 1),
    };
    let number: f64 = digits.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    Some((number * factor as f64) as u64)
}

/// Something that can be fetched.
pub(crate) fn url(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) || text.contains(char::is_whitespace) {
        return Err(format!("'{}' must be a URL that begins with 'http://' or 'https://'", crate::check::short(text)));
    }
    Ok(())
}

/// Permissions in octal.
pub(crate) fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let fits = (3..=5).contains(&digits.len()) && (digits.len() < 5 || digits.starts_with('0'));
    if !fits || !digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte)) {
        return None;
    }
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Rule;

    #[test]
    fn each_rule_takes_what_is_right_and_refuses_what_is_wrong() {
        type Case<'a> = (&'a str, Rule, &'a [&'a str], &'a [&'a str]);
        let cases: [Case<'_>; 13] = [
            (
                "hostname",
                hostname,
                &["web1", "a.example.org", "007"],
                &["a_b", "\u{201c}web\u{201d}", "a\nb", "", "a..b"],
            ),
            ("path", path, &["/a", "/a/../b"], &["a", "/a/", "/a\nb"]),
            ("account", account, &["core", "_apt", "a.b-c", "m$"], &["", "-a", "a:b", "1000", "a b"]),
            ("owner", owner, &["root", "root:adm", "0:0", ":adm"], &["", "a b", "a:b:c"]),
            ("day", day, &["2030-12-31"], &["2030", "2030-13-01", "31.12.2030"]),
            (
                "timezone",
                timezone,
                &["UTC", "Europe/Berlin", "Etc/GMT+1"],
                &["", "../x", "/etc", "a b", "Mars/Olympus", "Europ/Berlin"],
            ),
            (
                "unit",
                unit,
                &["a.service", "a@b.service", "10-x.network"],
                &["a", "../a.service", "a/b.service", ".service"],
            ),
            ("drop_in", drop_in, &["10-a.conf"], &["a", "a/b.conf", "../x.conf"]),
            ("window", window_start, &["14:00", "Thu 23:00", "thursday 3:00"], &["25:99", "x", "Foo 14:00"]),
            ("duration", duration, &["1h", "1h30m", "500ms", "0"], &["forever", "", "1", "1x"]),
            ("decimal", decimal, &["2", "0.5"], &["x", "-1", "inf"]),
            ("size", size, &["64M", "1.5G", "1024", "auto"], &["", "big", "-1M"]),
            ("url", url, &["http://a/b", "https://a"], &["not a url", "file:///x", "http://", "ftp://a"]),
        ];
        for (name, rule, right, wrong) in cases {
            right.iter().for_each(|text| assert!(rule(text).is_ok(), "{name} {text}"));
            wrong.iter().for_each(|text| assert!(rule(text).is_err(), "{name} {text}"));
        }
    }

    #[test]
    fn permissions_days_and_sizes_are_read() {
        for (text, expected) in [("0644", Some(0o644)), ("644", Some(0o644)), ("0o600", Some(0o600)), ("8", None)] {
            assert_eq!(mode(text), expected, "{text}");
        }
        assert_eq!((mode("01777"), mode("99999"), mode("rw")), (Some(0o1777), None, None));
        assert_eq!((day_number("1970-01-01"), day_number("2000-03-01")), (Some(0), Some(11_017)));
        assert_eq!(
            (size_bytes("64M"), size_bytes("1.5K"), size_bytes("10GB")),
            (Some(64 << 20), Some(1536), Some(10 << 30))
        );
    }
}
