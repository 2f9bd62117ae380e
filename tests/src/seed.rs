//! Documents of a machine on media of every kind: optical drives, fw_cfg, web servers, its own oem partition.
//!
//! `KEY` in a document stands for the key that logs in.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use ferrite_qemu::metadata::{Cloud, CloudKind};
use ferrite_qemu::{Cd, CdBus, Smbios, UserData};

use crate::Part;
use crate::setup::Setup;

impl Setup {
    /// With an optical medium of these files in a drive, instead of fw_cfg.
    pub fn cd(mut self, bus: CdBus, label: &str, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let file = self.image_of(label, files)?;
        self.spec.cds.push(Cd { file, bus });
        self.spec.user_data = UserData::None;
        Ok(self)
    }

    /// With a tree of OpenStack's drive in a folder that is shared with the machine, instead of fw_cfg.
    pub fn shared_config_drive(mut self, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        self.spec.user_data = UserData::SharedConfigDrive(self.seed("config-2", files)?);
        Ok(self)
    }

    /// With no documents at all.
    pub fn without_user_data(mut self) -> Self {
        self.spec.user_data = UserData::None;
        self
    }

    /// With the address that DHCP gives, whatever its cloud's service says.
    pub fn without_static_address(mut self) -> Self {
        if let Some(metadata) = &mut self.spec.metadata {
            metadata.guest = None;
        }
        self
    }

    /// An image of these files, which is in no drive yet.
    pub fn image_of(&self, label: &str, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
        let folder = self.seed(&format!("cd-{}", self.spec.cds.len()), files)?;
        let file = folder.with_extension("iso");
        make_cd(&folder, label, &file)?;
        Ok(file)
    }

    /// With the files of a folder as a FAT disk labelled `cidata`, instead of fw_cfg.
    pub fn cidata_disk(mut self, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        self.spec.user_data = UserData::Cidata(self.seed("cidata", files)?);
        Ok(self)
    }

    /// With these files in fw_cfg.
    pub fn fw_cfg(mut self, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = self.seed("fw_cfg", files)?;
        self.spec.user_data = UserData::FwCfgFiles(files.iter().map(|(name, _)| folder.join(name)).collect());
        Ok(self)
    }

    /// With a file in the root of its oem partition, instead of fw_cfg.
    pub fn oem_file(mut self, name: &str, text: &str) -> anyhow::Result<Self> {
        let folder = self.seed("oem", &[(name, text)])?;
        let place = self.disk()?.place(Part::Oem)?;
        let image = format!("{}@@{}", self.disk_path().display(), place.offset);
        let copied = Command::new("mcopy").args(["-i", &image]).arg(folder.join(name)).arg("::").output();
        let copied = copied.context("starting 'mcopy' (package mtools)")?;
        ensure!(copied.status.success(), "mcopy: {}", String::from_utf8_lossy(&copied.stderr));
        self.spec.user_data = UserData::None;
        Ok(self)
    }

    /// With a web server of these files at 169.254.169.254, and nothing that says so.
    pub fn web(self, files: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = self.seed("web", files)?;
        let mut setup = self.cloud(CloudKind::NoCloudHttp, Cloud::Files(folder))?;
        setup.spec.smbios = Smbios::default();
        Ok(setup)
    }

    /// With more words on the kernel's command line, in which `KEY` stands for the key.
    pub fn kernel_words_with_key(self, words: &str) -> anyhow::Result<Self> {
        let words = words.replace("KEY", &self.public_key()?);
        Ok(self.kernel_words(&words))
    }

    pub(crate) fn seed(&self, name: &str, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join(name);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&folder)).context("making a folder")?;
            fs::write(&path, text.replace("KEY", &self.public_key()?)).context("writing a document")?;
        }
        Ok(folder)
    }
}

/// Makes an optical medium as people do, with the names of both Joliet and Rock Ridge.
pub fn make_cd(folder: &Path, label: &str, file: &Path) -> anyhow::Result<()> {
    let mut tool = Command::new("genisoimage");
    tool.args(["-quiet", "-J", "-r", "-V", label, "-o"]).arg(file).arg(folder);
    let made = tool.output().context("starting 'genisoimage' (package genisoimage)")?;
    ensure!(made.status.success(), "genisoimage: {}", String::from_utf8_lossy(&made.stderr));
    // A drive has whole sectors, and QEMU shows a short one as none.
    let mut image = File::options().write(true).open(file).context("opening the medium")?;
    let length = image.seek(SeekFrom::End(0))?;
    image.set_len(length.next_multiple_of(64 * 1024)).context("filling the medium up")
}
