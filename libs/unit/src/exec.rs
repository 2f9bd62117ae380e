//! The context in which a process of a unit runs: identity, files, environment, limits. Pure.

use crate::amount::size;
use crate::directive::{Apply, Table, Value, find};
use crate::directories::{Directories, Links};
use crate::environment::{Environment, assignment};
use crate::lists::{absolute, each, push};
use crate::sandbox::Sandbox;
use crate::shared::Shared;
use crate::unescape::{base64, unescape};
use crate::value::{Parsed, Span, boolean, mode, number, span, wrong};
use crate::words::Escapes;
use crate::{mounts_table, sandbox_table};

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
    /// The data of `StandardInputText=` and `StandardInputData=`.
    Data,
    /// A descriptor that was handed over under a name (empty: that of the stream).
    Named(String),
}

/// Variables of one unit.
const VARIABLES_MAX: usize = 4096;
/// Bytes of `StandardInputText=` and `StandardInputData=`.
const INPUT_MAX: usize = 64 * 1024 * 1024;

/// An environment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// Its path.
    pub path: String,
    /// `-`: may be missing.
    pub optional: bool,
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
    /// `PassEnvironment=`.
    pub pass_environment: Vec<String>,
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
    /// `StandardInputText=` and `StandardInputData=`.
    pub input_data: Vec<u8>,
    /// `NonBlocking=`.
    pub non_blocking: bool,
    /// `TimeoutCleanSec=`.
    pub timeout_clean: Span,
    /// `TTYPath=`.
    pub tty_path: Option<String>,
    /// `TTYReset=`.
    pub tty_reset: bool,
    /// `TTYVHangup=`.
    pub tty_vhangup: bool,
    /// `TTYVTDisallocate=`.
    pub tty_vt_disallocate: bool,
    /// `TTYRows=`.
    pub tty_rows: Option<u32>,
    /// `TTYColumns=`.
    pub tty_columns: Option<u32>,
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
    pub sandbox: Shared<Sandbox>,
}

crate::shared::common_default!(Exec);

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
            pass_environment: Vec::new(),
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
            input_data: Vec::new(),
            non_blocking: false,
            timeout_clean: Span::Infinite,
            tty_path: None,
            tty_reset: false,
            tty_vhangup: false,
            tty_vt_disallocate: false,
            tty_rows: None,
            tty_columns: None,
            syslog_identifier: None,
            syslog_level: 6,
            syslog_level_prefix: true,
            limits: Vec::new(),
            nice: None,
            oom_score_adjust: None,
            ignore_sigpipe: true,
            sandbox: Shared::default(),
        }
    }
}

impl Shared<Exec> {
    /// Settles it with what it shares itself.
    pub(crate) fn settle_all(&mut self) {
        self.sandbox.settle();
        self.settle();
    }
}

impl Exec {
    /// Where standard input comes from after defaults.
    pub fn input_stream(&self) -> Stream {
        match self.input {
            Stream::Null if !self.input_data.is_empty() => Stream::Data,
            _ => self.input.clone(),
        }
    }

    /// Where standard output leads after defaults.
    pub fn output_stream(&self) -> Stream {
        let both_ways =
            matches!(self.input, Stream::Tty | Stream::TtyForce | Stream::TtyFail | Stream::Socket | Stream::Named(_));
        match &self.output {
            Some(stream) if *stream != Stream::Inherit => stream.clone(),
            _ if both_ways => Stream::Inherit,
            _ => Stream::Journal,
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
    let raw = value.raw;
    let file = |path: &str| absolute(&value.specifiers.expand(path)?);
    Ok(match raw {
        "null" => Stream::Null,
        "tty" => Stream::Tty,
        "tty-force" if input => Stream::TtyForce,
        "tty-fail" if input => Stream::TtyFail,
        "data" if input => Stream::Data,
        "socket" => Stream::Socket,
        "fd" => Stream::Named(String::new()),
        "inherit" if !input => Stream::Inherit,
        "journal" | "syslog" if !input => Stream::Journal,
        "kmsg" if !input => Stream::Kmsg,
        "journal+console" | "syslog+console" if !input => Stream::JournalConsole,
        "kmsg+console" if !input => Stream::KmsgConsole,
        other => match other.split_once(':') {
            Some(("file", path)) => Stream::File(file(path)?),
            Some(("append", path)) if !input => Stream::Append(file(path)?),
            Some(("truncate", path)) if !input => Stream::Truncate(file(path)?),
            Some(("fd", name)) => Stream::Named(descriptor_name(&value.specifiers.expand(name)?)?),
            _ => return Err(wrong(other, "a standard stream such as null, tty or journal")),
        },
    })
}

fn descriptor_name(name: &str) -> Parsed<String> {
    let valid = name.len() <= 255 && name.bytes().all(|byte| byte != b':' && (b' '..=b'~').contains(&byte));
    if valid { Ok(name.to_owned()) } else { Err(wrong(name, "a name of a descriptor")) }
}

pub(crate) fn syslog_level(text: &str) -> Parsed<u8> {
    const NAMES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
    let position = NAMES.iter().position(|name| *name == text).and_then(|n| u8::try_from(n).ok());
    position.or_else(|| text.parse().ok().filter(|n| *n < 8)).ok_or_else(|| wrong(text, "a log level such as info"))
}

/// A limit as `value` or `soft:hard`; times may carry units.
fn limit(resource: Resource, text: &str) -> Parsed<Limit> {
    let one = |text: &str| limit_value(resource, text);
    let limit = match text.split_once(':') {
        Some((soft, hard)) => Limit { soft: one(soft)?, hard: one(hard)? },
        None => Limit { soft: one(text)?, hard: one(text)? },
    };
    if limit.soft.unwrap_or(u64::MAX) > limit.hard.unwrap_or(u64::MAX) {
        Err(wrong(text, "a limit whose soft part is below its hard part"))
    } else {
        Ok(limit)
    }
}

fn limit_value(resource: Resource, text: &str) -> Parsed<Option<u64>> {
    let count = |text: &str| text.parse::<u64>().map_err(|_| wrong(text, "a number or infinity"));
    match resource {
        Resource::Nice => {
            let (value, low) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
                (Some(nice), _) => (20_u64.checked_sub(count(nice)?), 1),
                (_, Some(nice)) => (count(nice)?.checked_add(20), 20),
                (None, None) => (Some(count(text)?), 0),
            };
            let value = value.filter(|value| (low..=40).contains(value));
            value.map(Some).ok_or_else(|| wrong(text, "a nice level from -20 to +19 or a limit from 0 to 40"))
        }
        _ if text == "infinity" => Ok(None),
        Resource::Cpu => Ok(span(text)?.finite().map(|d| d.as_secs() + u64::from(d.subsec_nanos() > 0))),
        Resource::Rttime => match text.trim().parse::<u64>() {
            Ok(microseconds) => Ok(Some(microseconds)),
            Err(_) => Ok(span(text)?.finite().map(|d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))),
        },
        Resource::Nproc | Resource::Nofile | Resource::Locks | Resource::Sigpending | Resource::Rtprio => {
            count(text.trim()).map(Some)
        }
        Resource::Fsize
        | Resource::Data
        | Resource::Stack
        | Resource::Core
        | Resource::Rss
        | Resource::As
        | Resource::Memlock
        | Resource::Msgqueue => size(text, 1024).map(Some),
    }
}

fn set_limit(exec: &mut Exec, resource: Resource, value: &Value<'_>) -> Parsed<()> {
    let limit = limit(resource, &value.text()?)?;
    exec.limits.retain(|(have, _)| *have != resource);
    exec.limits.push((resource, limit));
    Ok(())
}

/// Is this a name or a number that a user or a group may have?
fn is_account(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Ok(number) = name.parse::<u32>()
        && digits(name)
    {
        // These two mean "nobody in particular" in the kernel's interfaces.
        return !matches!(number, 0xffff | u32::MAX) && (name == "0" || !name.starts_with('0'));
    }
    !name.is_empty()
        && !name.starts_with(' ')
        && !name.ends_with(' ')
        && !name.contains(|c: char| c == ':' || c == '/' || c.is_control())
        && !digits(name)
        && !name.strip_prefix('-').is_some_and(digits)
        && !matches!(name, "." | "..")
}

fn account(name: String) -> Parsed<String> {
    if is_account(&name) { Ok(name) } else { Err(wrong(&name, "a user or group")) }
}

fn user_name(value: &Value<'_>) -> Parsed<Option<String>> {
    value.optional()?.map(account).transpose()
}

fn supplementary_groups(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        exec.supplementary_groups.clear();
        return Ok(());
    }
    each(value, Escapes::Plain, |word| push(&mut exec.supplementary_groups, account(word)?))
}

/// Names of variables, or assignments where these are taken, too; each once.
fn variables(list: &mut Vec<String>, value: &Value<'_>, assignments: bool) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let escapes = if assignments { Escapes::C } else { Escapes::Plain };
    each(value, escapes, |word| {
        let valid = crate::environment::is_name(&word) || (assignments && assignment(&word).is_some());
        match valid {
            true if list.contains(&word) => Ok(()),
            true => push(list, word),
            false => Err(wrong(&word, "a name of a variable")),
        }
    })
}

fn environment(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        exec.environment = Environment::new();
        return Ok(());
    }
    each(value, Escapes::C, |word| match assignment(&word) {
        Some(_) if exec.environment.count() >= VARIABLES_MAX => {
            Err(crate::value::ValueError(format!("more than {VARIABLES_MAX} variables")))
        }
        Some((name, content)) => {
            exec.environment.set(name, content);
            Ok(())
        }
        None => Err(wrong(&word, "an assignment NAME=value")),
    })
}

fn environment_file(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        exec.environment_files.clear();
        return Ok(());
    };
    let path = text.strip_prefix('-');
    let file = EnvironmentFile { path: absolute(path.unwrap_or(&text))?, optional: path.is_some() };
    push(&mut exec.environment_files, file)
}

fn working_directory(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        (exec.working_directory, exec.working_directory_optional) = (None, false);
        return Ok(());
    };
    let path = text.strip_prefix('-');
    let directory = path.unwrap_or(&text);
    exec.working_directory = Some(if directory == "~" { "~".to_owned() } else { absolute(directory)? });
    exec.working_directory_optional = path.is_some();
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

/// A number, or nothing.
fn bounded(value: &Value<'_>, low: i64, high: i64) -> Parsed<Option<i32>> {
    if value.is_empty() { Ok(None) } else { Ok(i32::try_from(number(value.raw, low, high)?).ok()) }
}

fn terminal_size(value: &Value<'_>) -> Parsed<Option<u32>> {
    if value.is_empty() { Ok(None) } else { Ok(u32::try_from(number(value.raw, 0, i64::from(u32::MAX))?).ok()) }
}

/// Adds to the data that the processes read from standard input.
fn add_input(exec: &mut Exec, data: &[u8]) -> Parsed<()> {
    if exec.input_data.len() + data.len() > INPUT_MAX {
        return Err(crate::value::ValueError(format!("more than {INPUT_MAX} bytes of input")));
    }
    exec.input_data.extend_from_slice(data);
    Ok(())
}

fn input_text(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        exec.input_data.clear();
        return Ok(());
    }
    let text = String::from_utf8_lossy(&unescape(value.raw)?).into_owned();
    let line = format!("{}\n", value.specifiers.expand(&text)?);
    add_input(exec, line.as_bytes())
}

fn input_data(exec: &mut Exec, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        exec.input_data.clear();
        return Ok(());
    }
    let data = base64(value.raw).ok_or_else(|| crate::value::ValueError("the data is not base64".into()))?;
    add_input(exec, &data)
}

fn file_mode(value: &Value<'_>) -> Parsed<Option<u32>> {
    mode(value.raw).map(Some)
}

/// Takes a setting of the context, if the key is one.
pub(crate) fn apply(exec: &mut Exec, key: &str, value: &Value<'_>) -> Option<Parsed<()>> {
    if let Some(apply) = find(TABLE, key) {
        return Some(apply(exec, value));
    }
    let apply = find(sandbox_table::TABLE, key).or_else(|| find(mounts_table::TABLE, key))?;
    Some(apply(&mut exec.sandbox, value))
}

pub(crate) const TABLE: Table<Exec> = &[
    ("User", set!(user, user_name)),
    ("Group", set!(group, user_name)),
    ("SupplementaryGroups", supplementary_groups),
    ("WorkingDirectory", working_directory),
    ("UMask", set!(umask, |v: &Value<'_>| mode(v.raw))),
    ("Environment", environment),
    ("EnvironmentFile", environment_file),
    ("PassEnvironment", |exec, value| variables(&mut exec.pass_environment, value, false)),
    ("UnsetEnvironment", |exec, value| variables(&mut exec.unset_environment, value, true)),
    ("RuntimeDirectory", |exec, value| exec.runtime.read(value, Links::Allowed)),
    ("StateDirectory", |exec, value| exec.state.read(value, Links::Allowed)),
    ("CacheDirectory", |exec, value| exec.cache.read(value, Links::Allowed)),
    ("LogsDirectory", |exec, value| exec.logs.read(value, Links::Allowed)),
    ("ConfigurationDirectory", |exec, value| exec.configuration.read(value, Links::Refused)),
    ("RuntimeDirectoryMode", |exec, value| file_mode(value).map(|m| exec.runtime.mode = m)),
    ("StateDirectoryMode", |exec, value| file_mode(value).map(|m| exec.state.mode = m)),
    ("CacheDirectoryMode", |exec, value| file_mode(value).map(|m| exec.cache.mode = m)),
    ("LogsDirectoryMode", |exec, value| file_mode(value).map(|m| exec.logs.mode = m)),
    ("ConfigurationDirectoryMode", |exec, value| file_mode(value).map(|m| exec.configuration.mode = m)),
    ("RuntimeDirectoryPreserve", set!(runtime_preserve, |v: &Value<'_>| Preserve::parse(v.raw))),
    ("StandardInput", set!(input, |v: &Value<'_>| stream(v, true))),
    ("StandardOutput", set!(output, |v: &Value<'_>| stream(v, false).map(Some))),
    ("StandardError", set!(error, |v: &Value<'_>| stream(v, false).map(Some))),
    ("StandardInputText", input_text),
    ("StandardInputData", input_data),
    ("NonBlocking", set!(non_blocking, flag)),
    ("TimeoutCleanSec", set!(timeout_clean, |v: &Value<'_>| span(v.raw))),
    ("TTYPath", |exec, value| {
        exec.tty_path = value.optional()?.map(|path| absolute(&path)).transpose()?;
        Ok(())
    }),
    ("TTYRows", set!(tty_rows, terminal_size)),
    ("TTYColumns", set!(tty_columns, terminal_size)),
    ("TTYReset", set!(tty_reset, flag)),
    ("TTYVHangup", set!(tty_vhangup, flag)),
    ("TTYVTDisallocate", set!(tty_vt_disallocate, flag)),
    ("SyslogIdentifier", set!(syslog_identifier, |v: &Value<'_>| v.optional())),
    ("SyslogLevel", set!(syslog_level, |v: &Value<'_>| syslog_level(v.raw))),
    ("SyslogLevelPrefix", set!(syslog_level_prefix, flag)),
    ("Nice", set!(nice, |v: &Value<'_>| bounded(v, -20, 19))),
    ("OOMScoreAdjust", set!(oom_score_adjust, |v: &Value<'_>| bounded(v, -1000, 1000))),
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
