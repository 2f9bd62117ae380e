//! From the first instruction of PID 1 to its loop, and from the end of the loop to the end of the machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ferrite_sys::epoll::Epoll;
use ferrite_sys::reboot::End;
use ferrite_unit::LoadPath;

use crate::disk::Disk;
use crate::engine::{Engine, Phase, Settings, keys};
use crate::groups::{Groups, find_root};
use crate::log::Log;
use crate::server::Server;
use crate::timers::Timers;
use crate::units::Table;
use crate::watch::Watch;
use crate::{boot, clock, host, shutdown};

/// What the command line and the environment say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `SYSTEMD_UNIT_PATH`.
    pub unit_path: Option<String>,
    /// `--unit`: the unit to start instead of the default one.
    pub unit: Option<String>,
}

/// Runs PID 1. Inside a namespace it returns when everything has stopped; on a machine it never does.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let began_us = clock::boot_us();
    boot::own_process();
    let mut faults = Vec::new();
    let real_boot = boot::is_real_boot() || !std::path::Path::new("/proc/self").exists();
    if real_boot {
        boot::close_streams();
        boot::mount_apis(&mut faults);
        boot::close_streams();
    }
    let log = if real_boot { Log::kernel() } else { Log::plain() };
    set_panic_hook(real_boot);
    faults.iter().for_each(|fault| log.error(fault));
    if real_boot {
        prepare_machine(&log);
    }
    boot::raise_own_files();
    let settings = settings(options, real_boot);
    let signals = ferrite_sys::signal::block_all()?;
    let (watch, fault) = if real_boot { Watch::open(&settings.command_line) } else { (Watch::default(), None) };
    fault.iter().for_each(|fault| log.warning(fault));
    let mut engine = engine(settings, log, watch, began_us)?;
    engine.epoll.add(&signals, keys::SIGNALS)?;
    engine.arm_deadlines();
    engine.start_default();
    let end = engine.run(&signals);
    leave(engine, end)
}

fn prepare_machine(log: &Log) {
    // The limit of the kernel log is for programs that chatter; ours must not lose the reason of a failure.
    let _ = ferrite_sys::kmsg::lift_rate_limit();
    boot::raise_limits();
    boot::floor_clock(log);
    boot::lower_memory_reserve();
    boot::ensure_machine_id(log);
    boot::set_host_name(log);
    // Programs of Debian put their locks there; /var/lock is a link to it.
    let _ = boot::make_lock_folder();
    if let Err(error) = ferrite_sys::process::raise_loopback() {
        log.warning(&format!("raising the loopback interface: {error}, leaving it down"));
    }
    if let Err(error) = ferrite_sys::reboot::take_ctrl_alt_del() {
        log.warning(&format!("taking Ctrl-Alt-Del: {error}, the kernel restarts at once when it is pressed"));
    }
}

fn settings(options: &Options, real_boot: bool) -> Settings {
    let command_line = match real_boot {
        true => std::fs::read_to_string("/proc/cmdline").unwrap_or_default(),
        false => String::new(),
    };
    Settings {
        real_boot,
        load_path: options.unit_path.as_deref().map(LoadPath::parse).unwrap_or_default(),
        default_unit: options.unit.clone().unwrap_or_else(|| boot::default_unit(&command_line)),
        control_socket: ferrite_control::SOCKET_PATH.into(),
        notify_socket: "/run/ferrite/notify".into(),
        command_line,
    }
}

fn engine(settings: Settings, log: Log, watch: Watch, began_us: u64) -> anyhow::Result<Engine> {
    let epoll = Epoll::new()?;
    let root = find_root(settings.real_boot);
    if root.is_none() {
        log.warning("no writable cgroup2 hierarchy, processes that services leave behind are not tracked");
    }
    let groups = Groups::new(root);
    if let Some(file) = groups.file() {
        epoll.add(file, keys::GROUPS)?;
    }
    if let Some((directory, _)) = settings.notify_socket.rsplit_once('/') {
        // If it cannot be made, the sockets below tell why.
        let _ = std::fs::create_dir_all(directory);
    }
    let notify = match ferrite_sys::notify::listen(&settings.notify_socket) {
        Ok(socket) => {
            epoll.add(&socket, keys::NOTIFY)?;
            Some(socket)
        }
        Err(error) => {
            log.error(&format!("making {}: {error}, services cannot notify", settings.notify_socket));
            None
        }
    };
    let idle = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).ok();
    let mut engine = Engine {
        settings,
        units: Table::default(),
        jobs: BTreeMap::new(),
        ready: BTreeSet::new(),
        next_job: 1,
        events: VecDeque::new(),
        timers: Timers::default(),
        processes: BTreeMap::new(),
        reports: BTreeMap::new(),
        groups,
        disk: Disk::default(),
        host: host::read(),
        log,
        epoll,
        notify,
        server: Server::default(),
        phase: Phase::Starting,
        watch,
        finished: None,
        ctrl_alt_del: Vec::new(),
        idle,
        began_us,
        booted_us: None,
    };
    engine.open_control_socket();
    Ok(engine)
}

/// The last phase. On a machine a failure of the last call leaves nothing but waiting for the watchdog.
fn leave(engine: Engine, end: End) -> anyhow::Result<()> {
    let Engine { settings, log, mut watch, groups, .. } = engine;
    if settings.real_boot {
        let error = shutdown::finish(end, &log, &mut watch);
        log.error(&format!("ending the machine: {error}, waiting for the watchdog"));
        loop {
            // PID 1 must not return; without pings the watchdog ends what the kernel would not.
            let _ = rustix::event::poll(&mut [], None);
        }
    }
    shutdown::end_processes(&log, &watch);
    if let Some(root) = groups.root() {
        remove_groups(root);
    }
    Ok(())
}

/// Removes the groups of a namespace: nobody else would.
fn remove_groups(root: &str) {
    let mut open = vec![root.to_owned()];
    let mut all = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path().to_string_lossy().into_owned());
            }
        }
        all.push(directory);
    }
    for directory in all.iter().rev() {
        // One with a process of somebody else stays.
        let _ = std::fs::remove_dir(directory);
    }
}

/// A panic is a bug of PID 1. The machine is restarted, so that the slot's tries run out if it happens again.
fn set_panic_hook(real_boot: bool) {
    std::panic::set_hook(Box::new(move |information| {
        let log = if real_boot { Log::kernel() } else { Log::plain() };
        log.error(&format!("PID 1 has a bug: {information}, restarting the machine"));
        if real_boot {
            log.status(crate::log::Mark::Failed, &format!("PID 1 has a bug: {information}. Restarting."));
            shutdown::write_back(&log, &Watch::default());
            let error = ferrite_sys::reboot::end(End::Reboot);
            log.error(&format!("restarting: {error}"));
        }
    }));
}
