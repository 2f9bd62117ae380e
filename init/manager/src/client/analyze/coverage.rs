//! `systemd-analyze coverage`: which directives of which units this version leaves undone, or does only in part.
//!
//! Asks PID 1 for its units; with `--root=` all units of that root are looked at, templates included, without PID 1.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};
use ferrite_cli::Table;
use ferrite_control::{ClientError, Reply, Request, UnitGaps};
use ferrite_files::Root;
use ferrite_pattern::matches_unit;
use ferrite_unit::directives::{State, of_use};
use ferrite_unit::file::{FILE_MAX, parse};
use ferrite_unit::{LoadPath, UnitName};
use serde_json::Value;

use super::Call;
use crate::client::json::{self, Form};
use crate::client::print;
use crate::client::style::visible;
use crate::client::unit_names::full_name;

/// Templates are looked at as if they had this instance.
const INSTANCE: &str = "ferrite-coverage";

/// Prints what is left undone.
pub fn run(call: &Call<'_>) -> Result<u8> {
    let form = Form::of_line(&call.line)?;
    let root = call.line.value("root");
    let wanted: Vec<String> = call.operands().iter().map(|word| full_name(word)).collect();
    let mut units = match root {
        Some(root) => of_root(root, call.caller.variable("SYSTEMD_UNIT_PATH"))?,
        None => match call.connect()?.ask(&Request::Gaps)? {
            Reply::Gaps(units) => units,
            _ => bail!(ClientError::Unexpected),
        },
    };
    units.retain(|unit| wanted.is_empty() || wanted.iter().any(|pattern| matches_unit(pattern, &unit.unit)));
    let files = Root::open(Path::new(root.unwrap_or("/")))?;
    let read = |path: &str| files.read(path, FILE_MAX).ok().flatten();
    let findings: Vec<Finding> = units.iter().flat_map(|unit| findings(unit, &read)).collect();
    match form {
        Form::Table => print(&table(&findings, units.len(), call.line.has("no-legend"))),
        form => print(&json::text(&findings.iter().map(Finding::fields).collect::<Vec<_>>(), form)),
    }
}

/// All units of a root.
fn of_root(root: &str, unit_path: Option<&str>) -> Result<Vec<UnitGaps>> {
    let files = Root::open(Path::new(root))?;
    let path = unit_path.map_or_else(LoadPath::default, LoadPath::parse);
    let names = path.0.iter().flat_map(|folder| files.list(folder).unwrap_or_default());
    let templates = names.filter_map(|name| UnitName::parse(&name).ok()).filter(UnitName::is_template);
    let wanted: BTreeSet<UnitName> = templates.filter_map(|name| name.with_instance(INSTANCE).ok()).collect();
    let graph = crate::dump::load_root(Some(root), unit_path, &wanted.into_iter().collect::<Vec<_>>())?;
    let mut units: Vec<UnitGaps> = graph.iter().map(|node| crate::survey::gaps(&node.unit)).collect();
    units.retain(|unit| !unit.files.is_empty());
    let template = |unit: &UnitGaps| UnitName::parse(&unit.unit).ok().and_then(|name| Some((name.template()?, name)));
    let stands_for = |name: &UnitName| name.instance() == Some(INSTANCE);
    let files: BTreeMap<UnitName, Vec<String>> = units
        .iter()
        .filter_map(|unit| template(unit).filter(|(_, name)| stands_for(name)).map(|(t, _)| (t, unit.files.clone())))
        .collect();
    // An instance with nothing of its own would only repeat its template.
    units.retain(|unit| template(unit).is_none_or(|(t, name)| stands_for(&name) || files.get(&t) != Some(&unit.files)));
    for unit in &mut units {
        if let Some((template, _)) = template(unit).filter(|(_, name)| stands_for(name)) {
            unit.unit = template.to_string();
        }
    }
    units.sort_by(|a, b| a.unit.cmp(&b.unit));
    Ok(units)
}

/// A directive that is left undone, or done in part.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    unit: String,
    directive: String,
    /// `refused` or `partly`.
    state: &'static str,
    /// Does the unit get more rights than its author meant?
    sandbox: bool,
    /// What is done otherwise.
    note: &'static str,
    path: String,
    line: u32,
}

impl Finding {
    fn fields(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("unit", self.unit.as_str().into()),
            ("directive", self.directive.as_str().into()),
            ("state", self.state.into()),
            ("sandbox", self.sandbox.into()),
            ("note", self.note.into()),
            ("path", self.path.as_str().into()),
            ("line", self.line.into()),
        ]
    }
}

/// What is found in a unit: what PID 1 left undone, and what the files say that is done in part.
fn findings(unit: &UnitGaps, read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Finding> {
    let finding = |directive: &str, state, path: &str, line| Finding {
        unit: unit.unit.clone(),
        directive: directive.to_owned(),
        state,
        sandbox: false,
        note: "",
        path: path.to_owned(),
        line,
    };
    let refused = |gap: &ferrite_control::Gap| Finding {
        sandbox: gap.sandbox,
        ..finding(&gap.directive, "refused", &gap.path, gap.line)
    };
    let mut found: Vec<Finding> = unit.gaps.iter().map(refused).collect();
    let kind = UnitName::parse(&unit.unit).map_or("", |name| name.kind().section());
    for path in &unit.files {
        for entry in read(path).map(|bytes| parse(path, &bytes).entries).unwrap_or_default() {
            let section = entry.section.as_ref();
            if section != kind && !matches!(section, "Unit" | "Install") {
                continue;
            }
            // Told once for each directive, however often the files have it.
            let is_told = found.iter().any(|finding| finding.state == "partly" && finding.directive == entry.key);
            if let (State::Partly(note), false) = (of_use(section, &entry.key, &entry.value), is_told) {
                found.push(Finding { note, ..finding(&entry.key, "partly", path, entry.line) });
            }
        }
    }
    found
}

fn table(findings: &[Finding], looked_at: usize, plain: bool) -> String {
    let heading = ["UNIT", "DIRECTIVE", "FILE", "STATE"];
    let mut table = if plain { Table::without_heading() } else { Table::with_heading(heading) };
    for finding in findings {
        let state = match (finding.sandbox, finding.note) {
            (true, _) => "refused, the unit is less confined".to_owned(),
            (false, "") => finding.state.to_owned(),
            (false, note) => format!("{}: {note}", finding.state),
        };
        let place = format!("{}:{}", visible(&finding.path), finding.line);
        table.row([visible(&finding.unit), format!("{}=", visible(&finding.directive)), place, state]);
    }
    if plain {
        return table.render();
    }
    let units: BTreeSet<&str> = findings.iter().map(|finding| finding.unit.as_str()).collect();
    let refused = findings.iter().filter(|finding| finding.state == "refused").count();
    let legend = format!(
        "{} of {looked_at} units use directives that are refused ({refused}) or done in part ({}).\n",
        units.len(),
        findings.len() - refused
    );
    if findings.is_empty() { legend } else { format!("{}\n{legend}", table.render()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_control::Gap;

    #[test]
    fn what_pid_1_tells_and_what_the_files_say_comes_together() {
        let gap = Gap { directive: "RootImage".into(), path: "/a".into(), line: 3, sandbox: true };
        let unit = UnitGaps { unit: "a.service".into(), files: vec!["/a".into(), "/gone".into()], gaps: vec![gap] };
        let text = "[Unit]\nConditionNeedsUpdate=/etc\nConditionNeedsUpdate=/var\n[Service]\nType=simple\nType=dbus\nRootImage=/x\n[Socket]\nType=dbus\n";
        let read = |path: &str| (path == "/a").then(|| text.as_bytes().to_vec());
        let found = findings(&unit, &read);
        let short: Vec<_> =
            found.iter().map(|f| (f.directive.as_str(), f.state, f.sandbox, f.line, f.note.is_empty())).collect();
        assert_eq!(
            short,
            [
                ("RootImage", "refused", true, 3, true),
                ("ConditionNeedsUpdate", "partly", false, 2, false),
                ("Type", "partly", false, 6, false),
            ]
        );
        let text = table(&found, 9, false);
        assert!(text.contains("a.service  RootImage=             /a:3  refused, the unit is less confined"), "{text}");
        assert!(
            text.ends_with("\n\n1 of 9 units use directives that are refused (1) or done in part (2).\n"),
            "{text}"
        );
        assert_eq!(table(&found, 9, true).lines().count(), 3);
    }
}
