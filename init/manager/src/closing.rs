//! Closing what stores data: file systems, swap areas, loop devices, mapped devices, in turn, while something changes.
//!
//! Each single step runs in a process of its own and may not take long: a server that does not answer holds up nothing.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use ferrite_unit::escape::is_below;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::log::Log;
use crate::mount_table;
use crate::shutdown::bounded_status;
use crate::swap_unit::listed;
use crate::watch::Watch;

/// One step of closing.
const STEP_TIME: Duration = Duration::from_secs(10);
/// All pages of a swap area go back into memory, which may take a while.
const SWAP_TIME: Duration = Duration::from_secs(60);
/// Rounds; each must change something.
const ROUNDS_MAX: usize = 64;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    place: String,
    kind: String,
    read_only: bool,
}

/// The lines of mountinfo, newest last.
fn parse_mounts(text: &str) -> Vec<Mounted> {
    let mounted = |line: mount_table::Line<'_>| {
        let read_only = [line.options, line.inner].iter().any(|list| list.split(',').any(|word| word == "ro"));
        Mounted { place: line.place, kind: line.kind.to_owned(), read_only }
    };
    mount_table::lines(text).map(mounted).collect()
}

/// File systems of the kernel hold nothing that could be lost. What is mounted below /run may: containers live there.
fn is_kernel_place(place: &str) -> bool {
    place == "/run" || ["/proc", "/sys", "/dev"].iter().any(|top| is_below(place, top))
}

fn has_content(kind: &str) -> bool {
    !matches!(
        kind,
        "tmpfs" | "devtmpfs" | "proc" | "sysfs" | "cgroup2" | "cgroup" | "erofs" | "autofs" | "ramfs" | "rootfs"
    )
}

fn mounts() -> Vec<Mounted> {
    parse_mounts(&mount_table::text())
}

/// What is being closed, and what did not go.
pub struct Closing<'a> {
    log: &'a Log,
    watch: &'a Watch,
    /// Places whose file system does not answer.
    hung: BTreeSet<String>,
}

impl<'a> Closing<'a> {
    /// Nothing is closed yet.
    pub fn new(log: &'a Log, watch: &'a Watch) -> Closing<'a> {
        Closing { log, watch, hung: BTreeSet::new() }
    }

    /// One step in a process of its own. `None`: it hangs.
    fn step(&self, time: Duration, work: impl FnOnce() -> bool) -> Option<bool> {
        Some(bounded_status(time, self.watch, || i32::from(!work()))? == 0)
    }

    /// Closes all it can but what `keep` names; tells which file systems stay writable.
    pub fn close_all(&mut self, keep: impl Fn(&str) -> bool) -> Vec<String> {
        for _ in 0..ROUNDS_MAX {
            let mut changed = self.close_mounts(&keep);
            changed |= self.close_swaps();
            changed |= self.close_loops();
            changed |= self.close_mapped();
            if !changed {
                break;
            }
        }
        self.make_read_only();
        let left = |m: &Mounted| !m.read_only && !is_kernel_place(&m.place) && has_content(&m.kind);
        mounts().into_iter().filter(left).map(|mounted| mounted.place).collect()
    }

    fn close_mounts(&mut self, keep: &impl Fn(&str) -> bool) -> bool {
        let mut changed = false;
        for mounted in mounts().iter().rev() {
            let place = mounted.place.as_str();
            if is_kernel_place(place) || keep(place) || self.hung.contains(place) {
                continue;
            }
            let umount = |flags: MntFlags| umount2(place, flags | MntFlags::UMOUNT_NOFOLLOW).is_ok();
            match self.step(STEP_TIME, || umount(MntFlags::empty())) {
                Some(closed) => changed |= closed,
                None => {
                    self.log.error(&format!("unmounting {place}: no answer, detaching it"));
                    self.hung.insert(place.to_owned());
                    changed |=
                        self.step(STEP_TIME, || umount(MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)) == Some(true);
                }
            }
        }
        changed
    }

    fn close_swaps(&self) -> bool {
        let text = fs::read_to_string("/proc/swaps").unwrap_or_default();
        let off = |path: &String| self.step(SWAP_TIME, || ferrite_sys::detach::swap_off(path).is_ok()) == Some(true);
        listed(&text).iter().filter(|path| off(path)).count() > 0
    }

    fn close_loops(&self) -> bool {
        let bound = |name: &String| fs::exists(format!("/sys/block/{name}/loop/backing_file")).unwrap_or(false);
        let names = block_devices().into_iter().filter(|name| name.starts_with("loop") && bound(name));
        let off = |name: &String| {
            let path = format!("/dev/{name}");
            // A device in use is only marked: it goes with its last user.
            self.step(STEP_TIME, || ferrite_sys::detach::loop_off(&path).is_ok()) == Some(true) && !bound(name)
        };
        names.filter(off).count() > 0
    }

    fn close_mapped(&self) -> bool {
        let names: Vec<String> = block_devices()
            .into_iter()
            .filter_map(|device| fs::read_to_string(format!("/sys/block/{device}/dm/name")).ok())
            .map(|name| name.trim().to_owned())
            .collect();
        let off = |name: &String| {
            let remove = || ferrite_sys::dm::Mapper::open().and_then(|mapper| mapper.remove(name)).is_ok();
            self.step(STEP_TIME, remove) == Some(true)
        };
        names.iter().filter(|name| off(name)).count() > 0
    }

    /// What cannot be unmounted can perhaps still be kept from changing.
    fn make_read_only(&self) {
        for mounted in mounts().iter().rev() {
            let place = mounted.place.as_str();
            if !mounted.read_only && !is_kernel_place(place) && has_content(&mounted.kind) && !self.hung.contains(place)
            {
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
                // What cannot be made read-only is named by the caller.
                let _ = self.step(STEP_TIME, || mount(None::<&str>, place, None::<&str>, flags, None::<&str>).is_ok());
            }
        }
    }
}

fn block_devices() -> Vec<String> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Devices that are still mapped, for the report.
pub fn mapped_devices() -> Vec<String> {
    block_devices().into_iter().filter(|name| name.starts_with("dm-")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read() {
        let text = "22 1 254:0 / / ro,relatime - erofs /dev/dm-0 ro\n\
                    30 22 8:9 / /state rw,noatime shared:1 - ext4 /dev/vda9 rw\n\
                    31 22 8:9 /var /var\\040x rw - ext4 /dev/vda9 rw\n";
        let mounts = parse_mounts(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!((mounts[0].read_only, mounts[1].read_only), (true, false));
        assert_eq!((mounts[2].place.as_str(), mounts[2].kind.as_str()), ("/var x", "ext4"));
    }

    #[test]
    fn places_of_the_kernel_are_left_alone() {
        assert!(is_kernel_place("/dev/shm") && is_kernel_place("/run") && !is_kernel_place("/device"));
        assert!(!is_kernel_place("/run/containerd/x/rootfs"));
    }

    #[test]
    fn swap_areas_are_read() {
        let text = "Filename Type Size Used Priority\n/dev/vda5 partition 1024 0 -2\n/swap\\040file file 8 0 -3\n";
        assert_eq!(listed(text), ["/dev/vda5", "/swap file"]);
        assert_eq!(listed(""), Vec::<String>::new());
    }
}
