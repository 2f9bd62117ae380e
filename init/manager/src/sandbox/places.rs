//! Which view of the file systems a context asks for: each setting's places. Pure.

use ferrite_unit::directories::Directories;
use ferrite_unit::escape::is_below;
use ferrite_unit::exec::{Exec, Preserve};
use ferrite_unit::sandbox::{
    NamespacePath, PrivateTmp, ProcSubset, ProtectControlGroups, ProtectHome, ProtectProc, ProtectSystem,
};

use super::plan::Facts;
use super::view::{Entry, Mode, View, put_in_order};

/// Where the new root, and what is mounted before it has its place, is built. Seen in no other namespace.
pub const STAGE: &str = "/run/ferrite/stage";

/// A folder that nothing or next to nothing lies in.
const EMPTY_OPTIONS: &str = "mode=0755,size=4m,nr_inodes=1k";

/// Places of [`ProtectHome`].
const HOMES: [&str; 3] = ["/home", "/run/user", "/root"];
/// Interfaces of the kernel that only an administrator has to write to.
const TUNABLES: [&str; 15] = [
    "/proc/acpi",
    "/proc/apm",
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/latency_stats",
    "/proc/mtrr",
    "/proc/scsi",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/timer_stats",
    "/sys/fs/bpf",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
];
/// Sockets of the log.
const LOG_SOCKETS: [&str; 3] =
    ["/run/systemd/journal/socket", "/run/systemd/journal/stdout", "/run/systemd/journal/dev-log"];

/// The base folders of the five kinds of directories.
pub const BASES: [&str; 5] = ["/run", "/var/lib", "/var/cache", "/var/log", "/etc"];

/// Does a kind of directory lie in `private` for users that exist only as long as their unit?
pub fn is_private(exec: &Exec, base: &str) -> bool {
    match base {
        "/etc" => false,
        // What goes with the unit needs no hiding.
        "/run" => exec.sandbox.dynamic_user && exec.runtime_preserve != Preserve::No,
        _ => exec.sandbox.dynamic_user,
    }
}

/// The view; `None`: that of the machine.
pub fn view(exec: &Exec, facts: &Facts<'_>) -> Option<View> {
    let connected = exec.sandbox.private_tmp == PrivateTmp::Connected;
    if facts.privileged || !(exec.needs_mount_namespace() || connected) {
        return None;
    }
    let mounts = &exec.sandbox.mounts;
    let mut view = View {
        root: mounts.root_directory.clone(),
        own_tmp: exec.sandbox.private_tmp == PrivateTmp::Disconnected,
        propagation: mounts.propagation,
        ..View::default()
    };
    written(exec, &mut view);
    directories(exec, &mut view);
    temporary(exec, facts, &mut view);
    kernel(exec, &mut view);
    system(exec, &mut view);
    interfaces(exec, facts, &mut view);
    if exec.sandbox.no_new_privileges {
        view.entries.iter_mut().for_each(|entry| entry.no_suid = true);
    }
    put_in_order(&mut view.entries);
    Some(view)
}

/// The place below the new root that a written path means, if there is one.
///
/// With another root a path without `+` is one of the machine, and only counts where it lies below that root.
fn place(path: &NamespacePath, root: Option<&String>) -> Option<String> {
    match root {
        Some(root) if !path.below_root => {
            let below = is_below(&path.path, root).then(|| path.path.strip_prefix(root.as_str())).flatten()?;
            Some(if below.is_empty() { "/".to_owned() } else { below.to_owned() })
        }
        _ => Some(path.path.clone()),
    }
}

fn written(exec: &Exec, view: &mut View) {
    let mounts = &exec.sandbox.mounts;
    let lists = [
        (&mounts.read_write, Mode::ReadWrite),
        (&mounts.read_only, Mode::ReadOnly),
        (&mounts.inaccessible, Mode::Inaccessible),
        (&mounts.exec, Mode::Execute),
        (&mounts.no_exec, Mode::NoExecute),
    ];
    for (list, mode) in lists {
        for path in list {
            let Some(place) = place(path, mounts.root_directory.as_ref()) else { continue };
            view.entries.push(Entry { optional: path.optional, ..Entry::new(&place, mode.clone()) });
        }
    }
    for bind in &mounts.bind {
        let mode = Mode::Bind { source: bind.source.clone(), recursive: bind.recursive };
        let entry = Entry::new(&bind.destination, mode);
        view.entries.push(Entry { optional: bind.optional, read_only: bind.read_only, ..entry });
    }
    for tmpfs in &mounts.temporary {
        let read_only = tmpfs.options.split(',').any(|option| option == "ro");
        let written: Vec<&str> =
            tmpfs.options.split(',').filter(|option| !matches!(*option, "" | "ro" | "rw")).collect();
        let options = ["mode=0755", "size=10%", "nr_inodes=400k"].into_iter().chain(written).collect::<Vec<_>>();
        let mode = Mode::Tmpfs { options: options.join(",") };
        view.entries.push(Entry { read_only, ..Entry::new(&tmpfs.path, mode) });
    }
}

/// The directories that the manager made: they can be written to, whatever else cannot.
fn directories(exec: &Exec, view: &mut View) {
    let own_root = view.root.is_some();
    for (base, directories) in BASES.into_iter().zip(exec.all_directories()) {
        let private = is_private(exec, base);
        if private && !directories.items.is_empty() && !own_root {
            let empty = Entry::new(&format!("{base}/private"), Mode::Empty);
            view.entries.push(Entry { no_suid: true, no_execute: true, ..empty }.read_only());
        }
        for (at, item) in directories.items.iter().enumerate() {
            let inside = inside_another(directories, at);
            if inside && !item.read_only {
                continue;
            }
            let source =
                if private { format!("{base}/private/{}", item.path) } else { format!("{base}/{}", item.path) };
            let place = if private && own_root { format!("{base}/{}", item.path) } else { source.clone() };
            let entry = Entry::new(&place, Mode::Bind { source, recursive: true });
            view.entries.push(Entry { read_only: item.read_only, no_suid: exec.sandbox.dynamic_user, ..entry });
        }
    }
}

/// Does a directory lie in one that stands before it?
pub fn inside_another(directories: &Directories, at: usize) -> bool {
    let path = directories.items.get(at).map_or("", |item| item.path.as_str());
    directories.items.iter().take(at).any(|other| is_below(path, &other.path))
}

fn temporary(exec: &Exec, facts: &Facts<'_>, view: &mut View) {
    let mut show = |place: &str, source: String| {
        view.entries.push(Entry::new(place, Mode::Bind { source, recursive: true }));
    };
    match exec.sandbox.private_tmp {
        PrivateTmp::No => {}
        PrivateTmp::Connected => {
            if let Some((tmp, var_tmp)) = &facts.temporary {
                show("/tmp", format!("{tmp}/tmp"));
                show("/var/tmp", format!("{var_tmp}/tmp"));
            }
        }
        PrivateTmp::Disconnected => {
            show("/tmp", format!("{STAGE}/tmp/tmp"));
            show("/var/tmp", format!("{STAGE}/tmp/var-tmp"));
        }
    }
}

fn kernel(exec: &Exec, view: &mut View) {
    let sandbox = &exec.sandbox;
    let mut add = |path: &str, mode: Mode| view.entries.push(Entry::new(path, mode));
    if sandbox.private_devices {
        add("/dev", Mode::PrivateDevices);
    }
    if sandbox.protect_kernel_tunables {
        add("/sys", Mode::ReadOnly);
        // Control groups have a setting of their own.
        add("/sys/fs/cgroup", Mode::ReadWriteImplicit);
    }
    match sandbox.protect_control_groups {
        ProtectControlGroups::No => {}
        ProtectControlGroups::Yes => add("/sys/fs/cgroup", Mode::ReadOnly),
        ProtectControlGroups::Private => add("/sys/fs/cgroup", Mode::PrivateGroups),
        ProtectControlGroups::Strict => {
            view.entries.push(Entry::new("/sys/fs/cgroup", Mode::PrivateGroups).read_only());
        }
    }
    let mut add = |path: &str, mode: Mode| view.entries.push(Entry::new(path, mode).optional());
    if sandbox.protect_kernel_tunables {
        TUNABLES.iter().for_each(|path| add(path, Mode::ReadOnly));
        ["/proc/kallsyms", "/proc/kcore"].iter().for_each(|path| add(path, Mode::Inaccessible));
        add("/sys/fs/selinux", Mode::ReadWriteImplicit);
    }
    if sandbox.protect_kernel_modules {
        add("/usr/lib/modules", Mode::Inaccessible);
    }
    if sandbox.protect_kernel_logs {
        ["/proc/kmsg", "/dev/kmsg"].iter().for_each(|path| add(path, Mode::Inaccessible));
    }
    if sandbox.protect_hostname {
        ["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"].iter().for_each(|path| add(path, Mode::ReadOnly));
    }
}

fn system(exec: &Exec, view: &mut View) {
    let home = match exec.sandbox.protect_home {
        ProtectHome::No => None,
        ProtectHome::Yes => Some(Mode::Inaccessible),
        ProtectHome::ReadOnly => Some(Mode::ReadOnly),
        ProtectHome::Tmpfs => Some(Mode::Tmpfs { options: EMPTY_OPTIONS.into() }),
    };
    if let Some(mode) = home {
        for path in HOMES {
            let tmpfs = matches!(mode, Mode::Tmpfs { .. });
            // The home of root is for nobody else to look into.
            let mode = match (&mode, path) {
                (Mode::Tmpfs { options }, "/root") => Mode::Tmpfs { options: options.replace("0755", "0700") },
                (mode, _) => mode.clone(),
            };
            view.entries.push(Entry { read_only: tmpfs, ..Entry::new(path, mode).optional() });
        }
    }
    let mut read_only = |path: &str, optional: bool| {
        view.entries.push(Entry { optional, ..Entry::new(path, Mode::ReadOnly) });
    };
    match exec.sandbox.protect_system {
        ProtectSystem::No => {}
        ProtectSystem::Yes | ProtectSystem::Full => {
            read_only("/usr", false);
            read_only("/boot", true);
            read_only("/efi", true);
            if exec.sandbox.protect_system == ProtectSystem::Full {
                read_only("/etc", false);
            }
        }
        ProtectSystem::Strict => {
            read_only("/", false);
            for path in ["/proc", "/sys", "/dev"] {
                view.entries.push(Entry::new(path, Mode::ReadWriteImplicit));
            }
            for path in HOMES {
                view.entries.push(Entry::new(path, Mode::ReadWriteImplicit).optional());
            }
        }
    }
}

/// What is mounted anew because of other namespaces, and what the manager itself shows.
fn interfaces(exec: &Exec, facts: &Facts<'_>, view: &mut View) {
    let sandbox = &exec.sandbox;
    let special = sandbox.protect_proc != ProtectProc::Default || sandbox.proc_subset != ProcSubset::All;
    if exec.mounts_api_vfs() || special || sandbox.private_pids {
        let entries = [
            Entry::new("/proc", Mode::Processes { options: process_options(exec) }),
            Entry::new("/dev", Mode::BindDevices),
            Entry::new("/sys", Mode::BindSystem),
            Entry::new("/run", Mode::Run),
        ];
        view.entries.extend(entries);
    }
    if sandbox.private_network || sandbox.network_namespace_path.is_some() {
        view.entries.push(Entry::new("/sys", Mode::PrivateSystem));
    }
    if sandbox.private_ipc || sandbox.ipc_namespace_path.is_some() {
        view.entries.push(Entry::new("/dev/mqueue", Mode::MessageQueues));
    }
    let mut show = |source: &str, place: &str, recursive: bool| {
        let mode = Mode::Bind { source: source.to_owned(), recursive };
        view.entries.push(Entry::new(place, mode).read_only().optional());
    };
    match &sandbox.logging.namespace {
        Some(namespace) => show(&format!("/run/systemd/journal.{namespace}"), "/run/systemd/journal", true),
        None if exec.binds_log_sockets() => LOG_SOCKETS.iter().for_each(|path| show(path, path, false)),
        None => {}
    }
    if let Some(socket) = facts.notify_socket.filter(|_| sandbox.mounts.root_directory.is_some()) {
        show(socket, socket, false);
    }
    for (source, place) in &facts.shown {
        show(source, place, false);
    }
    match facts.credentials {
        Some(folder) => {
            let empty = Entry::new("/run/credentials", Mode::Tmpfs { options: EMPTY_OPTIONS.into() });
            let own = Entry::new(folder, Mode::Bind { source: folder.to_owned(), recursive: false });
            view.entries.extend([empty.read_only(), own.read_only().optional()]);
        }
        None => view.entries.push(Entry::new("/run/credentials", Mode::Inaccessible).optional()),
    }
}

/// Options of the file system of processes.
fn process_options(exec: &Exec) -> String {
    let hidden = match exec.sandbox.protect_proc {
        ProtectProc::Default => "off",
        ProtectProc::NoAccess => "noaccess",
        ProtectProc::Invisible => "invisible",
        ProtectProc::Ptraceable => "ptraceable",
    };
    match (exec.sandbox.protect_proc, exec.sandbox.proc_subset) {
        (ProtectProc::Default, ProcSubset::All) => String::new(),
        (_, ProcSubset::All) => format!("hidepid={hidden}"),
        (_, ProcSubset::Pid) => format!("hidepid={hidden},subset=pid"),
    }
}

#[cfg(test)]
mod tests {
    use ferrite_unit::directories::Directory;
    use ferrite_unit::sandbox::Sandbox;

    use super::*;

    fn places(exec: &Exec) -> Vec<String> {
        let view = view(exec, &Facts::default()).unwrap_or_default();
        view.entries.iter().map(|entry| format!("{} {:?}", entry.path, entry.mode)).collect()
    }

    fn with(sandbox: Sandbox) -> Exec {
        Exec { sandbox: sandbox.into(), ..Exec::default() }
    }

    #[test]
    fn a_context_without_protection_sees_the_machine() {
        assert_eq!(view(&Exec::default(), &Facts::default()), None);
        let exec = with(Sandbox { private_devices: true, ..Sandbox::default() });
        assert!(view(&exec, &Facts::default()).is_some());
        assert_eq!(view(&exec, &Facts { privileged: true, ..Facts::default() }), None);
    }

    #[test]
    fn all_is_read_only_but_the_directories_of_the_unit() {
        let mut exec = with(Sandbox { protect_system: ProtectSystem::Strict, ..Sandbox::default() });
        exec.state.items.push(Directory { path: "x".into(), ..Directory::default() });
        let places = places(&exec);
        assert_eq!(places[0], "/ ReadOnly");
        assert!(places.contains(&"/dev ReadWriteImplicit".to_owned()));
        let own = "/var/lib/x Bind { source: \"/var/lib/x\", recursive: true }";
        assert!(places.contains(&own.to_owned()), "{places:?}");
    }

    #[test]
    fn paths_of_the_machine_outside_of_the_new_root_do_not_count() {
        let path = |path: &str, below_root| NamespacePath { path: path.into(), optional: false, below_root };
        let mut exec = with(Sandbox::default());
        exec.sandbox.mounts.root_directory = Some("/srv/r".into());
        exec.sandbox.mounts.read_only = vec![path("/etc", false), path("/srv/r/a", false), path("/b", true)];
        let read_only: Vec<String> = places(&exec).into_iter().filter(|place| place.ends_with("ReadOnly")).collect();
        assert_eq!(read_only, ["/a ReadOnly", "/b ReadOnly"]);
    }

    #[test]
    fn a_dynamic_user_sees_its_own_private_directories_only() {
        let mut exec = with(Sandbox { dynamic_user: true, ..Sandbox::default() });
        exec.state.items.push(Directory { path: "x".into(), ..Directory::default() });
        let places = places(&exec);
        assert!(places.contains(&"/var/lib/private Empty".to_owned()));
        assert!(places.iter().any(|place| place.starts_with("/var/lib/private/x Bind")));
    }
}
