//! Units that are made at each start and reload: from /etc/fstab, from the kernel command line, by the generators of
//! packages. All of it runs in a child; PID 1 waits for it only before the first unit starts, and not for long.
//!
//! The child makes everything beside what is in use, and puts it in its place at the end.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ferrite_unit::UnitName;
use ferrite_unit::specifier::Host;

use crate::engine::{Engine, Process, Role};
use crate::fstab::{self, Output};
use crate::log::Log;
use crate::timers::TimerKey;

/// All generators together may take so long.
const TIME: Duration = Duration::from_secs(30);
/// Before the first unit starts.
pub const BOOT_TIME: Duration = Duration::from_secs(35);
/// Where the programs lie, most important first.
const PROGRAMS: [&str; 4] = [
    "/run/systemd/system-generators",
    "/etc/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
];
/// Where their units go: ordinary ones, ones that come before the administrator's, ones after all others.
pub const FOLDERS: [&str; 3] =
    ["/run/ferrite/generator", "/run/ferrite/generator.early", "/run/ferrite/generator.late"];

/// What a run of all generators needs to know.
#[derive(Debug, Clone)]
pub struct Job {
    /// Where programs are searched.
    programs: Vec<String>,
    fstab: String,
    command_line: String,
    default_unit: String,
    host: Host,
    first_boot: bool,
}

impl Engine {
    /// What is to be done; `None`: this PID 1 has no generators.
    fn generator_job(&self) -> Option<Job> {
        let programs = match &self.settings.generator_path {
            Some(path) => path.split(':').filter(|folder| folder.starts_with('/')).map(str::to_owned).collect(),
            None if self.settings.real_boot => PROGRAMS.map(str::to_owned).to_vec(),
            None => return None,
        };
        let facts = fs::read_to_string("/run/ferrite/boot").unwrap_or_default();
        Some(Job {
            programs,
            fstab: self.settings.fstab.clone(),
            command_line: self.settings.command_line.clone(),
            default_unit: self.settings.default_unit.clone(),
            host: self.host.clone(),
            first_boot: facts.lines().any(|line| line == "first-boot=yes"),
        })
    }

    /// Runs all generators before the first unit is loaded.
    pub fn generate_first(&mut self) {
        let Some(job) = self.generator_job() else { return };
        self.moments.generators_start = self.now_us();
        if !crate::shutdown::bounded(BOOT_TIME, &self.watch, || job.run(&self.log)) {
            self.log.error(&format!("generators take longer than {} s, going on without", BOOT_TIME.as_secs()));
        }
        self.moments.generators_finish = self.now_us();
    }

    /// Starts all generators beside the loop; `false`: there are none to wait for.
    pub fn generate_again(&mut self) -> bool {
        let Some(job) = self.generator_job() else { return false };
        match ferrite_sys::process::fork_into(None, || job.run(&self.log)) {
            Ok(child) => {
                self.processes.insert(child.pid, Process { unit: None, role: Role::Generators });
                self.timers.arm(TimerKey::Generators, Instant::now(), BOOT_TIME);
                true
            }
            Err(error) => {
                self.log.error(&format!("starting the generators: {error}, going on with what they made before"));
                false
            }
        }
    }

    /// They take too long: their end comes with the signal.
    pub fn generators_timed_out(&mut self) {
        let running = self.processes.iter().filter(|(_, process)| process.role == Role::Generators);
        for (pid, _) in running {
            self.log.error("the generators take too long, going on with what they made before");
            let _ = ferrite_sys::signal::send(*pid, 9);
        }
    }
}

impl Job {
    /// Everything, in the child; returns its exit status.
    fn run(&self, log: &Log) -> i32 {
        match self.try_run(log) {
            Ok(()) => 0,
            Err(error) => {
                log.error(&format!("making units: {error}, going on with what was made before"));
                1
            }
        }
    }

    fn try_run(&self, log: &Log) -> io::Result<()> {
        let fresh = FOLDERS.map(|folder| format!("{folder}.new"));
        for folder in &fresh {
            remove(folder)?;
            fs::create_dir_all(folder)?;
        }
        let [normal, early, _] = &fresh;
        let made = fstab::units(&fs::read_to_string(&self.fstab).unwrap_or_default());
        made.notes.iter().for_each(|note| log.warning(note));
        write(normal, &made.outputs, log);
        write(early, &of_command_line(&self.command_line, &self.default_unit), log);
        self.run_programs(&fresh, log)?;
        for (folder, fresh) in FOLDERS.iter().zip(&fresh) {
            let old = format!("{folder}.old");
            remove(&old)?;
            match fs::rename(folder, &old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::rename(fresh, folder)?;
            remove(&old)?;
        }
        Ok(())
    }

    /// Runs the programs all at once. One that fails or takes too long costs its own units only.
    fn run_programs(&self, folders: &[String], log: &Log) -> io::Result<()> {
        ferrite_sys::signal::reset_for_program(true)?;
        let mut children = Vec::new();
        for program in programs(&self.programs) {
            match self.command(&program, folders).spawn() {
                Ok(child) => children.push((program, child)),
                Err(error) => log.warning(&format!("starting generator {}: {error}", program.display())),
            }
        }
        let deadline = Instant::now() + TIME;
        for (program, mut child) in children {
            let file = rustix::process::Pid::from_child(&child);
            let left = deadline.saturating_duration_since(Instant::now());
            if !ended_within(file, left) {
                log.error(&format!("generator {} takes too long, ending it", program.display()));
                let _ = ferrite_sys::signal::send_to_group(i32::try_from(child.id()).unwrap_or(0), 9);
            }
            match child.wait() {
                Ok(status) if !status.success() => {
                    log.warning(&format!("generator {}: {status}, ignoring", program.display()));
                }
                Ok(_) => {}
                Err(error) => log.warning(&format!("generator {}: {error}", program.display())),
            }
        }
        Ok(())
    }

    fn command(&self, program: &Path, folders: &[String]) -> Command {
        let mut command = Command::new(program);
        command
            .args(folders)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
            .env("LANG", "C.UTF-8")
            .env("SYSTEMD_SCOPE", "system")
            .env("SYSTEMD_IN_INITRD", "0")
            .env("SYSTEMD_FIRST_BOOT", if self.first_boot { "1" } else { "0" })
            .env("SYSTEMD_ARCHITECTURE", &self.host.architecture)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }
}

fn ended_within(pid: rustix::process::Pid, time: Duration) -> bool {
    let Ok(file) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return true };
    let Ok(limit) = rustix::event::Timespec::try_from(time) else { return true };
    let mut files = [rustix::event::PollFd::new(&file, rustix::event::PollFlags::IN)];
    matches!(rustix::event::poll(&mut files, Some(&limit)), Ok(1..))
}

/// The programs of all folders in the order of their names; the first folder that knows a name decides.
fn programs(folders: &[String]) -> Vec<PathBuf> {
    let mut found: std::collections::BTreeMap<std::ffi::OsString, PathBuf> = std::collections::BTreeMap::new();
    for folder in folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            found.entry(entry.file_name()).or_insert_with(|| entry.path());
        }
    }
    // A link to /dev/null and an empty file take a program away.
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.len() > 0 && data.permissions().mode() & 0o111 != 0)
    };
    found.into_values().filter(runs).collect()
}

/// `systemd.mask=` and `systemd.wants=`.
fn of_command_line(command_line: &str, default_unit: &str) -> Vec<Output> {
    let mut outputs = Vec::new();
    for word in command_line.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else { continue };
        if UnitName::parse(value).is_err() {
            continue;
        }
        match key {
            "systemd.mask" => outputs.push(Output::Link(value.to_owned(), "/dev/null".to_owned())),
            "systemd.wants" => {
                outputs.push(Output::Link(format!("{default_unit}.wants/{value}"), format!("../{value}")));
            }
            _ => {}
        }
    }
    outputs
}

fn write(folder: &str, outputs: &[Output], log: &Log) {
    for output in outputs {
        let name = match output {
            Output::File(name, _) | Output::Link(name, _) => format!("{folder}/{name}"),
        };
        let parent = Path::new(&name).parent().map_or(Ok(()), fs::create_dir_all);
        let outcome = parent.and_then(|()| match output {
            Output::File(_, text) => fs::write(&name, text),
            Output::Link(_, target) => std::os::unix::fs::symlink(target, &name),
        });
        if let Err(error) = outcome {
            log.warning(&format!("writing {name}: {error}, going on without"));
        }
    }
}

fn remove(folder: &str) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_masks_and_wants() {
        let outputs =
            of_command_line("quiet systemd.mask=a.service systemd.wants=b.service systemd.mask=../x", "d.target");
        let link = |name: &str, target: &str| Output::Link(name.into(), target.into());
        assert_eq!(outputs, [link("a.service", "/dev/null"), link("d.target.wants/b.service", "../b.service")]);
    }

    #[test]
    fn the_first_folder_with_a_name_decides() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let program = |name: &str| {
            fs::write(at(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
        };
        fs::create_dir_all(at("etc")).unwrap();
        fs::create_dir_all(at("usr")).unwrap();
        ["usr/a", "usr/b", "etc/b", "usr/c"].into_iter().for_each(program);
        std::os::unix::fs::symlink("/dev/null", at("etc/c")).unwrap();
        fs::write(at("usr/d"), "not executable").unwrap();
        let folders = ["etc", "usr"].map(|name| at(name).to_str().unwrap().to_owned());
        assert_eq!(programs(&folders), [at("usr/a"), at("etc/b")]);
    }
}
