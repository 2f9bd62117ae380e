//! The unit files of `systemd-run`: what the options say, as PID 1 reads it. Pure.

use anyhow::{Result, anyhow, bail};
use ferrite_unit::escape::{Globs, mangle};
use ferrite_unit::specifier::Host;
use ferrite_unit::{Unit, UnitKind, UnitName, timespan};

use super::run_options::{Options, Stdio};

/// What is known of the caller.
pub struct Facts<'a> {
    pub host: &'a Host,
    /// The command with an absolute path.
    pub command: &'a [String],
    /// Variables that go along.
    pub environment: &'a [String],
    pub working_directory: Option<&'a str>,
    /// The slice that the caller is in, without its end.
    pub own_slice: &'a str,
    /// The terminal that was made for the service.
    pub terminal: Option<&'a str>,
}

/// A unit file that grows.
struct Draft {
    unit: Unit,
    sections: Vec<(&'static str, Vec<String>)>,
}

impl Draft {
    fn new(name: &UnitName, description: &str) -> Draft {
        let mut draft = Draft { unit: Unit::new(name.clone()), sections: vec![("Unit", Vec::new())] };
        draft.line("Unit", "Description", &plain(description));
        draft
    }

    fn line(&mut self, section: &'static str, key: &str, value: &str) {
        let line = format!("{key}={value}");
        match self.sections.iter_mut().find(|(known, _)| *known == section) {
            Some((_, lines)) => lines.push(line),
            None => self.sections.push((section, vec![line])),
        }
    }

    /// Takes a setting of the command line into the section where it belongs.
    fn property(&mut self, text: &str, host: &Host) -> Result<()> {
        let (key, value) = text.split_once('=').ok_or_else(|| anyhow!("Not an assignment: {text}"))?;
        // The interface of PID 1 has each list of commands under two names.
        let key = key.strip_suffix("Ex").filter(|key| key.starts_with("Exec")).unwrap_or(key);
        let value = if is_span(key) { normal_span(value) } else { plain(value) };
        match self.unit.place_of(key, &value, host) {
            Ok(section) => self.line(section, key, &value),
            Err(fault) if fault.starts_with("unknown key") => bail!("Unknown assignment: {text}"),
            Err(fault) => bail!("Failed to parse {key}= value: {fault}"),
        }
        Ok(())
    }

    fn text(&self) -> String {
        let section = |(name, lines): &(&str, Vec<String>)| format!("[{name}]\n{}\n", lines.join("\n"));
        let head = "# This is a transient unit file, created programmatically via the API. Do not edit.\n";
        head.to_owned() + &self.sections.iter().map(section).collect::<Vec<_>>().join("\n")
    }
}

/// A percent sign of the command line is no specifier.
fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

/// Spans are kept as systemd prints them.
fn is_span(key: &str) -> bool {
    matches!(
        key,
        "OnActiveSec"
            | "OnBootSec"
            | "OnStartupSec"
            | "OnUnitActiveSec"
            | "OnUnitInactiveSec"
            | "AccuracySec"
            | "RandomizedDelaySec"
    )
}

fn normal_span(value: &str) -> String {
    timespan::parse(value).map_or_else(|_| value.to_owned(), |span| timespan::text(span, 1))
}

/// A word that a unit file takes as it is.
fn quoted(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '%' => out.push_str("%%"),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of the service.
pub fn service(options: &Options, name: &UnitName, facts: &Facts<'_>) -> Result<String> {
    let mut draft = Draft::new(name, &description(options, facts));
    if options.collect {
        draft.line("Unit", "CollectMode", "inactive-or-failed");
    }
    common(&mut draft, options, facts)?;
    let mut line = |key: &str, value: &str| draft.line("Service", key, value);
    if options.remain_after_exit {
        line("RemainAfterExit", "yes");
    }
    for (key, value) in [("User", &options.uid), ("Group", &options.gid)] {
        if let Some(value) = value {
            line(key, &plain(value));
        }
    }
    if let Some(nice) = options.nice {
        line("Nice", &nice.to_string());
    }
    if let Some(directory) = facts.working_directory {
        line("WorkingDirectory", &plain(directory));
    }
    if let Some(terminal) = facts.terminal {
        line("TTYPath", terminal);
        for stream in ["StandardInput", "StandardOutput", "StandardError"] {
            line(stream, "tty");
        }
    }
    if !facts.environment.is_empty() {
        line("Environment", &facts.environment.iter().map(|pair| quoted(pair)).collect::<Vec<_>>().join(" "));
    }
    if let Some(kind) = &options.service_type {
        draft.property(&format!("Type={kind}"), facts.host)?;
    }
    if !facts.command.is_empty() {
        let words: Vec<String> = facts.command.iter().map(|word| quoted(word)).collect();
        let dash = if options.ignore_failure { "-" } else { "" };
        let colon = if options.expand_environment == Some(false) { ":" } else { "" };
        draft.line("Service", "ExecStart", &format!("{dash}{colon}{}", words.join(" ")));
    }
    Ok(draft.text())
}

/// The text of the scope.
pub fn scope(options: &Options, name: &UnitName, facts: &Facts<'_>) -> Result<String> {
    let mut draft = Draft::new(name, &description(options, facts));
    if options.collect {
        draft.line("Unit", "CollectMode", "inactive-or-failed");
    }
    draft.line("Scope", "SendSIGHUP", if options.send_sighup { "yes" } else { "no" });
    common(&mut draft, options, facts)?;
    Ok(draft.text())
}

/// The text of the unit that starts the service.
pub fn trigger(options: &Options, name: &UnitName, facts: &Facts<'_>) -> Result<String> {
    let mut draft = Draft::new(name, &description(options, facts));
    for property in &options.trigger_properties {
        draft.property(property, facts.host)?;
    }
    if name.kind() == UnitKind::Timer {
        draft.line("Timer", "RemainAfterElapse", "no");
    }
    Ok(draft.text())
}

/// What services and scopes have in common.
fn common(draft: &mut Draft, options: &Options, facts: &Facts<'_>) -> Result<()> {
    let section = draft.unit.name.kind().section();
    if let Some(slice) = slice(options, facts)? {
        draft.line(section, "Slice", slice.as_str());
    }
    if options.send_sighup && section == "Service" {
        draft.line(section, "SendSIGHUP", "yes");
    }
    for property in &options.properties {
        draft.property(property, facts.host)?;
    }
    Ok(())
}

fn description(options: &Options, facts: &Facts<'_>) -> String {
    match &options.description {
        Some(text) => text.clone(),
        None if facts.command.is_empty() => options.unit.clone().unwrap_or_default(),
        None => {
            let word = |word: &String| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() };
            facts.command.iter().map(word).collect::<Vec<_>>().join(" ").replace('\n', " ")
        }
    }
}

fn slice(options: &Options, facts: &Facts<'_>) -> Result<Option<UnitName>> {
    let own = options.slice_inherit.then(|| facts.own_slice.to_owned());
    let wanted = options.slice.clone().filter(|slice| !slice.is_empty());
    let name = match (own, wanted) {
        (None, None) => return Ok(None),
        (Some(own), Some(wanted)) => format!("{own}-{wanted}"),
        (Some(one), None) | (None, Some(one)) => one,
    };
    let mangled = mangle(name.as_bytes(), Globs::Escaped, UnitKind::Slice);
    let parsed = mangled.and_then(|mangled| UnitName::parse(&mangled.name).ok());
    match parsed.filter(|name| name.kind() == UnitKind::Slice) {
        Some(name) => Ok(Some(name)),
        None => bail!("Failed to mangle name '{name}': Invalid argument"),
    }
}

/// Whether the caller's three descriptors go along.
pub fn passes_descriptors(stdio: Stdio) -> bool {
    match stdio {
        Stdio::Pipe => true,
        Stdio::Unit | Stdio::Pty | Stdio::Auto => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::run_options::{Wish, wish};
    use super::*;

    fn text(line: &[&str], kind: UnitKind) -> Result<String> {
        let words: Vec<String> = ["systemd-run"].iter().chain(line).map(|word| (*word).to_owned()).collect();
        let Wish::Run(options) = wish(&words)? else { bail!("nothing to run") };
        let name = UnitName::parse(&format!("t.{}", kind.suffix()))?;
        let facts = Facts {
            host: &Host::default(),
            command: &options.command,
            environment: &options.environment,
            working_directory: options.working_directory.as_deref(),
            own_slice: "system",
            terminal: None,
        };
        match kind {
            UnitKind::Scope => scope(&options, &name, &facts),
            UnitKind::Service => service(&options, &name, &facts),
            _ => trigger(&options, &name, &facts),
        }
    }

    #[test]
    fn a_service_is_written_as_pid_1_reads_it() {
        let line = [
            "--uid=core",
            "-p",
            "LimitNOFILE=5:6",
            "-p",
            "After=x.service",
            "-E",
            "A=b c%",
            "/bin/sh",
            "-c",
            "a\"\\$\n",
        ];
        assert_eq!(
            text(&line, UnitKind::Service).expect("valid"),
            "# This is a transient unit file, created programmatically via the API. Do not edit.\n\
             [Unit]\nDescription=/bin/sh -c a\"\\$ \nAfter=x.service\n\n\
             [Service]\nLimitNOFILE=5:6\nUser=core\nEnvironment=\"A=b c%%\"\n\
             ExecStart=\"/bin/sh\" \"-c\" \"a\\\"\\\\$\\n\"\n"
        );
    }

    #[test]
    fn triggers_have_their_settings_in_their_sections() {
        let line = ["--on-unit-active=3h20m", "--timer-property=After=a.service", "--description=My Timer", "true"];
        let timer = text(&line, UnitKind::Timer).expect("valid");
        assert!(timer.contains("[Unit]\nDescription=My Timer\nAfter=a.service\n"), "{timer}");
        assert!(timer.contains("[Timer]\nOnUnitActiveSec=3h 20min\nRemainAfterElapse=no\n"), "{timer}");
    }

    #[test]
    fn slices_are_inherited_and_faults_are_named() {
        let inherited = text(&["--scope", "--slice-inherit", "--slice=foo", "x"], UnitKind::Scope).expect("valid");
        assert!(inherited.contains("Slice=system-foo.slice\n"), "{inherited}");
        for (line, message) in [
            (&["--slice=foo.service", "x"][..], "Failed to mangle name 'foo.service': Invalid argument"),
            (&["-p", "Nonsense=1", "x"], "Unknown assignment: Nonsense=1"),
            (&["--service-type=nonsense", "x"], "Failed to parse Type= value"),
        ] {
            let fault = text(line, UnitKind::Service).expect_err("refused").to_string();
            assert!(fault.starts_with(message), "{fault}");
        }
    }
}
