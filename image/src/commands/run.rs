//! `ferrite run`: boots a board's image in QEMU, waits until it can be logged in to, and opens a shell on it.
//!
//! The machine lives as long as the command. Its disk is kept for the next run, unless `--ephemeral` is given.

use std::fs;
use std::io::{IsTerminal, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use ferrite_qemu::console::{Mark, More};
use ferrite_qemu::metadata::{Cloud, CloudKind};
use ferrite_qemu::session::{DiskOrigin, Session, StateFolder};
use ferrite_qemu::ssh::{self, SshTarget};
use ferrite_qemu::user_data::{self, Merged};
use ferrite_qemu::{
    AcceleratorChoice, Console, Disk, Firmware, Guest, MachineSpec, MetadataService, UserData, interrupt, progress,
};

/// How long a boot may take before we call it failed; emulation on a busy host needs minutes.
const BOOT_DEADLINE: Duration = Duration::from_secs(600);
const POWER_OFF_DEADLINE: Duration = Duration::from_secs(120);
/// Longer than any machine of `ferrite run` lives.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86400);
/// How often the ssh port of a starting machine is asked.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// Exit code of a command that ctrl-c ended, as shells have it.
const INTERRUPTED: u8 = 130;
const CONSOLE_TAIL: usize = 25;

/// Boot an image in QEMU and open a shell on it
#[derive(Debug, Args)]
pub struct Run {
    /// Board whose image is booted
    #[arg(long, default_value = "qemu")]
    board: String,
    /// Boot this disk file, or the newest of this folder, instead of the built image of the board
    #[arg(long, value_name = "PATH")]
    image: Option<PathBuf>,
    /// Firmware of the machine
    #[arg(long, value_enum, default_value_t = FirmwareChoice::Bios)]
    firmware: FirmwareChoice,
    /// User-data for the machine
    ///
    /// A throw-away key is added when the file is a cloud-config without
    /// ssh_authorized_keys; otherwise the file is used as it is.
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Make it a machine of a cloud: ec2, digitalocean or nocloud-http
    ///
    /// Its firmware says so, and at 169.254.169.254 a metadata service answers
    /// from the files of DIR: ec2 reads user-data, meta-data.json and
    /// identity.json, digitalocean v1.json and user-data, nocloud-http has the
    /// files themselves. A throw-away key is among the keys of the first two.
    #[arg(long, num_args = 2, value_names = ["KIND", "DIR"], conflicts_with = "user_data")]
    metadata: Option<Vec<String>>,
    /// Port of 127.0.0.1 that leads to the machine's ssh [default: a free one]
    #[arg(long, value_name = "PORT")]
    ssh_port: Option<u16>,
    /// Memory, as 1024, 1024M or 2G
    #[arg(long, default_value = "1024M", value_parser = parse_memory)]
    memory: u32,
    /// Processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Who runs the machine: auto, kvm or tcg
    ///
    /// auto uses KVM only after a test boot has shown that it works.
    #[arg(long, default_value = "auto")]
    accel: AcceleratorChoice,
    /// Where the serial console is logged [default: in the state folder]
    #[arg(long, value_name = "FILE")]
    console_log: Option<PathBuf>,
    /// Throw away what the machine writes
    #[arg(long)]
    ephemeral: bool,
    /// Add a hardware watchdog that resets the machine
    #[arg(long)]
    watchdog: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FirmwareChoice {
    Bios,
    Uefi,
}

/// What the main thread waits for once the machine is up.
#[derive(Debug, Clone, Copy)]
enum News {
    Interrupted,
    GuestEnded,
    SessionEnded(Ending),
}

/// How a session on the machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The person left.
    Left,
    /// The connection broke: the machine restarts, or its ssh server was killed.
    Lost,
    /// The connection broke at once, so another would too.
    Refused,
}

/// How waiting for the boot ended.
enum Login {
    Ready,
    Interrupted,
}

impl Run {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let (sender, news) = mpsc::channel();
        let session_sender = sender.clone();
        interrupt::catch(sender.clone(), News::Interrupted).context("catching ctrl-c")?;
        let image = self.find_image()?;
        let state = self.state_folder()?;
        let Some(_lock) = state.try_lock()? else {
            bail!("this machine runs already: log in with `{}`", ssh_command(&self.machine_name()));
        };
        let (mut spec, target, mut throw_away_key) = self.prepare(&image, &state)?;
        let service = match self.metadata.as_deref() {
            Some([kind, folder]) => {
                let (service, has_key);
                (spec, service, has_key) = cloud_machine(spec, kind, Path::new(folder), &state)?;
                throw_away_key = has_key;
                Some(service)
            }
            _ => None,
        };
        let log = self.console_log.clone().unwrap_or_else(|| state.file("console.log"));
        if log.exists() {
            fs::remove_file(&log).with_context(|| format!("removing the old console log '{}'", log.display()))?;
        }
        let mut guest = Guest::start(&spec, Some(&log))?;
        let way = WayIn::publish(target, throw_away_key, &state)?;
        let console = guest.console().clone();
        std::thread::spawn(move || {
            console.wait(Mark::default(), FOREVER, |_| false);
            // Nobody listens any more when the command is about to end.
            let _ = sender.send(News::GuestEnded);
        });
        match wait_for_login(&guest, way.target.port, &news, Mark::default()) {
            Ok(Login::Ready) => self.log_in(&mut guest, &way, (session_sender, news))?,
            Ok(Login::Interrupted) => {
                eprintln!("interrupted while the machine started; it was cut off");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            Err(error) => {
                explain_failure(guest.console(), &log);
                return Err(error);
            }
        }
        eprintln!("disk         {}{}", spec.disks[0].file.display(), if self.ephemeral { " (unchanged)" } else { "" });
        eprintln!("console log  {}", log.display());
        for request in service.iter().flat_map(MetadataService::requests) {
            eprintln!("metadata     {} {} {}", request.status, request.method, request.path);
        }
        eprintln!("key          {}", way.target.key.display());
        Ok(ExitCode::SUCCESS)
    }

    /// The image to boot.
    fn find_image(&self) -> anyhow::Result<PathBuf> {
        match &self.image {
            Some(folder) if folder.is_dir() => {
                newest_image(folder, "").ok_or_else(|| anyhow!("no disk file in the folder '{}'", folder.display()))
            }
            Some(image) if image.exists() => Ok(image.clone()),
            Some(image) => Err(anyhow!("there is no image '{}'", image.display())),
            None => {
                let (board, folder) = (&self.board, Path::new("out").join(&self.board));
                newest_image(&folder, &format!("ferrite-{board}-")).ok_or_else(|| {
                    let folder = folder.display();
                    anyhow!("no image in '{folder}': make one with `ferrite build --board {board} --out {folder}`")
                })
            }
        }
    }

    /// The folder that keeps the machine between runs; a machine made from `--image` is named after the file.
    fn state_folder(&self) -> anyhow::Result<StateFolder> {
        Ok(StateFolder::open(&state_base(), &self.machine_name())?)
    }

    /// What `ferrite ssh --board` calls the machine.
    fn machine_name(&self) -> String {
        match &self.image {
            None => self.board.clone(),
            Some(image) => format!("image-{}", image.file_stem().unwrap_or_default().to_string_lossy()),
        }
    }

    /// The machine, how to log in to it, and whether the throw-away key opens it.
    fn prepare(&self, image: &Path, state: &StateFolder) -> anyhow::Result<(MachineSpec, SshTarget, bool)> {
        let disk = self.prepare_disk(image, state)?;
        let key = state.file("key");
        let public = ssh::ensure_key(&key)?;
        let (document, throw_away_key) = self.user_data_with(&public)?;
        let user_data = state.file("user-data");
        fs::write(&user_data, document).with_context(|| format!("writing '{}'", user_data.display()))?;
        let accelerator = self.accel.resolve()?;
        if let Some(note) = &accelerator.note {
            eprintln!("{note}");
        }
        let port = match self.ssh_port {
            Some(port) => port,
            None => ssh::free_port()?,
        };
        let mut spec = MachineSpec::new(disk);
        spec.firmware = match self.firmware {
            FirmwareChoice::Bios => Firmware::Bios,
            FirmwareChoice::Uefi => Firmware::Uefi,
        };
        spec.firmware_variables = Some(state.file("firmware-variables.fd"));
        spec.memory_mib = self.memory;
        spec.cpus = self.cpus;
        spec.accelerator = accelerator.accelerator;
        spec.watchdog = self.watchdog;
        spec.ssh_port = Some(port);
        spec.user_data = UserData::FwCfg(user_data);
        let target = SshTarget { port, key, known_hosts: self.known_hosts(state)?, shared_connection: None };
        Ok((spec, target, throw_away_key))
    }

    fn prepare_disk(&self, image: &Path, state: &StateFolder) -> anyhow::Result<Disk> {
        if self.ephemeral {
            eprintln!("booting {}; what the machine writes is thrown away", image.display());
            return Ok(Disk { ephemeral: true, ..Disk::new(image) });
        }
        let (disk, origin) = state.disk(image)?;
        match origin {
            DiskOrigin::Fresh => eprintln!("booting a copy of {}", image.display()),
            DiskOrigin::Kept => eprintln!("booting the disk of the last run, {}", disk.display()),
            DiskOrigin::Renewed => {
                eprintln!(
                    "the image has changed: booting a new copy of {}, the old disk is kept beside it",
                    image.display()
                );
            }
        }
        Ok(Disk::new(disk))
    }

    /// An ephemeral machine makes new host keys each time, so it gets a fresh file.
    fn known_hosts(&self, state: &StateFolder) -> anyhow::Result<PathBuf> {
        if !self.ephemeral {
            return Ok(state.file("known_hosts"));
        }
        let path = state.file("known_hosts.ephemeral");
        fs::write(&path, "").with_context(|| format!("emptying '{}'", path.display()))?;
        Ok(path)
    }

    fn user_data_with(&self, key: &str) -> anyhow::Result<(String, bool)> {
        let Some(path) = &self.user_data else { return Ok((user_data::only_key(key), true)) };
        let document = fs::read_to_string(path).with_context(|| format!("reading user-data '{}'", path.display()))?;
        Ok(match user_data::merge(&document, key) {
            Merged::WithKey(document) => (document, true),
            Merged::Unchanged { reason } => {
                eprintln!("'{}' is used as it is, without the throw-away key: {reason}", path.display());
                (document, false)
            }
        })
    }

    /// The sessions of the person; end with the machine switched off.
    fn log_in(&self, guest: &mut Guest, way: &WayIn, channel: Channel) -> anyhow::Result<()> {
        let (sender, news) = channel;
        let has_session = way.throw_away_key && std::io::stdin().is_terminal();
        if has_session {
            eprintln!("from another terminal: {}, or {}", ssh_command(&self.machine_name()), way.by_hand);
            open_session(&way.target, &sender)?;
        } else {
            eprintln!("log in with: {}", way.by_hand);
            eprintln!("the machine runs until it is switched off or this command gets ctrl-c");
        }
        loop {
            let mark = guest.console().mark();
            match news.recv() {
                Ok(News::GuestEnded) => {
                    eprintln!("the machine has switched itself off");
                    return Ok(());
                }
                Ok(News::SessionEnded(Ending::Lost)) if guest.ended().is_none() => {
                    eprintln!("the connection broke; waiting for the machine to answer again (ctrl-c switches it off)");
                    match wait_for_login(guest, way.target.port, &news, mark) {
                        Ok(Login::Ready) => open_session(&way.target, &sender)?,
                        Ok(Login::Interrupted) => return switch_off(guest, &way.target),
                        Err(_) if guest.wait_for_end(Duration::from_secs(5)).is_ok() => {
                            eprintln!("the machine has switched itself off");
                            return Ok(());
                        }
                        Err(error) => return Err(error),
                    }
                }
                Ok(News::Interrupted | News::SessionEnded(_)) | Err(_) => return switch_off(guest, &way.target),
            }
        }
    }
}

/// Makes it a machine of a cloud, and starts the cloud's service; whether the throw-away key opens it.
fn cloud_machine(
    spec: MachineSpec,
    kind: &str,
    folder: &Path,
    state: &StateFolder,
) -> anyhow::Result<(MachineSpec, MetadataService, bool)> {
    let kind: CloudKind = kind.parse().map_err(anyhow::Error::msg)?;
    let mut cloud = Cloud::read(kind, folder)?;
    let has_key = cloud.add_key(&ssh::ensure_key(&state.file("key"))?);
    let service = MetadataService::start(cloud.clone(), (Ipv4Addr::LOCALHOST, 0).into())?;
    Ok((spec.of_cloud(kind, &cloud, service.address().port()), service, has_key))
}

/// Opens a session on this terminal, and tells how it ended.
fn open_session(target: &SshTarget, sender: &Sender<News>) -> anyhow::Result<()> {
    /// What ssh itself ends with when the connection fails.
    const CONNECTION_FAILED: i32 = 255;
    /// A session that broke sooner was none.
    const SHORTEST: Duration = Duration::from_secs(3);
    let mut command = target.command(60)?;
    command.arg("-t");
    let sender = sender.clone();
    std::thread::spawn(move || {
        let began = Instant::now();
        let ending = match interrupt::with_signals(|| command.status()) {
            Ok(status) if status.code() != Some(CONNECTION_FAILED) => Ending::Left,
            Ok(_) if began.elapsed() < SHORTEST => Ending::Refused,
            Ok(_) => Ending::Lost,
            Err(error) => {
                eprintln!("error: starting ssh: {error}");
                Ending::Refused
            }
        };
        // Nobody listens any more when the command is about to end.
        let _ = sender.send(News::SessionEnded(ending));
    });
    Ok(())
}

/// Where the main thread hears what happened, and how others tell it.
type Channel = (Sender<News>, Receiver<News>);

/// How the machine is logged in to.
struct WayIn {
    target: SshTarget,
    /// Whether the throw-away key opens it.
    throw_away_key: bool,
    /// The command for a person.
    by_hand: String,
}

impl WayIn {
    /// Leaves what `ferrite ssh` and a person's own ssh need in the state folder.
    fn publish(target: SshTarget, throw_away_key: bool, state: &StateFolder) -> anyhow::Result<Self> {
        let config = state.file("ssh_config");
        fs::write(&config, target.config()).with_context(|| format!("writing '{}'", config.display()))?;
        let (port, known_hosts) = (target.port, target.known_hosts.clone());
        let key = throw_away_key.then(|| target.key.clone());
        state.save_session(&Session { port, key, known_hosts })?;
        let by_hand = match throw_away_key {
            true => format!("ssh -F {} -p {port} core@127.0.0.1", config.display()),
            false => format!("ssh -p {port} core@127.0.0.1"),
        };
        Ok(Self { target, throw_away_key, by_hand })
    }
}

/// Where machines are kept: the user's state folder where one is set, else beside the built images.
pub(crate) fn state_base() -> PathBuf {
    match std::env::var_os("XDG_STATE_HOME") {
        Some(home) => Path::new(&home).join("ferrite/run"),
        None => PathBuf::from("out/run"),
    }
}

/// How a person logs in to the running machine of a board.
fn ssh_command(board: &str) -> String {
    if board == "qemu" { "ferrite ssh".into() } else { format!("ferrite ssh --board {board}") }
}

/// Shows the boot until the guest's ssh server greets.
fn wait_for_login(guest: &Guest, port: u16, news: &Receiver<News>, mut mark: Mark) -> anyhow::Result<Login> {
    let started = Instant::now();
    let console = guest.console();
    let mut next_probe = started;
    while started.elapsed() < BOOT_DEADLINE {
        for line in console.take_new(&mut mark) {
            if let Some(text) = progress::shown(&line.text) {
                eprintln!("{:7.1} s  {text}", line.at.as_secs_f64());
            }
        }
        match news.try_recv() {
            Ok(News::GuestEnded) => bail!("the machine ended before it could be logged in to"),
            Ok(News::Interrupted) => return Ok(Login::Interrupted),
            Ok(News::SessionEnded(_)) | Err(_) => {}
        }
        if Instant::now() >= next_probe {
            if greets(port) {
                eprintln!("{:7.1} s  ssh answers", started.elapsed().as_secs_f64());
                return Ok(Login::Ready);
            }
            next_probe = Instant::now() + PROBE_INTERVAL;
        }
        if console.wait_for_more(next_probe.saturating_duration_since(Instant::now())) == More::Ended {
            bail!("the machine ended before it could be logged in to");
        }
    }
    bail!("nobody could log in within {} s", BOOT_DEADLINE.as_secs())
}

/// Whether an ssh server greets on the port. QEMU accepts for the guest, so a connection alone says nothing.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"SSH-"
}

/// Asks the machine to switch itself off; presses the power button, then pulls the plug, when it does not.
fn switch_off(guest: &mut Guest, target: &SshTarget) -> anyhow::Result<()> {
    if guest.ended().is_some() {
        return Ok(());
    }
    eprintln!("switching the machine off");
    let mut command = target.command(20)?;
    command.args(["sudo", "systemctl", "poweroff"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The connection often breaks before the answer; what counts is whether the machine ends.
    let asked = command.status().is_ok_and(|status| status.success());
    if !asked {
        // The same: a guest that is gone cannot press.
        let _ = guest.press_power_button();
    }
    if guest.wait_for_end(POWER_OFF_DEADLINE).is_err() {
        eprintln!("warning: the machine did not switch itself off, cutting it off");
    }
    guest.cut_power();
    Ok(())
}

fn explain_failure(console: &Console, log: &Path) {
    eprintln!("--- end of the console ---\n{}\n--- all of it is in {} ---", console.tail(CONSOLE_TAIL), log.display());
    eprintln!("what to try: --ephemeral boots the image as it was built; --accel tcg rules out KVM; --memory 2G");
}

/// The disk file of a folder that was made last, if its name begins so.
fn newest_image(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let images = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(prefix) && (name.ends_with(".raw") || name.ends_with(".qcow2"))
    });
    let newest = images.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    newest.map(|entry| entry.path())
}

fn parse_memory(text: &str) -> Result<u32, String> {
    let (digits, factor) = match text.strip_suffix(['G', 'g']) {
        Some(digits) => (digits, 1024),
        None => (text.strip_suffix(['M', 'm']).unwrap_or(text), 1),
    };
    let number: u32 = digits.parse().map_err(|_| format!("'{text}' is not a size as 1024, 1024M or 2G"))?;
    number
        .checked_mul(factor)
        .filter(|mib| *mib >= 64)
        .ok_or_else(|| format!("'{text}' is too little or too much memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_mib_unless_it_says_gib() {
        for (text, mib) in [("1024", Some(1024)), ("512M", Some(512)), ("2G", Some(2048)), ("x", None), ("1", None)] {
            assert_eq!(parse_memory(text).ok(), mib, "{text}");
        }
    }

    #[test]
    fn a_folder_stands_for_the_disk_file_that_was_made_last_in_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest_image(folder.path(), ""), None);
        for (age, name) in [(9, "ferrite-qemu-1.raw"), (5, "ferrite-qemu-2.raw"), (0, "SHA256SUMS"), (2, "other.qcow2")]
        {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        assert_eq!(newest_image(folder.path(), ""), Some(folder.path().join("other.qcow2")));
        assert_eq!(newest_image(folder.path(), "ferrite-qemu-"), Some(folder.path().join("ferrite-qemu-2.raw")));
    }
}
