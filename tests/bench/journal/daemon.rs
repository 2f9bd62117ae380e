//! A journald in a mount namespace: nothing of the host's journal is seen or changed.
//!
//! It is no process namespace: the senders are outside, and what the daemon looks up of a sender is part of its work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::result::{Cost, Memory};
use super::senders::Acknowledge;

/// Run before the shell becomes the daemon. `@WORD@` is replaced.
const STAGE: &str = "set -e
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/systemd/journal /run/log /run/systemd/units
touch /run/systemd/journal/flushed
mount --bind '@PLACE@/log' /var/log
mount --bind '@PLACE@/etc' /etc
exec '@DAEMON@' @OPTIONS@
";
/// No limit of messages and room enough, for both.
const CONFIGURATION: &str = "[Journal]
Storage=persistent
RateLimitIntervalSec=0
RateLimitBurst=0
ReadKMsg=no
ForwardToSyslog=no
SystemMaxUse=4G
SystemKeepFree=1M
SystemMaxFileSize=128M
";
const MACHINE: &str = "0123456789abcdef0123456789abcdef";
const PATIENCE: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_millis(50);

/// A daemon and its reader.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) daemon: PathBuf,
    pub(crate) reader: PathBuf,
}

/// A running daemon. It ends with this value.
pub(crate) struct Daemon {
    child: Child,
    place: PathBuf,
    reader: PathBuf,
}

impl Daemon {
    /// Starts a daemon with an empty journal, and waits until it listens.
    pub(crate) fn start(kind: &Kind, out: &Path) -> anyhow::Result<Self> {
        ensure!(kind.daemon.exists(), "'{}' is missing: is its package installed?", kind.daemon.display());
        let place = crate::folder(&out.join(kind.name))?;
        fs::remove_dir_all(&place).context("removing an old journal")?;
        fs::create_dir_all(place.join("log/journal").join(MACHINE)).context("making the folder of the journal")?;
        fs::create_dir_all(place.join("etc/systemd")).context("making a folder of configuration")?;
        let write =
            |name: &str, text: &str| fs::write(place.join(name), text).with_context(|| format!("writing {name}"));
        write("etc/machine-id", &format!("{MACHINE}\n"))?;
        write("etc/systemd/journald.conf", CONFIGURATION)?;
        let options = if kind.name == "ferrite" { "--dev-log /run/dev-log" } else { "" };
        let stage = STAGE
            .replace("@PLACE@", &place.to_string_lossy())
            .replace("@DAEMON@", &kind.daemon.to_string_lossy())
            .replace("@OPTIONS@", options);
        let said = fs::File::create(place.join("said")).context("making a log")?;
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", &stage])
            .env_clear()
            .env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin")
            .stdin(Stdio::null())
            .stdout(said.try_clone().context("sharing a log")?)
            .stderr(said)
            .spawn()
            .context("starting unshare: is util-linux installed?")?;
        let mut daemon = Self { child, place, reader: kind.reader.clone() };
        daemon.wait_until_it_listens()?;
        Ok(daemon)
    }

    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let sockets = ["socket", "dev-log", "stdout", "io.systemd.journal"];
        while !sockets.iter().all(|name| self.path("run/systemd/journal").join(name).exists()) {
            if let Some(status) = self.child.try_wait().context("waiting for the daemon")? {
                bail!("the daemon ended ({status}): {}", fs::read_to_string(self.place.join("said"))?);
            }
            ensure!(Instant::now() < deadline, "the daemon does not listen within {} s", PATIENCE.as_secs());
            std::thread::park_timeout(STEP);
        }
        Ok(())
    }

    /// A file inside, as this process reaches it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{name}", self.child.id()))
    }

    /// What the daemon uses for work that ends with an acknowledgement.
    pub(crate) fn cost(
        &self,
        messages: u64,
        work: impl FnOnce(&Acknowledge) -> anyhow::Result<()>,
    ) -> anyhow::Result<Cost> {
        let acknowledge = Acknowledge::of(&self.path("run/systemd/journal/io.systemd.journal"));
        acknowledge.wait()?;
        let (used, started) = (self.used()?, Instant::now());
        work(&acknowledge)?;
        let wall = started.elapsed();
        Ok(Cost { messages, wall, used: self.used()?.saturating_sub(used) })
    }

    /// Processor time of the whole process, threads that ended counted.
    fn used(&self) -> anyhow::Result<Duration> {
        super::result::used(&fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?)
    }

    /// Messages of a program in the journal, as the reader of the daemon finds them.
    pub(crate) fn count(&self, identifier: &str) -> anyhow::Result<u64> {
        let output = Command::new(&self.reader)
            .args(["-q", "--no-pager", "-o", "cat", "-t", identifier, "--directory"])
            .arg(self.place.join("log/journal"))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting '{}'", self.reader.display()))?;
        ensure!(output.status.success(), "journalctl failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout.iter().filter(|byte| **byte == b'\n').count() as u64)
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
        };
        Ok(Memory { rss_kib: value("VmRSS:"), own_kib: value("RssAnon:") })
    }

    /// Bytes of disk that the journal takes.
    pub(crate) fn disk_bytes(&self) -> anyhow::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let folder = self.place.join("log/journal").join(MACHINE);
        fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.blocks() * 512)).sum()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What cannot be ended any more is left to the kernel.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
