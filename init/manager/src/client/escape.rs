//! `systemd-escape`: text for unit names, and back.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use ferrite_unit::escape::{Globs, escape, escape_path, mangle, unescape_bytes, unescape_path_bytes};
use ferrite_unit::{UnitKind, UnitName};

use super::Caller;
use super::options::{Flag, Line, Order, Takes, parse};

const HELP: &str = "\
systemd-escape [OPTIONS...] [NAME...]

Escape strings for usage in unit names.

  -h --help               Show this help
     --version            Show package version
     --suffix=SUFFIX      Unit suffix to append to escaped strings
     --template=TEMPLATE  Insert strings as instance into template
     --instance           With --unescape, show just the instance part
  -u --unescape           Unescape strings
  -m --mangle             Mangle strings
  -p --path               When escaping/unescaping assume the string is a path
";

const FLAGS: [Flag; 8] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    (' ', "suffix", Takes::Value),
    (' ', "template", Takes::Value),
    (' ', "instance", Takes::Nothing),
    ('u', "unescape", Takes::Nothing),
    ('m', "mangle", Takes::Nothing),
    ('p', "path", Takes::Nothing),
];

/// What becomes of each string.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Escape { path: bool, into: Option<Into> },
    Unescape { path: bool, instance: Option<Instance> },
    Mangle,
}

/// Where an escaped string goes.
#[derive(Debug, PartialEq, Eq)]
enum Into {
    Suffix(UnitKind),
    Template(UnitName),
}

/// Only the instance of a name is unescaped.
#[derive(Debug, PartialEq, Eq)]
enum Instance {
    OfAny,
    Of(UnitName),
}

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(&words)))
}

fn run(words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    if let Some(told) = super::told(&line, HELP) {
        return told;
    }
    let action = action(&line)?;
    let mut stdout = std::io::stdout();
    for (number, text) in line.operands.iter().enumerate() {
        let done = transform(text, &action)?;
        let gap: &[u8] = if number > 0 { b" " } else { b"" };
        // What was good before a fault is told.
        stdout.write_all(&[gap, &done].concat())?;
        stdout.flush()?;
    }
    stdout.write_all(b"\n")?;
    Ok(0)
}

fn action(line: &Line) -> Result<Action> {
    let suffix = match line.value("suffix") {
        None => None,
        Some(text) => Some(UnitKind::parse(text).ok_or_else(|| anyhow!("Invalid unit suffix type \"{text}\"."))?),
    };
    let template = match line.value("template") {
        None => None,
        Some(text) => match UnitName::parse(text) {
            Ok(name) if name.is_template() => Some(name),
            Ok(_) | Err(_) => bail!("Template name {text} is not valid."),
        },
    };
    let (path, instance) = (line.has("path"), line.has("instance"));
    // The last of both is the one that counts.
    let last = line.options.iter().rev().map(|(name, _)| *name).find(|name| ["unescape", "mangle"].contains(name));
    if line.operands.is_empty() {
        bail!("Not enough arguments.");
    }
    match last {
        _ if template.is_some() && suffix.is_some() => bail!("--suffix= and --template= may not be combined."),
        Some("mangle") if template.is_some() || suffix.is_some() => {
            bail!("--suffix= and --template= are not compatible with --mangle.")
        }
        Some("unescape") if suffix.is_some() => bail!("--suffix is not compatible with --unescape."),
        Some("mangle") if path => bail!("--path may not be combined with --mangle."),
        None | Some("mangle") if instance => bail!("--instance must be used in conjunction with --unescape."),
        _ if instance && template.is_some() => bail!("--instance may not be combined with --template."),
        Some("mangle") => Ok(Action::Mangle),
        Some(_) => {
            let instance = template.map(Instance::Of).or(instance.then_some(Instance::OfAny));
            Ok(Action::Unescape { path, instance })
        }
        None => Ok(Action::Escape { path, into: template.map(Into::Template).or(suffix.map(Into::Suffix)) }),
    }
}

fn transform(text: &str, action: &Action) -> Result<Vec<u8>> {
    match action {
        Action::Escape { path, into } => {
            let escaped = if *path { escaped_path(text)? } else { escape(text) };
            Ok(match into {
                None => escaped,
                Some(Into::Suffix(kind)) => format!("{escaped}.{}", kind.suffix()),
                Some(Into::Template(template)) => match template.with_instance(&escaped) {
                    Ok(name) if !escaped.is_empty() => name.as_str().to_owned(),
                    Ok(_) | Err(_) => bail!("Failed to replace instance: Invalid argument"),
                },
            }
            .into_bytes())
        }
        Action::Unescape { path, instance } => {
            let text = match instance {
                None => text.to_owned(),
                Some(instance) => instance_of(text, instance)?,
            };
            let plain = if *path { unescape_path_bytes(text.as_bytes()) } else { unescape_bytes(text.as_bytes()) };
            plain.ok_or_else(|| anyhow!("Failed to unescape string: Invalid argument"))
        }
        Action::Mangle => match mangle(text.as_bytes(), Globs::Escaped, UnitKind::Service) {
            Some(mangled) => Ok(mangled.name.into_bytes()),
            None => bail!("Failed to mangle name: Invalid argument"),
        },
    }
}

fn escaped_path(text: &str) -> Result<String> {
    let is_absolute = text.starts_with('/');
    let Some(escaped) = escape_path(text) else {
        let fault = if is_absolute { "a normalized" } else { "an absolute" };
        bail!("Input '{text}' is not {fault} file system path, failed to escape.");
    };
    if text.is_empty() {
        eprintln!("Input '{text}' is not a valid file system path, escaping is likely not going to be reversible.");
    } else if !is_absolute {
        eprintln!("Input '{text}' is not an absolute file system path, escaping is likely not going to be reversible.");
    }
    Ok(escaped)
}

fn instance_of(text: &str, wanted: &Instance) -> Result<String> {
    let Ok(name) = UnitName::parse(text) else { bail!("Failed to extract instance: Invalid argument") };
    let (Some(instance), Some(template)) = (name.instance(), name.template()) else {
        bail!("Unit {text} is missing the instance name.");
    };
    match wanted {
        Instance::Of(wanted) if *wanted != template => {
            bail!("Unit {text} template {template} does not match specified template {wanted}.")
        }
        Instance::Of(_) | Instance::OfAny => Ok(instance.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(words: &[&str]) -> Result<String> {
        let words: Vec<String> = ["systemd-escape"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        let line = parse(&words, &FLAGS, Order::Anywhere)?;
        let action = action(&line)?;
        let made: Result<Vec<Vec<u8>>> = line.operands.iter().map(|text| transform(text, &action)).collect();
        Ok(String::from_utf8(made?.join(&b' ')).expect("text"))
    }

    #[test]
    fn strings_are_escaped_into_names_and_back() {
        for (words, expected) in [
            (&["a b", "c"][..], "a\\x20b c"),
            (&["-p", "/var/lib/a-b"], "var-lib-a\\x2db"),
            (&["--suffix=mount", "-p", "/srv"], "srv.mount"),
            (&["--template=foo@.service", "a/b"], "foo@a-b.service"),
            (&["-u", "a-b"], "a/b"),
            (&["-up", "a-b"], "/a/b"),
            (&["-u", "--instance", "foo@a-b.service"], "a/b"),
            (&["-u", "--template=foo@.service", "foo@a-b.service"], "a/b"),
            (&["-m", "/srv", "ssh"], "srv.mount ssh.service"),
        ] {
            assert_eq!(result(words).expect("escaped"), expected, "{words:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (words, message) in [
            (&[][..], "Not enough arguments."),
            (&["--suffix=x", "a"], "Invalid unit suffix type \"x\"."),
            (&["--template=x.service", "a"], "Template name x.service is not valid."),
            (&["--suffix=mount", "--template=x@.service", "a"], "--suffix= and --template= may not be combined."),
            (&["-m", "-p", "a"], "--path may not be combined with --mangle."),
            (&["--instance", "a"], "--instance must be used in conjunction with --unescape."),
            (&["-u", "--instance", "a.service"], "Unit a.service is missing the instance name."),
            (&["-p", "/a/.."], "Input '/a/..' is not a normalized file system path, failed to escape."),
        ] {
            assert_eq!(result(words).expect_err("refused").to_string(), message);
        }
    }
}
