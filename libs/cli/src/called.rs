//! The name that a program is called by, which decides what it does where one file is several programs.

use std::path::Path;

/// The last part of the path in the first argument.
pub fn called() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
