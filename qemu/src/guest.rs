//! A running QEMU: started stopped, watched, and never left behind.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::arguments::arguments;
use crate::console::Console;
use crate::error::QemuError;
use crate::firmware;
use crate::process;
use crate::qmp::{self, Qmp};
use crate::spec::{Firmware, MachineSpec};

/// Writing the memory of a guest to a file takes seconds.
const SAVE_DEADLINE: Duration = Duration::from_secs(180);

/// A machine that runs. Dropping it is a power cut.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    keyboard: ChildStdin,
    console: Console,
    qmp: Qmp,
    last_cpu: Duration,
    // Sockets and variables live as long as the guest.
    _folder: TempDir,
}

impl Guest {
    /// Starts a machine. The console is also written to `console_log`, which is appended to.
    pub fn start(spec: &MachineSpec, console_log: Option<&Path>) -> Result<Self, QemuError> {
        let folder = process::work_folder("guest")?;
        let firmware = match spec.firmware {
            Firmware::Bios => None,
            Firmware::Uefi => {
                let own = folder.path().join("variables.fd");
                Some(firmware::prepare(spec.firmware_variables.as_deref().unwrap_or(&own))?)
            }
        };
        let log = console_log.map(open_log).transpose()?;
        let monitor = folder.path().join("monitor");
        let said = folder.path().join("said");
        let listener = qmp::listen(&monitor)?;
        for write_log in spec.disks.iter().filter_map(|disk| disk.write_log.as_ref()) {
            File::create(write_log).map_err(QemuError::file("creating", write_log))?;
        }
        let errors = File::create(&said).map_err(QemuError::file("creating", &said))?;
        let mut command = process::qemu_command()?;
        command.args(arguments(spec, firmware.as_ref(), &monitor));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = command.spawn().map_err(|source| QemuError::Start { program: process::QEMU.into(), source })?;
        let connected = qmp::accept(&listener, &mut child);
        let (Ok(Some(mut qmp)), Some(keyboard), Some(output)) = (connected, child.stdin.take(), child.stdout.take())
        else {
            return Err(ended_at_once(child, &said));
        };
        let console = Console::follow(output, log, Instant::now(), child.id());
        if spec.memory.is_some() {
            wait_for_memory(&mut qmp)?;
        }
        qmp.command("cont", Value::Null)?;
        Ok(Self { child, keyboard, console, qmp, last_cpu: Duration::ZERO, _folder: folder })
    }

    /// The serial console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The monitor.
    pub fn qmp(&mut self) -> &mut Qmp {
        &mut self.qmp
    }

    /// Types on the serial console.
    pub fn type_text(&mut self, text: &str) -> Result<(), QemuError> {
        self.keyboard.write_all(text.as_bytes()).and_then(|()| self.keyboard.flush()).map_err(|_| QemuError::Gone)
    }

    /// Processor time that QEMU has used so far, user and system of the host.
    pub fn cpu_used(&mut self) -> Duration {
        if let Some(used) = process::cpu_used(self.child.id()) {
            self.last_cpu = self.last_cpu.max(used);
        }
        self.last_cpu
    }

    /// Presses the power button.
    pub fn press_power_button(&mut self) -> Result<(), QemuError> {
        self.qmp.command("system_powerdown", Value::Null).map(|_| ())
    }

    /// Presses the reset button.
    pub fn reset(&mut self) -> Result<(), QemuError> {
        self.qmp.command("system_reset", Value::Null).map(|_| ())
    }

    /// Stops the machine, writes its memory to a file and ends it: [`MachineSpec::memory`] goes on from there, with the
    /// disks as they are now.
    pub fn save(&mut self, file: &Path) -> Result<(), QemuError> {
        let capability = json!({ "capabilities": [{ "capability": "events", "state": true }] });
        self.qmp.command("migrate-set-capabilities", capability)?;
        self.qmp.command("stop", Value::Null)?;
        let events = self.qmp.event_count();
        self.qmp.command("migrate", json!({ "uri": format!("exec:cat > '{}'", file.display()) }))?;
        let ended = |data: &Value| data["status"] == "completed" || data["status"] == "failed";
        let event = self.qmp.wait_for_event_with(events, "MIGRATION", SAVE_DEADLINE, ended);
        if !event.as_ref().is_some_and(|event| event.data["status"] == "completed") {
            return Err(QemuError::Deadline {
                what: "the memory of the guest in a file".into(),
                deadline: SAVE_DEADLINE,
            });
        }
        // In order, so that what QEMU itself holds back is on the disks.
        self.qmp.command("quit", Value::Null)?;
        self.wait_for_end(SAVE_DEADLINE).map(drop)
    }

    /// Pulls the plug. What the guest has handed to its disk stays there, what is in its memory is lost.
    pub fn cut_power(&mut self) {
        // A child that has ended already is what we want; `wait` collects it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How QEMU ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until the guest has switched itself off.
    pub fn wait_for_end(&mut self, deadline: Duration) -> Result<ExitStatus, QemuError> {
        let late = || QemuError::Deadline { what: "the end of the guest".into(), deadline };
        let end = Instant::now() + deadline;
        // The console ends with QEMU, so this is a wait for an event and no polling.
        if self.console.wait(self.console.mark(), deadline, |_| false) != crate::console::Waited::Ended {
            return Err(late());
        }
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
        process::wait_until(&mut self.child, left)?.ok_or_else(late)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.cut_power();
    }
}

/// Waits until a saved memory was read; the machine then is as it was saved, stopped.
fn wait_for_memory(qmp: &mut Qmp) -> Result<(), QemuError> {
    let end = Instant::now() + SAVE_DEADLINE;
    while qmp.command("query-status", Value::Null)?["status"] == "inmigrate" {
        if Instant::now() > end {
            return Err(QemuError::Deadline { what: "the saved memory of the guest".into(), deadline: SAVE_DEADLINE });
        }
        // QEMU makes no event of it unless it is told to, which it cannot be that early.
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn open_log(path: &Path) -> Result<File, QemuError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(QemuError::file("making", parent))?;
    }
    File::options().create(true).append(true).open(path).map_err(QemuError::file("opening", path))
}

fn ended_at_once(mut child: Child, said: &PathBuf) -> QemuError {
    // It may have ended by itself; either way it must not stay.
    let _ = child.kill();
    let _ = child.wait();
    let said = fs::read_to_string(said).unwrap_or_default();
    QemuError::EndedAtOnce { message: process::reason(&said).unwrap_or_else(|| "it said nothing".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::{Mark, Waited};
    use crate::spec::Disk;

    const SOON: Duration = Duration::from_secs(60);

    /// A boot sector that says `Hi` on the serial port and halts.
    fn greeting_disk(folder: &Path) -> PathBuf {
        let mut sector = vec![0xba, 0xf8, 0x03];
        for letter in *b"Hi\n" {
            sector.extend([0xb0, letter, 0xee]);
        }
        sector.extend([0xfa, 0xf4, 0xeb, 0xfd]);
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        sector.resize(1 << 20, 0);
        let file = folder.join("disk.raw");
        fs::write(&file, sector).expect("a disk");
        file
    }

    #[test]
    fn a_guest_is_heard_reset_and_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let spec = MachineSpec::new(Disk::new(greeting_disk(folder.path())));
        let log = folder.path().join("log/console");
        let mut guest = Guest::start(&spec, Some(&log)).expect("a guest");
        let said = |line: &str| line.ends_with("Hi");
        assert!(matches!(guest.console().wait(Mark::default(), SOON, said), Waited::Line(_)));
        assert!(guest.cpu_used() > Duration::ZERO);
        let mark = guest.console().mark();
        guest.reset().expect("the reset");
        assert!(matches!(guest.console().wait(mark, SOON, said), Waited::Line(_)));
        assert!(guest.qmp().wait_for_event(0, "RESET", SOON).is_some());
        assert!(guest.ended().is_none());
        let process = guest.child.id();
        guest.cut_power();
        assert_eq!(guest.console().wait(guest.console().mark(), SOON, |_| false), Waited::Ended);
        assert!(process::cpu_used(process).is_none(), "QEMU is still there");
        assert!(fs::read_to_string(&log).expect("the log").contains("Hi\n"));
    }

    #[test]
    fn a_disk_that_is_missing_is_said_in_the_words_of_qemu() {
        let error = Guest::start(&MachineSpec::new(Disk::new("/nonexistent.raw")), None).expect_err("no guest");
        assert!(error.to_string().contains("/nonexistent.raw"), "{error}");
    }
}
