//! The commands and scripts of the documents. Pure.

use crate::document::{Node, Value};
use crate::formats::When;
use crate::plan::{Action, Command, Frequency, Planner, Stage};
use crate::plan_system::quote;

/// Where the scripts of the documents are kept.
const SCRIPTS: &str = "/var/lib/ferrite/cloudinit/scripts";

/// What runs before everything else.
pub(crate) fn boot(planner: &mut Planner<'_>) {
    list(planner, "bootcmd", Stage::Bootcmd, Frequency::Always);
    scripts(planner, &[When::Boothook]);
}

/// What runs at the end, in the order of the old tools: per once, per boot, per instance.
pub(crate) fn late(planner: &mut Planner<'_>) {
    list(planner, "runcmd", Stage::Runcmd, Frequency::Instance);
    scripts(planner, &[When::Once, When::Boot, When::Instance]);
    power(planner);
}

fn list(planner: &mut Planner<'_>, key: &str, stage: Stage, frequency: Frequency) {
    let items = planner.config.root.get(key).map(Node::items).unwrap_or_default();
    for item in items {
        let action = match &item.value {
            Value::Text(line) | Value::Other(line) => Action::Shell(line.clone()),
            Value::List(words) => {
                let words: Vec<String> = words.iter().filter_map(Node::text).map(str::to_string).collect();
                if words.is_empty() {
                    continue;
                }
                Action::Words(words)
            }
            Value::Null | Value::Binary(_) | Value::Map(_) => continue,
        };
        planner.plan.commands.push(Command { stage, frequency, action });
    }
}

fn scripts(planner: &mut Planner<'_>, order: &[When]) {
    for when in order {
        for (number, script) in (1..).zip(&planner.config.scripts) {
            if script.when != *when {
                continue;
            }
            let (stage, frequency, folder) = match when {
                When::Boothook => (Stage::Bootcmd, Frequency::Always, "boothook"),
                When::Boot => (Stage::Script, Frequency::Always, "per-boot"),
                When::Instance => (Stage::Script, Frequency::Instance, "per-instance"),
                When::Once => (Stage::Script, Frequency::Once, "per-once"),
            };
            let path = format!("{SCRIPTS}/{folder}/{number:03}-{}", file_name(&script.name));
            planner.file(&path, script.text.clone(), 0o700, "a script of the user-data");
            planner.plan.commands.push(Command { stage, frequency, action: Action::Words(vec![path]) });
        }
    }
}

fn file_name(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    last.chars().take(64).map(|character| if plain(character) { character } else { '_' }).collect()
}

fn power(planner: &mut Planner<'_>) {
    let Some(spec) = planner.config.root.get("power_state") else {
        return;
    };
    let text = |key: &str| spec.get(key).and_then(Node::text);
    let condition = spec.get("condition");
    if condition.and_then(Node::truth) == Some(false) {
        return;
    }
    let mode = text("mode").unwrap_or("poweroff");
    let minutes: u64 = text("delay").and_then(|delay| delay.trim_start_matches('+').parse().ok()).unwrap_or(0);
    let end =
        if minutes == 0 { format!("systemctl {mode}") } else { format!("sleep {} && systemctl {mode}", minutes * 60) };
    let message =
        text("message").map(|message| format!("{} final-message {}", crate::plan_late::PROGRAM, quote(message)));
    let end = message.as_ref().map_or_else(|| end.clone(), |message| format!("{message}; {end}"));
    let line = match condition.map(|node| &node.value) {
        Some(Value::Text(test)) => format!("if {test}; then {end}; fi"),
        Some(Value::List(words)) => {
            let words: Vec<String> = words.iter().filter_map(Node::text).map(quote).collect();
            format!("if {}; then {end}; fi", words.join(" "))
        }
        _ => end,
    };
    let plain = message.is_none() && condition.is_none_or(|node| node.truth().is_some());
    let action = match (minutes, plain) {
        (0, true) => Action::Words(vec!["systemctl".into(), mode.into()]),
        _ => Action::Shell(line),
    };
    planner.plan.commands.push(Command { stage: Stage::Power, frequency: Frequency::Instance, action });
}
