//! Process 1 in its own namespaces with a small set of units, as a test sees it.
//!
//! Needs root and `unshare`; uses its own /run and its own control group, so that tests may run side by side.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ferrite_control::{JobMode, JobOutcome, JobVerb, Reply, Request, UnitDetails, decode, encode};

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Machine {
    pub child: Child,
    pub pid: i32,
    pub directory: tempfile::TempDir,
}

const BASICS: [(&str, &str); 5] = [
    ("sysinit.target", "[Unit]\nDefaultDependencies=no\n"),
    ("basic.target", "[Unit]\nDefaultDependencies=no\n"),
    ("shutdown.target", "[Unit]\nDefaultDependencies=no\n"),
    ("poweroff.target", "[Unit]\nDefaultDependencies=no\nRequires=shutdown.target\nAfter=shutdown.target\n"),
    ("default.target", "[Unit]\nDescription=The Test\n"),
];

impl Machine {
    pub fn boot(units: &[(&str, &str)]) -> Machine {
        Machine::boot_with(units, &[], "true")
    }

    /// The same with further variables, and after a command in the namespaces of process 1. `@` in both stands for the
    /// folder of the machine.
    pub fn boot_with(units: &[(&str, &str)], variables: &[(&str, &str)], command: &str) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in BASICS.iter().chain(units) {
            // What begins with run/ is there before process 1 starts.
            let place = if name.contains('/') && !name.contains(".d/") { "" } else { "units" };
            let path = directory.path().join(place).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let run = directory.path().join("run");
        fs::create_dir_all(&run).unwrap();
        let place = directory.path().to_str().unwrap();
        let command = command.replace('@', place);
        let program = env!("CARGO_BIN_EXE_ferrite-init");
        let script = format!("mount --bind {} /run && {command} && exec {program}", run.display());
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--mount", "--fork", "--mount-proc", "--kill-child=KILL", "sh", "-c", &script])
            .env("SYSTEMD_UNIT_PATH", directory.path().join("units"))
            .env("FERRITE_TEST_FAULTS", "1")
            .envs(variables.iter().map(|(name, value)| (name, value.replace('@', place))))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unshare runs as root");
        let mut machine = Machine { child, pid: 0, directory };
        let socket = machine.directory.path().join("run/ferrite/init.sock");
        machine.wait_for("the control socket", |_| UnixStream::connect(&socket).is_ok());
        let children = format!("/proc/{0}/task/{0}/children", machine.child.id());
        machine.pid = fs::read_to_string(children).unwrap().trim().parse().unwrap();
        assert_eq!(machine.ask(&Request::IsSystemRunning { wait: true }).len(), 1);
        machine
    }

    pub fn wait_for(&self, what: &str, mut done: impl FnMut(&Machine) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "no {what}\n{}", self.log());
            std::thread::yield_now();
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn write_unit(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join("units").join(name), text).unwrap();
    }

    /// Sends a question; the answer is read from what comes back with `answer`.
    pub fn send(&self, request: &Request) -> UnixStream {
        let mut stream = UnixStream::connect(self.directory.path().join("run/ferrite/init.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&encode(request, 1 << 20).unwrap()).unwrap();
        stream
    }

    pub fn answer(&self, stream: UnixStream) -> Reply {
        let mut line = Vec::new();
        let length = BufReader::new(stream).read_until(b'\n', &mut line);
        assert!(length.as_ref().is_ok_and(|length| *length > 0), "no answer: {length:?}\n{}", self.log());
        line.pop();
        decode(&line).unwrap_or_else(|error| panic!("{error}: {}\n{}", String::from_utf8_lossy(&line), self.log()))
    }

    pub fn ask(&self, request: &Request) -> Vec<Reply> {
        vec![self.answer(self.send(request))]
    }

    pub fn job(&self, verb: JobVerb, unit: &str) -> JobOutcome {
        let units = vec![unit.to_owned()];
        match self.ask(&Request::Job { verb, units, mode: JobMode::Replace, wait: true }).remove(0) {
            Reply::Jobs(reports) => reports[0].outcome,
            other => panic!("{other:?}"),
        }
    }

    pub fn show(&self, unit: &str) -> UnitDetails {
        match self.ask(&Request::Show { unit: unit.to_owned() }).remove(0) {
            Reply::Unit(details) => *details,
            other => panic!("{other:?}"),
        }
    }

    /// A property of process 1 itself.
    pub fn show_manager(&self, property: &str) -> String {
        match self.ask(&Request::ShowManager).remove(0) {
            Reply::Properties(properties) => properties[property].clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The folder below which all its control groups are; `None`: it has none.
    #[allow(dead_code)]
    pub fn groups(&self) -> Option<std::path::PathBuf> {
        let group = self.show_manager("ControlGroup");
        let folders = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|mount| format!("{mount}{group}").into());
        folders.into_iter().find(|folder: &std::path::PathBuf| !group.is_empty() && folder.is_dir())
    }

    pub fn state(&self, unit: &str) -> String {
        let summary = self.show(unit).summary;
        format!("{} {}", summary.active, summary.sub)
    }

    pub fn output(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn power_off(mut self) -> String {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), nix::sys::signal::Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "does not end\n{}", self.log());
            std::thread::yield_now();
        }
        self.log()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A machine that was powered off is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

pub fn start(unit: &str) -> Request {
    Request::Job { verb: JobVerb::Start, units: vec![unit.to_owned()], mode: JobMode::Replace, wait: true }
}

pub fn outcome(reply: Reply) -> JobOutcome {
    match reply {
        Reply::Jobs(reports) => reports[0].outcome,
        other => panic!("{other:?}"),
    }
}
