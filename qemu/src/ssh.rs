//! Logs in to a guest with the host's OpenSSH: a throw-away key, known hosts of our own, one shared connection.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::QemuError;
use crate::process;

/// Makes an ed25519 key without a passphrase, unless it is there already, and gives the line for `authorized_keys`.
pub fn ensure_key(private: &Path) -> Result<String, QemuError> {
    let public = private.with_extension("pub");
    if !private.exists() {
        let keygen = program("ssh-keygen")?;
        let output = Command::new(keygen)
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "ferrite-throw-away", "-f"])
            .arg(private)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| QemuError::Start { program: "ssh-keygen".into(), source })?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(QemuError::Failed { program: "ssh-keygen".into(), message });
        }
    }
    let line = std::fs::read_to_string(&public).map_err(QemuError::file("reading", &public))?;
    Ok(line.trim().to_string())
}

/// A port of 127.0.0.1 that nobody uses at this moment.
pub fn free_port() -> Result<u16, QemuError> {
    let fail = |source| QemuError::File { doing: "finding a free port on", path: "127.0.0.1".into(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(fail)?;
    Ok(listener.local_addr().map_err(fail)?.port())
}

/// How to log in to one guest.
#[derive(Debug, Clone)]
pub struct SshTarget {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// The private key.
    pub key: PathBuf,
    /// Host keys seen so far. A changed host key makes ssh refuse.
    pub known_hosts: PathBuf,
    /// The socket of the shared connection, which saves a key exchange a command.
    pub shared_connection: Option<PathBuf>,
}

impl SshTarget {
    /// An ssh command line up to and including `core@127.0.0.1`; the command to run follows.
    pub fn command(&self, connect_timeout_s: u32) -> Result<Command, QemuError> {
        let mut command = Command::new(program("ssh")?);
        command.args(["-F", "/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.args([
            "-o",
            "StrictHostKeyChecking=accept-new",
            "-o",
            "ServerAliveInterval=15",
            "-o",
            "ServerAliveCountMax=8",
        ]);
        command.args(["-o", &format!("ConnectTimeout={connect_timeout_s}")]);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        if let Some(socket) = &self.shared_connection {
            command.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60"]);
            command.arg("-o").arg(format!("ControlPath={}", socket.display()));
        }
        command.arg("-i").arg(&self.key).args(["-p", &self.port.to_string(), "core@127.0.0.1"]);
        Ok(command)
    }

    /// The text of a configuration file with which `ssh -F FILE -p PORT core@127.0.0.1` logs in.
    pub fn config(&self) -> String {
        format!(
            "Host 127.0.0.1\n  User core\n  Port {}\n  IdentityFile \"{}\"\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile \"{}\"\n  StrictHostKeyChecking accept-new\n",
            self.port,
            self.key.display(),
            self.known_hosts.display()
        )
    }

    /// Closes the shared connection. It is no fault if there is none.
    pub fn close(&self) {
        if let (Some(socket), Ok(ssh)) = (&self.shared_connection, program("ssh")) {
            let control = format!("ControlPath={}", socket.display());
            // Its failure means that no connection is open.
            let _ = Command::new(ssh)
                .args(["-F", "/dev/null", "-o", &control, "-O", "exit", "core@127.0.0.1"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
    }
}

fn program(name: &'static str) -> Result<PathBuf, QemuError> {
    process::find_program(name).ok_or(QemuError::MissingProgram { program: name, package: "openssh-client" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let private = folder.path().join("key");
        let first = ensure_key(&private).expect("a key");
        assert!(first.starts_with("ssh-ed25519 "), "{first}");
        assert_eq!(ensure_key(&private).expect("the same key"), first);
    }
}
