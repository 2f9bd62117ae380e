//! The documents that are measured, each in a folder with its meta-data, as a seed of NoCloud.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

/// A document: its name, and whether it is a cloud-config by itself, which tools that only read YAML need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) name: &'static str,
    pub(crate) is_plain: bool,
}

pub(crate) const ALL: [Document; 4] = [
    Document { name: "simple", is_plain: true },
    Document { name: "large", is_plain: true },
    Document { name: "message", is_plain: false },
    Document { name: "broken", is_plain: true },
];

const SIMPLE: &str = "#cloud-config
hostname: web1
ssh_authorized_keys:
  - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSnPSrFHGXYWzCiVgW2Wd0bTMHQkyXIUHSqdRwpmCEY alice@laptop
write_files:
  - path: /etc/motd
    content: hello
    permissions: '0644'
";
const BROKEN: &str = "#cloud-config
hostname: web1
ssh_authorised_keys:
  - ssh-ed25519 AAAA
write_files:
  - path: /etc/motd
   content: hello
";
const META_DATA: &str = "instance-id: i-1\nlocal-hostname: web1\n";
const MESSAGE_HEAD: &str = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"B\"\n\n--B\n\
    Content-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n";
const MESSAGE_TAIL: &str = "--B\nContent-Type: text/x-shellscript\n\n#!/bin/sh\ntrue\n--B--\n";

/// Writes all documents below a folder. `large`: the file that is the large one; without it there is none.
pub(crate) fn write(folder: &Path, large: &Path) -> anyhow::Result<Vec<Document>> {
    let mut written = Vec::new();
    for document in ALL {
        let bytes = match document.name {
            "simple" => SIMPLE.as_bytes().to_vec(),
            "large" if !large.exists() => continue,
            "large" => fs::read(large).with_context(|| format!("reading '{}'", large.display()))?,
            "message" => {
                let part = piped("gzip", &["-9", "-n"], SIMPLE.as_bytes())?;
                [MESSAGE_HEAD.as_bytes(), &piped("base64", &[], &part)?, MESSAGE_TAIL.as_bytes()].concat()
            }
            _ => BROKEN.as_bytes().to_vec(),
        };
        let place = crate::folder(&folder.join(document.name))?;
        fs::write(place.join("user-data"), bytes).context("writing a document")?;
        fs::write(place.join("meta-data"), META_DATA).context("writing meta-data")?;
        written.push(document);
    }
    Ok(written)
}

/// What a program makes of some bytes that are smaller than a pipe.
fn piped(program: &str, arguments: &[&str], input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(program);
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let child = child.as_mut().map_err(|error| anyhow::anyhow!("starting {program}: {error}"))?;
    let mut pipe = child.stdin.take().context("no pipe")?;
    std::io::Write::write_all(&mut pipe, input)?;
    drop(pipe);
    let mut output = Vec::new();
    std::io::Read::read_to_end(child.stdout.as_mut().context("no pipe")?, &mut output)?;
    ensure!(child.wait()?.success(), "{program} failed");
    Ok(output)
}
