//! `systemd-analyze security`: how much a service may do to the machine, as a number from 0 to 10.
//!
//! Settings are read from the unit files, also for units that run: what `systemctl set-property` and generators wrote
//! is among them, what was changed since the last daemon-reload is too.

mod report;
mod rules;
mod subject;

use anyhow::{Result, anyhow, bail};
use ferrite_control::{Client, Reply, Request};
use ferrite_unit::service::ServiceType;
use ferrite_unit::{LoadState, Unit, UnitKind, UnitName};

use self::report::Assessment;
use self::subject::View;
use super::Call;
use super::loading::{load, search_path, service};
use crate::client::json::{self, Form};
use crate::client::options::boolean;
use crate::client::print;
use crate::dump::{load_named, load_root};

/// Assesses units and gives the exit code: 1 when one of them is above the threshold.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let offline = call.line.has("offline") && boolean("offline", call.line.value("offline"))?;
    let words = call.operands();
    let look = Look { form: Form::of_line(&call.line)?, threshold: threshold(call)? };
    if offline {
        return files(call, look);
    }
    if words.is_empty() {
        return all(call, look);
    }
    let mut assessed = Vec::new();
    let mut code = 0;
    for word in words {
        let outcome = service(word).and_then(|name| named(call, &name)).map(|unit| Assessment::of(&unit, View::Online));
        match outcome {
            Ok(Some(assessment)) => assessed.push(assessment),
            Ok(None) => {}
            Err(error) => {
                eprintln!("{error:#}");
                code = 1;
            }
        }
    }
    for (number, assessment) in assessed.iter().enumerate() {
        print(if number > 0 { "\n\n" } else { "" })?;
        print(&details(call, assessment, look))?;
    }
    if words.len() > 1 && look.form == Form::Table {
        print(&format!("\n{}", report::overview(&assessed, call.colour, call.caller.is_utf8())))?;
    }
    Ok(code.max(look.code(&assessed)))
}

/// How the result is shown, and what counts as too much.
#[derive(Debug, Clone, Copy)]
struct Look {
    form: Form,
    threshold: u64,
}

impl Look {
    fn code(self, assessed: &[Assessment]) -> u8 {
        u8::from(assessed.iter().any(|assessment| assessment.exposure > self.threshold))
    }
}

fn threshold(call: &Call<'_>) -> Result<u64> {
    let Some(text) = call.line.value("threshold") else { return Ok(100) };
    let value: Option<u64> = text.parse().ok().filter(|value| *value <= 100);
    value.ok_or_else(|| anyhow!("Failed to parse threshold: {text}"))
}

fn details(call: &Call<'_>, assessment: &Assessment, look: Look) -> String {
    match look.form {
        Form::Table => assessment.table(call.colour, call.caller.is_utf8()),
        form => json::text(&assessment.rows(), form),
    }
}

/// The units of files.
fn files(call: &Call<'_>, look: Look) -> Result<u8> {
    if call.operands().is_empty() {
        bail!("Option --offline= requires one or more units to perform a security review.");
    }
    let units = load(call, call.operands())?;
    units.faults.iter().for_each(|fault| eprintln!("{fault}"));
    let nodes = units.named.iter().filter_map(|name| units.graph.find(name));
    let assessed: Vec<Assessment> = nodes.filter_map(|node| Assessment::of(&node.unit, View::Offline)).collect();
    for assessment in &assessed {
        print(&details(call, assessment, look))?;
    }
    Ok(u8::from(!units.faults.is_empty()).max(look.code(&assessed)))
}

/// One unit, from where the manager has it.
fn named(call: &Call<'_>, name: &UnitName) -> Result<Unit> {
    let graph = load_named(call.line.value("root"), &search_path(call), std::slice::from_ref(name))?;
    let unit = graph.find(name).map(|node| node.unit.clone());
    match unit {
        Some(unit) if unit.load == LoadState::Loaded => Ok(unit),
        Some(unit) if unit.load == LoadState::Masked => bail!("Unit {name} is masked, cannot analyze."),
        Some(unit) if unit.load != LoadState::NotFound => bail!("Unit {name} not loaded properly, cannot analyze."),
        Some(_) | None => bail!("Unit {name} not found, cannot analyze."),
    }
}

/// All services that stay: those that PID 1 has loaded, or those of another root.
fn all(call: &Call<'_>, look: Look) -> Result<u8> {
    let graph = match call.line.value("root") {
        Some(root) => load_root(Some(root), call.caller.variable("SYSTEMD_UNIT_PATH"), &[])?,
        None => load_named(None, &search_path(call), &loaded(call)?)?,
    };
    let mut assessed = Vec::new();
    for node in graph.iter() {
        let unit = &node.unit;
        let stays = unit.service().is_some_and(|service| service.kind != ServiceType::Oneshot);
        if unit.load == LoadState::Loaded && stays {
            assessed.extend(Assessment::of(unit, View::Online));
        }
    }
    let text = match look.form {
        Form::Table => report::overview(&assessed, call.colour, call.caller.is_utf8()),
        form => json::text(&assessed.iter().map(Assessment::summary).collect::<Vec<_>>(), form),
    };
    print(&text)?;
    Ok(look.code(&assessed))
}

/// The services that PID 1 knows.
fn loaded(call: &Call<'_>) -> Result<Vec<UnitName>> {
    let mut client = Client::connect(&call.caller.socket())?;
    let Reply::Units(units) = client.ask(&Request::ListUnits)? else { bail!("PID 1 gave an unexpected answer") };
    let names = units.into_iter().filter_map(|unit| UnitName::parse(&unit.name).ok());
    Ok(names.filter(|name| name.kind() == UnitKind::Service && !name.is_template()).collect())
}
