//! Verbs about the manager itself: its environment and watchdogs; whose process a process is; where help is.

use anyhow::{Context, Result, bail};
use ferrite_control::{Client, ClientError, Properties, Reply, Request};
use ferrite_unit::words::{Escapes, split};

use super::arguments::Arguments;
use super::verbs::{NO_SUCH_UNIT, connect, details, named_units};
use super::{Caller, print};

/// All properties of PID 1.
pub fn properties(client: &mut Client) -> Result<Properties> {
    match client.ask(&Request::ShowManager)? {
        Reply::Properties(properties) => Ok(properties),
        _ => bail!(ClientError::Unexpected),
    }
}

/// `show-environment`: in a form that a shell reads back.
pub fn show_environment(arguments: &Arguments) -> Result<u8> {
    let properties = properties(&mut connect(arguments)?)?;
    let words = split(properties.text("Environment"), Escapes::C).unwrap_or_default();
    print(&words.iter().map(|word| format!("{}\n", shell_assignment(word))).collect::<String>())
}

/// `NAME=value`, the value in `$'…'` if a shell would take it for more than a word.
fn shell_assignment(word: &str) -> String {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let special = |c: char| c.is_ascii_control() || " \"\\`$*?['()<>|&;!~#{}".contains(c);
    if !value.contains(special) {
        return format!("{name}={value}");
    }
    let mut out = format!("{name}=$'");
    for c in value.chars() {
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_ascii_control() => out.push_str(&format!("\\{:03o}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "'"
}

fn change(arguments: &Arguments, set: Vec<String>, unset: Vec<String>, what: &str) -> Result<u8> {
    connect(arguments)?
        .ask(&Request::SetEnvironment { set, unset })
        .with_context(|| format!("Failed to {what} environment"))?;
    Ok(0)
}

/// `set-environment` and `unset-environment`.
pub fn set_environment(arguments: &Arguments) -> Result<u8> {
    match arguments.verb.as_str() {
        "set-environment" => change(arguments, arguments.operands.clone(), Vec::new(), "set"),
        _ => change(arguments, Vec::new(), arguments.operands.clone(), "set"),
    }
}

/// `import-environment`: variables of the caller, by name.
pub fn import_environment(arguments: &Arguments, caller: &Caller) -> Result<u8> {
    let set = if arguments.operands.is_empty() {
        eprintln!("Calling import-environment without a list of variable names is deprecated.");
        let text = |(name, value): (&std::ffi::OsString, &std::ffi::OsString)| {
            Some(format!("{}={}", name.to_str()?, value.to_str()?))
        };
        let fine = |word: &String| !word.chars().any(char::is_control);
        caller.variables.iter().filter_map(text).filter(fine).collect()
    } else {
        let mut set = Vec::new();
        for name in &arguments.operands {
            if !ferrite_unit::environment::is_name(name) {
                bail!("Not a valid environment variable name: {name}");
            }
            match caller.variable(name) {
                Some(value) => set.push(format!("{name}={value}")),
                None => eprintln!("Environment variable ${name} not set, ignoring."),
            }
        }
        set
    };
    if set.is_empty() {
        return Ok(0);
    }
    change(arguments, set, Vec::new(), "import")
}

/// `service-watchdogs`: says or sets whether silent services are ended.
pub fn service_watchdogs(client: &mut Client, operands: &[String]) -> Result<u8> {
    match operands.first() {
        None => print(&format!("{}\n", properties(client)?.text("ServiceWatchdogs"))),
        Some(word) => {
            let Ok(on) = ferrite_unit::value::boolean(word) else {
                bail!("Failed to parse service-watchdogs argument: Invalid argument");
            };
            client.ask(&Request::SetServiceWatchdogs(on)).context("Failed to set service-watchdog state")?;
            Ok(0)
        }
    }
}

/// `help`: where the documentation of units is. There is no reader of manual pages to start.
pub fn help(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let mut code = 0;
    for name in named_units(&mut client, &arguments.operands)? {
        let unit = details(&mut client, &name)?;
        if unit.summary.load == "not-found" {
            eprintln!("Unit {name} could not be found.");
            code = 1;
        } else if unit.documentation.is_empty() {
            eprintln!("Documentation for {name} not known.");
        } else {
            let page = |page: &String| match page.strip_prefix("man:") {
                Some(page) => format!("Manual page: {page}\n"),
                None => format!("Additional documentation: {page}\n"),
            };
            print(&unit.documentation.iter().map(page).collect::<String>())?;
        }
    }
    Ok(code)
}

/// `whoami`: the unit that a process belongs to; without a number, this one.
pub fn whoami(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let own = std::process::id().to_string();
    let operands = if arguments.operands.is_empty() { std::slice::from_ref(&own) } else { &arguments.operands };
    let mut code = 0;
    for word in operands {
        let Ok(pid) = word.parse::<u32>() else { bail!("Failed to parse PID {word}: Invalid argument") };
        match unit_of_process(&mut client, pid)? {
            Ok(unit) => drop(print(&format!("{unit}\n"))?),
            Err(fault) => {
                eprintln!("{fault}");
                code = 1;
            }
        }
    }
    Ok(code)
}

/// The unit that a process belongs to, or why there is none.
pub fn unit_of_process(client: &mut Client, pid: u32) -> Result<Result<String, String>> {
    if pid == 1 {
        return Ok(Ok("init.scope".into()));
    }
    let Ok(groups) = std::fs::read_to_string(format!("/proc/{pid}/cgroup")) else {
        return Ok(Err(format!("PID {pid} doesn't exist or is already gone.")));
    };
    let unit = unit_of(client, &groups)?;
    Ok(unit.ok_or_else(|| format!("PID {pid} does not belong to any loaded unit.")))
}

/// The loaded unit of a line `0::/system.slice/a.service/sub` of /proc: the last part that names one.
fn unit_of(client: &mut Client, groups: &str) -> Result<Option<String>> {
    let Reply::Units(units) = client.ask(&Request::ListUnits)? else { bail!(ClientError::Unexpected) };
    let path = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let has = |name: &&str| !name.ends_with(".slice") && units.iter().any(|unit| unit.name == **name);
    Ok(path.rsplit('/').find(has).map(str::to_owned))
}

/// `bind` and `mount-image`: what a service sees cannot be changed while it runs.
pub fn live_mount(arguments: &Arguments) -> Result<u8> {
    let what = if arguments.verb == "bind" { "bind mount" } else { "mount image" };
    let mut client = connect(arguments)?;
    let Some(name) = named_units(&mut client, arguments.operands.get(..1).unwrap_or_default())?.pop() else {
        return Ok(NO_SUCH_UNIT);
    };
    let unit = details(&mut client, &name)?;
    if unit.main_pid.is_none() || unit.properties.text("CanLiveMount") != "yes" {
        bail!("Failed to {what}: Unit '{name}' not running in private mount namespace, cannot live mount.");
    }
    bail!("Failed to {what}: mounting into a running service is not supported by this version.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_written_for_a_shell() {
        for (word, text) in [
            ("LANG=C.UTF-8", "LANG=C.UTF-8"),
            ("C=d e", "C=$'d e'"),
            ("Q=it's \\ \n", "Q=$'it\\'s \\\\ \\n'"),
            ("EMPTY=", "EMPTY="),
        ] {
            assert_eq!(shell_assignment(word), text);
        }
    }
}
