//! `systemctl clean`: removes the directories of a unit that is down, or what it stored with PID 1.
//!
//! The files are removed by a child, which may take as long as it takes; jobs of the unit wait until it ended.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::time::Instant;

use ferrite_control::{ErrorKind, Reply};
use ferrite_unit::{LoadState, Unit, UnitKind};

use crate::engine::{Engine, Process, Role};
use crate::jobs::{Active, UnitId};
use crate::machine::{Exit, State};
use crate::sandbox::places::BASES;
use crate::server::{ClientId, Refusal, error, not_found};
use crate::timers::TimerKey;
use crate::units::Kind;

/// What can be removed, in the order of [`BASES`]; the last is no directory.
const KINDS: [&str; 6] = ["runtime", "state", "cache", "logs", "configuration", "fdstore"];
/// Units of these kinds have something to be removed.
const CLEANABLE: [UnitKind; 5] =
    [UnitKind::Service, UnitKind::Socket, UnitKind::Mount, UnitKind::Swap, UnitKind::Timer];

/// The kinds that a client named.
fn kinds_of(what: &[String]) -> Result<BTreeSet<&'static str>, Refusal> {
    let mut kinds = BTreeSet::new();
    for word in what {
        match KINDS.iter().find(|kind| *kind == word) {
            Some(kind) => drop(kinds.insert(*kind)),
            None if word == "all" => kinds.extend(KINDS),
            None => return Err((ErrorKind::BadRequest, format!("Invalid resource type: {word}"))),
        }
    }
    Ok(kinds)
}

/// The directories of a unit and the links to them. Pure.
fn paths(unit: &Unit, kinds: &BTreeSet<&'static str>) -> Vec<String> {
    let mut paths = Vec::new();
    if let Some(exec) = unit.exec() {
        let all = KINDS.into_iter().zip(BASES).zip(exec.all_directories());
        for ((_, base), directories) in all.filter(|((kind, _), _)| kinds.contains(kind)) {
            for item in &directories.items {
                paths.extend(item.links.iter().map(|link| format!("{base}/{link}")));
                paths.push(format!("{base}/{}", item.path));
                if base != "/etc" {
                    paths.push(format!("{base}/private/{}", item.path));
                }
            }
        }
    }
    if unit.name.kind() == UnitKind::Timer && kinds.contains("state") {
        paths.push(crate::timer_unit::stamp_path(unit.name.as_str()));
    }
    paths
}

/// Removes a file, a link, or a directory with everything in it.
fn remove(path: &str, mounts: &[String]) -> io::Result<()> {
    let below = format!("{path}/");
    if let Some(place) = mounts.iter().find(|place| *place == path || place.starts_with(&below)) {
        return Err(io::Error::other(format!("{place} is mounted, leaving it alone")));
    }
    let removed = match fs::symlink_metadata(path) {
        Ok(status) if status.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes them all, as far as that is possible. Runs in the child.
fn remove_all(paths: &[String]) -> Vec<String> {
    let table = crate::mount_table::text();
    let mounts: Vec<String> = crate::mount_table::lines(&table).map(|line| line.place).collect();
    let fault = |path: &String| Some(format!("removing {path}: {}", remove(path, &mounts).err()?));
    paths.iter().filter_map(fault).collect()
}

impl Engine {
    /// Removes what belongs to a unit; the answer comes when it is gone.
    pub fn clean(&mut self, client: ClientId, unit: &str, what: &[String]) -> Option<Reply> {
        match self.try_clean(client, unit, what) {
            Ok(reply) => reply,
            Err((kind, text)) => Some(error(kind, text)),
        }
    }

    fn try_clean(&mut self, client: ClientId, unit: &str, what: &[String]) -> Result<Option<Reply>, Refusal> {
        let kinds = kinds_of(what)?;
        let (id, name) = self.existing(unit)?;
        let runtime = self.units.get(id).ok_or_else(|| not_found(&name))?;
        if !CLEANABLE.contains(&name.kind()) {
            return Err((ErrorKind::NotSupported, format!("Unit '{name}' does not support cleaning.")));
        }
        let rests = match runtime.kind {
            Kind::Service(machine) => matches!(machine.state, State::Dead | State::DeadResourcesPinned),
            Kind::Other(_) | Kind::Passive(_) | Kind::Inert => runtime.active() == Active::Inactive,
        };
        let busy = runtime.unit.load != LoadState::Loaded || runtime.job.is_some() || runtime.cleaner.is_some();
        if !rests || busy {
            return Err((ErrorKind::UnitRefuses, "Unit is not inactive or has pending job.".into()));
        }
        let stored = kinds.contains("fdstore") && !runtime.stored.is_empty();
        let paths = paths(&runtime.unit, &kinds);
        if paths.is_empty() && !stored {
            return Err((ErrorKind::UnitRefuses, "No matching resources found.".into()));
        }
        if stored {
            self.close_stored(id);
        }
        if paths.is_empty() {
            return Ok(Some(Reply::Done));
        }
        self.start_cleaning(id, &paths).map_err(|fault| (ErrorKind::Failed, format!("making a process: {fault}")))?;
        self.kinds.cleaning.push((client, id));
        Ok(None)
    }

    fn start_cleaning(&mut self, id: UnitId, paths: &[String]) -> io::Result<()> {
        let (reader, writer) = crate::spawn::report_pipe()?;
        let child = ferrite_sys::process::fork_into(None, || {
            let faults = remove_all(paths);
            if faults.is_empty() {
                return 0;
            }
            // The exit status tells of the failure if the pipe is broken.
            let _ = fs::File::from(writer).write_all(format!("1 {}\n", faults.join("; ")).as_bytes());
            1
        })?;
        self.watch_report(child.pid, reader);
        self.processes.insert(child.pid, Process { unit: None, role: Role::Cleaner(id) });
        let title = self.title(id);
        self.log.info(&format!("{title}: removing {}", paths.join(" ")));
        let Some(runtime) = self.units.get_mut(id) else { return Ok(()) };
        runtime.cleaner = Some(child.pid);
        if let Some(limit) = runtime.unit.exec().and_then(|exec| exec.timeout_clean.finite()) {
            self.timers.arm(TimerKey::Cleaning(id), Instant::now(), limit);
        }
        Ok(())
    }

    /// It took longer than `TimeoutCleanSec=`.
    pub fn cleaning_timed_out(&mut self, id: UnitId) {
        let Some(pid) = self.units.get(id).and_then(|runtime| runtime.cleaner) else { return };
        let title = self.title(id);
        self.log.error(&format!("{title}: removing its files takes too long, killing process {pid}"));
        // One that ended in the meantime is reaped in a moment.
        let _ = ferrite_sys::signal::send(pid, 9);
    }

    /// The files are gone, or not.
    pub fn cleaning_ended(&mut self, id: UnitId, exit: Exit) {
        self.timers.disarm(TimerKey::Cleaning(id));
        let job = self.units.get_mut(id).and_then(|runtime| {
            runtime.cleaner = None;
            runtime.job
        });
        self.ready.extend(job);
        self.idle_units.insert(id);
        let reply = match exit {
            Exit::Code(0) => Reply::Done,
            _ => error(ErrorKind::Failed, "not everything could be removed, the log tells why".into()),
        };
        self.answer_cleaning(|other| other == id, &reply);
    }

    /// The next image does not know who waits here.
    pub fn give_up_cleaning(&mut self) {
        let text = "PID 1 is executed again, the files are being removed".to_owned();
        self.answer_cleaning(|_| true, &error(ErrorKind::Failed, text));
    }

    fn answer_cleaning(&mut self, which: impl Fn(UnitId) -> bool, reply: &Reply) {
        let (done, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.kinds.cleaning).into_iter().partition(|(_, id)| which(*id));
        self.kinds.cleaning = open;
        for (client, _) in done {
            self.send(client, reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_systemd() {
        let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(kinds_of(&words("cache,runtime")).unwrap(), BTreeSet::from(["cache", "runtime"]));
        assert_eq!(kinds_of(&words("all")).unwrap().len(), 6);
        assert_eq!(kinds_of(&words("state,x")).unwrap_err().1, "Invalid resource type: x");
    }

    #[test]
    fn what_is_mounted_below_is_left_alone_and_what_is_not_there_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir_all(at("a/b")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        let fault = remove(&at("a"), &[at("a/b")]).unwrap_err();
        assert!(fault.to_string().contains("is mounted"), "{fault}");
        assert!(remove(&at("link"), &[at("a/b")]).is_ok() && fs::exists(at("a/b")).unwrap());
        assert!(remove(&at("a"), &[at("ab")]).is_ok() && !fs::exists(at("a")).unwrap());
        assert!(remove(&at("a"), &[]).is_ok());
    }
}
