//! `systemd-random-seed`: carries randomness over a reboot, for machines whose kernel finds little of it by itself.
//!
//! What was kept is mixed in and never trusted: an image that was copied with its state must not count as random. A
//! seed is replaced as soon as it was used, so that a power cut does not let a machine begin with the same one twice.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use ferrite_files::{Attributes, Root};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::configuration::{self, chain};
use crate::options::{Given, Known, flag, value};
use crate::{Command, Environment, Outcome};

const FOLDER: &str = "/var/lib/systemd";
const FILE: &str = "/var/lib/systemd/random-seed";
const DEVICE: &str = "/dev/urandom";
/// As much as the kernel's pool once held.
const SEED_BYTES: usize = 512;
/// Of a file that somebody else left.
const FILE_MAX: usize = 64 << 10;

const OPTIONS: [Known; 3] =
    [Known { long: "help", short: Some('h'), takes_value: false }, flag("version"), value("root")];

const HELP: &str = "\
systemd-random-seed [OPTIONS...] COMMAND

Load and save the system random seed at boot and shutdown.

Commands:
  load                  Mix the saved seed in, and save a new one
  save                  Save a new seed

Options:
  -h --help             Show this help
     --version          Show the version
     --root=PATH        The seed lies below this folder
";

/// The command.
pub(crate) const COMMAND: Command = Command { name: "systemd-random-seed", options: &OPTIONS, help: HELP, run };

fn run(given: &Given, _environment: &Environment) -> Result<Outcome, String> {
    let root = configuration::root(given)?;
    let words: Vec<&str> = given.words.iter().map(String::as_str).collect();
    match words[..] {
        ["load"] => load(&root, Path::new(DEVICE))?,
        ["save"] => save(&root)?,
        [] => return Err("This program requires one argument: load or save.".into()),
        _ => return Err(format!("Unknown verb '{}': load or save.", words.join(" "))),
    }
    Ok(Outcome::Done)
}

fn load(root: &Root, device: &Path) -> Result<(), String> {
    if let Some(seed) = root.read(FILE, FILE_MAX).map_err(|error| chain(&error))? {
        let mixed = OpenOptions::new().write(true).open(device).and_then(|mut device| device.write_all(&seed));
        mixed.map_err(|error| format!("Failed to write the seed to '{}': {error}", device.display()))?;
    }
    if let Err(why) = save(root) {
        // A full or broken disk is no reason for a boot to fail: the same seed serves again, and is not trusted anyway.
        eprintln!("{why}; the old seed stays.");
    }
    Ok(())
}

fn save(root: &Root) -> Result<(), String> {
    let Some(seed) = fresh().map_err(|error| format!("Failed to get random bytes: {error}"))? else {
        eprintln!("The kernel has not enough randomness yet, keeping the old seed.");
        return Ok(());
    };
    let folder = Attributes { mode: 0o755, owner: None };
    root.make_folder(FOLDER, &folder).map_err(|error| chain(&error))?;
    root.replace(FILE, &seed, &Attributes { mode: 0o600, owner: None }).map_err(|error| chain(&error))
}

/// New bytes; `None`: the kernel has none that are any good, and waiting for them would hold up the boot.
fn fresh() -> io::Result<Option<Vec<u8>>> {
    let mut seed = vec![0; SEED_BYTES];
    let mut filled = 0;
    while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::NONBLOCK) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(seed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_seed_is_mixed_in_once_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (root, device) = (Root::open(folder.path()).unwrap(), folder.path().join("device"));
        std::fs::create_dir_all(folder.path().join("var/lib")).unwrap();
        std::fs::write(&device, "").unwrap();
        // The first boot has nothing to mix in.
        load(&root, &device).unwrap();
        assert_eq!(std::fs::read(&device).unwrap(), b"");
        let path = folder.path().join(FILE.trim_start_matches('/'));
        let first = std::fs::read(&path).unwrap();
        assert_eq!((first.len(), path.metadata().unwrap().permissions().mode() & 0o777), (SEED_BYTES, 0o600));
        save(&root).unwrap();
        let second = std::fs::read(&path).unwrap();
        assert_ne!(first, second);
        load(&root, &device).unwrap();
        assert_eq!(std::fs::read(&device).unwrap(), second);
        assert_ne!(std::fs::read(&path).unwrap(), second);
    }

    #[test]
    fn a_disk_that_takes_no_file_is_told_and_fails_no_boot() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("var"), "").unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(save(&root).unwrap_err().contains("/var/lib/systemd"));
        load(&root, Path::new("/dev/null")).unwrap();
    }
}
