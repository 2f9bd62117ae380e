//! A machine of files below one folder: slots, flags, what early boot left, a PID 1 that notes orders; and a publisher.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::snapshot::Snapshot;
use ferrite_layout::{BootFacts, Record, Slot, SlotState, envblock};
use ferrite_payload::channel::{Channel, Delta, Payload, Release as Listed};
use ferrite_payload::{KeySet, PartRole, Role};
use serde_json::Value;

use crate::release::{Release, key, listed, role, verified};

/// How long anything may take on a busy host.
pub const PATIENCE: Duration = Duration::from_secs(120);
const PARTS: [(Slot, PartRole, &str, &str); 4] = [
    (Slot::A, PartRole::Boot, "vda4", "ferrite-boot-a"),
    (Slot::A, PartRole::Root, "vda5", "ferrite-root-a"),
    (Slot::B, PartRole::Boot, "vda6", "ferrite-boot-b"),
    (Slot::B, PartRole::Root, "vda7", "ferrite-root-b"),
];
const PARTITION_BYTES: u64 = 1 << 20;

pub struct Machine {
    folder: tempfile::TempDir,
    engine: Option<Child>,
    /// More words for the engine.
    pub words: Vec<String>,
    pid1: Mutex<Receiver<String>>,
}

impl Machine {
    /// Runs a release from slot a and trusts the test keys.
    pub fn new(running: &Release) -> Machine {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |path: &str, text: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
            fs::write(path, text).expect("it can be written");
        };
        for (_, _, device, name) in PARTS {
            write(&format!("dev/{device}"), b"");
            write(
                &format!("sys/class/block/vda/{device}/uevent"),
                format!("DEVNAME={device}\nPARTNAME={name}\n").as_bytes(),
            );
        }
        write("etc/machine-id", b"0123456789abcdef0123456789abcdef\n");
        write("usr/share/ferrite/update-keys/root.1.json", key_set(1, &[21]).as_bytes());
        let mut bootctl = vec![0u8; 32 << 10];
        for at in [4096, 8192] {
            bootctl[at..at + 1024].copy_from_slice(&envblock::render(&SlotState::fresh()));
        }
        bootctl[12_288..12_800].copy_from_slice(&Record::default().render());
        write("dev/vda3", &bootctl);
        fs::create_dir_all(folder.path().join("run/ferrite")).expect("a folder");
        let pid1 = play_pid1(&folder.path().join("run/ferrite/init.sock"));
        let machine = Machine { folder, engine: None, words: Vec::new(), pid1: Mutex::new(pid1) };
        machine.fill(Slot::A, running);
        machine.boot(Slot::A, running);
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a release into a slot.
    pub fn fill(&self, slot: Slot, release: &Release) {
        for (_, role, device, _) in PARTS.into_iter().filter(|part| part.0 == slot) {
            fs::write(self.path("dev").join(device), release.part(role)).expect("it can be written");
        }
        for (_, _, device, _) in PARTS {
            let file = fs::File::options().write(true).open(self.path("dev").join(device)).expect("it opens");
            file.set_len(PARTITION_BYTES).expect("it grows");
        }
    }

    /// What early boot leaves when it starts a release from a slot.
    pub fn boot(&self, slot: Slot, release: &Release) {
        let facts = BootFacts {
            board: "qemu".into(),
            version: format!("1.{}", release.serial),
            slot: Some(slot),
            root_hash: release.root_hash().to_string(),
            disk: "/dev/vda".into(),
            bootctl_device: self.path("dev/vda3").display().to_string(),
            ..BootFacts::default()
        };
        fs::write(self.path("run/ferrite/boot"), facts.render()).expect("it can be written");
        let release = format!("ID=ferrite\nFERRITE_SERIAL={}\nFERRITE_BUILT=1700000000\n", release.serial);
        fs::create_dir_all(self.path("usr/lib")).expect("a folder");
        fs::write(self.path("usr/lib/os-release"), release).expect("it can be written");
        self.change_flags(slot, |flags| flags);
    }

    /// What GRUB or mark-good would do to the flags.
    pub fn change_flags(&self, running: Slot, change: impl Fn(SlotState) -> SlotState) {
        let mut bootctl = Bootctl::open(&self.path("dev/vda3"), Access::Write).expect("it opens");
        let contents = bootctl.read().expect("it is read");
        let flags = change(contents.flags().expect("they are whole"));
        bootctl.write_flags(&flags).expect("they are written");
        let version = BootFacts::parse(&fs::read_to_string(self.path("run/ferrite/boot")).expect("facts")).version;
        let snapshot =
            Snapshot { running: Some(running), version: Some(version), flags: Some(flags), record: contents.record };
        fs::write(self.path("run/ferrite/slots"), snapshot.render()).expect("it can be written");
    }

    pub fn flags(&self) -> SlotState {
        let mut bootctl = Bootctl::open(&self.path("dev/vda3"), Access::Read).expect("it opens");
        bootctl.read().expect("it is read").flags().expect("they are whole")
    }

    pub fn configure(&self, text: &str) {
        fs::create_dir_all(self.path("etc/coreos")).expect("a folder");
        fs::write(self.path("etc/coreos/update.conf"), text).expect("it can be written");
    }

    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the engine with more in its environment.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        self.stop();
        let mut command = Command::new(env!("CARGO_BIN_EXE_update-engine"));
        command.arg("--root").arg(self.folder.path()).args(&self.words).stdout(Stdio::null());
        for name in
            ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"]
        {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        let _ = fs::remove_file(self.path("run/ferrite/update-engine.sock"));
        self.engine = Some(command.spawn().expect("the engine starts"));
        self.wait_for("the engine to listen", || self.path("run/ferrite/update-engine.sock").exists().then_some(()));
    }

    /// Changes what the engine remembers while it does not run.
    pub fn change_memory(&mut self, change: impl Fn(&mut Value)) {
        self.stop();
        let path = self.path("var/lib/update-engine/state.json");
        let mut memory = serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("JSON");
        change(&mut memory);
        fs::write(&path, memory.to_string()).expect("it can be written");
    }

    /// The most memory that the engine ever had.
    pub fn peak_kib(&self) -> u64 {
        let pid = self.engine.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        peak.and_then(|peak| peak.parse().ok()).expect("a number")
    }

    pub fn stop(&mut self) {
        if let Some(mut engine) = self.engine.take() {
            // It has no state that a kill could hurt, which is what several tests are about.
            let _ = engine.kill();
            let _ = engine.wait();
        }
    }

    /// Ends the engine where it stands, whoever looks on.
    pub fn kill(&self) {
        let pid = self.engine.as_ref().and_then(|engine| rustix::process::Pid::from_raw(engine.id().cast_signed()));
        rustix::process::kill_process(pid.expect("it runs"), rustix::process::Signal::KILL).expect("it is killed");
    }

    /// Runs a client.
    pub fn client(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_update-engine"));
        command.args(words).arg("--root").arg(self.folder.path());
        command.output().expect("the client starts")
    }

    /// Runs `ferrite-update`; what it says, and whether it was content.
    pub fn update(&self, words: &[&str]) -> (bool, String) {
        let output = self.client(&[&["ferrite-update"], words].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub fn status(&self) -> Value {
        let (good, text) = self.update(&["status", "--json"]);
        assert!(good, "{text}");
        serde_json::from_str(&text).expect("JSON")
    }

    pub fn wait_for<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < end, "waiting for {what}: time is over");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The order that PID 1 gets next.
    pub fn order(&self) -> Option<String> {
        self.pid1.lock().expect("nobody panicked").recv_timeout(PATIENCE).ok()
    }

    pub fn no_order(&self) -> bool {
        self.pid1.lock().expect("nobody panicked").try_recv().is_err()
    }

    pub fn holds(&self, slot: Slot, release: &Release) -> bool {
        PARTS.into_iter().filter(|part| part.0 == slot).all(|(_, role, device, _)| {
            let present = fs::read(self.path("dev").join(device)).expect("it can be read");
            present[..release.part(role).len()] == *release.part(role)
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn play_pid1(path: &Path) -> Receiver<String> {
    let listener = UnixListener::bind(path).expect("a socket");
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(&client);
            if reader.read_line(&mut line).is_ok() && sender.send(line.trim().to_string()).is_ok() {
                // The engine's end may be gone.
                let _ = (&client).write_all(b"\"done\"\n");
            }
        }
    });
    orders
}

/// A key set: root and channel keys by seed, release keys as `role` has them.
pub fn key_set(number: u64, channel: &[u8]) -> String {
    let roles = [
        Role::new("root", 1, vec![key(11).public()]),
        Ok(role()),
        Role::new("channel", 1, channel.iter().map(|seed| key(*seed).public()).collect()),
    ];
    let roles = roles.map(|role| role.expect("a role"));
    KeySet::new("ferrite", number, roles).and_then(|set| set.seal(&[&key(11)])).expect("a key set")
}

/// A published directory.
pub struct Site {
    pub folder: tempfile::TempDir,
    number: u64,
    pub channel_seed: u8,
    pub releases: Vec<Listed>,
}

impl Site {
    pub fn new() -> Site {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = Site { folder, number: 0, channel_seed: 21, releases: Vec::new() };
        for name in ["payloads", "channel"] {
            fs::create_dir(site.folder.path().join(name)).expect("a folder");
        }
        site
    }

    /// Publishes a release; the length of its payload.
    pub fn publish(&mut self, release: &Release) -> u64 {
        let bytes = release.payload(None);
        let entry = listed(release.serial, &bytes);
        fs::write(self.folder.path().join(&entry.full.path), &bytes).expect("it can be written");
        self.releases.push(entry);
        self.sign(3600);
        bytes.len() as u64
    }

    /// Adds a delta to the release that was published last; where it is below the site.
    pub fn publish_delta(&mut self, release: &Release, from: &Release) -> String {
        let bytes = release.payload(Some(from));
        let path = format!("payloads/{}-from-{}.fup", release.serial, from.serial);
        fs::write(self.folder.path().join(&path), &bytes).expect("it can be written");
        let payload = Payload { path: path.clone(), size_bytes: bytes.len() as u64, id: verified(&bytes).id() };
        let last = self.releases.last_mut().expect("a release was published");
        last.deltas.push(Delta { from: from.serial, payload });
        self.sign(3600);
        path
    }

    /// Signs the document again, for so long from now.
    pub fn sign(&mut self, seconds: i64) {
        self.number += 1;
        let now = ferrite_update_engine::host::clock();
        let expires = now.saturating_add_signed(seconds);
        let mut document = Channel::empty("ferrite", "stable");
        (document.number, document.issued, document.expires) = (self.number, expires - 3600, expires);
        document.releases = self.releases.clone();
        let text = document.seal(&[&key(self.channel_seed)]).expect("it is sealed");
        fs::write(self.folder.path().join("channel/stable.json"), text).expect("it can be written");
    }
}
