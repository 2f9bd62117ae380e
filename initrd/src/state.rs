//! Mounts the state partition, makes or checks or grows its file system, or puts memory in its place.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ferrite_layout::facts::StateKind;
use ferrite_sys::block;
use rustix::mount::{MountFlags, mount};

use crate::deadline::Deadline;
use crate::early_mounts::SYSROOT;
use crate::report::{Reporter, size};
use crate::stage::Stage;
use crate::state_grow::{self, Growth};
use crate::state_kind::{self, Content, HEAD_BYTES, MARK_BYTES, Remedy, Trouble, Trust};
use crate::tool::Tool;
use crate::watchdog::Guard;

const TARGET: &str = "/state";
const TOOL_LIMIT: Duration = Duration::from_secs(900);
/// As in the image. mke2fs would make 1 GiB on a large disk; replaying that after a power cut takes longer than the
/// watchdog waits, at every start again.
const JOURNAL: &str = "size=32";
/// e2fsck: 1 = errors were corrected, 2 = and the machine should restart, which is only for a mounted root.
const CORRECTED: [i32; 3] = [0, 1, 2];

/// What became of the state partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// In a word.
    pub kind: StateKind,
    /// Why, if it is not as it was.
    pub reason: String,
}

/// What mounting needs.
#[derive(Debug)]
pub struct Mounter<'a> {
    /// The state partition, if the disk has one.
    pub device: Option<String>,
    /// Whether the slot has proved itself.
    pub trust: Trust,
    /// Console and log.
    pub report: &'a mut Reporter,
    /// Kept ticking.
    pub guard: &'a Guard,
    /// Put off while a tool runs.
    pub deadline: &'a Deadline,
}

impl Mounter<'_> {
    /// Ends with something mounted on /state, or fails because the slot is under test.
    pub fn run(mut self) -> anyhow::Result<State> {
        let mut kind = StateKind::Ok;
        let mut outcome = self.first_attempt();
        // Create and check may follow one another, each at most once.
        for _ in 0..3 {
            let Err((trouble, error)) = outcome else { break };
            match state_kind::remedy(trouble, self.trust) {
                Remedy::Create => {
                    kind = StateKind::Created;
                    outcome = self.create().and_then(|()| self.mount()).map_err(|error| (Trouble::Unusable, error));
                }
                Remedy::Check => {
                    self.report.warn(Stage::State, &format!("{error:#}; checking the file system"));
                    let checked = self.check().and_then(|()| self.mount());
                    outcome = checked.map_err(|error| (Trouble::UnmountableAfterCheck, error));
                }
                Remedy::Volatile => return self.volatile(error),
                Remedy::Fail => return Err(error),
            }
        }
        outcome.map_err(|(_, error)| error)?;
        self.grow();
        Ok(State { kind, reason: String::new() })
    }

    fn first_attempt(&mut self) -> Result<(), (Trouble, anyhow::Error)> {
        let (content, unfinished) = self.look().map_err(|error| (Trouble::Unusable, error))?;
        if unfinished {
            return Err((Trouble::Unfinished, anyhow!("making its file system was cut off")));
        }
        match content {
            Content::Empty => return Err((Trouble::Empty, anyhow!("it is empty"))),
            Content::Ext4 { with_errors: true, .. } => {
                self.report.warn(Stage::State, "the file system has recorded errors, checking it");
                if let Err(error) = self.check() {
                    self.report.warn(Stage::State, &format!("{error:#}, mounting it all the same"));
                }
            }
            Content::Ext4 { .. } | Content::Foreign => {}
        }
        self.mount().map_err(|error| (Trouble::Unmountable, error))
    }

    fn device(&self) -> anyhow::Result<&str> {
        self.device.as_deref().ok_or_else(|| anyhow!("the disk has no state partition, or ends before it"))
    }

    /// What the partition holds, and whether its file system was never finished.
    fn look(&self) -> anyhow::Result<(Content, bool)> {
        let path = self.device()?;
        let device = File::open(path).with_context(|| format!("opening '{path}'"))?;
        let bytes = block::size_bytes(&device).with_context(|| format!("asking for the size of '{path}'"))?;
        if bytes < (HEAD_BYTES + MARK_BYTES) as u64 {
            bail!("'{path}' has only {bytes} bytes");
        }
        let (mut head, mut tail) = (vec![0; HEAD_BYTES], vec![0; MARK_BYTES]);
        device.read_exact_at(&mut head, 0).with_context(|| format!("reading '{path}'"))?;
        let content = state_kind::classify(&head);
        if state_kind::covers(content, bytes) {
            // A bad sector in the last bytes is then the file system's own affair.
            return Ok((content, false));
        }
        device
            .read_exact_at(&mut tail, bytes - MARK_BYTES as u64)
            .with_context(|| format!("reading the end of '{path}'"))?;
        Ok((content, state_kind::is_mark(&tail)))
    }

    fn mount(&self) -> anyhow::Result<()> {
        let path = self.device()?;
        let target = format!("{SYSROOT}{TARGET}");
        mount(path, &target, "ext4", MountFlags::NOATIME, c"errors=remount-ro")
            .with_context(|| format!("mounting '{path}' on '{TARGET}'"))
    }

    /// Makes the file system. The mark at the end says that it is not finished until it is.
    fn create(&mut self) -> anyhow::Result<()> {
        let path = self.device()?.to_owned();
        self.report.say(Stage::State, &format!("{path} is empty, making a file system"));
        let device =
            OpenOptions::new().read(true).write(true).open(&path).with_context(|| format!("opening '{path}'"))?;
        let mark_at = block::size_bytes(&device)?.saturating_sub(MARK_BYTES as u64);
        let write_end = |bytes: &[u8]| device.write_all_at(bytes, mark_at).and_then(|()| device.sync_all());
        write_end(&state_kind::mark()).with_context(|| format!("writing to '{path}'"))?;
        let blocks = (mark_at / 4096).to_string();
        let options = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
        let fixed = ["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L", "ferrite-state", "-J", JOURNAL];
        let arguments: Vec<&str> = fixed.into_iter().chain(["-E", options, &path, &blocks]).collect();
        let tool = Tool { program: "/usr/sbin/mke2fs", arguments: &arguments, limit: TOOL_LIMIT };
        self.deadline.extend(TOOL_LIMIT * 2);
        let (status, said) = tool.run(self.guard)?;
        if !status.success() {
            bail!("mke2fs could not make a file system on '{path}' ({status}): {said}");
        }
        device.sync_all().and_then(|()| write_end(&[0; MARK_BYTES])).with_context(|| format!("writing to '{path}'"))
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let path = self.device()?.to_owned();
        let tool = Tool { program: "/usr/sbin/e2fsck", arguments: &["-p", &path], limit: TOOL_LIMIT };
        self.deadline.extend(TOOL_LIMIT * 2);
        let (status, said) = tool.run(self.guard)?;
        match status.code() {
            Some(code) if CORRECTED.contains(&code) => {
                said.lines().for_each(|line| self.report.say(Stage::State, line));
                Ok(())
            }
            Some(_) | None => {
                // What follows is advice that nobody can take here.
                let first = said.lines().next().unwrap_or_default();
                bail!("e2fsck could not repair '{path}' ({status}): {first}")
            }
        }
    }

    /// Lets the file system fill its partition. If it cannot, it stays as large as it is.
    fn grow(&mut self) {
        let path = self.device.clone().unwrap_or_default();
        self.deadline.extend(TOOL_LIMIT);
        match state_grow::grow(&path, &format!("{SYSROOT}{TARGET}"), self.guard, self.report) {
            Ok(Growth::None) => self.report.say(Stage::State, &format!("{path} mounted")),
            Ok(Growth::Full(bytes)) => {
                self.report.say(Stage::State, &format!("{path} mounted, grown to {}", size(bytes)));
            }
            Ok(Growth::Partial { reached, wanted }) => {
                let (reached, wanted) = (size(reached), size(wanted));
                let text = format!("{path} mounted, grown to {reached} of {wanted} so far, the rest at the next start");
                self.report.warn(Stage::State, &text);
            }
            Err(error) => self.report.warn(Stage::State, &format!("{error:#}, keeping its size")),
        }
    }

    /// A state in memory: the machine can be reached and repaired, and forgets everything.
    fn volatile(&mut self, error: anyhow::Error) -> anyhow::Result<State> {
        let reason = format!("{error:#}");
        let text = format!(
            "{reason}; STATE IS IN MEMORY ONLY, nothing will survive a reboot; no file system was made on the disk"
        );
        self.report.warn(Stage::State, &text);
        mount("ferrite-state", format!("{SYSROOT}{TARGET}"), "tmpfs", MountFlags::NOATIME, c"mode=755,size=50%")
            .context("mounting a tmpfs on '/state'")?;
        Ok(State { kind: StateKind::Volatile, reason })
    }
}
