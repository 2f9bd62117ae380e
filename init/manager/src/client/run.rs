//! `systemd-run`: a command as a service, a scope, or something that a timer, a path or a socket starts.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow, bail};
use ferrite_control::{
    Client, ClientError, JobMode, JobOutcome, Reply, Request, TransientRequest, TransientUnit, UnitDetails,
};
use ferrite_unit::escape::{Globs, mangle};
use ferrite_unit::specifier::Host;
use ferrite_unit::{UnitKind, UnitName, timespan, value};

use super::Caller;
use super::accounts::account;
use super::run_options::{HELP, Options, Stdio, Wish, wish};
use super::run_terminal::Screen;
use super::run_unit::{self, Facts, passes_descriptors};
use super::sizes::bytes;
use super::verbs::details;
use crate::clock::wall_us;

/// The exit code of a command that a signal ended, as systemd's.
const EXCEPTION: u8 = 255;

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| match wish(&words)? {
        Wish::Help => super::print(HELP),
        Wish::Version => super::print_version(),
        Wish::Run(options) => run(caller, *options),
    }))
}

fn run(caller: &Caller, mut options: Options) -> Result<u8> {
    if options.shell {
        options.command = vec![caller.variable("SHELL").unwrap_or("/bin/sh").to_owned()];
    }
    if options.stdio == Stdio::Auto {
        let all = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        options.stdio = if all { Stdio::Pty } else { Stdio::Pipe };
    }
    let mut client = Client::connect(&caller.socket())?;
    if options.scope {
        return scope(caller, &mut client, &options);
    }
    let elsewhere = ["RootDirectory=", "RootImage=", "ExecSearchPath=", "MountImages=", "ExtensionImages="];
    if !elsewhere.iter().any(|key| options.properties.iter().any(|property| property.starts_with(key)))
        && let Some(program) = options.command.first_mut()
    {
        *program = find_executable(program, caller.variable("PATH"))?;
    }
    match options.trigger {
        Some(_) => trigger(caller, &mut client, &options),
        None => service(caller, &mut client, &options),
    }
}

/// The file of a command: found in the caller's `PATH`, so that a fault is told at once.
fn find_executable(program: &str, path: Option<&str>) -> Result<String> {
    let is_executable =
        |path: &Path| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok() && path.is_file();
    if program.contains('/') {
        let absolute = std::path::absolute(program)?;
        if is_executable(&absolute) {
            return Ok(absolute.to_string_lossy().into_owned());
        }
    } else {
        let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        for directory in path.split(':').filter(|directory| directory.starts_with('/')) {
            let file = Path::new(directory).join(program);
            if is_executable(&file) {
                return Ok(file.to_string_lossy().into_owned());
            }
        }
    }
    bail!("Failed to find executable {program}: No such file or directory")
}

/// The name that was given, or one that nobody else has.
fn name(options: &Options, kind: UnitKind) -> Result<UnitName> {
    let Some(word) = &options.unit else {
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("making a name")?;
        let number = u64::from_ne_bytes(random) >> 16;
        let name = format!("run-p{}-i{number}.{}", std::process::id(), kind.suffix());
        return Ok(UnitName::parse(&name)?);
    };
    let mangled = mangle(word.as_bytes(), Globs::Escaped, kind).context("Failed to mangle unit name")?;
    if let Some(escaped) = mangled.escaped.as_ref().filter(|_| !options.quiet) {
        eprintln!("Invalid unit name \"{word}\" escaped as \"{escaped}\" (maybe you should use systemd-escape?).");
    }
    Ok(UnitName::parse(&mangled.name)?)
}

/// What goes along with the unit's text.
struct Along {
    environment: Vec<String>,
    working_directory: Option<String>,
    own_slice: String,
}

impl Along {
    fn new(caller: &Caller, options: &Options) -> Result<Along> {
        let sees_terminal = std::io::stdin().is_terminal() || std::io::stdout().is_terminal();
        let mut environment: Vec<String> = Vec::new();
        if let Some(term) = caller
            .variable("TERM")
            .filter(|_| options.stdio == Stdio::Pty || (options.stdio == Stdio::Pipe && sees_terminal))
        {
            environment.push(format!("TERM={term}"));
        }
        for text in &options.environment {
            let pair = match text.contains('=') {
                true => Some(text.clone()),
                false => caller.variable(text).map(|value| format!("{text}={value}")),
            };
            let name = text.split('=').next().unwrap_or_default();
            environment.retain(|known| known.split('=').next() != Some(name));
            environment.extend(pair);
        }
        let here = std::env::current_dir().map(|path| path.to_string_lossy().into_owned());
        let working_directory = match (&options.working_directory, options.same_dir) {
            (Some(path), _) => Some(std::path::absolute(path)?.to_string_lossy().into_owned()),
            (None, true) => Some(here.context("Failed to get current working directory")?).filter(|path| path != "/"),
            (None, false) => None,
        };
        Ok(Along { environment, working_directory, own_slice: own_slice() })
    }

    fn facts<'a>(&'a self, options: &'a Options, host: &'a Host, terminal: Option<&'a str>) -> Facts<'a> {
        Facts {
            host,
            command: &options.command,
            environment: &self.environment,
            working_directory: self.working_directory.as_deref(),
            own_slice: &self.own_slice,
            terminal,
        }
    }
}

/// The innermost slice of this process, without `.slice`.
fn own_slice() -> String {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    let slice = path.split('/').take_while(|part| part.is_empty() || part.ends_with(".slice")).last();
    slice.and_then(|slice| slice.strip_suffix(".slice")).unwrap_or("-").to_owned()
}

fn mode(options: &Options) -> Result<JobMode> {
    match options.job_mode.as_deref() {
        None => Ok(JobMode::Fail),
        Some(text) => JobMode::parse(text).ok_or_else(|| anyhow!("Invalid job mode: {text}")),
    }
}

fn service(caller: &Caller, client: &mut Client, options: &Options) -> Result<u8> {
    let name = name(options, UnitKind::Service)?;
    let screen = match options.stdio {
        Stdio::Pty => Some(Screen::open()?),
        Stdio::Unit | Stdio::Pipe | Stdio::Auto => None,
    };
    let along = Along::new(caller, options)?;
    let host = crate::host::read();
    let facts = along.facts(options, &host, screen.as_ref().map(Screen::path));
    let text = run_unit::service(options, &name, &facts)?;
    let unit = TransientUnit { name: name.as_str().to_owned(), text, pids: Vec::new() };
    let descriptors = passes_descriptors(options.stdio);
    let waits_for_job = !options.no_block && options.stdio == Stdio::Unit;
    let request = TransientRequest { units: vec![unit], mode: mode(options)?, wait: waits_for_job, descriptors };
    start(client, request, "service")?;
    let details = details(client, name.as_str())?;
    if !options.quiet {
        told("unit", &details);
    }
    if !options.wait && options.stdio == Stdio::Unit {
        return Ok(0);
    }
    let details = match screen {
        Some(screen) => {
            if !options.quiet {
                eprintln!("Press ^] three times within 1s to disconnect TTY.");
            }
            screen.relay(client, name.as_str())?
        }
        None => wait(client, name.as_str())?,
    };
    if options.wait && !options.quiet {
        eprint!("{}", summary(&details));
    }
    Ok(exit_code(&details))
}

/// Sends the request; a job that failed is told of, and ends the command.
fn start(client: &mut Client, request: TransientRequest, kind: &str) -> Result<()> {
    client.set_timeout(None)?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let files = if request.descriptors { vec![stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] } else { Vec::new() };
    client.send_with(&Request::StartTransient(request), &files)?;
    match client.next_reply()? {
        Reply::Jobs(reports) => {
            for report in reports {
                if let Some(complaint) = super::jobs::complaint("start", &report) {
                    eprintln!("{complaint}");
                }
                if !matches!(report.outcome, JobOutcome::Done | JobOutcome::Queued | JobOutcome::Skipped) {
                    std::process::exit(i32::from(super::jobs::exit_code(&report)));
                }
            }
            Ok(())
        }
        Reply::Error { message, .. } => bail!("Failed to start transient {kind} unit: {message}"),
        _ => bail!(ClientError::Unexpected),
    }
}

fn wait(client: &mut Client, unit: &str) -> Result<UnitDetails> {
    match client.ask(&Request::WaitInactive { unit: unit.to_owned() })? {
        Reply::Unit(details) => Ok(*details),
        _ => bail!(ClientError::Unexpected),
    }
}

fn told(what: &str, details: &UnitDetails) {
    match details.invocation_id.as_str() {
        "" => eprintln!("Running as {what}: {}", details.summary.name),
        id => eprintln!("Running as {what}: {}; invocation ID: {id}", details.summary.name),
    }
}

/// What became of the service, in systemd's words.
fn summary(details: &UnitDetails) -> String {
    let property = |name: &str| details.properties.text(name);
    let mut out = String::new();
    let mut field = |label: &str, text: String| out.push_str(&format!("{label:>30}: {text}\n"));
    if !details.result.is_empty() {
        field("Finished with result", details.result.clone());
    }
    let status: i32 = property("ExecMainStatus").parse().unwrap_or(0);
    match property("ExecMainCode") {
        "1" => {
            let word = u8::try_from(status).ok().and_then(value::exit_name);
            let word = word.map(|word| format!("/{word}")).unwrap_or_default();
            field("Main processes terminated with", format!("code=exited, status={status}{word}"));
        }
        code @ ("2" | "3") => {
            let word = if code == "2" { "killed" } else { "dumped" };
            let signal = value::signal_name(status);
            field("Main processes terminated with", format!("code={word}, status={status}/{signal}"));
        }
        _ => {}
    }
    let (from, to) = (details.inactive_exit_monotonic_us, details.inactive_enter_monotonic_us);
    if from > 0 && to > from {
        field("Service runtime", timespan::text(to - from, 1000));
    }
    if let Ok(cpu) = property("CPUUsageNSec").parse::<u64>() {
        field("CPU time consumed", timespan::text(cpu.div_ceil(1000), 1000));
    }
    if let Ok(peak) = property("MemoryPeak").parse::<u64>() {
        let swap = property("MemorySwapPeak").parse::<u64>().map(|swap| format!(" (swap: {})", bytes(swap)));
        field("Memory peak", format!("{}{}", bytes(peak), swap.unwrap_or_default()));
    }
    out
}

/// The service's own exit status, where it has one.
fn exit_code(details: &UnitDetails) -> u8 {
    let status = details.properties.get("ExecMainStatus").and_then(|status| status.parse::<u8>().ok()).unwrap_or(0);
    match details.result.as_str() {
        "success" => 0,
        "exit-code" if status > 0 => status,
        "signal" => EXCEPTION,
        _ => 1,
    }
}

fn trigger(caller: &Caller, client: &mut Client, options: &Options) -> Result<u8> {
    let Some(trigger) = options.trigger else { return Ok(0) };
    let kind = UnitKind::parse(trigger.suffix()).context("a kind of trigger")?;
    let given = name(options, UnitKind::Service)?;
    let service = given.with_kind(UnitKind::Service)?;
    let starter = given.with_kind(kind)?;
    let along = Along::new(caller, options)?;
    let host = crate::host::read();
    let facts = along.facts(options, &host, None);
    warn_of_the_past(caller, options)?;
    let unit = |name: &UnitName, text| TransientUnit { name: name.as_str().to_owned(), text, pids: Vec::new() };
    let mut units = vec![unit(&starter, run_unit::trigger(options, &starter, &facts)?)];
    if !options.command.is_empty() {
        units.push(unit(&service, run_unit::service(options, &service, &facts)?));
    }
    let request = TransientRequest { units, mode: mode(options)?, wait: true, descriptors: false };
    start(client, request, trigger.suffix())?;
    if !options.quiet {
        eprintln!("Running {} as unit: {starter}", trigger.suffix());
        if !options.command.is_empty() {
            eprintln!("Will run service as unit: {service}");
        }
    }
    Ok(0)
}

fn warn_of_the_past(caller: &Caller, options: &Options) -> Result<()> {
    let zones = caller.zones();
    let now_us = wall_us();
    for event in options.trigger_properties.iter().filter_map(|property| property.strip_prefix("OnCalendar=")) {
        let Ok(spec) = ferrite_unit::calendar::CalendarSpec::parse(event, &zones) else {
            bail!("Failed to parse calendar event specification: Invalid argument");
        };
        if spec.next_after(now_us, &zones).is_none() {
            eprintln!("Specified calendar expression is in the past, proceeding anyway.");
        }
    }
    Ok(())
}

/// This process moves into the scope and becomes the command.
fn scope(caller: &Caller, client: &mut Client, options: &Options) -> Result<u8> {
    let name = name(options, UnitKind::Scope)?;
    let along = Along::new(caller, options)?;
    let host = crate::host::read();
    let facts = along.facts(options, &host, None);
    let text = run_unit::scope(options, &name, &facts)?;
    let pid = i32::try_from(std::process::id())?;
    let unit = TransientUnit { name: name.as_str().to_owned(), text, pids: vec![pid] };
    let request = TransientRequest { units: vec![unit], mode: mode(options)?, wait: true, descriptors: false };
    start(client, request, "scope")?;
    let details = details(client, name.as_str())?;
    let [program, arguments @ ..] = options.command.as_slice() else { bail!("Command line to execute required.") };
    let mut command = Command::new(program);
    command.args(arguments);
    if !details.invocation_id.is_empty() {
        command.env("INVOCATION_ID", &details.invocation_id);
    }
    become_user(options, &mut command)?;
    if let Some(directory) = &along.working_directory {
        command.current_dir(directory);
    }
    for (name, value) in along.environment.iter().filter_map(|pair| pair.split_once('=')) {
        command.env(name, value);
    }
    if !options.quiet {
        told("unit", &details);
    }
    Err(command.exec()).context("Failed to execute")
}

fn become_user(options: &Options, command: &mut Command) -> Result<()> {
    if let Some(nice) = options.nice {
        let own = rustix::process::getpriority_process(None).unwrap_or(0);
        rustix::process::setpriority_process(None, nice)
            .with_context(|| format!("Failed to set nice level from {own}"))?;
    }
    if let Some(group) = &options.gid {
        let accounts = crate::accounts::Accounts::read();
        let gid = accounts.group(group).with_context(|| format!("Failed to resolve group {group}"))?;
        command.gid(gid);
    }
    if let Some(user) = &options.uid {
        let account = account(user).with_context(|| format!("Failed to resolve user {user}"))?;
        if options.gid.is_none() {
            command.gid(account.gid);
        }
        command.uid(account.uid);
        command.env("HOME", &account.home).env("SHELL", &account.shell);
        command.env("USER", &account.name).env("LOGNAME", &account.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_service_is_told_in_systemds_words() {
        let mut details = UnitDetails {
            result: "exit-code".into(),
            inactive_exit_monotonic_us: 1,
            inactive_enter_monotonic_us: 1_500_001,
            ..UnitDetails::default()
        };
        for (name, value) in [("ExecMainCode", "1"), ("ExecMainStatus", "3"), ("MemoryPeak", "1572864")] {
            details.properties.insert(name, value);
        }
        assert_eq!(
            summary(&details),
            "          Finished with result: exit-code\n\
             Main processes terminated with: code=exited, status=3/NOTIMPLEMENTED\n\
             \x20              Service runtime: 1.500s\n\
             \x20                  Memory peak: 1.5M\n"
        );
        assert_eq!(exit_code(&details), 3);
        details.result = "signal".into();
        assert_eq!(exit_code(&details), 255);
    }
}
