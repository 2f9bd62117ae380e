//! A build host: folders as `ferrite build` fills them, and the `ferrite` command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ferrite_image::slot;
use uuid::Uuid;

use crate::noise::noise;

/// A temporary build host with keys.
pub struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    pub fn new() -> Workshop {
        let workshop = Workshop { folder: tempfile::tempdir().expect("a temporary folder") };
        workshop.ferrite(&["keys", "new", "keys"]);
        for serial in 1..=3 {
            workshop.build(serial);
        }
        workshop
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// An image of half a megabyte, most of it the same in each version.
    fn build(&self, serial: u64) {
        let folder = self.path(&format!("out-{serial}"));
        fs::create_dir_all(folder.join("slot")).expect("a folder");
        let data = [noise(1, 200_000), noise(serial, 9_000), noise(2, 250_000)].concat();
        let root_path = folder.join("slot/root.img");
        fs::write(&root_path, data).expect("it can be written");
        let root = slot::append_tree(&root_path, Uuid::from_u128(1)).expect("a tree");
        let mut boot = noise(30 + serial, 60_000);
        boot.resize(128 << 10, 0);
        fs::write(folder.join("slot/boot-a.img"), boot).expect("it can be written");
        let record = serde_json::json!({
            "board": "qemu", "version": format!("1.{serial}"), "serial": serial, "epoch": 1_700_000_000,
            "root_hash": root.hash.to_string(), "blocks": root.blocks,
        });
        fs::write(folder.join("build.json"), record.to_string()).expect("it can be written");
    }

    /// Runs the command in the folder; it must succeed.
    pub fn ferrite(&self, arguments: &[&str]) -> String {
        let output = self.ferrite_output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs the command; it must fail. What it says.
    pub fn ferrite_fails(&self, arguments: &[&str]) -> String {
        let output = self.ferrite_output(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8(output.stderr).expect("text")
    }

    fn ferrite_output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite"));
        command.args(arguments).current_dir(self.folder.path()).output().expect("ferrite runs")
    }

    /// Packs a release, as a delta from the one before if asked.
    pub fn pack(&self, serial: u64, base: Option<u64>) -> String {
        let from = base.map(|base| format!("-from-{base}")).unwrap_or_default();
        let file = format!("{serial}{from}.fup");
        let (image, serial_text) = (format!("out-{serial}"), serial.to_string());
        let mut arguments = vec!["payload", "pack", &image, "--out", &file, "--serial", &serial_text, "--level", "3"];
        let base = base.map(|base| (format!("out-{base}"), base.to_string()));
        if let Some((folder, serial)) = &base {
            arguments.extend(["--base", folder, "--base-serial", serial]);
        }
        self.ferrite(&arguments);
        file
    }

    pub fn image(&self, serial: u64, part: &str) -> Vec<u8> {
        read(&self.path(&format!("out-{serial}/slot/{part}")))
    }
}

pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("'{}': {error}", path.display()))
}
