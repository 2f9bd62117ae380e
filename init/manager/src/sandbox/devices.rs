//! A /dev of harmless devices only (`PrivateDevices=`). Runs in the child.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, mknod};

/// Devices that give nobody anything.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Folders of the machine that are shown; of the last two there may be none.
const FOLDERS: [(&str, bool); 4] = [("pts", true), ("shm", true), ("mqueue", false), ("hugepages", false)];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("/run/systemd/journal/dev-log", "log"),
];

const NOTHING: Option<&str> = None;

/// Builds it in a folder, as a file system of its own.
pub fn build(folder: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME | MsFlags::MS_NOEXEC;
    let options = Some("mode=0755,size=4m,nr_inodes=64k");
    mount(Some("tmpfs"), folder, Some("tmpfs"), flags, options)?;
    for (name, needed) in FOLDERS {
        let source = format!("/dev/{name}");
        if !needed && !fs::metadata(&source).is_ok_and(|status| status.is_dir()) {
            continue;
        }
        let place = format!("{folder}/{name}");
        fs::create_dir(&place)?;
        mount(Some(source.as_str()), place.as_str(), NOTHING, MsFlags::MS_BIND, NOTHING)?;
    }
    if fs::symlink_metadata("/dev/ptmx").is_ok_and(|status| status.is_symlink()) {
        symlink("pts/ptmx", format!("{folder}/ptmx"))?;
    } else {
        device("ptmx", folder)?;
    }
    DEVICES.iter().try_for_each(|name| device(name, folder))?;
    LINKS.iter().try_for_each(|(target, name)| symlink(target, format!("{folder}/{name}")))
}

/// Makes a device as the machine has it; in a container, where none can be made, the machine's is shown.
fn device(name: &str, folder: &str) -> io::Result<()> {
    let source = format!("/dev/{name}");
    let place = format!("{folder}/{name}");
    let status = match fs::metadata(&source) {
        Ok(status) if status.file_type().is_char_device() => status,
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mode = Mode::from_bits_truncate(status.mode() & 0o7777);
    match mknod(place.as_str(), SFlag::S_IFCHR, mode, status.rdev()) {
        Ok(()) => {
            let (major, minor) = (nix::sys::stat::major(status.rdev()), nix::sys::stat::minor(status.rdev()));
            fs::create_dir_all(format!("{folder}/char"))?;
            std::os::unix::fs::lchown(&place, Some(status.uid()), Some(status.gid()))?;
            symlink(format!("../{name}"), format!("{folder}/char/{major}:{minor}"))
        }
        Err(nix::errno::Errno::EPERM) => {
            fs::write(&place, "")?;
            mount(Some(source.as_str()), place.as_str(), NOTHING, MsFlags::MS_BIND, NOTHING)?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
