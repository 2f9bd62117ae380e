//! Boots one candidate and measures it: console marks, ssh banner, idle time, and questions to the guest.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use ferrite_qemu::console::{Mark, Waited};
use ferrite_qemu::ssh::{self, SshTarget};
use ferrite_qemu::{DirectKernel, Disk, Guest, MachineSpec, UserData, disk, user_data};

use crate::figures::{self, Figures, QUESTIONS};
use crate::peer::Peer;
use crate::waiting;

const BOOT_DEADLINE: Duration = Duration::from_secs(600);
/// After `running`, before idle time is measured: what a boot leaves behind has ended by then.
const QUIET: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);
/// The guest looks at itself within the time that QEMU is looked at.
const GUEST_QUIET_SECONDS: u32 = 35;
const GUEST_IDLE_SECONDS: u32 = 50;
/// How long the first attempts to connect may take: what is sent before the guest has an address is lost.
const PATIENCE: [u64; 4] = [1, 2, 4, 8];

/// What is booted, and the words by which its console tells where it is.
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    spec: MachineSpec,
    pid_1_says: &'static str,
    ssh: SshTarget,
    console_log: PathBuf,
}

impl Candidate {
    /// Ferrite, on its own copy of the image, through its own boot loader.
    pub(crate) fn ferrite(image: &Path, out: &Path) -> anyhow::Result<Self> {
        let copy = out.join("ferrite.raw");
        let _ = std::fs::remove_file(&copy); // It may not be there.
        disk::copy_sparse(image, &copy)?;
        let key = out.join("ferrite-key");
        let document = out.join("user-data");
        std::fs::write(&document, user_data::only_key(&ssh::ensure_key(&key)?)).context("writing user-data")?;
        let mut spec = MachineSpec::new(Disk::new(&copy));
        spec.user_data = UserData::FwCfg(document);
        spec.kernel_words = Some("loglevel=6".into());
        Self::new("ferrite", spec, "switch: starting", key, out)
    }

    /// Debian with systemd: QEMU loads its kernel, so it pays for no boot loader.
    pub(crate) fn peer(peer: &Peer, out: &Path) -> anyhow::Result<Self> {
        let mut spec = MachineSpec::new(Disk::new(&peer.disk));
        spec.kernel = Some(DirectKernel {
            kernel: peer.kernel.clone(),
            initrd: peer.initrd.clone(),
            command_line: "root=/dev/vda rw console=ttyS0 loglevel=6 no_timer_check".into(),
        });
        Self::new("debian", spec, "Welcome to", peer.key.clone(), out)
    }

    fn new(
        name: &'static str,
        mut spec: MachineSpec,
        says: &'static str,
        key: PathBuf,
        out: &Path,
    ) -> anyhow::Result<Self> {
        let port = ssh::free_port()?;
        spec.ssh_port = Some(port);
        let known_hosts = out.join(format!("{name}-known-hosts"));
        let _ = std::fs::remove_file(&known_hosts); // It may not be there.
        let console_log = out.join(format!("{name}.console"));
        let ssh = SshTarget { port, key, known_hosts, shared_connection: None };
        Ok(Self { name, spec, pid_1_says: says, ssh, console_log })
    }
}

/// Boots once and powers off, so that keys, ids and file systems are made.
pub(crate) fn settle(candidate: &Candidate) -> anyhow::Result<()> {
    let mut guest = Guest::start(&candidate.spec, Some(&candidate.console_log))?;
    wait_for_banner(candidate, &mut guest)?;
    in_guest(candidate, "systemctl is-system-running --wait")?;
    power_off(candidate, &mut guest)
}

/// Boots and measures.
pub(crate) fn measure(candidate: &Candidate) -> anyhow::Result<Figures> {
    let started = Instant::now();
    let mut guest = Guest::start(&candidate.spec, Some(&candidate.console_log))?;
    wait_for_banner(candidate, &mut guest)?;
    let (banner, banner_wall) = (guest.cpu_used(), started.elapsed());
    let state = in_guest(candidate, "systemctl is-system-running --wait")?;
    ensure!(state.trim() == "running", "{} says '{}' instead of running", candidate.name, state.trim());
    let running = guest.cpu_used();
    let kernel = mark(candidate, &guest, "Linux version")?;
    let pid_1 = mark(candidate, &guest, candidate.pid_1_says)?;
    in_guest(candidate, &watch_idle())?;
    let idle_share = idle(&mut guest);
    let guest_idle = figures::parse_idle(&in_guest(candidate, "cat /tmp/idle")?, f64::from(GUEST_IDLE_SECONDS))?;
    let inside = figures::parse(&in_guest(candidate, QUESTIONS)?)?;
    power_off(candidate, &mut guest)?;
    Ok(Figures { kernel, pid_1, banner, banner_wall, running, idle_share, guest_idle, inside })
}

fn mark(candidate: &Candidate, guest: &Guest, says: &str) -> anyhow::Result<Duration> {
    let lines = guest.console().lines();
    let line = lines.iter().find(|line| line.text.contains(says));
    Ok(line.with_context(|| format!("the console of {} never said '{says}'", candidate.name))?.cpu)
}

/// The share of one processor that QEMU uses while nobody asks anything of the guest.
fn idle(guest: &mut Guest) -> f64 {
    let nothing_happens = |guest: &Guest, time| {
        // A wait for a line that nobody prints: an idle guest is measured by letting time pass.
        guest.console().wait(guest.console().mark(), time, |_| false)
    };
    nothing_happens(guest, QUIET);
    let (before, begin) = (guest.cpu_used(), Instant::now());
    nothing_happens(guest, IDLE);
    (guest.cpu_used() - before).as_secs_f64() / begin.elapsed().as_secs_f64()
}

fn watch_idle() -> String {
    figures::WATCH_IDLE
        .replace("QUIET", &GUEST_QUIET_SECONDS.to_string())
        .replace("SECONDS", &GUEST_IDLE_SECONDS.to_string())
}

/// What QEMU uses for a guest that does nothing at all: the same kernel, and a first process that waits.
pub(crate) fn floor(peer: &Peer, out: &Path) -> anyhow::Result<f64> {
    let initrd = out.join("waiting.initrd");
    let own = std::fs::read("/proc/self/exe").context("reading the program itself")?;
    std::fs::write(&initrd, waiting::archive(&own)).context("writing an initrd that waits")?;
    let mut spec = MachineSpec::new(Disk::new(&peer.disk));
    spec.kernel = Some(DirectKernel {
        kernel: peer.kernel.clone(),
        initrd,
        command_line: "console=ttyS0 loglevel=6 no_timer_check".into(),
    });
    let mut guest = Guest::start(&spec, Some(&out.join("waiting.console")))?;
    let waited = guest.console().wait(Mark::default(), BOOT_DEADLINE, |line| line.contains(waiting::SAYS));
    ensure!(matches!(waited, Waited::Line(_)), "the guest that waits did not come up: {}", guest.console().tail(30));
    let share = idle(&mut guest);
    guest.cut_power();
    Ok(share)
}

/// Waits until the console says that sshd listens, then connects until it says who it is. An attempt before that would
/// make the guest work, and hang as long as it has no address. QEMU accepts for the guest, so only the banner counts.
fn wait_for_banner(candidate: &Candidate, guest: &mut Guest) -> anyhow::Result<()> {
    let end = Instant::now() + BOOT_DEADLINE;
    let address = SocketAddr::from(([127, 0, 0, 1], candidate.ssh.port));
    let listens = guest.console().wait(Mark::default(), BOOT_DEADLINE, |line| line.contains("Started ssh.service"));
    let mut patience = PATIENCE.into_iter();
    while matches!(listens, Waited::Line(_)) && Instant::now() < end {
        if says_ssh(address, Duration::from_secs(patience.next().unwrap_or(BOOT_DEADLINE.as_secs()))) {
            return Ok(());
        }
        if guest.console().wait(guest.console().mark(), Duration::from_millis(100), |_| false) == Waited::Ended {
            break;
        }
    }
    bail!(
        "{}: no ssh banner within {BOOT_DEADLINE:?}; the console's end:\n{}",
        candidate.name,
        guest.console().tail(30)
    )
}

fn says_ssh(address: SocketAddr, patience: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
    let mut word = [0; 4];
    // Without a limit a guest that swallows the connection would hold us.
    stream.set_read_timeout(Some(patience)).is_ok() && stream.read_exact(&mut word).is_ok() && word == *b"SSH-"
}

fn in_guest(candidate: &Candidate, script: &str) -> anyhow::Result<String> {
    let output = candidate.ssh.command(60)?.arg(script).output().context("starting ssh")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!text.is_empty(), "{}: ssh: {}", candidate.name, String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn power_off(candidate: &Candidate, guest: &mut Guest) -> anyhow::Result<()> {
    // The connection may break before the command has an exit code.
    let _ = candidate.ssh.command(60)?.arg("sudo systemctl poweroff").output();
    guest.wait_for_end(BOOT_DEADLINE).with_context(|| format!("{} did not power off", candidate.name))?;
    Ok(())
}
