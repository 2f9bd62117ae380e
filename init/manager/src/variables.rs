//! What PID 1 puts into the environment of the processes of services.

use ferrite_unit::environment::parse_file;
use ferrite_unit::exec::Exec;
use ferrite_unit::service::NotifyAccess;

use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::machine::{ControlKind, MainProcess};
use crate::spawn::exit_words;
use crate::transaction::Relation;

/// Bytes of an environment file.
const FILE_MAX: u64 = 1 << 20;
/// Bytes of all environment files of a unit.
const FILES_MAX: usize = 4 << 20;

/// The variables of `EnvironmentFile=`. A file that must be there and is not makes the start fail.
pub fn of_files(exec: &Exec, answers: &dyn Fn(&str) -> bool) -> std::io::Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    let mut room = FILES_MAX;
    for file in &exec.environment_files {
        match answers(&file.path) {
            true => {}
            false if file.optional => continue,
            false => {
                let text = format!("reading {}: its file system does not answer", file.path);
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text));
            }
        }
        let paths = match fitting(&file.path) {
            Some(paths) if paths.is_empty() && !file.optional => {
                let text = format!("no environment file fits {}", file.path);
                return Err(std::io::Error::new(std::io::ErrorKind::NotFound, text));
            }
            Some(paths) => paths,
            None => vec![file.path.clone()],
        };
        for path in paths {
            match crate::disk::read_whole(&path, FILE_MAX) {
                // Who wants no variables may say so this way.
                _ if path == "/dev/null" => {}
                Ok(bytes) if bytes.len() > room => {
                    let text = format!("the files up to {path} are longer than {FILES_MAX} bytes together");
                    return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, text));
                }
                Ok(bytes) => {
                    room -= bytes.len();
                    variables.extend(parse_file(&String::from_utf8_lossy(&bytes)));
                }
                Err(_) if file.optional => {}
                Err(error) => return Err(std::io::Error::new(error.kind(), format!("reading {path}: {error}"))),
            }
        }
    }
    Ok(variables)
}

/// The files that a pattern in the last part of a path fits, in order; `None`: it is no pattern.
fn fitting(path: &str) -> Option<Vec<String>> {
    let (directory, pattern) = path.rsplit_once('/').filter(|(_, last)| last.contains(['*', '?', '[']))?;
    let fits = |name: &String| !name.starts_with('.') && crate::facts::matches(pattern.as_bytes(), name.as_bytes());
    let entries = std::fs::read_dir(format!("{directory}/")).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(fits).collect();
    names.sort();
    Some(names.into_iter().map(|name| format!("{directory}/{name}")).collect())
}

impl Engine {
    /// The variables of one process of a unit.
    pub fn variables(&self, id: UnitId, kind: Option<ControlKind>) -> Vec<(String, String)> {
        let Some(runtime) = self.units.get(id) else { return Vec::new() };
        let mut out = self.chosen_variables(runtime.unit.exec());
        out.push(("INVOCATION_ID".to_owned(), runtime.invocation.clone()));
        let mut set = |name: &str, value: String| out.push((name.to_owned(), value));
        let Some(service) = runtime.unit.service() else { return out };
        let access = runtime.notify_access.unwrap_or(service.notify_access);
        let main = kind.is_none() || kind == Some(ControlKind::Start);
        let may_notify = match access {
            NotifyAccess::None => false,
            NotifyAccess::Main => kind.is_none(),
            NotifyAccess::Exec | NotifyAccess::All => true,
        };
        if may_notify || (main && access != NotifyAccess::None) {
            set("NOTIFY_SOCKET", self.settings.notify_socket.clone());
        }
        let setting = service.watchdog.and_then(ferrite_unit::value::Span::finite);
        if main && let Some(after) = runtime.watchdog_override.or(setting) {
            set("WATCHDOG_USEC", after.as_micros().to_string());
        }
        if main && service.fd_store_max > 0 {
            set("FDSTORE", service.fd_store_max.to_string());
        }
        if kind.is_some()
            && let Some(pid) = runtime.main_pid
        {
            set("MAINPID", pid.to_string());
        }
        self.kinds.triggers.get(&id).into_iter().flatten().for_each(|(name, value)| set(name, value.clone()));
        self.connection_variables(id).into_iter().for_each(|(name, value)| set(&name, value));
        if let Some(path) = &service.pid_file {
            set("PIDFILE", path.clone());
        }
        match kind {
            Some(ControlKind::Stop | ControlKind::StopPost) => self.result_variables(id, "", &mut set),
            None | Some(ControlKind::Start | ControlKind::StartPre) => {
                if let Some(cause) = self.cause(id) {
                    self.result_variables(cause, "MONITOR_", &mut set);
                    self.monitor_variables(cause, &mut set);
                }
            }
            Some(ControlKind::Condition | ControlKind::StartPost | ControlKind::Reload) => {}
        }
        out
    }

    /// What was chosen for all services; a user of its own has its own home.
    fn chosen_variables(&self, exec: Option<&Exec>) -> Vec<(String, String)> {
        let own = |name: &str| matches!(name, "HOME" | "LOGNAME" | "SHELL" | "USER");
        let has_user = exec.is_some_and(|exec| exec.user.is_some());
        let chosen = self.manager.environment.iter().filter(|(name, _)| !(has_user && own(name)));
        chosen.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// How a service ended.
    fn result_variables(&self, id: UnitId, prefix: &str, set: &mut dyn FnMut(&str, String)) {
        let Some(machine) = self.units.get(id).and_then(|runtime| runtime.machine()) else { return };
        set(&format!("{prefix}SERVICE_RESULT"), machine.result.as_str().into());
        if let MainProcess::Ended(exit) = machine.main {
            let (code, status) = exit_words(exit);
            set(&format!("{prefix}EXIT_CODE"), code.into());
            set(&format!("{prefix}EXIT_STATUS"), status);
        }
    }

    fn monitor_variables(&self, cause: UnitId, set: &mut dyn FnMut(&str, String)) {
        let Some(runtime) = self.units.get(cause) else { return };
        set("MONITOR_INVOCATION_ID", runtime.invocation.clone());
        set("MONITOR_UNIT", runtime.unit.name.to_string());
    }

    /// The one service whose end starts this one; of several nobody knows which it was.
    fn cause(&self, id: UnitId) -> Option<UnitId> {
        let mut causes = [Relation::OnFailureOf, Relation::OnSuccessOf]
            .into_iter()
            .flat_map(|relation| self.units.related(id, relation))
            .filter(|other| self.units.get(*other).is_some_and(|runtime| runtime.machine().is_some()));
        let only = causes.next()?;
        causes.all(|other| other == only).then_some(only)
    }
}
