//! Loading kernel modules from files.
//!
//! Compressed modules are unpacked by the kernel (CONFIG_MODULE_DECOMPRESS), so no decompressor
//! is needed here. A module that is loaded already counts as success.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::Path;

const DECOMPRESS: i32 = 4;

/// Loads one module file with parameters (`name=value name=value`, may be empty).
pub fn load(path: &Path, parameters: &str) -> io::Result<()> {
    let file = File::open(path)?;
    let parameters = CString::new(parameters)?;
    let flags = if path.extension().is_some_and(|extension| extension == "ko") { 0 } else { DECOMPRESS };
    match rustix::system::finit_module(&file, &parameters, flags) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_and_a_file_that_is_no_module_are_errors() {
        assert_eq!(load(Path::new("/nonexistent.ko"), "").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(load(Path::new("/proc/self/status"), "").is_err());
    }

    #[test]
    fn parameters_with_a_zero_byte_are_refused() {
        let error = load(Path::new("/proc/self/status"), "a\0b").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
