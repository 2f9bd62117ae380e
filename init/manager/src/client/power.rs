//! `reboot`, `poweroff`, `halt`, `shutdown`: by whichever name they are called.

use anyhow::{Result, bail};
use ferrite_control::{Client, Request, ShutdownAction};

use super::arguments::Arguments;

/// The action a verb or the first operand of `shutdown` means.
pub fn action(arguments: &Arguments) -> Result<ShutdownAction> {
    let word = match (arguments.verb.as_str(), arguments.operands.first()) {
        ("shutdown", Some(first)) if matches!(first.as_str(), "reboot" | "poweroff" | "halt") => first.as_str(),
        ("shutdown", _) => "poweroff",
        (verb, _) => verb,
    };
    // Only `shutdown` takes a time, and the only one is now.
    let rest = arguments.operands.iter().filter(|operand| !matches!(operand.as_str(), "reboot" | "poweroff" | "halt"));
    for operand in rest {
        let is_time = arguments.verb == "shutdown" && matches!(operand.as_str(), "now" | "+0");
        if !is_time {
            bail!("argument '{operand}' is not supported by this version: the system can only be ended now");
        }
    }
    if arguments.verb == "shutdown" && !arguments.operands.iter().any(|word| word == "now" || word == "+0") {
        bail!("shutdown without 'now' is not supported by this version: the system can only be ended now");
    }
    match word {
        "reboot" => Ok(ShutdownAction::Reboot),
        "poweroff" => Ok(ShutdownAction::Poweroff),
        "halt" => Ok(ShutdownAction::Halt),
        "kexec" => Ok(ShutdownAction::Kexec),
        "soft-reboot" => Ok(ShutdownAction::SoftReboot),
        other => bail!("verb '{other}' does not end the system"),
    }
}

/// Asks PID 1 to end the system.
pub fn run(client: &mut Client, arguments: &Arguments) -> Result<u8> {
    let argument = arguments.reboot_argument.clone();
    let request = Request::Shutdown { action: action(arguments)?, force: arguments.force.min(2), argument };
    client.ask(&request)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<ShutdownAction> {
        action(&super::super::arguments::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())?)
    }

    #[test]
    fn all_names_lead_to_three_actions() {
        for (line, expected) in [
            ("reboot", ShutdownAction::Reboot),
            ("/sbin/halt", ShutdownAction::Halt),
            ("systemctl poweroff", ShutdownAction::Poweroff),
            ("shutdown -r now", ShutdownAction::Reboot),
            ("shutdown now", ShutdownAction::Poweroff),
            ("shutdown -h +0", ShutdownAction::Poweroff),
        ] {
            assert_eq!(of(line).expect("understood"), expected, "{line}");
        }
        for line in ["shutdown -r +5", "shutdown", "reboot now", "shutdown -c"] {
            assert!(of(line).is_err(), "{line}");
        }
    }
}
