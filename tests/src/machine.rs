//! A machine under test: switched on and off, cut off, logged in to, listened to.
//!
//! Trouble on the console fails the next call, and the test at the latest when the machine is dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use ferrite_layout::{BootFacts, Slot};
use ferrite_qemu::console::{Mark, More, Waited};
use ferrite_qemu::ssh::SshTarget;
use ferrite_qemu::{Console, ConsoleLine, Guest};

use crate::board::Board;
use crate::disk_file::DiskFile;
use crate::gate::{self, Permit};
use crate::setup::Setup;

/// How long a boot may take; an emulated machine on a busy host needs minutes.
pub const BOOT_DEADLINE: Duration = Duration::from_secs(400);
/// How long one command over ssh may take.
const COMMAND_DEADLINE_S: u32 = 240;
const CONSOLE_TAIL: usize = 60;

/// A machine that was switched on.
#[derive(Debug)]
pub struct Machine {
    setup: Setup,
    guest: Option<Guest>,
    /// The consoles of earlier runs, for the report of a failure.
    console: Console,
    /// Where the last start of the system begins on the console.
    booted_at: Mark,
    /// Held while the guest runs.
    permit: Option<Permit>,
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Its exit code; 255 also means that ssh itself failed.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Machine {
    /// Boots a fresh machine of a board and waits until everything of it runs.
    pub fn boot(board: Board) -> anyhow::Result<Self> {
        Setup::new(board)?.boot()
    }

    pub(crate) fn power_on_new(setup: Setup) -> anyhow::Result<Self> {
        let permit = gate::enter()?;
        let guest = Guest::start(&setup.spec, Some(&setup.folder.path().join("console.log")))?;
        let console = guest.console().clone();
        Ok(Self { setup, guest: Some(guest), console, booted_at: Mark::default(), permit: Some(permit) })
    }

    /// Switches the machine on again after a power cut or a power off.
    pub fn power_on(&mut self) -> anyhow::Result<()> {
        ensure!(self.guest.is_none(), "the machine is on already");
        self.ssh_target().close();
        self.permit = Some(gate::enter()?);
        let guest = Guest::start(&self.setup.spec, Some(&self.setup.folder.path().join("console.log")))?;
        self.console = guest.console().clone();
        self.booted_at = Mark::default();
        self.guest = Some(guest);
        Ok(())
    }

    /// Writes the memory to a file and switches the machine off, to go on from there again and again.
    pub fn save(&mut self, memory: &Path) -> anyhow::Result<()> {
        self.check_trouble()?;
        self.ssh_target().close();
        let saved = self.on()?.save(memory);
        self.or_console(saved.map_err(anyhow::Error::from))?;
        self.is_off();
        Ok(())
    }

    /// Goes on from a memory that was saved; the disk must be as it was then.
    pub fn go_on_from(&mut self, memory: &Path) -> anyhow::Result<()> {
        self.setup.spec.memory = Some(memory.into());
        let begun = self.power_on();
        self.setup.spec.memory = None;
        begun
    }

    /// Pulls the plug.
    pub fn power_cut(&mut self) -> anyhow::Result<()> {
        self.check_trouble()?;
        self.is_off();
        Ok(())
    }

    /// Pulls the plug after QEMU has used so much processor time in this run, or when the machine is up and idle.
    pub fn power_cut_after(&mut self, used: Duration) -> anyhow::Result<()> {
        const WORK: Duration = Duration::from_millis(300);
        const IDLE: Duration = Duration::from_secs(10);
        let end = Instant::now() + BOOT_DEADLINE;
        let mut worked = (Instant::now(), Duration::ZERO);
        while Instant::now() < end {
            let now = self.on()?.cpu_used();
            if now > worked.1 + WORK {
                worked = (Instant::now(), now);
            }
            if now >= used || worked.0.elapsed() > IDLE {
                break;
            }
            // Processor time makes no event; a console line or a moment does.
            if self.console.wait_for_more(Duration::from_millis(10)) == More::Ended {
                break;
            }
        }
        self.power_cut()
    }

    /// Shuts the machine down in order, and fails unless it ends by itself.
    pub fn power_off(&mut self) -> anyhow::Result<()> {
        self.start_job("poweroff")?;
        self.wait_until_off()
    }

    /// Presses the power button; fails unless the machine shuts down in order.
    pub fn press_power_button(&mut self) -> anyhow::Result<()> {
        self.on()?.press_power_button()?;
        self.wait_until_off()
    }

    fn wait_until_off(&mut self) -> anyhow::Result<()> {
        let ended = self.on()?.wait_for_end(BOOT_DEADLINE);
        let status = self.or_console(ended.map_err(anyhow::Error::from))?;
        ensure!(status.success(), "QEMU ended with {status}");
        self.check_trouble()?;
        self.is_off();
        Ok(())
    }

    /// Reboots the machine in order and waits until everything of it runs again.
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        self.reboot_and("wait")?;
        self.wait_until_running()
    }

    /// Reboots the machine in order; `why` is for the reader of the test.
    pub fn reboot_and(&mut self, why: &str) -> anyhow::Result<()> {
        let events = self.on()?.qmp().event_count();
        let mark = self.console.mark();
        self.start_job("reboot")?;
        let seen = self.on()?.qmp().wait_for_event(events, "RESET", BOOT_DEADLINE);
        self.or_console(seen.with_context(|| format!("the machine did not reboot ({why})")))?;
        self.booted_at = mark;
        self.ssh_target().close();
        Ok(())
    }

    /// Waits until the machine has restarted by itself. `events`: how many QEMU had told of before.
    pub fn wait_for_reset(&mut self, events: usize) -> anyhow::Result<()> {
        let seen = self.on()?.qmp().wait_for_event(events, "RESET", BOOT_DEADLINE);
        self.or_console(seen.context("the machine did not restart by itself").map(drop))?;
        self.booted_at = self.console.mark();
        self.ssh_target().close();
        Ok(())
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        self.booted_at = self.console.mark();
        self.on()?.reset()?;
        self.ssh_target().close();
        Ok(())
    }

    /// Waits until an ssh server of the machine greets.
    pub fn wait_for_ssh(&mut self) -> anyhow::Result<()> {
        let port = self.setup.spec.ssh_port.context("the machine has no ssh port")?;
        self.wait_for("an ssh server that greets", BOOT_DEADLINE, |_| Ok(greets(port).then_some(())))
    }

    /// Waits until `systemctl is-system-running` says `running`. A unit that failed is an error with its name.
    pub fn wait_until_running(&mut self) -> anyhow::Result<()> {
        self.wait_for_ssh()?;
        let state = self.wait_for("systemctl is-system-running to answer", BOOT_DEADLINE, |machine| {
            let said = machine.try_ssh("systemctl is-system-running")?;
            let state = said.out.trim().to_string();
            Ok((said.code != 255 && !["", "initializing", "starting"].contains(&state.as_str())).then_some(state))
        })?;
        if state != "running" {
            let failed = self.try_ssh("systemctl list-units --failed --no-legend; systemctl list-units --no-legend")?;
            return self.or_console(Err(anyhow!("the system is {state}:\n{}{}", failed.out, failed.err)));
        }
        Ok(())
    }

    /// Waits until `found` gives something. Trouble on the console or the end of the machine end the wait.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut found: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let end = Instant::now() + deadline;
        loop {
            let mark = self.console.mark();
            if let Some(value) = found(self)? {
                return Ok(value);
            }
            self.check_trouble()?;
            // Something happened when the console says something; silence is a reason to ask again after a while.
            let ended = self.console.wait(mark, Duration::from_secs(1), |_| false) == Waited::Ended;
            if ended || Instant::now() > end {
                let why = if ended { "the machine has ended" } else { "time is over" };
                return self.or_console(Err(anyhow!("waiting for {what}: {why}")));
            }
        }
    }

    /// Waits for text on the console since the machine was last started.
    pub fn wait_for_console(&mut self, text: &str, deadline: Duration) -> anyhow::Result<String> {
        self.wait_for_console_after(self.booted_at, text, deadline)
    }

    /// Waits for text on the console after a mark.
    pub fn wait_for_console_after(&mut self, mark: Mark, text: &str, deadline: Duration) -> anyhow::Result<String> {
        match self.console.wait(mark, deadline, |line| line.contains(text)) {
            Waited::Line(line) => Ok(line),
            Waited::Ended => self.or_console(Err(anyhow!("the machine ended without saying '{text}'"))),
            Waited::TimedOut => self.or_console(Err(anyhow!("the console did not say '{text}' in time"))),
        }
    }

    /// Runs a command as core and gives what it says; any exit code but zero is an error.
    pub fn ssh(&mut self, command: &str) -> anyhow::Result<String> {
        let said = self.try_ssh(command)?;
        if said.code != 0 {
            let Said { code, out, err } = said;
            return self.or_console(Err(anyhow!("`{command}` ended with {code}:\n{out}{err}")));
        }
        self.check_trouble()?;
        Ok(said.out)
    }

    /// Runs a shell command as root.
    pub fn sudo(&mut self, command: &str) -> anyhow::Result<String> {
        self.ssh(&format!("sudo sh -c '{}'", command.replace('\'', "'\\''")))
    }

    /// Starts a command as core and does not wait for its end; it ends with the machine at the latest.
    pub fn begin_ssh(&mut self, command: &str) -> anyhow::Result<Child> {
        let mut ssh = self.ssh_target().command(60)?;
        ssh.arg(command);
        ssh.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("starting ssh")
    }

    /// Writes a file of the machine, as root.
    pub fn send(&mut self, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let mut child = self.limited_ssh(&format!("sudo tee {path} >/dev/null"))?.stdin(Stdio::piped()).spawn()?;
        let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(bytes));
        let status = child.wait().context("waiting for ssh")?;
        self.or_console(written.with_context(|| format!("sending '{path}'")))?;
        ensure!(status.success(), "sending '{path}' ended with {status}");
        Ok(())
    }

    /// Runs a command as core and gives what it says, whatever its exit code.
    pub fn try_ssh(&mut self, command: &str) -> anyhow::Result<Said> {
        let output = self.limited_ssh(command)?.stdin(Stdio::null()).output().context("starting ssh")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(255);
        Ok(Said { code, out: text(&output.stdout), err: text(&output.stderr) })
    }

    fn limited_ssh(&self, command: &str) -> anyhow::Result<Command> {
        let ssh = self.ssh_target().command(60)?;
        let mut limited = Command::new("timeout");
        limited.args(["-k", "5", &COMMAND_DEADLINE_S.to_string()]).arg(ssh.get_program()).args(ssh.get_args());
        limited.arg(command);
        Ok(limited)
    }

    /// What early boot found out.
    pub fn facts(&mut self) -> anyhow::Result<BootFacts> {
        Ok(BootFacts::parse(&self.ssh("cat /run/ferrite/boot")?))
    }

    /// The slot that runs.
    pub fn booted_slot(&mut self) -> anyhow::Result<Slot> {
        self.facts()?.slot.context("the machine runs no slot")
    }

    /// The public host keys, sorted.
    pub fn host_keys(&mut self) -> anyhow::Result<String> {
        let keys = self.ssh("cat /etc/ssh/ssh_host_*_key.pub")?;
        ensure!(keys.lines().count() >= 2, "there are too few host keys:\n{keys}");
        let mut lines: Vec<&str> = keys.lines().collect();
        lines.sort_unstable();
        Ok(lines.join("\n"))
    }

    /// The machine id.
    pub fn machine_id(&mut self) -> anyhow::Result<String> {
        Ok(self.ssh("cat /etc/machine-id")?.trim().to_string())
    }

    /// The disk of the machine, which must be off.
    pub fn disk(&self) -> anyhow::Result<DiskFile> {
        ensure!(self.guest.is_none(), "the disk can be changed only while the machine is off");
        self.setup.disk()
    }

    /// What the machine is made of.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Changes what the machine is made of; takes effect when it is switched on again.
    pub fn setup_mut(&mut self) -> &mut Setup {
        &mut self.setup
    }

    /// The console of this run.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// What the console has said since the system was last started.
    pub fn console_of_this_boot(&self) -> Vec<ConsoleLine> {
        self.console.lines_since(self.booted_at)
    }

    /// Processor time that QEMU has used in this run.
    pub fn cpu_used(&mut self) -> anyhow::Result<Duration> {
        Ok(self.on()?.cpu_used())
    }

    /// The running guest.
    pub fn on(&mut self) -> anyhow::Result<&mut Guest> {
        self.guest.as_mut().context("the machine is off")
    }

    /// Fails when the console speaks of trouble that the test does not expect.
    pub fn check_trouble(&self) -> anyhow::Result<()> {
        match self.console.trouble_since(Mark::default(), &self.setup.expected) {
            Some(line) => self.or_console(Err(anyhow!("trouble on the console: {line}"))),
            None => Ok(()),
        }
    }

    /// Adds the end of the console to an error.
    pub fn or_console<T>(&self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        outcome.with_context(|| format!("--- end of the console ---\n{}\n---", self.console.tail(CONSOLE_TAIL)))
    }

    fn is_off(&mut self) {
        self.guest = None;
        self.permit = None;
    }

    fn start_job(&mut self, verb: &str) -> anyhow::Result<()> {
        // The connection may be closed before the answer; whether the machine obeys is seen elsewhere.
        let said = self.try_ssh(&format!("sudo systemctl {verb}"))?;
        if said.code != 0 && said.code != 255 {
            bail!("systemctl {verb} ended with {}: {}{}", said.code, said.out, said.err);
        }
        Ok(())
    }

    fn ssh_target(&self) -> SshTarget {
        let folder = self.setup.folder.path();
        SshTarget {
            port: self.setup.spec.ssh_port.unwrap_or_default(),
            key: folder.join("key"),
            known_hosts: folder.join("known_hosts"),
            shared_connection: Some(folder.join("ssh")),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.ssh_target().close();
        self.guest = None;
        let trouble = self.console.trouble_since(Mark::default(), &self.setup.expected);
        if std::thread::panicking() || trouble.is_some() {
            eprintln!("--- end of the console ---\n{}\n---", self.console.tail(CONSOLE_TAIL));
        }
        if let Some(folder) = std::env::var_os("FERRITE_KEEP_CONSOLES") {
            let name = self.setup.folder.path().file_name().unwrap_or_default().to_owned();
            let kept = Path::new(&folder).join(name).with_extension("log");
            if let Err(error) = fs::copy(self.setup.folder.path().join("console.log"), &kept) {
                eprintln!("keeping the console in '{}': {error}", kept.display());
            }
        }
        if let (false, Some(line)) = (std::thread::panicking(), trouble) {
            panic!("trouble on the console: {line}");
        }
    }
}

/// Whether an ssh server greets on the port. QEMU accepts for the guest, so a connection alone says nothing.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"SSH-"
}
