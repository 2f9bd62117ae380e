//! What follows when a machine is not what its documents say: it is told on the console, and with `failure: halt` the
//! machine stops, so that no cluster takes it for what it was meant to be.

use std::process::Command;

use anyhow::{Context, bail};

use crate::document::Node;
use crate::status::{State, Status, Supply, summary};

/// How many faults the console shows.
const SHOWN: usize = 5;

/// What the documents want to happen then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The machine goes on and says that it is degraded.
    #[default]
    Continue,
    /// It stops.
    Halt,
}

/// The wish of the documents. That of one which cannot be read is looked for in its lines.
pub(crate) fn policy(root: &Node, user_data: &[u8]) -> Policy {
    let said = root.get("failure").and_then(Node::text).map(str::to_string);
    let text = String::from_utf8_lossy(user_data);
    let line = || text.lines().find_map(|line| line.strip_prefix("failure:").map(|word| word.trim().to_string()));
    match said.or_else(line).as_deref() {
        Some("halt") => Policy::Halt,
        Some(_) | None => Policy::Continue,
    }
}

/// The text for the console; `None` when all is well.
fn announcement(status: &Status, policy: Policy) -> Option<String> {
    let summary = match status.state {
        State::Ok | State::Waiting => return None,
        State::Degraded | State::Failed => summary(status.state, status.supply)?,
    };
    let mut text = format!("ferrite-cloudinit: DEGRADED: {summary}\n");
    let errors: Vec<&String> = status.faults.iter().filter(|fault| !fault.contains(": warning: ")).collect();
    for fault in errors.iter().take(SHOWN) {
        let plain: String = fault.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("  {plain}\n"));
    }
    if errors.len() > SHOWN {
        text.push_str(&format!("  and {} more\n", errors.len() - SHOWN));
    }
    text.push_str(match (policy, status.supply) {
        (Policy::Halt, _) => {
            "  the machine halts now, because the user-data says 'failure: halt'; correct it, then switch off and on\n"
        }
        (Policy::Continue, Supply::Here | Supply::Lost) => {
            "  all of it: ferrite-cloudinit status; when it is corrected: sudo ferrite-cloudinit run, or reboot\n"
        }
        (Policy::Continue, Supply::Awaited | Supply::Kept) => "  more: ferrite-cloudinit status\n",
    });
    Some(text)
}

/// Tells the console, and halts the machine if that is wanted.
pub(crate) fn act(status: &Status, policy: Policy) -> anyhow::Result<()> {
    let Some(text) = announcement(status, policy) else {
        return Ok(());
    };
    crate::last::to_console(&text);
    if policy == Policy::Halt {
        let status = Command::new("systemctl").args(["--no-block", "halt"]).status().context("starting systemctl")?;
        if !status.success() {
            bail!("halting because of 'failure: halt': {status}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::parse;
    use crate::fault::Faults;

    #[test]
    fn the_wish_to_halt_is_found_even_in_a_document_that_is_broken() {
        let good = "#cloud-config\nfailure: halt\n";
        let root = parse(good, &mut Faults::default()).unwrap();
        assert_eq!(policy(&root, good.as_bytes()), Policy::Halt);
        assert_eq!(policy(&Node::empty(), b"#cloud-config\nusers: [\nfailure: halt\n"), Policy::Halt);
        assert_eq!(policy(&Node::empty(), b"#cloud-config\nruncmd:\n  - failure: halt\n"), Policy::Continue);
        assert_eq!(policy(&Node::empty(), b""), Policy::Continue);
    }

    fn status(state: State, supply: Supply, faults: &[&str]) -> Status {
        Status {
            state,
            datasource: "ec2".into(),
            instance_id: None,
            hostname: String::new(),
            key_count: 0,
            supply,
            faults: faults.iter().map(ToString::to_string).collect(),
            rejected: Vec::new(),
        }
    }

    #[test]
    fn the_console_hears_of_errors_only_and_of_what_follows() {
        let faults = ["user-data:2:1: warning: w", "user-data:3:1: error: e\u{1b}[2J"];
        assert_eq!(announcement(&status(State::Ok, Supply::Here, &faults), Policy::Halt), None);
        let text = announcement(&status(State::Failed, Supply::Here, &faults), Policy::Halt).unwrap();
        assert!(text.contains("DEGRADED") && text.contains("error: e [2J") && text.contains("halts now"), "{text}");
        assert!(!text.contains("warning"), "{text}");
        let text = announcement(&status(State::Degraded, Supply::Here, &["e"; 7]), Policy::Continue).unwrap();
        assert!(text.contains("  and 2 more\n") && text.contains("sudo ferrite-cloudinit run"), "{text}");
        let text = announcement(&status(State::Degraded, Supply::Kept, &["silence"]), Policy::Continue).unwrap();
        assert!(text.contains("as at an earlier boot") && text.contains("\n  silence\n"), "{text}");
    }
}
