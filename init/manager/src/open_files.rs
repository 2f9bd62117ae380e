//! Files and sockets that a process finds open because its unit says so (`OpenFile=`). Runs in the child.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;

use ferrite_unit::service::OpenFile;

use crate::child::Fault;
use crate::descriptors::FILES;

/// Opens all of them in order, each with its name. One that is `graceful` and cannot be opened is left out.
pub fn open(list: &[OpenFile]) -> Result<Vec<(OwnedFd, String)>, Fault> {
    let mut files = Vec::new();
    for wanted in list {
        match one(wanted) {
            Ok(file) => files.push((file, wanted.name.clone())),
            Err(_) if has(wanted, "graceful") => {}
            Err(error) => {
                return Err(Fault { code: FILES, text: format!("opening {} for OpenFile=: {error}", wanted.path) });
            }
        }
    }
    Ok(files)
}

fn has(wanted: &OpenFile, option: &str) -> bool {
    wanted.options.iter().any(|have| have == option)
}

fn one(wanted: &OpenFile) -> io::Result<OwnedFd> {
    if std::fs::metadata(&wanted.path).is_ok_and(|status| status.file_type().is_socket()) {
        return Ok(UnixStream::connect(&wanted.path)?.into());
    }
    let read_only = has(wanted, "read-only");
    let mut options = OpenOptions::new();
    options.read(true).write(!read_only).custom_flags(nix::libc::O_NOCTTY);
    if has(wanted, "append") {
        options.append(true);
    }
    if has(wanted, "truncate") {
        options.truncate(true);
    }
    Ok(options.open(&wanted.path)?.into())
}
