//! SWUpdate: a signed image whose parts are zstd streams that go straight to the partitions.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ferrite_layout::Slot;

use super::cost::{cost_of, shell};
use super::target::{PARTS, Target};
use super::writers::{Rows, Writer};
use super::{Image, sha256};

/// Its image, and where.
pub(super) struct Swupdate {
    folder: PathBuf,
}

impl Swupdate {
    pub(super) fn new(folder: PathBuf) -> Swupdate {
        Swupdate { folder }
    }
}

impl Writer for Swupdate {
    fn name(&self) -> String {
        "swupdate, signed, zstd -3".to_string()
    }

    fn prepare(&mut self, image: &Image, target: &Target) -> anyhow::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let run = |line: &str| cost_of(shell(line).current_dir(&self.folder));
        run("openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=bench -keyout key.pem -out cert.pem")?;
        let mut images = Vec::new();
        for part in PARTS {
            let name = format!("{}.zst", part.role.word());
            run(&format!("zstd -q -3 -T0 -f '{}' -o {name}", image.part(part.file).display()))?;
            let (sum, device) = (sha256(&self.folder.join(&name))?, target.device(Slot::B, part.role).display());
            images.push(format!(
                r#"{{ filename = "{name}"; device = "{device}"; type = "raw"; compressed = "zstd";
                    installed-directly = true; sha256 = "{sum}"; }}"#
            ));
        }
        let description = format!(
            "software = {{ version = \"1\"; hardware-compatibility: [\"1\"]; images: ( {} ); }}",
            images.join(", ")
        );
        fs::write(self.folder.join("sw-description"), description)?;
        run("openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem \
             -outform DER -nosmimecap -binary")?;
        run("printf '%s\\n' sw-description sw-description.sig root.zst boot.zst | cpio -o -H crc > image.swu")?;
        Ok(())
    }

    fn write(&mut self, _: &Target) -> anyhow::Result<Rows> {
        let mut command = Command::new("swupdate");
        command.args(["-l", "1", "-H", "bench:1", "-k", "cert.pem", "-i", "image.swu"]).current_dir(&self.folder);
        // It flushes nothing of its own accord but what closing the device writes.
        Ok(vec![(self.name(), cost_of(&command)?)])
    }
}
