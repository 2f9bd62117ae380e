//! From the first instruction of PID 1 to its loop, and from the end of the loop to the end of the machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use std::ffi::CString;
use std::os::fd::OwnedFd;

use ferrite_sys::epoll::Epoll;
use ferrite_sys::inherit::Inherited;
use ferrite_sys::reboot::End;
use ferrite_unit::LoadPath;

use crate::completion::Completion;
use crate::corruption::RootWatch;
use crate::engine::{Engine, Phase, Settings, keys};
use crate::groups::{Groups, find_root};
use crate::launching::Launching;
use crate::log::Log;
use crate::manager_state::ManagerState;
use crate::moments::{self, Moment, Moments};
use crate::recorder::Recorder;
use crate::recovery::{self, Before};
use crate::reload::Reloads;
use crate::server::Server;
use crate::timers::Timers;
use crate::units::Table;
use crate::watch::Watch;
use crate::{boot, clock, host, reexec, shutdown, start_record};

/// What the command line and the environment say.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `SYSTEMD_UNIT_PATH`.
    pub unit_path: Option<String>,
    /// `--unit`: the unit to start instead of the default one.
    pub unit: Option<String>,
    /// `--state`: the number of the file with the state of the image before this one.
    pub state: Option<i32>,
    /// `--recover`: the number of the file with what a crashed image had kept ready.
    pub recover: Option<i32>,
    /// All arguments but these two, for the next image.
    pub arguments: Vec<String>,
    /// `SYSTEMD_FSTAB`.
    pub fstab: Option<String>,
    /// `SYSTEMD_GENERATOR_PATH`.
    pub generator_path: Option<String>,
    /// May clients inject faults? For tests.
    pub test_faults: bool,
    /// All variables of the environment.
    pub environment: Vec<(String, String)>,
}

/// Runs PID 1. Inside a namespace it returns when everything has stopped; on a machine it never does.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let began = (clock::wall_us(), clock::boot_us());
    // First of all, as long as every open file is one of the image before this one.
    let mut inherited = Inherited::find();
    let program = own_program();
    let (before, record) = recovery::before(options, &program, &mut inherited);
    boot::own_process();
    let mut faults = Vec::new();
    let real_boot = boot::is_real_boot() || !std::path::Path::new("/proc/self").exists();
    ferrite_sys::crash::arm(real_boot)?;
    if real_boot && before.is_nothing() {
        boot::close_streams();
        boot::mount_apis(&mut faults);
        boot::link_streams(&mut faults);
        boot::close_streams();
    }
    let log = if real_boot { Log::kernel() } else { Log::plain() };
    set_panic_hook(real_boot);
    log.set_show(boot::shown_status(&boot::command_line(real_boot)));
    faults.iter().for_each(|fault| log.error(fault));
    if real_boot && before.is_nothing() {
        prepare_machine(&log);
    }
    boot::raise_own_files();
    let settings = settings(options, real_boot, program);
    let signals = ferrite_sys::signal::block_all()?;
    let (watch, fault) =
        if real_boot { Watch::open(&settings.command_line, &mut inherited) } else { (Watch::default(), None) };
    fault.iter().for_each(|fault| log.warning(fault));
    let written = if real_boot && before.is_nothing() { start_record::begin(&log) } else { None };
    if !real_boot && before.is_nothing() {
        // Names of namespaces come again: what one before this left behind would count for its units.
        find_root(real_boot).iter().for_each(|root| remove_groups(root));
    }
    let mut engine = engine(settings, log, watch, began)?;
    engine.epoll.add(&signals, keys::SIGNALS)?;
    if before.is_hopeless() {
        abandon(&engine);
    }
    engine.follow_mounts();
    match before {
        Before::Nothing => engine.boot(),
        Before::Handed(Ok(saved)) => engine.restore(&saved, &mut inherited),
        Before::Crashed(Ok(saved)) => engine.recover(&saved, &mut inherited),
        Before::Handed(Err(fault)) | Before::Crashed(Err(fault)) => {
            engine.rebuild(&fault);
            engine.boot();
        }
    }
    inherited.close_rest();
    engine.begin_recording();
    drop(record);
    engine.watch_root();
    written.iter().for_each(|child| start_record::finish(child, &engine.watch, &engine.log));
    let end = engine.run(&signals);
    leave(engine, end)
}

impl Engine {
    /// The start of everything.
    fn boot(&mut self) {
        self.open_notify_socket();
        self.open_control_socket();
        self.idle = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).ok();
        self.arm_deadlines();
        self.note_beginning();
        self.generate_first();
        self.load_first();
        self.load_first_devices();
        self.start_default();
        self.start_for_present_devices();
    }

    /// Makes the socket for what services say.
    pub fn open_notify_socket(&mut self) {
        if let Some((directory, _)) = self.settings.notify_socket.rsplit_once('/') {
            // If it cannot be made, the sockets in it tell why.
            let _ = std::fs::create_dir_all(directory);
        }
        match ferrite_sys::notify::listen(&self.settings.notify_socket) {
            Ok(socket) => self.use_notify_socket(socket),
            Err(error) => {
                let path = &self.settings.notify_socket;
                self.log.error(&format!("making {path}: {error}, services cannot notify"));
            }
        }
    }

    /// Listens at this socket.
    pub fn use_notify_socket(&mut self, socket: OwnedFd) {
        match self.epoll.add(&socket, keys::NOTIFY) {
            Ok(()) => self.notify = Some(socket),
            Err(error) => self.log.error(&format!("waiting for notifications: {error}, services cannot notify")),
        }
    }
}

/// Can this program take the state in the file of this number over?
pub fn try_state(number: i32) -> anyhow::Result<()> {
    let read = reexec::state_file(&mut Inherited::find(), number).and_then(|file| reexec::read_state(&file));
    read.map(|_| ()).map_err(anyhow::Error::msg)
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

/// Where units are searched; what clients make counts wherever the rest is.
fn load_path(wish: Option<&str>) -> LoadPath {
    let mut path = wish.map(LoadPath::parse).unwrap_or_default();
    for directory in [crate::transient::TRANSIENT, crate::transient::RUNTIME_CONTROL] {
        if !path.0.iter().any(|have| have == directory) {
            path.0.insert(0, directory.to_owned());
        }
    }
    path
}

/// A namespace that has generators also has what they make, whatever else it was given.
fn add_generated(path: &mut LoadPath) {
    let [normal, early, late] = crate::generators::FOLDERS;
    let missing = |path: &LoadPath, folder: &str| !path.0.iter().any(|have| have == folder);
    if missing(path, early) {
        path.0.insert(0, early.to_owned());
    }
    for folder in [normal, late] {
        if missing(path, folder) {
            path.0.push(folder.to_owned());
        }
    }
}

fn settings(options: &Options, real_boot: bool, program: String) -> Settings {
    let command_line = boot::command_line(real_boot);
    let test_faults = options.test_faults || crate::watch::has_word(&command_line, "ferrite.test-faults");
    let mut load_path = load_path(options.unit_path.as_deref());
    if options.generator_path.is_some() {
        add_generated(&mut load_path);
    }
    Settings {
        real_boot,
        load_path,
        default_unit: options.unit.clone().unwrap_or_else(|| boot::default_unit(&command_line)),
        control_socket: ferrite_control::SOCKET_PATH.into(),
        notify_socket: "/run/ferrite/notify".into(),
        command_line,
        program,
        arguments: options.arguments.clone(),
        generator_path: options.generator_path.clone(),
        fstab: options.fstab.clone().unwrap_or_else(|| "/etc/fstab".into()),
        test_faults,
        environment: options.environment.clone(),
    }
}

/// The path of this program; an update may have put another file there.
fn own_program() -> String {
    let path = std::env::current_exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    path.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(path)
}

fn engine(settings: Settings, log: Log, watch: Watch, began: Moment) -> anyhow::Result<Engine> {
    let epoll = Epoll::new()?;
    let root = find_root(settings.real_boot);
    if root.is_none() {
        log.warning("no writable cgroup2 hierarchy, processes that services leave behind are not tracked");
    }
    let groups = Groups::new(root);
    if let Some(file) = groups.file() {
        epoll.add(file, keys::GROUPS)?;
    }
    Ok(Engine {
        settings,
        units: Table::default(),
        jobs: BTreeMap::new(),
        ready: BTreeSet::new(),
        next_job: 1,
        rested: 1,
        events: VecDeque::new(),
        timers: Timers::default(),
        processes: BTreeMap::new(),
        reports: BTreeMap::new(),
        launching: Launching::new(),
        groups,
        host: host::read(),
        log,
        kinds: crate::kinds::Kinds::default(),
        epoll,
        notify: None,
        server: Server::default(),
        phase: Phase::Starting,
        watch,
        completion: Completion::default(),
        root: RootWatch::default(),
        finished: None,
        reboot_argument: None,
        ctrl_alt_del: Vec::new(),
        idle: None,
        moments: Moments { userspace: began, ..Moments::default() },
        stored_keys: BTreeMap::new(),
        next_stored: 0,
        unborn: BTreeSet::new(),
        checks: BTreeSet::new(),
        idle_units: BTreeSet::new(),
        reexec: None,
        recorder: Recorder::default(),
        reloads: Reloads::default(),
        bus: crate::bus_names::Bus::default(),
        manager: ManagerState::default(),
    })
}

/// The last phase. On a machine a failure of the last call leaves nothing but waiting for the watchdog.
fn leave(engine: Engine, end: End) -> anyhow::Result<()> {
    let Engine { settings, log, mut watch, groups, reboot_argument, moments, .. } = engine;
    if end == End::SoftReboot {
        shutdown::end_processes(&log, &watch);
        moments::note_soft_reboot(&moments, &log);
        start_again(&settings, &log, &watch);
    }
    if settings.real_boot {
        let error = shutdown::finish(end, reboot_argument.as_deref(), &log, &mut watch);
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

/// User space starts again: PID 1 becomes itself without a state. Returns if that fails, and the system ends for good.
fn start_again(settings: &Settings, log: &Log, watch: &Watch) {
    log.info("starting PID 1 and everything above it again");
    let words = std::iter::once(&settings.program).chain(&settings.arguments);
    let words: Vec<CString> = words.filter_map(|word| CString::new(word.as_str()).ok()).collect();
    if let Some(program) = words.first() {
        watch.hand_over(true);
        let error = ferrite_sys::inherit::execute(program, &words);
        watch.hand_over(false);
        log.error(&format!("executing {}: {error}, restarting the machine", settings.program));
    }
}

/// The end of a machine, from a file system in memory.
pub fn last_stage(words: &[String]) -> anyhow::Result<()> {
    ferrite_sys::signal::block_all()?;
    let error = crate::last_stage::run(words);
    Log::kernel().error(&format!("ending the machine: {error}, waiting for the watchdog"));
    loop {
        let _ = rustix::event::poll(&mut [], None);
    }
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

/// Crashes follow one another: what is written is kept, and the machine starts again.
fn abandon(engine: &Engine) -> ! {
    let text = "PID 1 crashed twice within a minute. Restarting.";
    engine.log.error(text);
    engine.log.status(crate::log::Mark::Failed, text);
    if engine.settings.real_boot {
        shutdown::write_back(&engine.log, &engine.watch);
    }
    ferrite_sys::crash::give_up()
}

/// A panic is a bug of PID 1: it becomes its next image, which goes on with what is kept ready.
fn set_panic_hook(real_boot: bool) {
    std::panic::set_hook(Box::new(move |information| {
        if !ferrite_sys::crash::is_first() {
            // A child that has not executed its program yet must not go on as PID 1 would.
            ferrite_sys::crash::end_child(70);
        }
        let log = if real_boot { Log::kernel() } else { Log::plain() };
        log.error(&format!("PID 1 has a bug: {information}, executing it again"));
        ferrite_sys::crash::become_next()
    }));
}
