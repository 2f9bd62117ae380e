//! A plan as JSON, for programs and for /run/ferrite/cloudinit/plan.json. Pure.
//!
//! Contents are only there as their SHA-256, commands of documents with what looks like a secret left out.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fault::Faults;
use crate::plan::{Action, Command, Frequency, Plan, Stage, Step};

/// The JSON of a plan and of what was said about its documents.
pub(crate) fn json(plan: &Plan, faults: &[&Faults]) -> Value {
    let warnings: Vec<Value> = faults
        .iter()
        .flat_map(|faults| &faults.0)
        .map(|fault| {
            let (line, column) = (fault.line, fault.column);
            json!({ "line": line, "column": column, "severity": fault.word(), "message": fault.message })
        })
        .chain(plan.warnings.iter().map(|message| json!({ "line": 0, "message": message })))
        .collect();
    json!({
        "hostname": plan.hostname,
        "commands": plan.commands.iter().map(command).collect::<Vec<_>>(),
        "files": plan.steps.iter().filter_map(file).collect::<Vec<_>>(),
        "users": plan.users.iter().map(|user| json!({
            "name": user.name, "uid": user.owner.0, "gid": user.owner.1, "home": user.home, "new": user.is_new,
            "keys": user.keys,
        })).collect::<Vec<_>>(),
        "unsupported": plan.unsupported,
        "problems": plan.problems,
        "warnings": warnings,
    })
}

fn command(command: &Command) -> Value {
    let stage = match command.stage {
        Stage::Bootcmd => "bootcmd",
        Stage::Units => "units",
        Stage::Runcmd => "runcmd",
        Stage::Script => "script",
        Stage::Power => "power",
    };
    let frequency = match command.frequency {
        Frequency::Always => "always",
        Frequency::Instance => "instance",
        Frequency::Once => "once",
    };
    match &command.action {
        Action::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| redacted(word)).collect();
            json!({ "stage": stage, "frequency": frequency, "argv": words })
        }
        Action::Shell(line) => json!({ "stage": stage, "frequency": frequency, "shell": redacted(line) }),
    }
}

/// Hashes of passwords and private keys do not leave the document.
fn redacted(text: &str) -> String {
    if text.contains("PRIVATE KEY") {
        return "<redacted>".into();
    }
    let is_hash = |word: &str| {
        ["$1$", "$2", "$5$", "$6$", "$y$"].iter().any(|start| {
            word.find(start).is_some_and(|at| {
                word.len() > at + 20 && word.get(at + start.len()..).is_some_and(|rest| rest.contains('$'))
            })
        })
    };
    if !is_hash(text) {
        return text.to_string();
    }
    text.split(' ').map(|word| if is_hash(word) { "<redacted>" } else { word }).collect::<Vec<_>>().join(" ")
}

fn file(step: &Step) -> Option<Value> {
    match step {
        Step::File { path, content, mode, owner: (uid, gid), .. } => {
            let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
            Some(json!({ "path": path, "mode": format!("{mode:04o}"), "owner": uid, "group": gid, "sha256": digest }))
        }
        Step::Link { path, target } => Some(json!({ "path": path, "target": target })),
        Step::Folder { path, mode, owner: (uid, gid) } => {
            Some(json!({ "path": path, "folder": true, "mode": format!("{mode:04o}"), "owner": uid, "group": gid }))
        }
        Step::MissingFolder { path } => {
            Some(json!({ "path": path, "folder": true, "mode": "0755", "owner": 0, "group": 0 }))
        }
        Step::Unlink { .. }
        | Step::Remove { .. }
        | Step::Hostname { .. }
        | Step::Seed { .. }
        | Step::Disk(_)
        | Step::FileSystem(_)
        | Step::Console { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_private_keys_are_left_out_of_commands() {
        assert_eq!(redacted("usermod -p $6$salt$0123456789012345678901 u"), "usermod -p <redacted> u");
        assert_eq!(redacted("echo $HOME $1 costs $5"), "echo $HOME $1 costs $5");
        assert_eq!(redacted("-----BEGIN RSA PRIVATE KEY-----"), "<redacted>");
    }
}
