//! Which entries are wanted, as the matches that the reader understands. Pure but for looking at paths.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_pattern::{is_pattern, matches_unit};

use super::options::Options;
use crate::level;

const TYPES: [&str; 11] =
    ["service", "socket", "target", "device", "mount", "automount", "swap", "timer", "path", "slice", "scope"];
/// systemd's message of a core dump.
const COREDUMP: &str = "fc2e22bc6ee647b6b90729ab34a250b1";
const FACILITIES: [(&str, u8); 20] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// One step of telling the reader what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Term {
    /// A field has this value.
    Match(String, Vec<u8>),
    /// What came before, or what follows.
    Or,
    /// What came before, and what follows.
    And,
}

fn field(name: &str, value: &str) -> Term {
    Term::Match(name.to_owned(), value.as_bytes().to_owned())
}

/// Where the values of a field in the journal are looked up, for patterns.
pub type Unique<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<String>>;

/// The matches of a command line; the boot was looked up already.
pub fn terms(options: &Options, boot: Option<&str>, unique: Unique<'_>) -> Result<Vec<Term>> {
    let mut all: Vec<Vec<Term>> = Vec::new();
    all.extend(boot.map(|id| vec![field("_BOOT_ID", id)]));
    if options.dmesg {
        all.push(vec![field("_TRANSPORT", "kernel")]);
    }
    all.push(unit_terms(&options.unit, unique)?);
    all.push(options.identifier.iter().map(|name| field("SYSLOG_IDENTIFIER", name)).collect());
    if let Some(text) = &options.priority {
        all.push(priorities(text)?.map(|level| field("PRIORITY", &level.to_string())).collect());
    }
    all.push(options.facility.iter().map(|word| facility(word)).collect::<Result<_>>()?);
    all.push(operands(&options.matches)?);
    let mut out = Vec::new();
    for part in all.into_iter().filter(|part| !part.is_empty()) {
        if !out.is_empty() {
            out.push(Term::And);
        }
        out.extend(part);
    }
    Ok(out)
}

/// The messages of units, and those about them by PID 1 and by root.
fn unit_terms(words: &[String], unique: Unique<'_>) -> Result<Vec<Term>> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for word in words {
        let name = full_name(word);
        if !is_pattern(&name) {
            names.insert(name);
            continue;
        }
        for known in ["_SYSTEMD_UNIT", "UNIT", "OBJECT_SYSTEMD_UNIT"] {
            names.extend(unique(known)?.into_iter().filter(|unit| matches_unit(&name, unit)));
        }
    }
    if names.is_empty() && !words.is_empty() {
        // A pattern that fits nothing shows nothing, not everything.
        return Ok(vec![field("_SYSTEMD_UNIT", "")]);
    }
    Ok(names.iter().flat_map(|name| one_unit(name)).skip(1).collect())
}

/// Each alternative stands behind an `Or`.
fn one_unit(name: &str) -> Vec<Term> {
    let mut out = vec![
        Term::Or,
        field("_SYSTEMD_UNIT", name),
        Term::Or,
        field("MESSAGE_ID", COREDUMP),
        field("_UID", "0"),
        field("COREDUMP_UNIT", name),
        Term::Or,
        field("_PID", "1"),
        field("UNIT", name),
        Term::Or,
        field("_UID", "0"),
        field("OBJECT_SYSTEMD_UNIT", name),
    ];
    if name.ends_with(".slice") {
        out.extend([Term::Or, field("_SYSTEMD_SLICE", name)]);
    }
    out
}

fn full_name(word: &str) -> String {
    let has_type = word.rsplit_once('.').is_some_and(|(_, end)| TYPES.contains(&end) || end.contains('*'));
    if has_type { word.to_owned() } else { format!("{word}.service") }
}

fn priorities(text: &str) -> Result<std::ops::RangeInclusive<u8>> {
    let number =
        |word: &str| level::parse(word).ok_or_else(|| anyhow!("'{word}' is no priority: write err, warning or 0 to 7"));
    match text.split_once("..") {
        None => Ok(0..=number(text)?),
        Some((first, last)) => {
            let (first, last) = (number(first)?, number(last)?);
            Ok(first.min(last)..=first.max(last))
        }
    }
}

fn facility(word: &str) -> Result<Term> {
    let by_name = FACILITIES.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    match by_name.or_else(|| word.parse().ok()) {
        Some(number) => Ok(field("SYSLOG_FACILITY", &number.to_string())),
        None => bail!("'{word}' is no facility: write one such as daemon, auth or local0"),
    }
}

/// `FIELD=VALUE`, `+`, and paths.
fn operands(words: &[String]) -> Result<Vec<Term>> {
    let mut out: Vec<Term> = Vec::new();
    for word in words {
        if word == "+" {
            if matches!(out.last(), None | Some(Term::Or)) {
                bail!("\"+\" can only be used between terms");
            }
            out.push(Term::Or);
        } else if word.starts_with('/') {
            out.extend(path_terms(Path::new(word))?);
        } else {
            match word.split_once('=').filter(|(name, _)| is_name(name)) {
                Some((name, value)) => out.push(field(name, value)),
                None => bail!("'{word}' is no match: write FIELD=VALUE, a path, or + between alternatives"),
            }
        }
    }
    if out.last() == Some(&Term::Or) {
        bail!("\"+\" can only be used between terms");
    }
    Ok(out)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A program stands for what it wrote, a device for what the kernel wrote about it and the devices it hangs on.
fn path_terms(path: &Path) -> Result<Vec<Term>> {
    let real = fs::canonicalize(path).with_context(|| format!("looking for '{}'", path.display()))?;
    let metadata = fs::metadata(&real).with_context(|| format!("looking at '{}'", real.display()))?;
    let kind = metadata.file_type();
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        return Ok(program_terms(&real));
    }
    let letter = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => 'c',
        (_, true) => 'b',
        _ => bail!("'{}' is neither a program nor a device", path.display()),
    };
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let mut out = vec![field("_KERNEL_DEVICE", &format!("{letter}{major}:{minor}"))];
    let class = if letter == 'c' { "char" } else { "block" };
    let mut device = fs::canonicalize(format!("/sys/dev/{class}/{major}:{minor}")).ok();
    while let Some(folder) = device {
        let subsystem = fs::canonicalize(folder.join("subsystem")).ok();
        let names = subsystem.as_deref().and_then(Path::file_name).zip(folder.file_name());
        if let Some((subsystem, name)) = names {
            let text = format!("+{}:{}", subsystem.to_string_lossy(), name.to_string_lossy());
            out.push(field("_KERNEL_DEVICE", &text));
        }
        device = folder.parent().filter(|above| above.starts_with("/sys/devices")).map(Path::to_path_buf);
    }
    Ok(out)
}

/// A script is known by its name and the program that runs it.
fn program_terms(path: &Path) -> Vec<Term> {
    const COMM_MAX: usize = 15;
    let head = fs::read(path).unwrap_or_default();
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let interpreter = first.strip_prefix(b"#!").map(|line| String::from_utf8_lossy(line).trim().to_owned());
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match interpreter {
        Some(line) => {
            let program = line.split_whitespace().next().unwrap_or_default();
            let program = fs::canonicalize(program).map_or_else(|_| program.to_owned(), |p| p.display().to_string());
            vec![field("_COMM", &name.chars().take(COMM_MAX).collect::<String>()), field("_EXE", &program)]
        }
        None => vec![field("_EXE", &path.display().to_string())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn found(line: &str) -> Result<Vec<Term>> {
        let options = Options::try_parse_from(line.split(' ')).expect("valid");
        let known = ["a@1.service", "a@2.service", "b.service"];
        let mut unique =
            |name: &str| Ok(if name == "_SYSTEMD_UNIT" { known.map(str::to_owned).to_vec() } else { Vec::new() });
        terms(&options, options.dmesg.then_some("b"), &mut unique)
    }

    fn text(line: &str) -> String {
        let word = |term: Term| match term {
            Term::Match(name, value) => format!("{name}={}", String::from_utf8_lossy(&value)),
            Term::Or => "|".into(),
            Term::And => "&".into(),
        };
        found(line).expect("valid").into_iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_condition_is_a_match() {
        for (line, wanted) in [
            ("journalctl", ""),
            ("journalctl -k -p err", "_BOOT_ID=b & _TRANSPORT=kernel & PRIORITY=0 PRIORITY=1 PRIORITY=2 PRIORITY=3"),
            ("journalctl -p warning..err -t x -t y", "SYSLOG_IDENTIFIER=x SYSLOG_IDENTIFIER=y & PRIORITY=3 PRIORITY=4"),
            ("journalctl A=1 A=2 + B=x=y", "A=1 A=2 | B=x=y"),
            ("journalctl --facility=daemon,11", "SYSLOG_FACILITY=3 SYSLOG_FACILITY=11"),
        ] {
            assert_eq!(text(line), wanted, "{line}");
        }
    }

    #[test]
    fn a_unit_is_what_it_says_and_what_is_said_of_it() {
        let one = text("journalctl -u ssh");
        assert!(one.starts_with("_SYSTEMD_UNIT=ssh.service | MESSAGE_ID="), "{one}");
        assert!(one.contains("| _PID=1 UNIT=ssh.service |"), "{one}");
        let several = text("journalctl -u a@*");
        assert!(several.contains("_SYSTEMD_UNIT=a@1.service") && several.contains("| _SYSTEMD_UNIT=a@2.service"));
        assert!(!several.contains("b.service"));
        assert_eq!(text("journalctl -u no*"), "_SYSTEMD_UNIT=");
        assert!(text("journalctl -u a.slice").ends_with("| _SYSTEMD_SLICE=a.slice"));
    }

    #[test]
    fn a_program_and_a_device_are_known_by_their_paths() {
        let shell = fs::canonicalize("/bin/sh").expect("a shell");
        assert_eq!(text("journalctl /bin/sh"), format!("_EXE={}", shell.display()));
        assert!(text("journalctl /dev/null").starts_with("_KERNEL_DEVICE=c1:3"));
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("a-script-of-a-long-name");
        fs::write(&script, "#!/bin/sh -e\n").expect("written");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("set");
        let line = format!("journalctl {}", script.display());
        assert_eq!(text(&line), format!("_COMM=a-script-of-a-l _EXE={}", shell.display()));
    }

    #[test]
    fn wrong_words_are_errors() {
        for (line, wanted) in [
            ("journalctl -p loud", "'loud' is no priority"),
            ("journalctl +", "\"+\" can only be used between terms"),
            ("journalctl A=1 +", "\"+\" can only be used between terms"),
            ("journalctl word", "'word' is no match"),
            ("journalctl /nonexistent", "looking for '/nonexistent'"),
            ("journalctl --facility=no", "'no' is no facility"),
        ] {
            let error = found(line).expect_err(line).to_string();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
