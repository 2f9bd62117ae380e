//! `systemd-analyze condition`: do conditions and assertions hold on this machine?

use anyhow::{Result, anyhow, bail};
use ferrite_unit::condition::{Condition, Facts, Strength, subject, subject_name};

use super::Call;
use super::loading::load;
use crate::facts::MachineFacts;

/// Tests what the operands or a unit say; 0 when all of it holds.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let conditions = match (call.line.value("unit"), call.operands()) {
        (Some(_), [_, ..]) => bail!("No conditions can be passed if --unit= is used."),
        (Some(unit), []) => of_unit(call, unit)?,
        (None, []) => bail!("Too few arguments for condition."),
        (None, words) => words.iter().map(|word| parse(word)).collect::<Result<_>>()?,
    };
    let host = crate::host::read();
    let command_line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let facts = MachineFacts {
        command_line: &command_line,
        host_name: &host.host_name,
        machine_id: &host.machine_id,
        kernel_release: &host.kernel_release,
        answers: &|_| true,
    };
    let name = call.line.value("unit").map_or("test.service", |unit| unit.rsplit('/').next().unwrap_or(unit));
    let mut holds = true;
    for (strength, title) in [(Strength::Assert, "Asserts"), (Strength::Condition, "Conditions")] {
        let list: Vec<&Condition> = conditions.iter().filter(|condition| condition.strength == strength).collect();
        if list.is_empty() {
            continue;
        }
        let (lines, all) = test(&list, &facts);
        holds &= all;
        if !call.line.has("quiet") {
            lines.iter().for_each(|line| eprintln!("{name}: {line}"));
            eprintln!("{title} {}.", if all { "succeeded" } else { "failed" });
        }
    }
    Ok(u8::from(!holds))
}

fn of_unit(call: &Call<'_>, unit: &str) -> Result<Vec<Condition>> {
    let units = load(call, &[unit.to_owned()])?;
    match units.named.first().and_then(|name| units.graph.find(name)) {
        Some(node) => Ok(node.unit.conditions.clone()),
        None => bail!("{}", units.faults.join("\n")),
    }
}

fn parse(line: &str) -> Result<Condition> {
    let fault = || anyhow!("Cannot parse \"{}\".", line.trim_start());
    let (key, value) = line.trim_start().split_once('=').ok_or_else(fault)?;
    let (strength, subject) = subject(key.trim_end()).ok_or_else(fault)?;
    Condition::parse(strength, subject, value.trim_start())
        .map_err(|error| anyhow!("Cannot parse \"{}\": {error}", line.trim_start()))
}

/// Tests conditions of one strength, the last one first as systemd does; those behind a failure are not looked at.
fn test(conditions: &[&Condition], facts: &dyn Facts) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    let mut triggered = None;
    for condition in conditions.iter().rev() {
        let answer = facts.holds(condition.subject, &condition.argument);
        let holds = answer.unwrap_or(false) != condition.negated;
        let word = match answer {
            None => "cannot be told here, which counts as no",
            Some(_) if holds => "succeeded",
            Some(_) => "failed",
        };
        lines.push(format!("{} {word}.", written(condition)));
        if condition.triggering {
            triggered = Some(triggered.unwrap_or(false) || holds);
        } else if !holds {
            return (lines, false);
        }
    }
    (lines, triggered.unwrap_or(true))
}

fn written(condition: &Condition) -> String {
    let strength = match condition.strength {
        Strength::Condition => "Condition",
        Strength::Assert => "Assert",
    };
    let (trigger, negation) = (if condition.triggering { "|" } else { "" }, if condition.negated { "!" } else { "" });
    format!("{strength}{}={trigger}{negation}{}", subject_name(condition.subject), condition.argument)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_unit::condition::Subject;

    struct Only(&'static str);
    impl Facts for Only {
        fn holds(&self, _: Subject, argument: &str) -> Option<bool> {
            (argument != "/unknown").then(|| argument == self.0)
        }
    }

    fn result(words: &[&str]) -> (Vec<String>, bool) {
        let conditions: Vec<Condition> = words.iter().map(|word| parse(word).expect("a condition")).collect();
        test(&conditions.iter().collect::<Vec<_>>(), &Only("/yes"))
    }

    #[test]
    fn the_last_condition_is_tested_first_and_a_failure_ends_it() {
        let (lines, all) = result(&["ConditionPathExists=/yes", "ConditionPathExists = !/no"]);
        assert_eq!(lines, ["ConditionPathExists=!/no succeeded.", "ConditionPathExists=/yes succeeded."]);
        assert!(all);
        let (lines, all) = result(&["ConditionPathExists=/yes", "ConditionPathExists=/no"]);
        assert_eq!(lines, ["ConditionPathExists=/no failed."]);
        assert!(!all);
        let (lines, all) = result(&["ConditionPathExists=|/no", "ConditionPathExists=|/yes"]);
        assert!(all && lines.len() == 2);
        assert!(!result(&["ConditionPathExists=|/no"]).1 && !result(&["ConditionHost=/unknown"]).1);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for word in ["Foo=1", "ConditionPathExists", "ConditionPathExists=relative"] {
            assert!(parse(word).expect_err("refused").to_string().starts_with("Cannot parse"), "{word}");
        }
    }
}
