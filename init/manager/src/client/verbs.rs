//! The verbs of systemctl: which question, which picture, which exit code.

use std::io::IsTerminal;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_control::{
    Client, ClientError, ErrorKind, JobMode, JobOutcome, JobVerb, KillWhom, Reply, Request, UnitDetails, UnitSummary,
};
use ferrite_pattern::{is_pattern, matches_unit};
use ferrite_unit::UnitName;
use ferrite_unit::timestamp::Style;

use super::arguments::Arguments;
use super::group_tree::{self, Wishes};
use super::help::HELP;
use super::listing::Look;
use super::status::Machine;
use super::style::Colour;
use super::unit_names::full_name;
use super::{Caller, enable, jobs, listing, logs, manager_verbs, power, print, print_version, show, status, words};
use crate::clock::wall_us;

const NOT_RUNNING: u8 = 3;
pub const NO_SUCH_UNIT: u8 = 4;

/// Runs the verb; the answer is the exit code.
pub fn run(arguments: &Arguments, caller: &Caller) -> Result<u8> {
    super::verb_table::check(arguments)?;
    match arguments.verb.as_str() {
        "help-text" => print(HELP),
        "help-types" => print(&words::types(!arguments.no_legend)),
        "help-states" => print(&words::states(!arguments.no_legend)),
        "help-job-modes" => print(&words::job_modes(!arguments.no_legend)),
        "version" => print_version(),
        "list-units" => list_units(arguments),
        "list-unit-files" => list_unit_files(arguments),
        "list-jobs" => list_jobs(arguments),
        "list-timers" | "list-sockets" | "list-paths" | "list-automounts" => super::triggers::run(arguments),
        "set-property" => set_property(arguments),
        "cancel" | "clear-jobs" => cancel(arguments),
        "show-environment" => manager_verbs::show_environment(arguments),
        "set-environment" | "unset-environment" => manager_verbs::set_environment(arguments),
        "import-environment" => manager_verbs::import_environment(arguments, caller),
        "service-watchdogs" => manager_verbs::service_watchdogs(&mut connect(arguments)?, &arguments.operands),
        "log-level" | "log-target" => {
            super::analyze::log_control::ask(&mut connect(arguments)?, &arguments.verb, &arguments.operands)
        }
        "help" => manager_verbs::help(arguments),
        "whoami" => manager_verbs::whoami(arguments),
        "bind" | "mount-image" => manager_verbs::live_mount(arguments),
        "edit" => super::edit::run(arguments),
        "list-dependencies" => super::dependencies::run(arguments),
        "status" => show_status(arguments),
        "show" => show_properties(arguments),
        "cat" => super::cat::run(arguments),
        "start" => job(arguments, JobVerb::Start),
        "stop" | "condstop" => job(arguments, JobVerb::Stop),
        "restart" => job(arguments, JobVerb::Restart),
        "try-restart" | "condrestart" => job(arguments, JobVerb::TryRestart),
        "reload" | "condreload" => job(arguments, JobVerb::Reload),
        "reload-or-restart" | "force-reload" => job(arguments, JobVerb::ReloadOrRestart),
        "try-reload-or-restart" | "reload-or-try-restart" => job(arguments, JobVerb::TryReloadOrRestart),
        "isolate" => isolate(arguments, &arguments.operands),
        "rescue" | "emergency" | "default" => isolate(arguments, &[format!("{}.target", arguments.verb)]),
        "kill" => kill(arguments),
        "reset-failed" => reset_failed(arguments),
        "clean" | "freeze" | "thaw" => super::clean_or_freeze::run(arguments),
        "is-active" | "check" => is_state(arguments, &["active", "reloading"], NOT_RUNNING),
        "is-failed" => is_failed(arguments),
        "is-system-running" => is_system_running(arguments),
        "is-enabled" => enable::is_enabled(arguments),
        "enable" | "reenable" | "disable" | "preset" | "preset-all" | "mask" | "unmask" | "link" | "revert" => {
            enable::run(arguments)
        }
        "add-wants" | "add-requires" => enable::add_dependency(arguments),
        "get-default" => enable::get_default(arguments),
        "set-default" => enable::set_default(arguments),
        "daemon-reexec" => {
            connect(arguments)?.ask(&Request::DaemonReexec)?;
            Ok(0)
        }
        "daemon-reload" => {
            connect(arguments)?.ask(&Request::DaemonReload)?;
            Ok(0)
        }
        "reboot" | "poweroff" | "halt" | "shutdown" | "kexec" | "soft-reboot" => {
            power::action(arguments)?;
            if arguments.dry_run {
                return Ok(0);
            }
            power::run(&mut connect(arguments)?, arguments)
        }
        other => bail!("Unknown command verb '{other}'."),
    }
}

/// The exit code of an error: systemd's for what PID 1 refuses.
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    let refused = error.downcast_ref::<ClientError>().and_then(ClientError::kind);
    refused.map_or(ferrite_cli::EXIT_FAILURE, jobs::refusal_code)
}

/// A connection to PID 1.
pub fn connect(arguments: &Arguments) -> Result<Client> {
    Ok(Client::connect(&arguments.socket)?)
}

pub fn look(arguments: &Arguments) -> Look {
    Look { colour: Colour::of_stdout(), width: terminal_width().filter(|_| !arguments.full) }
}

/// Columns of the terminal that standard output is.
pub fn terminal_width() -> Option<usize> {
    let stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok().filter(|_| stdout.is_terminal());
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn all_units(client: &mut Client) -> Result<Vec<UnitSummary>> {
    match client.ask(&Request::ListUnits)? {
        Reply::Units(units) => Ok(units),
        _ => bail!(ClientError::Unexpected),
    }
}

/// Everything about one unit.
pub fn details(client: &mut Client, unit: &str) -> Result<UnitDetails> {
    match client.ask(&Request::Show { unit: unit.to_owned() })? {
        Reply::Unit(details) => Ok(*details),
        _ => bail!(ClientError::Unexpected),
    }
}

/// The units that operands name; patterns are matched with the loaded units.
pub fn named_units(client: &mut Client, operands: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let loaded = if operands.iter().any(|word| is_pattern(word)) { all_units(client)? } else { Vec::new() };
    for word in operands {
        if is_pattern(word) {
            let fits =
                |unit: &&UnitSummary| matches_unit(word, &unit.name) || matches_unit(&full_name(word), &unit.name);
            names.extend(loaded.iter().filter(fits).map(|unit| unit.name.clone()));
        } else {
            names.push(full_name(word));
        }
    }
    names.dedup();
    Ok(names)
}

fn some_operands(arguments: &Arguments) -> Result<&[String]> {
    if arguments.operands.is_empty() {
        bail!("{} needs the name of a unit", arguments.verb);
    }
    Ok(&arguments.operands)
}

fn list_units(arguments: &Arguments) -> Result<u8> {
    let units = all_units(&mut connect(arguments)?)?;
    print(&listing::units(&units, arguments, look(arguments)))
}

fn list_unit_files(arguments: &Arguments) -> Result<u8> {
    let files = enable::unit_files(arguments);
    let shown = listing::chosen_files(&files, arguments);
    print(&listing::unit_files(&shown, arguments, look(arguments)))?;
    Ok(u8::from(shown.is_empty()))
}

fn list_jobs(arguments: &Arguments) -> Result<u8> {
    if arguments.after || arguments.before {
        bail!("Jobs that wait for each other are not listed by this version.");
    }
    match connect(arguments)?.ask(&Request::ListJobs)? {
        Reply::JobQueue(queue) => print(&listing::jobs(&queue, arguments, look(arguments))),
        _ => bail!(ClientError::Unexpected),
    }
}

fn show_status(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let look = look(arguments);
    let zones = arguments.zones();
    let view = status::View { now_us: wall_us(), colour: look.colour, width: look.width, zone: zones.local() };
    if arguments.operands.is_empty() && !arguments.all && arguments.types.is_empty() && arguments.states.is_empty() {
        return machine_status(&mut client, view);
    }
    let names = if arguments.operands.is_empty() {
        let units = all_units(&mut client)?;
        units.into_iter().filter(|unit| listing::is_shown(unit, arguments)).map(|unit| unit.name).collect()
    } else {
        named_or_numbered(&mut client, &arguments.operands)?
    };
    let mut code = 0;
    for (number, name) in names.iter().enumerate() {
        let mut unit = details(&mut client, name)?;
        if unit.summary.load == "not-found" && unit.summary.active != "active" {
            eprintln!("Unit {name} could not be found.");
            code = NO_SUCH_UNIT;
            continue;
        }
        super::processes::complete(&mut unit);
        let gap = if number > 0 { "\n" } else { "" };
        print(&format!("{gap}{}{}", status::unit(&unit, view), logs::recent(&unit, arguments, look.colour)))?;
        if unit.need_daemon_reload {
            eprintln!(
                "Warning: The unit file, source configuration file or drop-ins of {name} changed on disk. \
                 Run 'systemctl daemon-reload' to reload units."
            );
        }
        if !matches!(unit.summary.active.as_str(), "active" | "reloading") && code == 0 {
            code = NOT_RUNNING;
        }
    }
    Ok(code)
}

/// The units that operands name; a number is that of a process.
fn named_or_numbered(client: &mut Client, operands: &[String]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for word in operands {
        match word.parse() {
            Ok(pid) => match manager_verbs::unit_of_process(client, pid)? {
                Ok(unit) => names.push(unit),
                Err(fault) => bail!("Failed to get unit for PID {pid}: {fault}"),
            },
            Err(_) => names.extend(named_units(client, std::slice::from_ref(word))?),
        }
    }
    Ok(names)
}

fn machine_status(client: &mut Client, view: status::View<'_>) -> Result<u8> {
    let state = system_state(client, false)?;
    let units = all_units(client)?;
    let manager = super::manager_verbs::properties(client)?;
    let control_group = Some(manager.text("ControlGroup")).filter(|path| !path.is_empty()).unwrap_or("/");
    let folder = super::processes::folder_of(control_group);
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let uptime_us = u64::try_from(uptime.tv_sec).unwrap_or(0).saturating_mul(1_000_000);
    let machine = Machine {
        host: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        state,
        failed: units.iter().filter(|unit| unit.active == "failed").count(),
        jobs: units.iter().filter(|unit| unit.job.is_some()).count(),
        units: units.len(),
        since_us: view.now_us.saturating_sub(uptime_us),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        tainted: manager.text("Tainted").to_owned(),
        groups: group_tree::read(&folder, Wishes::default()),
        control_group: control_group.to_owned(),
    };
    print(&status::machine(&machine, view))
}

/// How moments are written.
pub fn style(arguments: &Arguments) -> Style {
    arguments.timestamp.as_deref().and_then(Style::parse).unwrap_or_default()
}

fn show_properties(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let zones = arguments.zones();
    let stamps = show::Stamps { style: style(arguments), zone: zones.local() };
    if arguments.operands.is_empty() && arguments.types.is_empty() && arguments.states.is_empty() {
        return match client.ask(&Request::ShowManager)? {
            Reply::Properties(properties) => print(&show::render(&properties, arguments, stamps)),
            _ => bail!(ClientError::Unexpected),
        };
    }
    let names = if arguments.operands.is_empty() {
        let units = all_units(&mut client)?;
        units.into_iter().filter(|unit| listing::is_shown(unit, arguments)).map(|unit| unit.name).collect()
    } else {
        named_units(&mut client, &arguments.operands)?
    };
    for (number, name) in names.iter().enumerate() {
        if UnitName::parse(name).is_ok_and(|name| name.is_template()) {
            bail!("Failed to get properties: Unit name {name} is neither a valid invocation ID nor unit name.");
        }
        let unit = details(&mut client, name)?;
        let gap = if number > 0 { "\n" } else { "" };
        print(&format!("{gap}{}", show::render(&unit.properties, arguments, stamps)))?;
    }
    Ok(0)
}

fn job(arguments: &Arguments, verb: JobVerb) -> Result<u8> {
    let mode = match arguments.job_mode.as_deref() {
        None => JobMode::default(),
        Some(text) => match JobMode::parse(text) {
            Some(mode) => mode,
            None => bail!("Failed to {} {}: Job mode {text} invalid", verb.as_str(), arguments.operands.join(" ")),
        },
    };
    if arguments.wait && arguments.no_block {
        bail!("--wait may not be combined with --no-block.");
    }
    let mut client = connect(arguments)?;
    let operands = some_operands(arguments)?;
    let units = named_units(&mut client, operands)?;
    if verb == JobVerb::Start && operands.iter().any(|word| is_pattern(word)) && !arguments.all {
        eprintln!("{GLOB_HINT}");
    }
    if arguments.dry_run {
        return Ok(0);
    }
    let code = run_jobs(&mut client, arguments, verb, units.clone(), mode)?;
    match verb {
        JobVerb::Start | JobVerb::Restart if arguments.wait && code == 0 => wait_for_end(&mut client, &units),
        _ => Ok(code),
    }
}

const GLOB_HINT: &str = "Warning: systemctl start called with a glob pattern.\n\
    Hint: unit globs expand to loaded units, so start will usually have no effect.\n      \
    Passing --all will also load units which are pulled in by other units.\n      See systemctl(1) for more details.";

/// Waits until all units are over; one that failed is a failure.
fn wait_for_end(client: &mut Client, units: &[String]) -> Result<u8> {
    client.set_timeout(None)?;
    let mut code = 0;
    for unit in units {
        match client.ask(&Request::WaitInactive { unit: unit.clone() })? {
            Reply::Unit(details) if details.summary.active == "failed" => code = 1,
            Reply::Unit(_) => {}
            _ => bail!(ClientError::Unexpected),
        }
    }
    Ok(code)
}

pub fn run_jobs(
    client: &mut Client,
    arguments: &Arguments,
    verb: JobVerb,
    units: Vec<String>,
    mode: JobMode,
) -> Result<u8> {
    if units.is_empty() {
        return Ok(0);
    }
    // A job may take as long as its unit allows: PID 1 keeps the deadline.
    client.set_timeout(None)?;
    let request = Request::Job { verb, units: units.clone(), mode, wait: !arguments.no_block };
    let reports = match client.ask(&request) {
        Ok(Reply::Jobs(reports)) => reports,
        Ok(_) => bail!(ClientError::Unexpected),
        Err(ClientError::Refused { kind, message }) => {
            let words = if kind == ErrorKind::AccessDenied { "Access denied".to_owned() } else { message };
            eprintln!("Failed to {} {}: {words}", verb.as_str(), units.join(" "));
            return Ok(jobs::refusal_code(kind));
        }
        Err(error) => return Err(error.into()),
    };
    let mut code = 0;
    for report in &reports {
        if let Some(complaint) = jobs::complaint(verb.as_str(), report)
            && !(arguments.quiet && report.outcome != JobOutcome::Refused)
        {
            eprintln!("{complaint}");
        }
        code = code.max(jobs::exit_code(report));
    }
    Ok(code)
}

fn set_property(arguments: &Arguments) -> Result<u8> {
    let [word, settings @ ..] = arguments.operands.as_slice() else { bail!("Too few arguments.") };
    if settings.is_empty() {
        bail!("Too few arguments.");
    }
    let mut client = connect(arguments)?;
    for unit in named_units(&mut client, std::slice::from_ref(word))? {
        let request =
            Request::SetProperty { unit: unit.clone(), runtime: arguments.runtime, settings: settings.to_vec() };
        client.ask(&request).with_context(|| format!("Failed to set unit properties on {unit}"))?;
    }
    Ok(0)
}

fn cancel(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    if arguments.operands.is_empty() {
        client.ask(&Request::CancelJobs { jobs: Vec::new() })?;
        return Ok(0);
    }
    let mut code = 0;
    for word in &arguments.operands {
        let Ok(job) = word.parse::<u32>() else { bail!("Failed to parse job id \"{word}\": Invalid argument") };
        if client.ask(&Request::CancelJobs { jobs: vec![job] }).is_err() {
            eprintln!("Failed to cancel job {word}, ignoring: Job {word} does not exist.");
            code = 1;
        }
    }
    Ok(code)
}

fn isolate(arguments: &Arguments, operands: &[String]) -> Result<u8> {
    let [target] = operands else { bail!("isolate needs one unit") };
    let target = if target.contains('.') { target.clone() } else { format!("{target}.target") };
    run_jobs(&mut connect(arguments)?, arguments, JobVerb::Start, vec![target], JobMode::Isolate)
}

fn kill(arguments: &Arguments) -> Result<u8> {
    let whom = match arguments.kill_whom.as_deref() {
        None | Some("all") => KillWhom::All,
        Some("main") => KillWhom::Main,
        Some("control") => KillWhom::Control,
        Some(other) => bail!("Failed to kill unit {}: Invalid whom argument: {other}", arguments.operands.join(" ")),
    };
    let signal = signal_number(arguments.signal.as_deref().unwrap_or("SIGTERM"))?;
    let mut client = connect(arguments)?;
    for unit in named_units(&mut client, some_operands(arguments)?)? {
        client
            .ask(&Request::KillUnit { unit: unit.clone(), whom, signal })
            .with_context(|| format!("Failed to kill unit {unit}"))?;
    }
    Ok(0)
}

fn signal_number(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>()
        && (1..=64).contains(&number)
    {
        return Ok(number);
    }
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    let signal: nix::sys::signal::Signal =
        name.parse().map_err(|_| anyhow!("Failed to parse signal string \"{text}\"."))?;
    Ok(signal as i32)
}

fn reset_failed(arguments: &Arguments) -> Result<u8> {
    let mut client = connect(arguments)?;
    let units = named_units(&mut client, &arguments.operands)?;
    if units.is_empty() && !arguments.operands.is_empty() {
        return Ok(0);
    }
    client.ask(&Request::ResetFailed { units })?;
    Ok(0)
}

fn states(arguments: &Arguments) -> Result<Vec<UnitSummary>> {
    let mut client = connect(arguments)?;
    let names = named_units(&mut client, some_operands(arguments)?)?;
    names.iter().map(|name| Ok(details(&mut client, name)?.summary)).collect()
}

/// The exit code is 0 if any unit is in one of the states.
fn is_state(arguments: &Arguments, good: &[&str], otherwise: u8) -> Result<u8> {
    let units = states(arguments)?;
    if !arguments.quiet {
        let lines: String = units.iter().map(|unit| format!("{}\n", unit.active)).collect();
        print(&lines)?;
    }
    if units.iter().any(|unit| good.contains(&unit.active.as_str())) {
        Ok(0)
    } else if units.iter().all(|unit| unit.load == "not-found") {
        Ok(NO_SUCH_UNIT)
    } else {
        Ok(otherwise)
    }
}

fn is_failed(arguments: &Arguments) -> Result<u8> {
    if !arguments.operands.is_empty() {
        return is_state(arguments, &["failed"], 1);
    }
    let state = system_state(&mut connect(arguments)?, false)?;
    if !arguments.quiet {
        print(&format!("{state}\n"))?;
    }
    Ok(u8::from(state != "degraded"))
}

fn system_state(client: &mut Client, wait: bool) -> Result<String> {
    if wait {
        client.set_timeout(None)?;
    }
    match client.ask(&Request::IsSystemRunning { wait })? {
        Reply::SystemState(state) => Ok(state),
        _ => bail!(ClientError::Unexpected),
    }
}

fn is_system_running(arguments: &Arguments) -> Result<u8> {
    let state = match connect(arguments) {
        Ok(mut client) => system_state(&mut client, arguments.wait)?,
        Err(_) => "offline".to_owned(),
    };
    if !arguments.quiet {
        print(&format!("{state}\n"))?;
    }
    Ok(u8::from(state != "running"))
}
