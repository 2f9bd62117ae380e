//! Who makes releases: keys, images, payloads and a published directory, with the `ferrite` command as people use it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use crate::board::{ferrite, newest_image, tree};
use crate::gate;

/// A publisher of releases of the board qemu.
#[derive(Debug)]
pub struct Publisher {
    folder: TempDir,
}

/// The files that the partitions of a slot are made of; what lies behind their end in a partition is of no meaning.
#[derive(Debug, Clone)]
pub struct SlotFiles {
    /// Root with its hash tree.
    pub root: PathBuf,
    /// Kernel, initrd, command line.
    pub boot: PathBuf,
}

/// A web server on the loopback, which guests reach as 10.0.2.2; it ends with its owner.
#[derive(Debug)]
pub struct WebServer {
    child: Child,
    /// Its port.
    pub port: u16,
}

impl Publisher {
    /// With new keys.
    pub fn new() -> anyhow::Result<Publisher> {
        let folder = tempfile::Builder::new().prefix("ferrite-publisher-").tempdir().context("making a folder")?;
        let publisher = Publisher { folder };
        publisher.ferrite(&["keys", "new", "keys"])?;
        Ok(publisher)
    }

    /// The version of a release.
    pub fn version(serial: u64) -> String {
        format!("1.{serial}")
    }

    /// Builds a release that has these files besides, or instead of, those of the board; gives its disk.
    pub fn build(&self, serial: u64, files: &[(&str, &[u8])]) -> anyhow::Result<PathBuf> {
        let (board, out) = (format!("release-{serial}.yaml"), self.out(serial));
        let added = self.path(&format!("files-{serial}"));
        fs::create_dir_all(&added).context("making a folder")?;
        for (path, bytes) in files {
            let path = added.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().context("a file has a folder")?).context("making a folder")?;
            fs::write(&path, bytes).with_context(|| format!("writing '{}'", path.display()))?;
            set_executable(&path)?;
        }
        let lists = format!("name: qemu\ndescription: a release for tests\nextends: [qemu]\nfiles: [files-{serial}]\n");
        fs::write(self.path(&board), lists).context("writing a board file")?;
        let (version, number) = (Self::version(serial), serial.to_string());
        let source = tree().display().to_string();
        let arguments = ["build", "--board", &board, "--version", &version, "--serial", &number, "--keys", "keys"];
        // One build at a time keeps the cache of packages still.
        gate::alone("build-release", || self.ferrite(&[&arguments[..], &["--tree", &source, "--out", &out]].concat()))?;
        newest_image(&self.path(&out), "qemu").context("the build left no image")
    }

    /// Packs a release that was built and publishes it.
    pub fn publish(&self, serial: u64) -> anyhow::Result<()> {
        let (out, payload, number) = (self.out(serial), format!("{serial}.fup"), serial.to_string());
        self.ferrite(&["payload", "pack", &out, "--serial", &number, "--level", "3", "--out", &payload])?;
        self.ferrite(&["publish", "site", &payload])?;
        // Half a gigabyte, and the payload is published; the slot is kept.
        fs::rename(self.path(&out).join("slot"), self.path(&format!("slot-{serial}"))).context("keeping a slot")?;
        fs::remove_dir_all(self.path(&out)).context("removing a build")?;
        fs::remove_file(self.path(&payload)).context("removing a payload")
    }

    /// What a slot holds that has this release, built or published.
    pub fn slot(&self, serial: u64) -> SlotFiles {
        let published = self.path(&format!("slot-{serial}"));
        let folder = if published.is_dir() { published } else { self.path(&self.out(serial)).join("slot") };
        SlotFiles { root: folder.join("root.img"), boot: folder.join("boot-a.img") }
    }

    /// Serves the published directory.
    pub fn serve(&self) -> anyhow::Result<WebServer> {
        self.serve_at(0)
    }

    /// Serves it at this port; 0: at a free one.
    pub fn serve_at(&self, port: u16) -> anyhow::Result<WebServer> {
        fs::create_dir_all(self.path("site")).context("making a folder")?;
        let mut command = self.command()?;
        let listen = format!("127.0.0.1:{port}");
        let mut child = command.args(["serve", "site", "--listen", &listen]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it has an output")?).read_line(&mut line)?;
        let port = line.trim().trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.with_context(|| format!("the server said '{line}'"))?;
        Ok(WebServer { child, port })
    }

    /// A file of the publisher.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn out(&self, serial: u64) -> String {
        format!("out-{serial}")
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(ferrite()?);
        command.current_dir(self.folder.path());
        Ok(command)
    }

    fn ferrite(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.command()?.args(arguments).output().context("starting ferrite")?;
        let error = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("`ferrite {}` failed: {}", arguments.join(" "), error.trim());
        }
        String::from_utf8(output.stdout).context("reading what ferrite says")
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let text = fs::read(path).context("reading what was written")?;
    ensure!(!text.is_empty(), "'{}' is empty", path.display());
    let mode = if text.starts_with(b"#!") || text.starts_with(b"\x7fELF") { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("setting a mode")
}
