//! The first acts of PID 1: file systems of the kernel, names, limits, clock. Each may be repeated, none is fatal.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, setrlimit};

use crate::facts::is_mount_point;
use crate::log::{Log, Show};

/// What the kernel offers as file systems: type, place, options, flags, and whether a machine may lack it.
struct Api {
    kind: &'static str,
    place: &'static str,
    options: &'static str,
    flags: MsFlags,
    optional: bool,
}

const STRICT: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

const APIS: [Api; 11] = [
    Api { kind: "proc", place: "/proc", options: "", flags: STRICT, optional: false },
    Api { kind: "sysfs", place: "/sys", options: "", flags: STRICT, optional: false },
    Api { kind: "devtmpfs", place: "/dev", options: "mode=755", flags: MsFlags::MS_NOSUID, optional: false },
    Api {
        kind: "devpts",
        place: "/dev/pts",
        options: "mode=620,gid=5,ptmxmode=666",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC),
        optional: false,
    },
    Api { kind: "tmpfs", place: "/dev/shm", options: "mode=1777", flags: QUIET, optional: false },
    Api { kind: "mqueue", place: "/dev/mqueue", options: "", flags: STRICT, optional: true },
    Api { kind: "tmpfs", place: "/run", options: "mode=755,size=20%", flags: QUIET, optional: false },
    Api {
        kind: "cgroup2",
        place: "/sys/fs/cgroup",
        options: "nsdelegate,memory_recursiveprot",
        flags: STRICT,
        optional: false,
    },
    Api { kind: "securityfs", place: "/sys/kernel/security", options: "", flags: STRICT, optional: true },
    Api { kind: "efivarfs", place: "/sys/firmware/efi/efivars", options: "", flags: STRICT, optional: true },
    Api { kind: "bpf", place: "/sys/fs/bpf", options: "mode=700", flags: STRICT, optional: true },
];

/// Standard streams and umask that do not depend on who started us.
pub fn own_process() {
    // Nothing we make may be written by everybody unless we say so: neither control groups nor folders of sockets.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // Whatever whoever started us ignores is not ignored by services; only for an unknown signal it fails.
    let _ = ferrite_sys::signal::reset_all();
    // PID 1 of a machine has no session yet; inside a namespace it may be one already.
    let _ = nix::unistd::setsid();
    let _ = nix::unistd::chdir("/");
}

/// Points the standard streams to /dev/null, so that nothing PID 1 starts holds the console by accident.
pub fn close_streams() {
    use std::os::fd::AsFd;
    let Ok(null) = fs::OpenOptions::new().read(true).write(true).open("/dev/null") else { return };
    for to in 0..3 {
        // Without /dev/null the streams stay what they are.
        let _ = ferrite_sys::process::place(null.as_fd(), to);
    }
}

/// Mounts what is not mounted yet.
pub fn mount_apis(log: &mut Vec<String>) {
    for api in &APIS {
        if is_mount_point(api.place) {
            continue;
        }
        // /dev has no folder for message queues; in /sys none can be made, and what is missing there is not offered.
        if !Path::new(api.place).exists() && fs::create_dir_all(api.place).is_err() {
            continue;
        }
        let result = mount(Some(api.kind), api.place, Some(api.kind), api.flags, Some(api.options)).or_else(|_| {
            // Older kernels know fewer options.
            mount(Some(api.kind), api.place, Some(api.kind), api.flags, None::<&str>)
        });
        if let Err(errno) = result
            && !api.optional
        {
            log.push(format!("mounting {} at {}: {}, going on without", api.kind, api.place, errno.desc()));
        }
    }
}

/// The names of a process's own streams, which shells and scripts open below /dev.
pub fn link_streams(log: &mut Vec<String>) {
    let links = [("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout")];
    for (target, name) in links.into_iter().chain([("/proc/self/fd/2", "stderr"), ("/proc/kcore", "core")]) {
        let place = Path::new("/dev").join(name);
        match std::os::unix::fs::symlink(target, &place) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                log.push(format!("linking {} to {target}: {error}, going on without", place.display()));
            }
            Ok(()) | Err(_) => {}
        }
    }
}

/// The name of the machine: /etc/hostname, else one made from the machine id, so that two machines do not share it.
pub fn set_host_name(log: &Log) {
    let current = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name = match crate::host::static_host_name() {
        Some(name) => name,
        None if current.is_empty() || current == "(none)" => {
            default_host_name(&crate::disk::read_text("/etc/machine-id"))
        }
        None => return,
    };
    if let Err(error) = rustix::system::sethostname(name.as_bytes()) {
        log.warning(&format!("setting the host name to '{name}': {error}, keeping '{current}'"));
    }
}

/// `ferrite-` and the first eight digits of the machine id; ferrite-cloudinit makes the same.
fn default_host_name(machine_id: &str) -> String {
    match machine_id.get(..8) {
        Some(digits) if digits.chars().all(|digit| digit.is_ascii_hexdigit()) => format!("ferrite-{digits}"),
        Some(_) | None => "ferrite".to_owned(),
    }
}

/// Gives back memory that the kernel reserves for huge pages on a small machine, where it is a tenth of all there is.
/// The kernel's own formula for a machine without huge pages is used instead; a machine with more memory keeps it all.
pub fn lower_memory_reserve() {
    const PATH: &str = "/proc/sys/vm/min_free_kbytes";
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let total = read("/proc/meminfo").lines().find_map(|line| number(line.strip_prefix("MemTotal:")?));
    let (Some(total_kib), Some(reserve_kib)) = (total, number(&read(PATH))) else { return };
    if let Some(lower) = lower_reserve_kib(total_kib, reserve_kib) {
        // Without it there is only less memory for programs.
        let _ = fs::write(PATH, lower.to_string());
    }
}

fn number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The reserve that a machine of this size should have, if it is less than the one it has.
fn lower_reserve_kib(total_kib: u64, reserve_kib: u64) -> Option<u64> {
    const SMALL_KIB: u64 = 4 << 20;
    const LEAST_KIB: u64 = 4096;
    let wanted = total_kib.saturating_mul(16).isqrt().max(LEAST_KIB);
    (total_kib <= SMALL_KIB && wanted < reserve_kib).then_some(wanted)
}

/// The machine id as early boot left it; if /etc could not be written, one that lasts until the next boot.
pub fn ensure_machine_id(log: &Log) {
    let valid = |text: &str| text.trim().len() == 32 && text.trim().chars().all(|c| c.is_ascii_hexdigit());
    if valid(&crate::disk::read_text("/etc/machine-id")) {
        return;
    }
    let transient = "/run/machine-id";
    let written = fs::write(transient, format!("{}\n", crate::spawn::new_invocation())).and_then(|()| {
        fs::set_permissions(transient, fs::Permissions::from_mode(0o444))?;
        mount(Some(transient), "/etc/machine-id", None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(Into::into)
    });
    match written {
        Ok(()) => log.warning("/etc/machine-id holds no machine id, using one for this boot only"),
        Err(error) => log.warning(&format!("making a machine id for this boot: {error}, going on without")),
    }
}

/// Makes /run/lock, where everybody may put a lock file.
pub fn make_lock_folder() -> std::io::Result<()> {
    fs::create_dir_all("/run/lock")?;
    fs::set_permissions("/run/lock", fs::Permissions::from_mode(0o1777))
}

/// As many files as the kernel allows for us and for services that ask; services begin with the usual soft limit.
pub fn raise_limits() {
    for (path, value) in [("/proc/sys/fs/nr_open", "1073741816"), ("/proc/sys/fs/file-max", "9223372036854775807")] {
        // A kernel that refuses keeps its own limit, which is enough for all but the largest servers.
        let _ = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(value.as_bytes()));
    }
    // The kernel's hard limit of 4096 files is too low for servers.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, 524_288, 524_288);
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, 8 << 20, 8 << 20);
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, nix::sys::resource::RLIM_INFINITY);
}

/// PID 1 itself may open as many files as it can: each start and each client costs some.
pub fn raise_own_files() {
    if let Ok((_, hard)) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// In a child: the usual soft limit, as programs that use select() need it.
pub fn lower_files() {
    if let Some((soft, hard)) = usual_files() {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
}

/// The usual limits of open files, soft and hard.
pub fn usual_files() -> Option<(u64, u64)> {
    let (_, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some((hard.min(1024), hard))
}

/// A machine without a clock battery must not live before its image was built.
pub fn floor_clock(log: &Log) {
    let Ok(built) = fs::metadata("/usr/lib/os-release").and_then(|m| m.modified()) else { return };
    let Ok(floor) = built.duration_since(std::time::UNIX_EPOCH) else { return };
    if crate::clock::wall_us() / 1_000_000 >= floor.as_secs() {
        return;
    }
    let time = rustix::time::Timespec { tv_sec: i64::try_from(floor.as_secs()).unwrap_or(0), tv_nsec: 0 };
    match rustix::time::clock_settime(rustix::time::ClockId::Realtime, time) {
        Ok(()) => log.warning("the clock was before the image was built, setting it to that time"),
        Err(error) => log.warning(&format!("the clock is before the image was built and cannot be set: {error}")),
    }
}

/// Is this the PID 1 of the whole machine? The first process namespace has a number that the kernel fixes.
pub fn is_real_boot() -> bool {
    const FIRST_NAMESPACE: &str = "pid:[4026531836]";
    std::process::id() == 1
        && fs::read_link("/proc/self/ns/pid").is_ok_and(|target| target.to_string_lossy() == FIRST_NAMESPACE)
}

/// The kernel command line; a namespace has none.
pub fn command_line(real_boot: bool) -> String {
    if real_boot { fs::read_to_string("/proc/cmdline").unwrap_or_default() } else { String::new() }
}

/// Which status lines the kernel command line asks for.
pub fn shown_status(command_line: &str) -> Show {
    match crate::watch::option(command_line, "systemd.show_status") {
        Some("no" | "false" | "0" | "off") => Show::Nothing,
        Some("auto" | "error") => Show::Failures,
        Some(_) => Show::All,
        None if crate::watch::has_word(command_line, "quiet") => Show::Failures,
        None => Show::All,
    }
}

/// The unit that the kernel command line asks for.
pub fn default_unit(command_line: &str) -> String {
    let by_word = |word: &str| match word {
        "emergency" | "-b" => Some("emergency.target"),
        "rescue" | "single" | "s" | "S" | "1" => Some("rescue.target"),
        _ => None,
    };
    let asked = crate::watch::option(command_line, "systemd.unit");
    let word = command_line.split_whitespace().rev().find_map(by_word);
    asked.or(word).unwrap_or("default.target").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_chooses_what_is_shown() {
        assert_eq!(shown_status("root=/dev/vda1"), Show::All);
        assert_eq!(shown_status("quiet"), Show::Failures);
        assert_eq!(shown_status("quiet systemd.show_status=yes"), Show::All);
        assert_eq!(shown_status("systemd.show-status=0"), Show::Nothing);
    }

    #[test]
    fn the_command_line_chooses_the_first_unit() {
        assert_eq!(default_unit("quiet"), "default.target");
        assert_eq!(default_unit("quiet single"), "rescue.target");
        assert_eq!(default_unit("emergency systemd.unit=x.target"), "x.target");
    }

    #[test]
    fn a_machine_without_a_name_is_called_after_its_id() {
        assert_eq!(default_host_name("0123456789abcdef0123456789abcdef\n"), "ferrite-01234567");
        assert_eq!(default_host_name(""), "ferrite");
        assert_eq!(default_host_name("uninitialized"), "ferrite");
    }

    #[test]
    fn only_a_small_machine_gets_its_reserve_back() {
        assert_eq!(lower_reserve_kib(1 << 20, 45_056), Some(4096));
        assert_eq!(lower_reserve_kib(4 << 20, 67_584), Some(8192));
        assert_eq!(lower_reserve_kib(64 << 20, 67_584), None);
        assert_eq!(lower_reserve_kib(1 << 20, 4000), None);
    }
}
