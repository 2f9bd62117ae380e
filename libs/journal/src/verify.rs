//! Checks a whole journal file: every object, hash and index.

use std::io;
use std::path::Path;

use crate::fault::Fault;

/// Checks a file. The outer error is that it cannot be opened or read.
pub fn verify(file: &Path) -> io::Result<Result<(), Fault>> {
    let _ = file;
    Err(io::ErrorKind::Unsupported.into())
}
