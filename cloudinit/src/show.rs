//! The subcommands that only tell: which datasource the machine has, and what happened at this boot.

use std::path::Path;

use ferrite_files::Root;
use serde_json::{Map, Value, json};

use crate::command::{Output, STATUS};
use crate::datasource;
use crate::status::{State, state_of};

const MAX_STATUS_BYTES: usize = 16 << 20;
/// Keys of the status that may come more than once.
const LISTS: [&str; 2] = ["fault", "rejected"];

/// Prints which datasource this machine has and why it is none of the others; nobody is asked. 1 when there is none.
pub fn show_datasource(output: Output) -> u8 {
    let (sources, rejected) = datasource::detect();
    match output {
        Output::Json => {
            println!("{:#}", json!({ "datasource": sources.first(), "sources": sources, "rejected": rejected }))
        }
        Output::Text => {
            println!("{}", sources.first().map_or("none", String::as_str));
            for source in sources.iter().skip(1) {
                println!("  if it does not answer: {source}");
            }
            for reason in &rejected {
                println!("  not {reason}");
            }
        }
    }
    u8::from(sources.is_empty())
}

/// Prints what happened at this boot. The exit code is that of `apply`; 1 when it did not run.
pub fn show_status(root: &Path, output: Output) -> anyhow::Result<u8> {
    let text = match Root::open(root)?.read(STATUS, MAX_STATUS_BYTES)? {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => "state=not-run\n".into(),
    };
    match output {
        Output::Text => print!("{text}"),
        Output::Json => println!("{:#}", as_json(&text)),
    }
    Ok(state_of(&text).map_or(1, State::exit_code))
}

/// The lines of the status as JSON. Pure.
fn as_json(text: &str) -> Value {
    let mut map = Map::from_iter(LISTS.map(|key| (key.to_string(), json!([]))));
    for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match map.get_mut(key).and_then(Value::as_array_mut) {
            Some(list) => list.push(json!(value)),
            None => {
                map.insert(key.into(), json!(value));
            }
        }
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_repeat_are_a_list() {
        let value = as_json("state=ok\nfault=a=b\nfault=c\n");
        assert_eq!(value, json!({ "state": "ok", "fault": ["a=b", "c"], "rejected": [] }));
    }
}
