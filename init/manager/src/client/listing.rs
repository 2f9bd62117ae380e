//! The tables of systemctl: units, unit files, jobs. Pure.

use ferrite_control::{JobEntry, UnitFile, UnitSummary};
use ferrite_pattern::matches_unit;

use super::arguments::{Arguments, Output};
use super::style::{Colour, GREEN, RED, YELLOW, dot, enablement_colour};
use super::table::{self, Cell, Value, cell, left, or_dash, right, valued};
use super::unit_names::{full_name, kind};

/// What a table needs to know besides its rows.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub colour: Colour,
    /// Columns of the terminal; `None`: do not shorten.
    pub width: Option<usize>,
}

/// `systemctl list-units`.
pub fn units(all: &[UnitSummary], arguments: &Arguments, look: Look) -> String {
    let mut shown: Vec<&UnitSummary> = all.iter().filter(|unit| is_shown(unit, arguments)).collect();
    shown.sort_by(|a, b| (kind_order(&a.name), &a.name).cmp(&(kind_order(&b.name), &b.name)));
    let with_jobs = shown.iter().any(|unit| unit.job.is_some());
    let marked = !arguments.plain && arguments.output == Output::Text;
    let mut columns = vec![left("UNIT", "unit"), left("LOAD", "load"), left("ACTIVE", "active"), left("SUB", "sub")];
    if marked {
        columns.insert(0, left(" ", ""));
    }
    if with_jobs {
        columns.push(left("JOB", "job"));
    }
    columns.push(left("DESCRIPTION", "description"));
    let rows: Vec<Vec<Cell>> = shown.iter().map(|unit| unit_row(unit, marked, with_jobs)).collect();
    table::render(&columns, &rows, arguments, look, || units_legend(shown.len(), with_jobs, arguments))
}

fn unit_row(unit: &UnitSummary, marked: bool, with_jobs: bool) -> Vec<Cell> {
    let is_loaded = unit.load == "loaded";
    let mut row = Vec::new();
    if marked {
        row.push(match (unit.active.as_str(), is_loaded) {
            ("failed", _) => cell(dot("active"), RED),
            (_, false) if unit.load != "stub" => cell(dot("active"), YELLOW),
            _ => cell(" ", ""),
        });
    }
    let active_colour = if unit.active == "failed" { RED } else { "" };
    row.extend([
        cell(&*unit.name, active_colour),
        cell(&*unit.load, if is_loaded { "" } else { RED }),
        cell(&*unit.active, active_colour),
        cell(&*unit.sub, active_colour),
    ]);
    if with_jobs {
        row.push(cell(unit.job.clone().unwrap_or_default(), ""));
    }
    row.push(cell(&*unit.description, ""));
    row
}

fn units_legend(count: usize, with_jobs: bool, arguments: &Arguments) -> String {
    let mut text = String::from("\n");
    if count > 0 {
        text.push_str("Legend: LOAD   → Reflects whether the unit definition was properly loaded.\n");
        text.push_str("        ACTIVE → The high-level unit activation state, i.e. generalization of SUB.\n");
        text.push_str("        SUB    → The low-level unit activation state, values depend on unit type.\n");
        if with_jobs {
            text.push_str("        JOB    → Pending job for the unit.\n");
        }
        text.push('\n');
    }
    if arguments.all || !arguments.states.is_empty() {
        text.push_str(&format!("{count} loaded units listed.\n"));
    } else {
        text.push_str(&format!("{count} loaded units listed. Pass --all to see loaded but inactive units, too.\n"));
    }
    text.push_str("To show all installed unit files use 'systemctl list-unit-files'.\n");
    text
}

/// Whether a unit passes the options of the command line.
pub fn is_shown(unit: &UnitSummary, arguments: &Arguments) -> bool {
    let listed = |words: &[String], values: &[&str]| {
        words.is_empty() || words.iter().any(|word| values.contains(&word.as_str()))
    };
    let by_pattern = arguments.operands.is_empty()
        || arguments.operands.iter().any(|pattern| {
            matches_unit(pattern, &unit.name) || matches_unit(&format!("{pattern}.service"), &unit.name)
        });
    let by_state = listed(&arguments.states, &[&unit.load, &unit.active, &unit.sub]);
    let by_default = arguments.all
        || !arguments.states.is_empty()
        || unit.job.is_some()
        || (unit.active != "inactive" && unit.load != "stub");
    by_pattern && by_state && by_default && listed(&arguments.types, &[kind(&unit.name)])
}

/// systemd lists kinds in this order: what the kernel has first, what people start next, timing last.
fn kind_order(name: &str) -> usize {
    const ORDER: [&str; 11] =
        ["automount", "device", "mount", "path", "scope", "service", "slice", "socket", "swap", "target", "timer"];
    ORDER.iter().position(|word| *word == kind(name)).unwrap_or(ORDER.len())
}

/// The unit files that the options of the command line leave.
pub fn chosen_files<'a>(all: &'a [UnitFile], arguments: &Arguments) -> Vec<&'a UnitFile> {
    let listed = |words: &[String], value: &str| words.is_empty() || words.iter().any(|word| word == value);
    let wanted = |file: &&UnitFile| {
        let fits =
            |pattern: &String| matches_unit(pattern, &file.name) || matches_unit(&full_name(pattern), &file.name);
        (arguments.operands.is_empty() || arguments.operands.iter().any(fits))
            && listed(&arguments.types, kind(&file.name))
            && listed(&arguments.states, file.enablement.as_str())
    };
    let mut chosen: Vec<&UnitFile> = all.iter().filter(wanted).collect();
    chosen.sort_by(|a, b| (kind(&a.name), &a.name).cmp(&(kind(&b.name), &b.name)));
    chosen
}

/// `systemctl list-unit-files`.
pub fn unit_files(shown: &[&UnitFile], arguments: &Arguments, look: Look) -> String {
    let columns = [left("UNIT FILE", "unit_file"), left("STATE", "state"), left("PRESET", "preset")];
    let row = |file: &&UnitFile| {
        let state = file.enablement.as_str();
        vec![
            cell(&*file.name, ""),
            cell(state, enablement_colour(state)),
            or_dash(&file.preset).painted(enablement_colour(&file.preset)),
        ]
    };
    let rows: Vec<Vec<Cell>> = shown.iter().map(row).collect();
    table::render(&columns, &rows, arguments, look, || format!("\n{} unit files listed.\n", rows.len()))
}

/// `systemctl list-jobs`, of all units or of those that the operands name.
pub fn jobs(all: &[JobEntry], arguments: &Arguments, look: Look) -> String {
    let fits = |job: &&JobEntry| {
        let named = |pattern: &String| matches_unit(pattern, &job.unit) || matches_unit(&full_name(pattern), &job.unit);
        arguments.operands.is_empty() || arguments.operands.iter().any(named)
    };
    let shown: Vec<&JobEntry> = all.iter().filter(fits).collect();
    if shown.is_empty() {
        return if arguments.no_legend { String::new() } else { "No jobs running.\n".into() };
    }
    let columns = [right("JOB", "job"), left("UNIT", "unit"), left("TYPE", "type"), left("STATE", "state")];
    let mut rows = Vec::new();
    for job in shown {
        let colour = if job.state == "running" { GREEN } else { "" };
        rows.push(vec![
            valued(job.id.to_string(), Value::Number(u64::from(job.id))),
            cell(&*job.unit, colour),
            cell(&*job.job, ""),
            cell(&*job.state, colour),
        ]);
    }
    table::render(&columns, &rows, arguments, look, || format!("\n{} jobs listed.\n", rows.len()))
}

/// Cuts text to a number of columns, with an ellipsis.
pub fn shorten(text: &str, room: Option<usize>) -> String {
    match room {
        Some(room) if text.chars().count() > room => {
            text.chars().take(room.saturating_sub(1)).chain((room > 0).then_some('…')).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { colour: Colour::Off, width: None };

    fn unit(name: &str, load: &str, active: &str, sub: &str, description: &str) -> UnitSummary {
        UnitSummary {
            name: name.into(),
            description: description.into(),
            load: load.into(),
            active: active.into(),
            sub: sub.into(),
            job: None,
        }
    }

    fn machine() -> Vec<UnitSummary> {
        vec![
            unit("ssh.service", "loaded", "active", "running", "OpenBSD Secure Shell server"),
            unit("bad.service", "loaded", "failed", "failed", "A service that fails"),
            unit("gone.service", "not-found", "inactive", "dead", "gone.service"),
            unit("tmp.mount", "loaded", "active", "mounted", "Temporary Directory /tmp"),
            unit("idle.service", "loaded", "inactive", "dead", "Not running"),
        ]
    }

    fn listed(line: &str, look: Look) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        units(&machine(), &super::super::arguments::parse(&words).expect("valid"), look)
    }

    #[test]
    fn the_list_of_units_looks_like_systemds() {
        assert_eq!(
            listed("systemctl", PLAIN),
            "  UNIT        LOAD   ACTIVE SUB     DESCRIPTION
  tmp.mount   loaded active mounted Temporary Directory /tmp
● bad.service loaded failed failed  A service that fails
  ssh.service loaded active running OpenBSD Secure Shell server

Legend: LOAD   → Reflects whether the unit definition was properly loaded.
        ACTIVE → The high-level unit activation state, i.e. generalization of SUB.
        SUB    → The low-level unit activation state, values depend on unit type.

3 loaded units listed. Pass --all to see loaded but inactive units, too.
To show all installed unit files use 'systemctl list-unit-files'.
"
        );
    }

    #[test]
    fn options_choose_units_and_take_the_legend_away() {
        for (line, names) in [
            ("systemctl --all --no-legend --plain", &["tmp", "bad", "gone", "idle", "ssh"][..]),
            ("systemctl --failed --no-legend --plain", &["bad"]),
            ("systemctl -t mount --no-legend --plain", &["tmp"]),
            ("systemctl list-units ss* --no-legend --plain", &["ssh"]),
            ("systemctl list-units --no-legend --plain idle", &[]),
            ("systemctl --state=not-found,mounted --no-legend --plain", &["tmp", "gone"]),
        ] {
            let text = listed(line, PLAIN);
            let found: Vec<&str> = text.lines().filter_map(|line| line.split('.').next()).collect();
            assert_eq!(found, names, "{line}");
        }
        let nothing = "  UNIT LOAD ACTIVE SUB DESCRIPTION\n\n0 loaded units listed.\n";
        assert!(listed("systemctl --failed -t mount", PLAIN).starts_with(nothing));
    }

    #[test]
    fn a_narrow_terminal_cuts_the_description_only() {
        let look = Look { colour: Colour::On, width: Some(50) };
        let text = listed("systemctl --no-legend -t service", look);
        assert!(text.contains("OpenBSD Secur…\n"), "{text}");
        assert!(text.contains("\x1b[0;1;31m●\x1b[0m \x1b[0;1;31mbad.service\x1b[0m loaded"), "{text}");
    }

    #[test]
    fn jobs_have_their_own_column_and_list() {
        let mut all = machine();
        all[4].job = Some("start".into());
        let arguments = Arguments { verb: "list-units".into(), types: vec!["service".into()], ..Arguments::default() };
        let text = units(&all, &arguments, PLAIN);
        assert!(text.starts_with("  UNIT         LOAD   ACTIVE   SUB     JOB   DESCRIPTION\n"), "{text}");
        assert!(text.contains("  idle.service loaded inactive dead    start Not running\n"), "{text}");
        let entry = JobEntry {
            id: 12,
            unit: "idle.service".into(),
            job: "start".into(),
            state: "waiting".into(),
            queued_us: 0,
            began_us: 0,
        };
        assert_eq!(
            jobs(&[entry], &Arguments::default(), PLAIN),
            "JOB UNIT         TYPE  STATE\n 12 idle.service start waiting\n\n1 jobs listed.\n"
        );
        assert_eq!(jobs(&[], &Arguments::default(), PLAIN), "No jobs running.\n");
    }

    #[test]
    fn unit_files_show_state_and_preset() {
        let file =
            |name: &str, enablement, preset: &str| UnitFile { name: name.into(), enablement, preset: preset.into() };
        let files = [
            file("a.service", ferrite_control::Enablement::Enabled, "enabled"),
            file("b.socket", ferrite_control::Enablement::Static, ""),
        ];
        assert_eq!(
            unit_files(&chosen_files(&files, &Arguments::default()), &Arguments::default(), PLAIN),
            "UNIT FILE STATE   PRESET\na.service enabled enabled\nb.socket  static  -\n\n2 unit files listed.\n"
        );
    }
}
