//! The verbs of systemctl and how many operands each takes, as with systemd. Pure.

use anyhow::{Result, bail};

use super::arguments::Arguments;

const ANY: usize = usize::MAX;

/// Name, fewest and most operands.
const VERBS: [(&str, usize, usize); 71] = [
    ("list-units", 0, ANY),
    ("list-unit-files", 0, ANY),
    ("list-automounts", 0, ANY),
    ("list-paths", 0, ANY),
    ("list-sockets", 0, ANY),
    ("list-timers", 0, ANY),
    ("list-jobs", 0, ANY),
    ("clear-jobs", 0, 0),
    ("cancel", 0, ANY),
    ("start", 1, ANY),
    ("stop", 1, ANY),
    ("condstop", 1, ANY),
    ("reload", 1, ANY),
    ("restart", 1, ANY),
    ("try-restart", 1, ANY),
    ("reload-or-restart", 1, ANY),
    ("try-reload-or-restart", 1, ANY),
    ("reload-or-try-restart", 1, ANY),
    ("force-reload", 1, ANY),
    ("condreload", 1, ANY),
    ("condrestart", 1, ANY),
    ("isolate", 1, 1),
    ("kill", 1, ANY),
    ("is-active", 1, ANY),
    ("check", 1, ANY),
    ("is-failed", 0, ANY),
    ("show", 0, ANY),
    ("cat", 1, ANY),
    ("status", 0, ANY),
    ("help", 1, ANY),
    ("daemon-reload", 0, 0),
    ("daemon-reexec", 0, 0),
    ("service-watchdogs", 0, 1),
    ("log-level", 0, 1),
    ("log-target", 0, 1),
    ("show-environment", 0, 0),
    ("set-environment", 1, ANY),
    ("unset-environment", 1, ANY),
    ("import-environment", 0, ANY),
    ("halt", 0, 0),
    ("poweroff", 0, 0),
    ("reboot", 0, 0),
    ("kexec", 0, 0),
    ("soft-reboot", 0, 0),
    ("default", 0, 0),
    ("rescue", 0, 0),
    ("emergency", 0, 0),
    ("reset-failed", 0, ANY),
    ("clean", 1, ANY),
    ("freeze", 1, ANY),
    ("thaw", 1, ANY),
    ("enable", 1, ANY),
    ("disable", 1, ANY),
    ("is-enabled", 1, ANY),
    ("reenable", 1, ANY),
    ("preset", 1, ANY),
    ("preset-all", 0, 0),
    ("mask", 1, ANY),
    ("unmask", 1, ANY),
    ("link", 1, ANY),
    ("revert", 1, ANY),
    ("list-dependencies", 0, ANY),
    ("set-default", 1, 1),
    ("get-default", 0, 0),
    ("set-property", 2, ANY),
    ("is-system-running", 0, 0),
    ("add-wants", 2, ANY),
    ("add-requires", 2, ANY),
    ("edit", 1, ANY),
    ("bind", 2, 3),
    ("mount-image", 2, 4),
];

/// Verbs of systemd that ask for what there is not here.
const REFUSED: [(&str, &str); 8] = [
    ("switch-root", "Not in initrd, refusing switch-root operation."),
    ("suspend", "Suspending is not supported by this version."),
    ("hibernate", "Hibernation is not supported by this version."),
    ("hybrid-sleep", "Hybrid sleep is not supported by this version."),
    ("suspend-then-hibernate", "Hibernation is not supported by this version."),
    ("sleep", "Sleeping is not supported by this version."),
    ("exit", "Leaving the manager is not supported: use poweroff, reboot or halt."),
    ("list-machines", "Machines are not supported by this version."),
];

/// Verbs of this program itself, for options.
const OWN: [&str; 7] = ["help-text", "help-types", "help-states", "help-job-modes", "version", "shutdown", "whoami"];

/// Is this a verb with as many operands as it takes?
pub fn check(arguments: &Arguments) -> Result<()> {
    let verb = arguments.verb.as_str();
    if OWN.contains(&verb) {
        return Ok(());
    }
    if let Some((_, why)) = REFUSED.iter().find(|(name, _)| *name == verb) {
        bail!("{why}");
    }
    let Some((_, fewest, most)) = VERBS.iter().find(|(name, ..)| *name == verb) else {
        bail!("Unknown command verb '{verb}'.");
    };
    match arguments.operands.len() {
        count if count < *fewest => bail!("Too few arguments."),
        count if count > *most => bail!("Too many arguments."),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_counted_and_verbs_are_known() {
        for (line, words) in [
            ("systemctl start", "Too few arguments."),
            ("systemctl set-property a", "Too few arguments."),
            ("systemctl daemon-reload x", "Too many arguments."),
            ("systemctl isolate a b", "Too many arguments."),
            ("systemctl frobnicate", "Unknown command verb 'frobnicate'."),
            ("systemctl switch-root", "Not in initrd, refusing switch-root operation."),
        ] {
            let words_of: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let arguments = super::super::arguments::parse(&words_of).expect("options are fine");
            assert_eq!(check(&arguments).expect_err("refused").to_string(), words, "{line}");
        }
        let fine = super::super::arguments::parse(&["systemctl".into(), "list-jobs".into()]).expect("valid");
        assert!(check(&fine).is_ok());
    }
}
