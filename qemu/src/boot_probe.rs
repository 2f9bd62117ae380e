//! Proves that KVM works: boots a sector that counts for a while and then leaves QEMU through its debug-exit port.
//!
//! With a working KVM this takes a fraction of a second. Counting finds a KVM that emulates each instruction.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::QemuError;
use crate::process;

/// Exit code of QEMU for the value 0x21 written to the port: twice the value, plus one.
const REACHED: i32 = 0x43;
const DEADLINE: Duration = Duration::from_secs(5);

/// `mov ecx, 1 << 26; again: dec ecx; jnz again; xor eax, eax; mov dx, 0xf4; mov ax, 0x21; out dx, al; hlt`
const SECTOR_CODE: [u8; 20] = [
    0x66, 0xb9, 0x00, 0x00, 0x00, 0x04, 0x66, 0x49, 0x75, 0xfc, 0x31, 0xc0, 0xba, 0xf4, 0x00, 0xb8, 0x21, 0x00, 0xee,
    0xf4,
];

/// Whether a guest runs under KVM here, and why not. The outer error is a failure of the probe itself.
pub fn kvm_works() -> Result<Result<(), String>, QemuError> {
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Ok(Err(format!("opening /dev/kvm: {error}")));
    }
    boots_under("kvm", "host")
}

fn boots_under(accelerator: &str, cpu: &str) -> Result<Result<(), String>, QemuError> {
    let folder = process::work_folder("probe")?;
    let image = folder.path().join("sector");
    fs::write(&image, sector()).map_err(QemuError::file("writing", &image))?;
    let said = folder.path().join("said");
    let errors = fs::File::create(&said).map_err(QemuError::file("creating", &said))?;
    let mut command = command(accelerator, cpu, &image)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let mut child = command.spawn().map_err(|source| QemuError::Start { program: process::QEMU.into(), source })?;
    let started = Instant::now();
    let status = process::wait_until(&mut child, DEADLINE)?;
    let said = fs::read_to_string(&said).unwrap_or_default();
    Ok(match status {
        Some(status) if status.code() == Some(REACHED) => Ok(()),
        Some(status) => Err(process::reason(&said).unwrap_or_else(|| format!("QEMU ended with {status}"))),
        None => Err(format!("a test boot did not end within {} s", started.elapsed().as_secs())),
    })
}

fn command(accelerator: &str, cpu: &str, image: &Path) -> Result<Command, QemuError> {
    let mut command = process::qemu_command()?;
    let drive = format!("if=ide,format=raw,snapshot=on,file={}", image.display());
    command.args(["-accel", accelerator, "-cpu", cpu, "-m", "16", "-nodefaults", "-display", "none"]);
    command.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-drive", &drive]);
    Ok(command)
}

fn sector() -> Vec<u8> {
    let mut sector = SECTOR_CODE.to_vec();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sector_ends_under_emulation_so_the_probe_can_succeed() {
        assert_eq!(boots_under("tcg", "max").expect("the probe ran"), Ok(()));
    }

    #[test]
    fn an_accelerator_that_does_not_exist_gives_the_words_of_qemu() {
        let reason = boots_under("nonsense", "max").expect("the probe ran").expect_err("it cannot work");
        assert!(reason.contains("nonsense"), "{reason}");
    }
}
