//! The context in which a process of a unit runs: identity, files, environment, limits. Pure.

use crate::directive::{Apply, Table, Value};
use crate::environment::{Environment, assignment};
use crate::sandbox::Sandbox;
use crate::value::{Parsed, boolean, mode, number, size, span, wrong};

/// Where a standard stream leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stream {
    /// As the stream before: output as input, errors as output.
    #[default]
    Inherit,
    /// /dev/null.
    Null,
    /// The terminal of `TTYPath=`; for input: become its owner.
    Tty,
    /// The terminal, taken from whoever has it.
    TtyForce,
    /// The terminal; fail if somebody has it.
    TtyFail,
    /// The journal.
    Journal,
    /// The kernel log.
    Kmsg,
    /// The journal and the console.
    JournalConsole,
    /// The kernel log and the console.
    KmsgConsole,
    /// A file, from its beginning.
    File(String),
    /// A file, at its end.
    Append(String),
    /// A file, emptied first.
    Truncate(String),
    /// The socket of socket activation.
    Socket,
}

/// Variables of one unit.
const VARIABLES_MAX: usize = 4096;

/// An environment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Its path.
    pub path: String,
    /// `-`: may be missing.
    pub optional: bool,
}

/// One of the five managed directories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directories {
    /// Names below the base directory.
    pub names: Vec<String>,
    /// Mode.
    pub mode: Option<u32>,
}

/// What becomes of runtime directories on stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preserve {
    /// Removed.
    #[default]
    No,
    /// Kept.
    Yes,
    /// Kept over a restart.
    Restart,
}

impl Preserve {
    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        match self {
            Preserve::No => "no",
            Preserve::Yes => "yes",
            Preserve::Restart => "restart",
        }
    }

    pub(crate) fn parse(text: &str) -> Parsed<Preserve> {
        if text == "restart" {
            return Ok(Preserve::Restart);
        }
        Ok(if boolean(text)? { Preserve::Yes } else { Preserve::No })
    }
}

/// A resource limit; `None` is infinity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

/// A limited resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Resource {
    Cpu,
    Fsize,
    Data,
    Stack,
    Core,
    Rss,
    Nofile,
    As,
    Nproc,
    Memlock,
    Locks,
    Sigpending,
    Msgqueue,
    Nice,
    Rtprio,
    Rttime,
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// `User=`.
    pub user: Option<String>,
    /// `Group=`.
    pub group: Option<String>,
    /// `SupplementaryGroups=`.
    pub supplementary_groups: Vec<String>,
    /// `WorkingDirectory=`; `~` is the user's home.
    pub working_directory: Option<String>,
    /// `WorkingDirectory=-…`: go on when it is missing.
    pub working_directory_optional: bool,
    /// `UMask=`.
    pub umask: u32,
    /// `Environment=`.
    pub environment: Environment,
    /// `EnvironmentFile=`.
    pub environment_files: Vec<EnvironmentFile>,
    /// `UnsetEnvironment=`.
    pub unset_environment: Vec<String>,
    /// `RuntimeDirectory=`.
    pub runtime: Directories,
    /// `StateDirectory=`.
    pub state: Directories,
    /// `CacheDirectory=`.
    pub cache: Directories,
    /// `LogsDirectory=`.
    pub logs: Directories,
    /// `ConfigurationDirectory=`.
    pub configuration: Directories,
    /// `RuntimeDirectoryPreserve=`.
    pub runtime_preserve: Preserve,
    /// `StandardInput=`.
    pub input: Stream,
    /// `StandardOutput=`.
    pub output: Option<Stream>,
    /// `StandardError=`.
    pub error: Option<Stream>,
    /// `TTYPath=`.
    pub tty_path: Option<String>,
    /// `TTYReset=`.
    pub tty_reset: bool,
    /// `TTYVHangup=`.
    pub tty_vhangup: bool,
    /// `TTYVTDisallocate=`.
    pub tty_vt_disallocate: bool,
    /// `SyslogIdentifier=`.
    pub syslog_identifier: Option<String>,
    /// `SyslogLevel=`, 0 to 7.
    pub syslog_level: u8,
    /// `SyslogLevelPrefix=`.
    pub syslog_level_prefix: bool,
    /// `Limit*=`.
    pub limits: Vec<(Resource, Limit)>,
    /// `Nice=`.
    pub nice: Option<i32>,
    /// `OOMScoreAdjust=`.
    pub oom_score_adjust: Option<i32>,
    /// `IgnoreSIGPIPE=`.
    pub ignore_sigpipe: bool,
    /// What the processes may see and do.
    pub sandbox: Sandbox,
}

impl Default for Exec {
    fn default() -> Self {
        Exec {
            user: None,
            group: None,
            supplementary_groups: Vec::new(),
            working_directory: None,
            working_directory_optional: false,
            umask: 0o022,
            environment: Environment::new(),
            environment_files: Vec::new(),
            unset_environment: Vec::new(),
            runtime: Directories::default(),
            state: Directories::default(),
            cache: Directories::default(),
            logs: Directories::default(),
            configuration: Directories::default(),
            runtime_preserve: Preserve::No,
            input: Stream::Null,
            output: None,
            error: None,
            tty_path: None,
            tty_reset: false,
            tty_vhangup: false,
            tty_vt_disallocate: false,
            syslog_identifier: None,
            syslog_level: 6,
            syslog_level_prefix: true,
            limits: Vec::new(),
            nice: None,
            oom_score_adjust: None,
            ignore_sigpipe: true,
            sandbox: Sandbox::default(),
        }
    }
}

impl Exec {
    /// Where standard output leads after defaults.
    pub fn output_stream(&self) -> Stream {
        match (&self.output, &self.input) {
            (Some(stream), _) if *stream != Stream::Inherit => stream.clone(),
            (_, Stream::Null | Stream::Inherit | Stream::Socket) if self.output.is_none() => match self.input {
                Stream::Socket => Stream::Inherit,
                _ => Stream::Journal,
            },
            (None, Stream::File(_)) => Stream::Journal,
            _ => Stream::Inherit,
        }
    }

    /// Where standard error leads after defaults.
    pub fn error_stream(&self) -> Stream {
        self.error.clone().unwrap_or(Stream::Inherit)
    }

    /// Does anything lead to the journal?
    pub fn uses_journal(&self) -> bool {
        let logs =
            |s: &Stream| matches!(s, Stream::Journal | Stream::Kmsg | Stream::JournalConsole | Stream::KmsgConsole);
        logs(&self.output_stream()) || logs(&self.error_stream())
    }
}

fn stream(value: &Value<'_>, input: bool) -> Parsed<Stream> {
    let text = value.text()?;
    let file = |path: &str| {
        if path.starts_with('/') { Ok(path.to_owned()) } else { Err(wrong(path, "an absolute path")) }
    };
    Ok(match text.as_str() {
        "null" => Stream::Null,
        "tty" => Stream::Tty,
        "tty-force" if input => Stream::TtyForce,
        "tty-fail" if input => Stream::TtyFail,
        "socket" => Stream::Socket,
        "inherit" if !input => Stream::Inherit,
        "journal" | "syslog" if !input => Stream::Journal,
        "kmsg" if !input => Stream::Kmsg,
        "journal+console" | "syslog+console" if !input => Stream::JournalConsole,
        "kmsg+console" if !input => Stream::KmsgConsole,
        other => match other.split_once(':') {
            Some(("file", path)) => Stream::File(file(path)?),
            Some(("append", path)) if !input => Stream::Append(file(path)?),
            Some(("truncate", path)) if !input => Stream::Truncate(file(path)?),
            _ => return Err(wrong(other, "a standard stream such as null, tty or journal")),
        },
    })
}

fn names(directories: &mut Directories, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        directories.names.clear();
        return Ok(());
    }
    for name in value.words()? {
        let name = name.split(':').next().unwrap_or("").trim_end_matches('/').to_owned();
        if name.is_empty() || name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return Err(wrong(&name, "a relative path without '..'"));
        }
        directories.names.push(name);
    }
    Ok(())
}

fn syslog_level(text: &str) -> Parsed<u8> {
    const NAMES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let position = NAMES.iter().position(|name| *name == text).and_then(|n| u8::try_from(n).ok());
    position.or_else(|| text.parse().ok().filter(|n| *n < 8)).ok_or_else(|| wrong(text, "a log level such as info"))
}

/// A limit as `value` or `soft:hard`; times may carry units.
fn limit(resource: Resource, text: &str) -> Parsed<Limit> {
    let one = |text: &str| match resource {
        Resource::Cpu => Ok(span(text)?.finite().map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0))),
        Resource::Rttime if text.parse::<u64>().is_err() => {
            Ok(span(text)?.finite().map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX)))
        }
        Resource::Nice if text.starts_with(['+', '-']) => {
            let nice = number(text, -20, 19)?;
            Ok(Some(u64::try_from(20 - nice).unwrap_or(0)))
        }
        _ => size(text),
    };
    let limit = match text.split_once(':') {
        Some((soft, hard)) => Limit { soft: one(soft)?, hard: one(hard)? },
        None => Limit { soft: one(text)?, hard: one(text)? },
    };
    let above = |soft: Option<u64>, hard: Option<u64>| soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX);
    if above(limit.soft, limit.hard) {
        Err(wrong(text, "a limit whose soft part is below its hard part"))
    } else {
        Ok(limit)
    }
}

fn set_limit(exec: &mut Exec, resource: Resource, value: &Value<'_>) -> Parsed<()> {
    exec.limits.retain(|(have, _)| *have != resource);
    if !value.is_empty() {
        exec.limits.push((resource, limit(resource, &value.text()?)?));
    }
    Ok(())
}

fn user_name(value: &Value<'_>) -> Parsed<Option<String>> {
    match value.optional()? {
        Some(name) if name.contains([':', '/', ' ', '\n']) => Err(wrong(&name, "a user or group")),
        other => Ok(other),
    }
}

fn environment(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        exec.environment = Environment::new();
        return Ok(());
    }
    let mut bad = None;
    for word in value.words()? {
        match assignment(&word) {
            Some(_) if exec.environment.count() >= VARIABLES_MAX => {
                return Err(crate::value::ValueError(format!("more than {VARIABLES_MAX} variables")));
            }
            Some((name, content)) => exec.environment.set(name, content),
            None => bad = Some(word),
        }
    }
    bad.map_or(Ok(()), |word| Err(wrong(&word, "an assignment NAME=value")))
}

fn environment_file(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        exec.environment_files.clear();
        return Ok(());
    };
    let path = text.strip_prefix('-');
    let file = EnvironmentFile { path: path.unwrap_or(&text).to_owned(), optional: path.is_some() };
    if !file.path.starts_with('/') {
        return Err(wrong(&file.path, "an absolute path"));
    }
    exec.environment_files.push(file);
    Ok(())
}

fn working_directory(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        exec.working_directory = None;
        return Ok(());
    };
    let path = text.strip_prefix('-');
    let directory = path.unwrap_or(&text);
    if directory != "~" && !directory.starts_with('/') {
        return Err(wrong(directory, "an absolute path or '~'"));
    }
    exec.working_directory_optional = path.is_some();
    exec.working_directory = Some(directory.to_owned());
    Ok(())
}

macro_rules! set {
    ($field:ident, $read:expr) => {{
        let apply: Apply<Exec> = |exec, value| {
            exec.$field = $read(value)?;
            Ok(())
        };
        apply
    }};
}

fn flag(value: &Value<'_>) -> Parsed<bool> {
    boolean(value.raw)
}

fn file_mode(value: &Value<'_>) -> Parsed<Option<u32>> {
    mode(value.raw).map(Some)
}

pub(crate) const TABLE: Table<Exec> = &[
    ("User", set!(user, user_name)),
    ("Group", set!(group, user_name)),
    ("SupplementaryGroups", |exec, value| value.extend(&mut exec.supplementary_groups)),
    ("WorkingDirectory", working_directory),
    ("UMask", set!(umask, |v: &Value<'_>| mode(v.raw))),
    ("Environment", environment),
    ("EnvironmentFile", environment_file),
    ("UnsetEnvironment", |exec, value| value.extend(&mut exec.unset_environment)),
    ("RuntimeDirectory", |exec, value| names(&mut exec.runtime, value)),
    ("StateDirectory", |exec, value| names(&mut exec.state, value)),
    ("CacheDirectory", |exec, value| names(&mut exec.cache, value)),
    ("LogsDirectory", |exec, value| names(&mut exec.logs, value)),
    ("ConfigurationDirectory", |exec, value| names(&mut exec.configuration, value)),
    ("RuntimeDirectoryMode", |exec, value| file_mode(value).map(|m| exec.runtime.mode = m)),
    ("StateDirectoryMode", |exec, value| file_mode(value).map(|m| exec.state.mode = m)),
    ("CacheDirectoryMode", |exec, value| file_mode(value).map(|m| exec.cache.mode = m)),
    ("LogsDirectoryMode", |exec, value| file_mode(value).map(|m| exec.logs.mode = m)),
    ("ConfigurationDirectoryMode", |exec, value| file_mode(value).map(|m| exec.configuration.mode = m)),
    ("RuntimeDirectoryPreserve", set!(runtime_preserve, |v: &Value<'_>| Preserve::parse(v.raw))),
    ("StandardInput", set!(input, |v: &Value<'_>| stream(v, true))),
    ("StandardOutput", set!(output, |v: &Value<'_>| stream(v, false).map(Some))),
    ("StandardError", set!(error, |v: &Value<'_>| stream(v, false).map(Some))),
    ("TTYPath", set!(tty_path, |v: &Value<'_>| v.path())),
    ("TTYReset", set!(tty_reset, flag)),
    ("TTYVHangup", set!(tty_vhangup, flag)),
    ("TTYVTDisallocate", set!(tty_vt_disallocate, flag)),
    ("SyslogIdentifier", set!(syslog_identifier, |v: &Value<'_>| v.optional())),
    ("SyslogLevel", set!(syslog_level, |v: &Value<'_>| syslog_level(v.raw))),
    ("SyslogLevelPrefix", set!(syslog_level_prefix, flag)),
    ("Nice", set!(nice, |v: &Value<'_>| Ok(i32::try_from(number(v.raw, -20, 19)?).ok()))),
    ("OOMScoreAdjust", set!(oom_score_adjust, |v: &Value<'_>| Ok(i32::try_from(number(v.raw, -1000, 1000)?).ok()))),
    ("IgnoreSIGPIPE", set!(ignore_sigpipe, flag)),
    ("LimitCPU", |exec, value| set_limit(exec, Resource::Cpu, value)),
    ("LimitFSIZE", |exec, value| set_limit(exec, Resource::Fsize, value)),
    ("LimitDATA", |exec, value| set_limit(exec, Resource::Data, value)),
    ("LimitSTACK", |exec, value| set_limit(exec, Resource::Stack, value)),
    ("LimitCORE", |exec, value| set_limit(exec, Resource::Core, value)),
    ("LimitRSS", |exec, value| set_limit(exec, Resource::Rss, value)),
    ("LimitNOFILE", |exec, value| set_limit(exec, Resource::Nofile, value)),
    ("LimitAS", |exec, value| set_limit(exec, Resource::As, value)),
    ("LimitNPROC", |exec, value| set_limit(exec, Resource::Nproc, value)),
    ("LimitMEMLOCK", |exec, value| set_limit(exec, Resource::Memlock, value)),
    ("LimitLOCKS", |exec, value| set_limit(exec, Resource::Locks, value)),
    ("LimitSIGPENDING", |exec, value| set_limit(exec, Resource::Sigpending, value)),
    ("LimitMSGQUEUE", |exec, value| set_limit(exec, Resource::Msgqueue, value)),
    ("LimitNICE", |exec, value| set_limit(exec, Resource::Nice, value)),
    ("LimitRTPRIO", |exec, value| set_limit(exec, Resource::Rtprio, value)),
    ("LimitRTTIME", |exec, value| set_limit(exec, Resource::Rttime, value)),
];
