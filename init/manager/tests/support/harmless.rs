//! A process 1 that is told random things: what it starts runs in a place where nothing can be harmed.
//!
//! Every file system is read-only or its own, so is the network, and the only programs are `true`, `false` and `sleep`.

use std::fs;

use crate::machine::Machine;

/// Nothing of the host can be written, and nothing of it can be executed.
const HARMLESS: &str = "mkdir @/tools && cp /usr/bin/true /usr/bin/false /usr/bin/sleep @/tools \
    && cp /usr/bin/true @/tools/sh && cp /usr/bin/unshare @/unshare \
    && while read -r _ place _; do case $place in /proc*|/sys*|/dev*|/run*) ;; \
       *) mount -o remount,bind,ro \"$place\" || true;; esac; done < /proc/self/mounts \
    && mkdir -p /run/kept && mount --bind @ /run/kept \
    && for place in /var /tmp /mnt; do mount -t tmpfs tmpfs $place; done \
    && mkdir -p @ && mount --bind /run/kept @ && umount /run/kept \
    && mount --bind @/tools /usr/sbin && mount --bind @/tools /usr/bin && exec @/unshare --net --ipc --uts";

pub fn boot(units: &[(&str, &str)]) -> Machine {
    Machine::boot_with(units, &[], &format!("{HARMLESS} {}", env!("CARGO_BIN_EXE_ferrite-init")))
}

/// A number of /proc/PID/status, in KiB.
pub fn status_kib(machine: &Machine, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", machine.pid)).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    value.trim_matches([':', ' ', '\t']).trim_end_matches(" kB").parse().unwrap()
}
