//! Mounts what the kernel itself offers.

use std::ffi::CStr;
use std::path::Path;

use anyhow::Context;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

/// Where the root is put together.
pub const SYSROOT: &str = "/sysroot";

struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static CStr,
}

const NOTHING_RUNS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const MOUNTS: [Mount; 4] = [
    Mount { kind: "proc", target: "/proc", flags: NOTHING_RUNS, options: c"" },
    Mount { kind: "sysfs", target: "/sys", flags: NOTHING_RUNS, options: c"" },
    Mount { kind: "devtmpfs", target: "/dev", flags: MountFlags::NOSUID, options: c"mode=755" },
    Mount {
        kind: "tmpfs",
        target: "/run",
        flags: MountFlags::NOSUID.union(MountFlags::NODEV),
        options: c"mode=755,size=20%,nr_inodes=800k",
    },
];

/// For programs of the kernel's virtual machine. With the first mount the kernel asks for a module that no kernel of
/// ours has: here nobody answers, later it would start modprobe.
const PROGRAMS: Mount = Mount { kind: "bpf", target: "/sys/fs/bpf", flags: NOTHING_RUNS, options: c"mode=700" };

/// Mounts /proc, /sys, /dev and /run, and makes the folder for the root.
pub fn mount_all() -> anyhow::Result<()> {
    for entry in &MOUNTS {
        make_folder(entry.target)?;
        match mount(entry.kind, entry.target, entry.kind, entry.flags, entry.options) {
            // The kernel may have mounted devtmpfs by itself.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => return Err(error).with_context(|| format!("mounting {} on '{}'", entry.kind, entry.target)),
        }
    }
    // PID 1 tries again, and says so when it fails.
    let _ = mount(PROGRAMS.kind, PROGRAMS.target, PROGRAMS.kind, PROGRAMS.flags, PROGRAMS.options);
    make_folder(SYSROOT)?;
    make_folder("/run/ferrite")
}

fn make_folder(path: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("making folder '{path}'"))
}

/// Whether the machine was started by UEFI.
pub fn is_uefi() -> bool {
    Path::new("/sys/firmware/efi").is_dir()
}
