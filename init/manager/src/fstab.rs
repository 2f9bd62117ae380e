//! Units for the lines of /etc/fstab: mounts, swap areas and automounts, with the options that systemd reads. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use ferrite_unit::UnitKind;
use ferrite_unit::escape::{escape_path, simplify_path, unit_of_path};

use crate::facts::unoctal;

/// File systems that need the network.
const NETWORK: [&str; 16] = [
    "afs",
    "ceph",
    "cifs",
    "curlftpfs",
    "davfs",
    "fuse.sshfs",
    "gfs",
    "gfs2",
    "glusterfs",
    "lustre",
    "ncp",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
];
/// Lines of the table at most.
const LINES_MAX: usize = 4096;

/// One file or link of a generator, below its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A file and its text.
    File(String, String),
    /// A link and where it leads.
    Link(String, String),
}

/// Everything that a table leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Generated {
    /// Files and links.
    pub outputs: Vec<Output>,
    /// Lines that are skipped, and why.
    pub notes: Vec<String>,
}

/// A line of the table.
struct Line<'a> {
    number: usize,
    what: String,
    place: String,
    kind: &'a str,
    options: Vec<&'a str>,
    check: bool,
}

impl Line<'_> {
    fn has(&self, word: &str) -> bool {
        self.options.contains(&word)
    }

    /// All values of an option that may stand several times.
    fn values<'b>(&'b self, name: &str) -> impl Iterator<Item = &'b str> {
        let name = format!("{name}=");
        self.options.iter().filter_map(move |option| option.strip_prefix(name.as_str()))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    /// The last of both words counts.
    fn chosen(&self, yes: &str, no: &str) -> bool {
        self.options.iter().rev().find(|option| **option == yes || **option == no) == Some(&yes)
    }
}

/// Reads a table.
pub fn units(text: &str) -> Generated {
    let mut out = Generated::default();
    let mut known = BTreeSet::new();
    for (index, text) in text.lines().enumerate().take(LINES_MAX) {
        let Some(line) = parse(index + 1, text) else { continue };
        let outcome = match line.kind {
            "swap" => swap(&line, &mut known),
            _ => mount(&line, &mut known),
        };
        match outcome {
            Ok(outputs) => out.outputs.extend(outputs),
            Err(why) => out.notes.push(format!("/etc/fstab:{}: {why}, ignoring it", line.number)),
        }
    }
    out
}

fn parse(number: usize, text: &str) -> Option<Line<'_>> {
    let mut fields = text.split_whitespace();
    let first = fields.next().filter(|first| !first.starts_with('#'))?;
    let place = fields.next().map(unoctal).unwrap_or_default();
    let kind = fields.next().unwrap_or("auto");
    let options = fields.next().unwrap_or("defaults").split(',').filter(|option| !option.is_empty()).collect();
    let check = fields.nth(1).is_some_and(|pass| pass != "0");
    Some(Line { number, what: device(&unoctal(first)), place, kind, options, check })
}

/// `UUID=x` and the like as the path of the device.
fn device(text: &str) -> String {
    const TAGS: [(&str, &str); 4] =
        [("UUID=", "by-uuid"), ("LABEL=", "by-label"), ("PARTUUID=", "by-partuuid"), ("PARTLABEL=", "by-partlabel")];
    let Some((tag, folder)) = TAGS.iter().find(|(tag, _)| text.starts_with(tag)) else { return text.to_owned() };
    let value = text.strip_prefix(tag).unwrap_or("").trim_matches('"');
    let value = if tag.ends_with("UUID=") { value.to_lowercase() } else { value.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii();
    let encoded: String =
        value.chars().map(|c| if plain(c) { c.to_string() } else { format!("\\x{:02x}", u32::from(c)) }).collect();
    format!("/dev/disk/{folder}/{encoded}")
}

/// `%` begins a specifier in unit files.
fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

fn head(text: &mut String, description: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# Made from /etc/fstab; changes here are lost.\n\n[Unit]\n{description}");
    text.push_str("Documentation=man:fstab(5)\nSourcePath=/etc/fstab\n");
}

/// Settings that the options ask for directly.
fn relations(text: &mut String, line: &Line<'_>) {
    let table = [
        ("x-systemd.requires", &["Requires", "After"][..]),
        ("x-systemd.wants", &["Wants", "After"]),
        ("x-systemd.after", &["After"]),
        ("x-systemd.before", &["Before"]),
        ("x-systemd.requires-mounts-for", &["RequiresMountsFor"]),
        ("x-systemd.wants-mounts-for", &["WantsMountsFor"]),
    ];
    for (option, directives) in table {
        for value in line.values(option) {
            let path = |value: &str| unit_of_path(value, UnitKind::Mount).map(|unit| unit.to_string());
            let is_unit = ferrite_unit::UnitName::parse(value).is_ok();
            let unit = if option.ends_with("-for") || is_unit { Some(value.to_owned()) } else { path(value) };
            for directive in directives {
                if let Some(unit) = &unit {
                    let _ = writeln!(text, "{directive}={}", plain(unit));
                }
            }
        }
    }
}

fn device_timeout(line: &Line<'_>, outputs: &mut Vec<Output>) {
    let Some(time) = line.value("x-systemd.device-timeout").filter(|_| line.what.starts_with("/dev/")) else { return };
    if let Some(stem) = escape_path(&line.what) {
        let text = format!("[Unit]\nJobRunningTimeoutSec={time}\n");
        outputs.push(Output::File(format!("{stem}.device.d/50-device-timeout.conf"), text));
    }
}

/// Links a unit to what pulls it in.
fn links(line: &Line<'_>, unit: &str, usual: &str, outputs: &mut Vec<Output>) {
    let mut link = |target: &str, folder: &str| {
        outputs.push(Output::Link(format!("{target}.{folder}/{unit}"), format!("../{unit}")));
    };
    let mut own = false;
    for (option, folder) in [("x-systemd.wanted-by", "wants"), ("x-systemd.required-by", "requires")] {
        for target in line.values(option).filter(|target| ferrite_unit::UnitName::parse(target).is_ok()) {
            link(target, folder);
            own = true;
        }
    }
    if !own && !line.chosen("noauto", "auto") {
        link(usual, if line.chosen("nofail", "fail") { "wants" } else { "requires" });
    }
}

fn swap(line: &Line<'_>, known: &mut BTreeSet<String>) -> Result<Vec<Output>, String> {
    let what = simplify_path(&line.what).filter(|_| line.what.starts_with('/'));
    let what = what.map(|what| format!("/{what}")).ok_or_else(|| format!("'{}' is no path", line.what))?;
    let unit = unit_of_path(&what, UnitKind::Swap).ok_or_else(|| format!("'{what}' is no path"))?.to_string();
    if !known.insert(unit.clone()) {
        return Err(format!("{what} was named before"));
    }
    let mut text = String::new();
    head(&mut text, &format!("Description=Swap {}", plain(&what)));
    relations(&mut text, line);
    let _ = write!(text, "\n[Swap]\nWhat={}\nOptions={}\n", plain(&what), plain(&line.options.join(",")));
    let mut outputs = vec![Output::File(unit.clone(), text)];
    device_timeout(line, &mut outputs);
    links(line, &unit, "swap.target", &mut outputs);
    Ok(outputs)
}

fn mount(line: &Line<'_>, known: &mut BTreeSet<String>) -> Result<Vec<Output>, String> {
    let place = simplify_path(&line.place).filter(|_| line.place.starts_with('/'));
    let place = place.map(|place| format!("/{place}")).ok_or_else(|| format!("'{}' is no path", line.place))?;
    if place == "/" {
        // The root is verified and cannot be exchanged; it is mounted already.
        return Err("the root is not mounted by this table".into());
    }
    let unit_of = |kind| unit_of_path(&place, kind).ok_or_else(|| format!("'{place}' is no path"));
    let unit = unit_of(UnitKind::Mount)?.to_string();
    if !known.insert(unit.clone()) {
        return Err(format!("{place} was named before"));
    }
    let remote = line.has("_netdev") || NETWORK.contains(&line.kind);
    let target = if remote { "remote-fs.target" } else { "local-fs.target" };
    let (nofail, automount) = (line.chosen("nofail", "fail"), line.has("x-systemd.automount"));
    let mut text = String::new();
    head(&mut text, &format!("Description={}", plain(&place)));
    if !nofail && !automount && !line.chosen("noauto", "auto") {
        let _ = writeln!(text, "Before={target}");
    }
    check(&mut text, line);
    relations(&mut text, line);
    let _ = write!(text, "\n[Mount]\nWhat={}\nWhere={}\n", plain(&line.what), plain(&place));
    if line.kind != "auto" {
        let _ = writeln!(text, "Type={}", plain(line.kind));
    }
    if let Some(time) = line.value("x-systemd.mount-timeout") {
        let _ = writeln!(text, "TimeoutSec={time}");
    }
    let _ = writeln!(text, "Options={}", plain(&line.options.join(",")));
    let mut outputs = vec![Output::File(unit.clone(), text)];
    device_timeout(line, &mut outputs);
    if automount {
        let unit = unit_of(UnitKind::Automount)?.to_string();
        outputs.push(Output::File(unit.clone(), automount_text(line, &place, target, nofail)));
        links(line, &unit, target, &mut outputs);
    } else {
        links(line, &unit, target, &mut outputs);
    }
    Ok(outputs)
}

fn automount_text(line: &Line<'_>, place: &str, target: &str, nofail: bool) -> String {
    let mut text = String::new();
    head(&mut text, &format!("Description=Automount of {}", plain(place)));
    if !nofail {
        let _ = writeln!(text, "Before={target}");
    }
    let _ = write!(text, "\n[Automount]\nWhere={}\n", plain(place));
    if let Some(time) = line.value("x-systemd.idle-timeout") {
        let _ = writeln!(text, "TimeoutIdleSec={time}");
    }
    text
}

/// The check of a file system before it is mounted.
fn check(text: &mut String, line: &Line<'_>) {
    if !line.check || !line.what.starts_with("/dev/") || line.has("bind") || line.has("rbind") {
        return;
    }
    if let Some(stem) = escape_path(&line.what) {
        let _ = writeln!(text, "Requires=systemd-fsck@{stem}.service\nAfter=systemd-fsck@{stem}.service");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(generated: &'a Generated, name: &str) -> &'a str {
        let found = generated.outputs.iter().find_map(|output| match output {
            Output::File(have, text) if have == name => Some(text.as_str()),
            Output::File(..) | Output::Link(..) => None,
        });
        found.unwrap_or_else(|| panic!("no {name} in {generated:?}"))
    }

    fn links(generated: &Generated) -> Vec<&str> {
        generated
            .outputs
            .iter()
            .filter_map(|o| if let Output::Link(name, _) = o { Some(name.as_str()) } else { None })
            .collect()
    }

    #[test]
    fn a_mount_is_needed_by_the_local_file_systems() {
        let made = units("# comment\n\nUUID=AB-12 /data/x ext4 rw,noatime 0 2\n");
        let text = file(&made, "data-x.mount");
        for line in [
            "What=/dev/disk/by-uuid/ab-12",
            "Where=/data/x",
            "Type=ext4",
            "Options=rw,noatime",
            "Before=local-fs.target",
            "Requires=systemd-fsck@dev-disk-by\\x2duuid-ab\\x2d12.service",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}: {text}");
        }
        assert_eq!(links(&made), ["local-fs.target.requires/data-x.mount"]);
        assert!(made.notes.is_empty());
    }

    #[test]
    fn options_decide_who_waits() {
        let made = units(
            "/dev/a /a ext4 nofail\n/dev/b /b ext4 noauto\nserver:/c /c nfs\n\
             /dev/d /d ext4 _netdev,x-systemd.automount,x-systemd.idle-timeout=5\n",
        );
        assert_eq!(
            links(&made),
            [
                "local-fs.target.wants/a.mount",
                "remote-fs.target.requires/c.mount",
                "remote-fs.target.requires/d.automount"
            ]
        );
        assert!(!file(&made, "a.mount").contains("Before="));
        assert!(!file(&made, "b.mount").contains("Before="));
        assert!(file(&made, "c.mount").contains("Before=remote-fs.target"));
        assert!(file(&made, "d.automount").contains("TimeoutIdleSec=5"));
    }

    #[test]
    fn swap_areas_and_relations_are_written() {
        let made = units(
            "LABEL=my\\040swap none swap pri=5,nofail 0 0\n\
             /dev/x /x auto x-systemd.requires=y.service,x-systemd.after=/z,x-systemd.wanted-by=w.target,\
             x-systemd.device-timeout=7,x-systemd.mount-timeout=9\n",
        );
        let swap = file(&made, "dev-disk-by\\x2dlabel-my\\x5cx20swap.swap");
        assert!(swap.contains("What=/dev/disk/by-label/my\\x20swap\nOptions=pri=5,nofail"), "{swap}");
        let text = file(&made, "x.mount");
        for line in ["Requires=y.service", "After=y.service", "After=z.mount", "TimeoutSec=9"] {
            assert!(text.lines().any(|have| have == line), "{line}: {text}");
        }
        assert!(!text.contains("Type="));
        assert_eq!(file(&made, "dev-x.device.d/50-device-timeout.conf"), "[Unit]\nJobRunningTimeoutSec=7\n");
        assert!(links(&made).contains(&"w.target.wants/x.mount"));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_line() {
        let made = units(
            "/dev/a / ext4\n/dev/b relative ext4\n/dev/c /c ext4\n/dev/d /c/ ext4\nx none swap\n/dev/p /100% ext4\n",
        );
        assert_eq!(made.notes.len(), 4, "{:?}", made.notes);
        assert!(made.notes[0].starts_with("/etc/fstab:1: "));
        assert!(file(&made, "100\\x25.mount").contains("Where=/100%%"));
    }
}
