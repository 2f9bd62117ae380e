//! Finds the UEFI firmware of the host: OVMF, where Debian and Ubuntu put it.

use std::path::{Path, PathBuf};

use crate::error::QemuError;

/// Code and variables, which must be of the same size class.
#[derive(Debug, Clone)]
pub struct FirmwareFiles {
    /// The code; never written.
    pub code: PathBuf,
    /// The variables; written by the guest.
    pub variables: PathBuf,
}

const FOLDERS: [&str; 3] = ["/usr/share/OVMF", "/usr/share/ovmf", "/usr/share/qemu"];
const PAIRS: [(&str, &str); 2] = [("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"), ("OVMF_CODE.fd", "OVMF_VARS.fd")];

/// The firmware of the host; its variables are the template that every machine gets a copy of.
pub fn find() -> Result<FirmwareFiles, QemuError> {
    for folder in FOLDERS {
        for (code, variables) in PAIRS {
            let files =
                FirmwareFiles { code: Path::new(folder).join(code), variables: Path::new(folder).join(variables) };
            if files.code.exists() && files.variables.exists() {
                return Ok(files);
            }
        }
    }
    Err(QemuError::MissingFirmware { searched: FOLDERS.map(String::from).to_vec() })
}

/// The firmware with the variables kept in `variables`, which is made from the template where it is missing.
pub fn prepare(variables: &Path) -> Result<FirmwareFiles, QemuError> {
    let found = find()?;
    if !variables.exists() {
        let bytes = std::fs::read(&found.variables).map_err(QemuError::file("reading", &found.variables))?;
        std::fs::write(variables, bytes).map_err(QemuError::file("writing", variables))?;
    }
    Ok(FirmwareFiles { code: found.code, variables: variables.into() })
}
