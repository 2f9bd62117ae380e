//! Specifiers: `%i`, `%H` and the others. Pure; the machine's facts are handed in.

use crate::escape::{unescape, unescape_path};
use crate::name::UnitName;
use crate::resources::Totals;
use crate::value::{Parsed, ValueError};

/// Bytes of a value with its specifiers replaced.
const EXPANDED_MAX: usize = 1024 * 1024;

/// What the specifiers say about the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `%m`.
    pub machine_id: String,
    /// `%b`.
    pub boot_id: String,
    /// `%H`.
    pub host_name: String,
    /// `%q`, if /etc/machine-info has one.
    pub pretty_host_name: Option<String>,
    /// `%v`.
    pub kernel_release: String,
    /// `%a`, such as `x86-64`.
    pub architecture: String,
    /// `%s`: the shell of root.
    pub shell: String,
    /// Lines of /etc/os-release as pairs: `%o %w %B %W %M %A`.
    pub os_release: Vec<(String, String)>,
    /// What `MemoryMax=10%` and its like are shares of.
    pub totals: Totals,
}

impl Host {
    fn os(&self, key: &str) -> String {
        self.os_release.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone()).unwrap_or_default()
    }
}

/// Everything a specifier may speak of.
#[derive(Debug, Clone, Copy)]
pub struct Specifiers<'a> {
    /// The unit that the value belongs to.
    pub unit: &'a UnitName,
    /// The machine.
    pub host: &'a Host,
    /// The unit file (`%y %Y`).
    pub fragment: Option<&'a str>,
}

impl Specifiers<'_> {
    /// Replaces every specifier; an unknown one is an error that names it.
    pub fn expand(&self, text: &str) -> Parsed<String> {
        self.replace(text, |_| true)
    }

    /// Replaces the specifiers that may stand in the name of a unit.
    pub fn expand_name(&self, text: &str) -> Parsed<String> {
        self.replace(text, |letter| !"IJPfyYcrRCdDELSthsTV".contains(letter))
    }

    fn replace(&self, text: &str, allowed: impl Fn(char) -> bool) -> Parsed<String> {
        let Some(first) = text.find('%') else { return Ok(text.to_owned()) };
        let (head, tail) = text.split_at(first);
        let mut out = String::with_capacity(text.len() + 16);
        out.push_str(head);
        let mut chars = tail.chars();
        while let Some(c) = chars.next() {
            if out.len() > EXPANDED_MAX {
                return Err(ValueError(format!("value is longer than {EXPANDED_MAX} bytes with its specifiers")));
            }
            if c != '%' {
                out.push(c);
                continue;
            }
            match chars.next() {
                Some('%') | None => out.push('%'),
                Some(letter) => match self.one(letter).filter(|_| allowed(letter)) {
                    Some(value) => out.push_str(&value),
                    // What cannot be a specifier is kept.
                    None if !letter.is_ascii_alphanumeric() => out.extend(['%', letter]),
                    None => return Err(ValueError(format!("specifier '%{letter}' is unknown or has no value here"))),
                },
            }
        }
        Ok(out)
    }

    fn one(&self, letter: char) -> Option<String> {
        let unit = self.unit;
        let instance = unit.instance().unwrap_or("");
        Some(match letter {
            'n' => unit.as_str().to_owned(),
            'N' => unit.stem().to_owned(),
            'p' => unit.prefix().to_owned(),
            'P' => unescape(unit.prefix())?,
            'i' => instance.to_owned(),
            'I' => unescape(instance)?,
            'j' => last_component(unit.prefix()).to_owned(),
            'J' => unescape(last_component(unit.prefix()))?,
            'f' => match unit.instance() {
                Some(instance) => unescape_path(instance)?,
                None => unescape_path(unit.prefix())?,
            },
            't' => "/run".into(),
            'S' => "/var/lib".into(),
            'C' => "/var/cache".into(),
            'L' => "/var/log".into(),
            'E' => "/etc".into(),
            'D' => "/usr/share".into(),
            'h' => "/root".into(),
            's' => self.host.shell.clone(),
            'u' | 'g' => "root".into(),
            'U' | 'G' => "0".into(),
            'T' => "/tmp".into(),
            'V' => "/var/tmp".into(),
            'm' => self.host.machine_id.clone(),
            'b' => self.host.boot_id.clone(),
            'H' => self.host.host_name.clone(),
            'l' => self.short_host_name().to_owned(),
            'q' => self.host.pretty_host_name.clone().unwrap_or_else(|| self.short_host_name().to_owned()),
            'v' => self.host.kernel_release.clone(),
            'a' => self.host.architecture.clone(),
            'o' => self.host.os("ID"),
            'w' => self.host.os("VERSION_ID"),
            'B' => self.host.os("BUILD_ID"),
            'W' => self.host.os("VARIANT_ID"),
            'M' => self.host.os("IMAGE_ID"),
            'A' => self.host.os("IMAGE_VERSION"),
            'y' => self.fragment?.to_owned(),
            'Y' => self.fragment?.rsplit_once('/').map(|(dir, _)| dir.to_owned())?,
            'd' => format!("/run/credentials/{unit}"),
            // The control group of the unit, that of its slice, and the root of all: kept for old files.
            'c' => format!("{}/{unit}", self.default_slice()),
            'r' => self.default_slice(),
            'R' => String::new(),
            _ => return None,
        })
    }
}

impl Specifiers<'_> {
    fn short_host_name(&self) -> &str {
        self.host.host_name.split('.').next().unwrap_or("")
    }

    /// The control group of the slice that a unit of this name has unless it says otherwise.
    fn default_slice(&self) -> String {
        let slice = crate::unit::Unit::new(self.unit.clone()).slice();
        slice.map(|slice| crate::slice::group(&slice)).unwrap_or_default()
    }
}

fn last_component(prefix: &str) -> &str {
    prefix.rsplit_once('-').map_or(prefix, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_speak_of_the_unit_and_of_the_machine() {
        let unit = UnitName::parse("a-b@dev-sda\\x2d1.service").unwrap();
        let host = Host { host_name: "node.example".into(), ..Host::default() };
        let specifiers = Specifiers { unit: &unit, host: &host, fragment: None };
        for (text, want) in [
            ("%n", "a-b@dev-sda\\x2d1.service"),
            ("%p/%i", "a-b/dev-sda\\x2d1"),
            ("%I", "dev/sda-1"),
            ("%f", "/dev/sda-1"),
            ("%j", "b"),
            ("%H %l", "node.example node"),
            ("100%%", "100%"),
            ("%t/x", "/run/x"),
        ] {
            assert_eq!(specifiers.expand(text).unwrap(), want, "{text}");
        }
        assert!(specifiers.expand("%Z").is_err());
    }

    #[test]
    fn specifiers_do_not_make_a_value_longer_than_a_file() {
        let unit = UnitName::parse(&format!("{}.service", "x".repeat(240))).unwrap();
        let host = Host::default();
        let specifiers = Specifiers { unit: &unit, host: &host, fragment: None };
        assert!(specifiers.expand(&"%n".repeat(500_000)).is_err());
        assert!(specifiers.expand(&"%n".repeat(1000)).is_ok());
    }
}
