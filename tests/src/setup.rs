//! A machine that is still off: what it is made of, and what is on its disk.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_qemu::metadata::{Cloud, CloudKind};
use ferrite_qemu::ssh;
use ferrite_qemu::{Disk, DiskBus, Firmware, MachineSpec, MetadataService, Nic, UserData, disk, user_data};
use tempfile::TempDir;

use crate::board::Board;
use crate::disk_file::DiskFile;
use crate::machine::Machine;

/// A machine that is off. Its disk is a copy of the board's image.
#[derive(Debug)]
pub struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) spec: MachineSpec,
    pub(crate) expected: Vec<&'static str>,
    service: Option<MetadataService>,
}

/// Under emulation on a busy host a virtual processor may not run for tens of seconds; its kernel then blames itself.
const BUSY_HOST: [&str; 2] = ["rcu: INFO", "soft lockup"];

impl Setup {
    /// The usual machine of a board, with a fresh disk.
    pub fn new(board: Board) -> anyhow::Result<Self> {
        Self::with_image(&board.image()?)
    }

    /// The usual machine with a copy of this disk.
    pub fn with_image(image: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ferrite-test-").tempdir().context("making a folder")?;
        let own = folder.path().join("disk.raw");
        disk::copy_sparse(image, &own)?;
        let key = ssh::ensure_key(&folder.path().join("key"))?;
        let document = folder.path().join("user-data");
        fs::write(&document, user_data::only_key(&key)).context("writing user-data")?;
        let mut spec = MachineSpec::new(Disk::new(own));
        spec.accelerator = accelerator()?;
        spec.ssh_port = Some(ssh::free_port()?);
        spec.user_data = UserData::FwCfg(document);
        spec.firmware_variables = Some(folder.path().join("firmware-variables.fd"));
        Ok(Self { folder, spec, expected: BUSY_HOST.to_vec(), service: None })
    }

    /// With this firmware.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.spec.firmware = firmware;
        self
    }

    /// With its disks on this bus.
    pub fn bus(mut self, bus: DiskBus) -> Self {
        self.spec.disks.iter_mut().for_each(|disk| disk.bus = bus);
        self
    }

    /// With this network card.
    pub fn nic(mut self, nic: Nic) -> Self {
        self.spec.nic = nic;
        self
    }

    /// With so much memory.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.spec.memory_mib = memory_mib;
        self
    }

    /// With a hardware watchdog.
    pub fn watchdog(mut self) -> Self {
        self.spec.watchdog = true;
        self
    }

    /// With a USB controller that sticks can be plugged into.
    pub fn usb(mut self) -> Self {
        self.spec.usb = true;
        self
    }

    /// With more words on the kernel's command line.
    pub fn kernel_words(mut self, words: &str) -> Self {
        self.spec.kernel_words = Some(words.into());
        self
    }

    /// With a disk of another size; the image's partitions stay as they are.
    pub fn disk_bytes(self, length: u64) -> anyhow::Result<Self> {
        disk::grow(self.disk_path(), length)?;
        Ok(self)
    }

    /// With this user-data instead of the one with nothing but the key; `KEY` in it stands for the key.
    pub fn user_data(self, document: &str) -> anyhow::Result<Self> {
        let path = self.folder.path().join("user-data");
        fs::write(&path, document.replace("KEY", &self.public_key()?)).context("writing user-data")?;
        Ok(self)
    }

    /// With the user-data on a disk labelled `cidata` instead of fw_cfg.
    pub fn cidata(mut self) -> anyhow::Result<Self> {
        let folder = self.folder.path().join("cidata");
        fs::create_dir(&folder).context("making a folder")?;
        fs::copy(self.folder.path().join("user-data"), folder.join("user-data")).context("copying user-data")?;
        fs::write(folder.join("meta-data"), "instance-id: test-1\n").context("writing meta-data")?;
        self.spec.user_data = UserData::Cidata(folder);
        Ok(self)
    }

    /// With a tree of OpenStack's drive instead of fw_cfg; `KEY` in a file stands for the key.
    pub fn config_drive(mut self, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = self.seed("config-2", files)?;
        self.spec.user_data = UserData::ConfigDrive(folder);
        Ok(self)
    }

    /// As a machine of this cloud, with the cloud's service and the key among its keys, instead of fw_cfg.
    pub fn cloud(mut self, kind: CloudKind, mut cloud: Cloud) -> anyhow::Result<Self> {
        cloud.add_key(&self.public_key()?);
        let service = MetadataService::start(cloud.clone(), (Ipv4Addr::LOCALHOST, 0).into())?;
        self.spec = self.spec.of_cloud(kind, &cloud, service.address().port());
        self.service = Some(service);
        Ok(self)
    }

    /// As a machine whose firmware names a web server with these files; `KEY` in a file stands for the key.
    pub fn web_seed(self, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = self.seed("web", files)?;
        self.cloud(CloudKind::NoCloudHttp, Cloud::Files(folder))
    }

    /// The cloud knows something else from now on; the key stays.
    pub fn change_cloud(&self, mut cloud: Cloud) -> anyhow::Result<()> {
        cloud.add_key(&self.public_key()?);
        self.service()?.know(cloud);
        Ok(())
    }

    /// The cloud's service.
    pub fn service(&self) -> anyhow::Result<&MetadataService> {
        self.service.as_ref().context("the machine is of no cloud")
    }

    /// With every write to the boot disk also in a log, see [`crate::write_log`].
    pub fn write_log(mut self) -> Self {
        let log = self.write_log_path();
        self.spec.disks[0].write_log = Some(log);
        self
    }

    /// Where that log is.
    pub fn write_log_path(&self) -> PathBuf {
        self.folder.path().join("writes.log")
    }

    /// With a second disk, a copy of this file.
    pub fn second_disk(mut self, image: &Path) -> anyhow::Result<Self> {
        let own = self.folder.path().join("second.raw");
        disk::copy_sparse(image, &own)?;
        self.spec.disks.push(Disk { bus: self.spec.disks[0].bus, ..Disk::new(own) });
        Ok(self)
    }

    /// This trouble on the console is part of the test.
    pub fn expecting(mut self, trouble: &[&'static str]) -> Self {
        self.expected.extend(trouble);
        self
    }

    /// The file of the boot disk.
    pub fn disk_path(&self) -> &Path {
        &self.spec.disks[0].file
    }

    /// The boot disk, to be changed before the machine starts.
    pub fn disk(&self) -> anyhow::Result<DiskFile> {
        DiskFile::open(self.disk_path())
    }

    /// Switches the machine on and does not wait for anything.
    pub fn power_on(self) -> anyhow::Result<Machine> {
        Machine::power_on_new(self)
    }

    /// Switches the machine on and waits until everything of it runs.
    pub fn boot(self) -> anyhow::Result<Machine> {
        let mut machine = self.power_on()?;
        machine.wait_until_running()?;
        Ok(machine)
    }

    /// The key that logs in.
    pub fn public_key(&self) -> anyhow::Result<String> {
        Ok(ssh::ensure_key(&self.folder.path().join("key"))?)
    }
}

/// KVM where it works; asked once a test process, because the answer costs a test boot.
fn accelerator() -> anyhow::Result<ferrite_qemu::Accelerator> {
    static ANSWER: std::sync::OnceLock<ferrite_qemu::Accelerator> = std::sync::OnceLock::new();
    if let Some(known) = ANSWER.get() {
        return Ok(*known);
    }
    let wanted = std::env::var("FERRITE_ACCEL").unwrap_or("auto".into());
    let choice: ferrite_qemu::AcceleratorChoice = wanted.parse().map_err(anyhow::Error::msg)?;
    Ok(*ANSWER.get_or_init(|| choice.resolve().map_or(ferrite_qemu::Accelerator::Tcg, |found| found.accelerator)))
}
