//! RAUC: its service on a private bus, and an install asked of it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use ferrite_layout::Slot;

use super::Image;
use super::cost::{Cost, cost_of, cpu_of, peak_of, shell};
use super::target::{PARTS, Target};
use super::writers::{Rows, Writer};

/// How a bundle is checked: as a whole before anything is read of it, or by the kernel while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Verity,
}

impl Format {
    pub(super) const BOTH: [Format; 2] = [Format::Verity, Format::Plain];

    pub(super) fn word(self) -> &'static str {
        match self {
            Format::Plain => "plain",
            Format::Verity => "verity",
        }
    }
}

const BUS: &str = r#"<busconfig><type>system</type><listen>unix:path=FOLDER/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>
"#;

/// Its bundle, and where.
pub(super) struct Rauc {
    format: Format,
    folder: PathBuf,
}

/// A daemon of ours, ended with us.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rauc {
    pub(super) fn new(format: Format, folder: PathBuf) -> Rauc {
        Rauc { format, folder }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let address = format!("unix:path={}", self.folder.join("bus").display());
        command.current_dir(&self.folder).env("DBUS_SYSTEM_BUS_ADDRESS", address);
        command
    }

    /// In a mount namespace: it mounts the bundle.
    fn rauc(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("unshare");
        command.args(["--mount", "rauc", "--conf=system.conf"]).args(arguments);
        command
    }

    fn start(&self) -> anyhow::Result<(Daemon, Daemon)> {
        for name in ["bus", "status"] {
            match fs::remove_file(self.folder.join(name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                Ok(()) | Err(_) => {}
            }
        }
        let quiet = |mut command: Command| {
            let log = fs::File::create(self.folder.join("service.log"))?;
            command.stdout(Stdio::null()).stderr(log).spawn()
        };
        let mut bus = self.command("dbus-daemon");
        bus.args(["--config-file=bus.conf", "--nofork", "--nopidfile"]);
        let bus = Daemon(quiet(bus).context("running dbus-daemon")?);
        self.wait_for("the bus", || self.folder.join("bus").exists())?;
        let service = Daemon(quiet(self.rauc(&["service", "--override-boot-slot=a"])).context("running rauc")?);
        self.wait_for("rauc's service", || self.rauc(&["status"]).output().is_ok_and(|o| o.status.success()))?;
        Ok((bus, service))
    }

    fn wait_for(&self, what: &str, is_there: impl Fn() -> bool) -> anyhow::Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while !is_there() {
            ensure!(Instant::now() < end, "{what} did not start, see '{}'", self.folder.join("service.log").display());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Writer for Rauc {
    fn name(&self) -> String {
        format!("rauc install, {} bundle, zstd -3", self.format.word())
    }

    fn prepare(&mut self, image: &Image, target: &Target) -> anyhow::Result<()> {
        fs::create_dir_all(self.folder.join("bundle"))?;
        fs::create_dir_all(self.folder.join("mnt"))?;
        let folder = self.folder.display().to_string();
        let run = |line: &str| cost_of(shell(line).current_dir(&self.folder));
        run("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=bench -keyout key.pem -out cert.pem")?;
        let mut manifest = format!("[update]\ncompatible=bench\nversion=1\n[bundle]\nformat={}\n", self.format.word());
        let mut conf = format!(
            "[system]\ncompatible=bench\nbootloader=noop\nstatusfile={folder}/status\nmountprefix={folder}/mnt\n\
             [keyring]\npath={folder}/cert.pem\n"
        );
        for part in PARTS {
            let word = part.role.word();
            let from = image.part(part.file).display().to_string();
            run(&format!("ln -f '{from}' bundle/{word}.img 2> /dev/null || cp '{from}' bundle/{word}.img"))?;
            manifest.push_str(&format!("[image.{word}]\nfilename={word}.img\n"));
            for (number, slot) in Slot::BOTH.into_iter().enumerate() {
                let own = if word == "root" { format!("bootname={slot}") } else { format!("parent=root.{number}") };
                let device = target.device(slot, part.role).display();
                conf.push_str(&format!("[slot.{word}.{number}]\ndevice={device}\ntype=raw\n{own}\n"));
            }
        }
        fs::write(self.folder.join("bundle/manifest.raucm"), manifest)?;
        fs::write(self.folder.join("system.conf"), conf)?;
        fs::write(self.folder.join("bus.conf"), BUS.replace("FOLDER", &folder))?;
        run("rm -f bundle.raucb && rauc bundle --cert=cert.pem --key=key.pem \
             --mksquashfs-args='-comp zstd -Xcompression-level 3' bundle bundle.raucb")?;
        Ok(())
    }

    fn write(&mut self, _: &Target) -> anyhow::Result<Rows> {
        let (_bus, service) = self.start()?;
        // unshare becomes rauc.
        let pid = service.0.id().to_string();
        let (begin, before) = (Instant::now(), cpu_of(&pid)?);
        let bundle = self.folder.join("bundle.raucb").display().to_string();
        let output = self.rauc(&["install", &bundle]).output()?;
        let wall = begin.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = said.lines().find_map(|line| line.strip_prefix("LastError: ")).unwrap_or("it failed");
        ensure!(output.status.success(), "{why}");
        let cost = Cost { wall, cpu: cpu_of(&pid)? - before, rss_kib: peak_of(&pid)? };
        Ok(vec![(self.name(), cost)])
    }
}
