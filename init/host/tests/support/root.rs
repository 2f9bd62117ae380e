//! A root in a folder, the program under one of its names, and what a root holds as text.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A root that goes away with the value.
pub struct TestRoot {
    folder: tempfile::TempDir,
    /// The program under the names that it is called by.
    names: tempfile::TempDir,
}

impl TestRoot {
    /// An empty root. Needs root.
    pub fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    /// The same in a folder, such as the root that systemd's tools are in.
    #[allow(dead_code, reason = "not every test has a peer")]
    pub fn new_in(above: &Path) -> Self {
        assert!(rustix::process::geteuid().is_root(), "these tests change owners: run them as root");
        let folder = tempfile::tempdir_in(above).unwrap();
        // The folder of a test must be passable for the users of its files.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder, names: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    #[allow(dead_code, reason = "not every test writes")]
    pub fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[allow(dead_code, reason = "not every test reads")]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.folder.path().join(path.trim_start_matches('/'))).unwrap()
    }

    /// Runs the command with `--root`; `lines` are its standard input.
    pub fn run(&self, name: &str, arguments: &[&str], lines: &str) -> Output {
        let program = self.named(name);
        let root = format!("--root={}", self.folder.path().display());
        let mut child = Command::new(program)
            .arg(root)
            .args(arguments)
            .env_remove("CREDENTIALS_DIRECTORY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// The program under a name, beside the root.
    fn named(&self, name: &str) -> PathBuf {
        let link = self.names.path().join(name);
        // It may be there from another call.
        let _ = symlink(env!("CARGO_BIN_EXE_ferrite-host"), &link);
        link
    }

    #[allow(dead_code, reason = "not every test looks")]
    /// Everything below the root but what `skips` names, a line each: path, kind, mode, owner, content, lists.
    pub fn listing(&self, skips: &[&str]) -> String {
        let mut out = String::new();
        let mut waiting = vec![PathBuf::new()];
        let mut found = Vec::new();
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(self.path().join(&folder)).unwrap() {
                let path = folder.join(entry.unwrap().file_name());
                if skips.iter().any(|skip| path == Path::new(skip)) {
                    continue;
                }
                if fs::symlink_metadata(self.path().join(&path)).unwrap().is_dir() {
                    waiting.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        for path in found {
            self.describe(&path, &mut out);
        }
        out
    }

    fn describe(&self, path: &Path, out: &mut String) {
        let whole = self.path().join(path);
        let data = fs::symlink_metadata(&whole).unwrap();
        let kind = data.file_type();
        let mode = data.mode() & 0o7777;
        let (letter, content) = if kind.is_symlink() {
            ('l', fs::read_link(&whole).unwrap().display().to_string())
        } else if kind.is_dir() {
            ('d', String::new())
        } else if kind.is_file() {
            ('f', String::from_utf8_lossy(&fs::read(&whole).unwrap()).escape_debug().to_string())
        } else if kind.is_fifo() {
            ('p', String::new())
        } else {
            let letter = if kind.is_block_device() { 'b' } else { 'c' };
            (letter, format!("{}:{}", rustix::fs::major(data.rdev()), rustix::fs::minor(data.rdev())))
        };
        let (uid, gid) = (data.uid(), data.gid());
        let mut line = format!("{} {letter} {mode:04o} {uid}:{gid} {content}", path.display());
        if letter != 'l' {
            for name in ["system.posix_acl_access", "system.posix_acl_default", "user.x", "user.z"] {
                let mut buffer = vec![0; 4096];
                if let Ok(length) = rustix::fs::getxattr(&whole, name, &mut buffer) {
                    let value: String = buffer[..length].iter().map(|byte| format!("{byte:02x}")).collect();
                    line.push_str(&format!(" {name}={value}"));
                }
            }
        }
        writeln!(out, "{}", line.trim_end()).unwrap();
    }
}

/// What a command said.
#[allow(dead_code, reason = "not every test looks")]
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
