//! Namespaces with one manager as process 1, on a layer above the common root, in a control group of its own.
//!
//! The control group tells what processor time everything in it ever used, whoever reaped it. What is asked of a
//! manager is asked by a client outside of the group, which does not count.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::kind::Kind;

/// Run by process 1 before it becomes the manager. `@WORD@` is replaced.
const STAGE: &str = "set -e
mount -t tmpfs -o mode=755 bench '@LAYER@'
mkdir '@LAYER@/upper' '@LAYER@/work' '@LAYER@/root'
mount -t overlay -o 'lowerdir=@FILES@:@ROOT@,upperdir=@LAYER@/upper,workdir=@LAYER@/work' overlay '@LAYER@/root'
cd '@LAYER@/root'
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 run run
mount -t tmpfs tmp tmp
mkdir run/service
pivot_root . .
umount -l .
cd /
exec env -i PATH=/usr/bin:/usr/sbin container=ferrite-bench SYSTEMD_UNIT_PATH=/bench/units \
    SYSTEMD_GENERATOR_PATH=/bench/generators SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/bench/generators @COMMAND@
";
/// Steps of a wait.
const STEP: Duration = Duration::from_millis(100);
/// A tree that uses no more than `STILL` of a processor in so many steps has done its work.
const QUIET_STEPS: usize = 10;
const STILL: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(300);

/// A running manager. It ends with this value.
pub(crate) struct Place {
    kind: Kind,
    outer: Child,
    /// Process 1, as this process sees it.
    pub(crate) pid: u32,
    group: PathBuf,
    log: PathBuf,
}

/// Memory of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) rss_kib: u64,
    pub(crate) pss_kib: u64,
}

impl Place {
    /// Starts a manager and waits until it listens and is quiet.
    pub(crate) fn start(kind: Kind, root: &Path, out: &Path) -> anyhow::Result<Place> {
        let group = own_group()?.join(format!("ferrite-bench-{}", std::process::id()));
        fs::create_dir_all(&group).with_context(|| format!("making the control group '{}'", group.display()))?;
        let layer = crate::folder(&out.join("layer"))?;
        let stage = out.join("stage");
        let text = STAGE
            .replace("@LAYER@", &layer.to_string_lossy())
            .replace("@FILES@", &out.join(kind.name()).to_string_lossy())
            .replace("@ROOT@", &root.to_string_lossy())
            .replace("@COMMAND@", kind.command());
        fs::write(&stage, text).context("writing what process 1 does first")?;
        let log = out.join(format!("{}.log", kind.name()));
        let file = fs::File::create(&log).context("making a log")?;
        let enter =
            format!("echo 0 > '{}/cgroup.procs' && exec unshare --cgroup sh '{}'", group.display(), stage.display());
        let outer = Command::new("unshare")
            .args(["--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--kill-child=KILL", "sh", "-c", &enter])
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("sharing a log")?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .context("starting unshare: is util-linux installed?")?;
        let mut place = Place { kind, outer, pid: 0, group, log };
        let children = format!("/proc/{0}/task/{0}/children", place.outer.id());
        place.wait("process 1", |place| {
            place.pid = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            Some(())
        })?;
        place.wait("the manager", |place| place.path(kind.ready_file()).exists().then_some(()))?;
        place.settle()?;
        Ok(place)
    }

    /// A file inside, as this process reaches it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{name}", self.pid))
    }

    /// Runs a command inside, and waits for its end.
    pub(crate) fn run(&self, command: &str) -> anyhow::Result<()> {
        crate::peer::run(&mut self.command(command)).with_context(|| self.said())
    }

    /// A command inside; it is not in the control group.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut words = Command::new("nsenter");
        words.args(["--target", &self.pid.to_string(), "--mount", "--pid", "--cgroup", "sh", "-c", command]);
        words.env_clear().env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin").stdin(Stdio::null());
        words
    }

    /// Waits until something is there.
    pub(crate) fn wait<T>(&mut self, what: &str, mut found: impl FnMut(&mut Place) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            if let Some(status) = self.outer.try_wait().context("waiting for process 1")? {
                bail!("process 1 ended ({status}) before there was {what}; {}", self.said());
            }
            ensure!(Instant::now() < deadline, "no {what} within {} s; {}", PATIENCE.as_secs(), self.said());
            std::thread::park_timeout(STEP);
        }
    }

    /// Waits until the tree does nothing any more.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        let mut last = Vec::new();
        self.wait("rest", |place| {
            last.push(place.used().ok()?);
            let before = last.len().checked_sub(QUIET_STEPS + 1).and_then(|at| last.get(at));
            let now = last.last().copied().unwrap_or_default();
            before.is_some_and(|before| now.saturating_sub(*before) <= STILL).then_some(())
        })
    }

    /// Processor time of everything in the control group since it was made.
    pub(crate) fn used(&self) -> anyhow::Result<Duration> {
        let text = fs::read_to_string(self.group.join("cpu.stat")).context("reading cpu.stat of the control group")?;
        let value = text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok());
        Ok(Duration::from_micros(value.context("cpu.stat has no usage_usec")?))
    }

    /// Processor time of process 1 alone, in its own nanoseconds.
    pub(crate) fn used_by_first(&self) -> anyhow::Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.pid)).context("reading schedstat")?;
        let value = text.split_whitespace().next().and_then(|word| word.parse().ok());
        Ok(Duration::from_nanos(value.context("schedstat is empty")?))
    }

    /// All processes inside with their names, process 1 among them.
    pub(crate) fn processes(&self) -> BTreeMap<u32, String> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.group.clone()];
        while let Some(folder) = open.pop() {
            // A group that went away meanwhile has no processes.
            let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines().filter_map(|line| line.parse().ok()) {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                found.insert(pid, name.trim_end().to_owned());
            }
            let folders = fs::read_dir(&folder).into_iter().flatten().flatten();
            open.extend(folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
        }
        found
    }

    /// Ended children of process 1 that it did not reap.
    pub(crate) fn zombies(&self) -> usize {
        let is_one = |text: &str| {
            let mut words = text.rsplit(')').next().unwrap_or_default().split_whitespace();
            words.next() == Some("Z") && words.next() == Some(&self.pid.to_string())
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter(|entry| fs::read_to_string(entry.path().join("stat")).is_ok_and(|text| is_one(&text))).count()
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        format!("{} said:\n{}", self.kind.name(), end.join("\n"))
    }
}

/// The memory of a process; nothing if it ended.
pub(crate) fn memory(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or_default()
    };
    Memory { rss_kib: value("Rss:"), pss_kib: value("Pss:") }
}

/// The control group of this process in the second version of them.
fn own_group() -> anyhow::Result<PathBuf> {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
    let mount = mounts.into_iter().find(|path| path.join("cgroup.procs").exists() && path.join("cpu.stat").exists());
    let own = fs::read_to_string("/proc/self/cgroup").context("reading the own control group")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/")).context("no control group of version 2")?;
    Ok(mount.context("no hierarchy of control groups of version 2 is mounted")?.join(own))
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whatever cannot be ended or removed any more is left to the kernel.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        let deadline = Instant::now() + PATIENCE;
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::park_timeout(STEP);
        }
        remove_groups(&self.group);
    }
}

fn remove_groups(top: &Path) {
    let mut open = vec![top.to_path_buf()];
    let mut all = Vec::new();
    while let Some(folder) = open.pop() {
        let folders = fs::read_dir(&folder).into_iter().flatten().flatten();
        open.extend(folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
        all.push(folder);
    }
    for folder in all.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
}
