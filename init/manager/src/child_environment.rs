//! The environment of a new process: what PID 1 gives, then what the unit says. Runs in the child,
//! or before there is one if it needs no copy of PID 1.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ferrite_unit::environment::Environment;
use ferrite_unit::exec::Exec;

use crate::accounts::{Accounts, User};
use crate::child::{Fault, Invocation, PATH, Pressure};
use crate::streams::Journal;

/// How long a time the kernel counts stalls in, in microseconds, for a process that watches the pressure on memory.
const PRESSURE_WINDOW_US: u64 = 2_000_000;

/// What the process is known to be when its environment is made.
pub struct Known<'a> {
    /// The accounts of the machine.
    pub accounts: &'a Accounts,
    /// Its user, if the unit names one.
    pub user: Option<&'a User>,
    /// User and group that own what is made for the unit.
    pub owner: (u32, u32),
    /// The stream to the journal.
    pub journal: Option<Journal>,
    /// The folder of credentials.
    pub credentials: Option<&'a str>,
    /// Its process id.
    pub pid: &'a str,
}

/// Everything but the open files, which are named when they are in their places.
pub fn make(invocation: &Invocation<'_>, known: &Known<'_>) -> Result<Environment, Fault> {
    let exec = invocation.exec;
    let mut environment = Environment::new();
    base(&mut environment, exec, known);
    crate::directories::make(exec, known.owner.0, known.owner.1, &mut environment)?;
    environment.set("SYSTEMD_EXEC_PID", known.pid);
    if let Some(Journal { device, inode }) = known.journal {
        environment.set("JOURNAL_STREAM", &format!("{device}:{inode}"));
    }
    if let Some(folder) = known.credentials {
        environment.set("CREDENTIALS_DIRECTORY", folder);
    }
    pressure(&mut environment, &invocation.surroundings.pressure, known.owner);
    for (name, value) in &invocation.variables {
        environment.set(name, value);
        if name == "WATCHDOG_USEC" {
            environment.set("WATCHDOG_PID", known.pid);
        }
    }
    let search = &exec.sandbox.mounts.exec_search_path;
    if !search.is_empty() {
        environment.set("PATH", &search.join(":"));
    }
    for (name, value) in &invocation.surroundings.passed {
        environment.set(name, value);
    }
    for (name, value) in exec.environment.iter() {
        environment.set(name, value);
    }
    for (name, value) in &invocation.file_variables {
        environment.set(name, value);
    }
    Ok(environment)
}

/// `UnsetEnvironment=`: names, or whole assignments.
pub fn unset(environment: &mut Environment, exec: &Exec) {
    for word in &exec.unset_environment {
        match word.split_once('=') {
            Some((name, value)) if environment.get(name) == Some(value) => environment.unset(name),
            Some(_) => {}
            None => environment.unset(word),
        }
    }
}

fn base(environment: &mut Environment, exec: &Exec, known: &Known<'_>) {
    let user = known.user;
    environment.set("LANG", "C.UTF-8");
    environment.set("PATH", PATH);
    environment.set("USER", user.map_or("root", |user| user.name.as_str()));
    // A daemon of root has no home unless it asks for one: a getty, for instance, would keep that of root.
    let login = exec.sandbox.set_login_environment.unwrap_or(user.is_some() || exec.sandbox.pam_name.is_some());
    let root = if user.is_none() && login { known.accounts.user("root") } else { None };
    if let Some(user) = user.or(root.as_ref()).filter(|_| login) {
        environment.set("LOGNAME", &user.name);
        environment.set("HOME", &user.home);
        environment.set("SHELL", &user.shell);
    }
    if crate::streams::uses_terminal(exec) {
        let serial = crate::streams::terminal_path(exec).starts_with("/dev/ttyS");
        environment.set("TERM", if serial { "vt220" } else { "linux" });
    }
}

/// Where the process may watch the pressure on its memory, if it may.
fn pressure(environment: &mut Environment, pressure: &Pressure, owner: (u32, u32)) {
    match pressure {
        Pressure::Untold => {}
        Pressure::Off => environment.set("MEMORY_PRESSURE_WATCH", "/dev/null"),
        Pressure::Watch { file, threshold_us } => {
            // A kernel that counts no stalls has no such file; then there is nothing to watch.
            if give(file, owner).is_ok() {
                environment.set("MEMORY_PRESSURE_WATCH", file);
                let line = format!("some {threshold_us} {PRESSURE_WINDOW_US}\0");
                environment.set("MEMORY_PRESSURE_WRITE", &STANDARD.encode(line));
            }
        }
    }
}

/// Hands a file over; that of a process of root is its own as it is made.
fn give(file: &str, owner: (u32, u32)) -> std::io::Result<()> {
    let now = std::fs::metadata(file)?;
    if (now.uid(), now.gid(), now.mode() & 0o777) == (owner.0, owner.1, 0o644) {
        return Ok(());
    }
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644))?;
    chown(file, Some(owner.0), Some(owner.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_unset_only_if_it_is_the_one() {
        let mut environment = Environment::new();
        environment.set("A", "1");
        environment.set("B", "2");
        environment.set("C", "3");
        let unset_environment = vec!["A=1".to_owned(), "B=9".to_owned(), "C".to_owned()];
        unset(&mut environment, &Exec { unset_environment, ..Exec::default() });
        assert_eq!(environment.iter().collect::<Vec<_>>(), [("B", "2")]);
    }
}
