//! A machine with the daemon in one network namespace, servers in another, and a pair of virtual cables between them.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Two namespaces, the cable between them, a server at one end and the daemon at the other.
pub struct Lab {
    folder: tempfile::TempDir,
    name: String,
    pub children: Vec<Child>,
}

impl Lab {
    pub fn new(name: &str) -> Self {
        for tool in ["ip", "dnsmasq", "busybox", "unshare"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
            assert!(
                found.status.success(),
                "this test needs the program '{tool}' (packages iproute2, dnsmasq-base, busybox)"
            );
        }
        let name = format!("fn{}{name}", std::process::id());
        let lab = Self { folder: tempfile::tempdir().unwrap(), name, children: Vec::new() };
        lab.file("99-default.network", "[Match]\nType=ether\nName=eth*\n[Network]\nDHCP=yes\n");
        lab.ip(&["netns", "add", &lab.far()]);
        lab.ip(&["netns", "add", &lab.near()]);
        lab.ip(&[
            "-n",
            &lab.near(),
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "srv0",
            "netns",
            &lab.far(),
        ]);
        lab.ip(&["-n", &lab.far(), "addr", "add", "10.77.0.1/24", "dev", "srv0"]);
        lab.ip(&["-n", &lab.far(), "link", "set", "srv0", "up"]);
        lab.ip(&["-n", &lab.far(), "link", "set", "lo", "up"]);
        lab
    }

    pub fn far(&self) -> String {
        format!("{}s", self.name)
    }

    pub fn near(&self) -> String {
        format!("{}c", self.name)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below /etc/systemd/network of the machine.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.path("root/etc/systemd/network").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn ip(&self, arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?} needs root: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn shown(&self, arguments: &[&str]) -> String {
        let output = Command::new("ip").args(["-n", &self.near()]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn server(&mut self, extra: &[&str]) {
        let mut command = Command::new("ip");
        command.args([
            "netns",
            "exec",
            &self.far(),
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
        ]);
        command.args(["--interface=srv0", "--bind-interfaces", "--user=root", "--leasefile-ro", "--no-ping"]);
        command.arg(format!("--pid-file={}", self.path("dnsmasq.pid").display()));
        command.arg("--log-facility=-").args(extra);
        command.stderr(Stdio::null()).stdout(Stdio::null());
        self.children.push(command.spawn().unwrap());
    }

    /// Starts the daemon in namespaces of its own for network and host name; it is the last child.
    pub fn daemon(&mut self) {
        self.daemon_after("true");
    }

    /// The same, after a command in those namespaces.
    pub fn daemon_after(&mut self, command_before: &str) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.near(), "unshare", "--uts", "sh", "-c"]);
        let log = std::fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        command.arg(format!(
            "hostname localhost; {command_before}; exec '{}' --root {} --command-line {} --report {} --resolv {} \
             --leases {} --hostname {} --time-sources {}",
            env!("CARGO_BIN_EXE_ferrite-networkd"),
            self.path("root").display(),
            self.path("cmdline").display(),
            self.path("report").display(),
            self.path("resolv").display(),
            self.path("leases").display(),
            self.path("hostname").display(),
            self.path("chrony/ferrite.sources").display()
        ));
        self.children.push(command.stderr(log).spawn().unwrap());
    }

    /// Stops the first server.
    pub fn stop_server(&mut self) {
        let mut server = self.children.remove(0);
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Stops the daemon and starts another one in the same boot.
    pub fn restart(&mut self) {
        self.stop_last();
        std::fs::remove_file(self.path("report.json")).unwrap();
        self.daemon();
    }

    /// Starts another daemon after the last one was killed; its report is the first one.
    pub fn restart_after_kill(&mut self) {
        let mut daemon = self.children.pop().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        // A kill may have come before the first report.
        let _ = std::fs::remove_file(self.path("report.json"));
        self.daemon();
    }

    /// Says at the far end that this address is its own, twice.
    pub fn announce(&self, link: &str, address: &str) {
        let far = self.far();
        let arguments = ["netns", "exec", &far, "busybox", "arping", "-U", "-c", "1", "-I", link, address];
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "busybox arping: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn stop_last(&mut self) {
        let child = self.children.last().unwrap();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let mut child = self.children.pop().unwrap();
        assert!(child.wait().unwrap().success(), "the daemon ends well on SIGTERM: {}", self.log());
    }

    /// Sends packets of random bytes from the server's port, some of them beginning like a reply.
    pub fn send_garbage(&self, count: usize) {
        let namespace = std::fs::File::open(Path::new("/run/netns").join(self.far())).unwrap();
        let sender = std::thread::spawn(move || {
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let socket = std::net::UdpSocket::bind("0.0.0.0:67").unwrap();
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::BindToDevice, &"srv0".into()).unwrap();
            socket.set_broadcast(true).unwrap();
            let mut bytes = vec![0; 1400];
            for number in 0..count {
                rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
                if number % 2 == 0 {
                    bytes[0] = 2;
                    bytes[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
                }
                socket.send_to(&bytes[..number % 1400], "255.255.255.255:68").unwrap();
            }
        });
        sender.join().unwrap();
    }

    /// busybox's server, because dnsmasq knows no lease shorter than two minutes.
    pub fn short_lease_server(&mut self, seconds: u32) {
        let file = |name: &str| self.path(name).display().to_string();
        let config = format!(
            "start 10.77.0.50\nend 10.77.0.99\ninterface srv0\nmax_leases 9\nlease_file {}\npidfile {}\n\
             option subnet 255.255.255.0\noption router 10.77.0.1\noption lease {seconds}\nmin_lease 1\n",
            file("udhcpd.leases"),
            file("udhcpd.pid")
        );
        std::fs::write(self.path("udhcpd.conf"), config).unwrap();
        std::fs::write(self.path("udhcpd.leases"), "").unwrap();
        let arguments = ["netns", "exec", &self.far(), "busybox", "udhcpd", "-f", "-S", &file("udhcpd.conf")];
        let child = Command::new("ip").args(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        self.children.push(child);
    }

    pub fn wait_online(&self, seconds: u64) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ferrite-networkd"))
            .args(["wait-online", "--timeout", &seconds.to_string(), "--report"])
            .arg(self.path("report"))
            .output()
            .unwrap()
    }

    /// Runs networkctl; its output, or the reason why it failed.
    pub fn networkctl(&self, arguments: &[&str]) -> Result<String, String> {
        let link = self.path("networkctl");
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ferrite-networkd"), &link).unwrap();
        }
        let output = Command::new(&link).arg("--state").arg(self.path("report.json")).args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Waits until the state of the daemon, as text, holds all that is wanted: the event, not the time.
    pub fn wait_for_state(&self, what: &str, wanted: impl Fn(&serde_json::Value) -> bool) {
        use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).unwrap();
        watch.add_watch(self.folder.path(), AddWatchFlags::IN_MOVED_TO).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(90);
        loop {
            // The daemon replaces the file as a whole; before its first report there is none.
            let state = serde_json::from_str(&self.text("report.json")).unwrap_or_default();
            if wanted(&state) {
                return;
            }
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            assert!(!left.is_zero(), "never: {what}\n{state:#}\n{}", self.log());
            let time = rustix::event::Timespec::try_from(left).unwrap();
            let mut ready = [rustix::event::PollFd::new(&watch, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut ready, Some(&time)).unwrap();
            let _drained = watch.read_events();
        }
    }

    /// Waits until a link has this SETUP.
    pub fn wait_for_setup(&self, link: &str, setup: &str) {
        self.wait_for_state(&format!("{link} {setup}"), |state| {
            interface(state, link).is_some_and(|found| found["AdministrativeState"] == setup)
        });
    }

    /// Waits until the kernel has found that nobody else has the link-local address of a link.
    #[allow(dead_code)]
    pub fn wait_for_link_local(&self, link: &str) {
        let deadline = std::time::Instant::now() + Duration::from_secs(90);
        loop {
            let shown = self.shown(&["-6", "addr", "show", "dev", link, "scope", "link"]);
            if shown.contains("inet6 fe80") && !shown.contains("tentative") {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "no address of its own on {link}: {shown}");
            // Until something changes; what changed before it listens is seen after its two seconds.
            let mut monitor = Command::new("timeout");
            monitor.args(["2", "ip", "-n", &self.near(), "-6", "monitor", "address"]).stdout(Stdio::piped());
            let mut monitor = monitor.spawn().unwrap();
            let mut told = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(monitor.stdout.take().unwrap()), &mut told)
                .unwrap();
            monitor.kill().unwrap();
            monitor.wait().unwrap();
        }
    }

    /// The hardware address of a link.
    pub fn mac(&self, link: &str) -> String {
        let shown = self.shown(&["link", "show", "dev", link]);
        shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_string()
    }

    /// Watches what the kernel tells about addresses, routes and rules of the machine.
    pub fn watch(&self) -> Watch {
        let mut child = Command::new("ip")
            .args(["-n", &self.near(), "monitor", "address", "route", "rule"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        // It watches when it has seen one of these.
        for number in 1..100 {
            self.ip(&["-n", &self.near(), "addr", "add", &format!("127.99.1.{number}/32"), "dev", "lo"]);
            let time = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            let mut ready = [rustix::event::PollFd::new(&out, rustix::event::PollFlags::IN)];
            if rustix::event::poll(&mut ready, Some(&time)).unwrap() > 0 {
                break;
            }
            assert!(number < 99, "ip monitor says nothing");
        }
        let out = std::io::BufReader::new(out);
        Watch { child, out, namespace: self.near() }
    }

    pub fn must_be_online(&self) {
        let output = self.wait_online(60);
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        self.text("log")
    }

    /// Waits for the daemon's log to hold a text: the event, not the time.
    pub fn wait_for_log(&self, text: &str) {
        let mut tail =
            Command::new("tail").args(["-n", "+1", "-F"]).arg(self.path("log")).stdout(Stdio::piped()).spawn().unwrap();
        let out = tail.stdout.take().unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        let wanted = text.to_string();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(out)).map_while(Result::ok) {
                if line.contains(&wanted) {
                    // Nobody listens any more when the deadline has passed.
                    let _ = send.send(());
                    return;
                }
            }
        });
        let found = receive.recv_timeout(Duration::from_secs(60)).is_ok();
        tail.kill().unwrap();
        tail.wait().unwrap();
        assert!(found, "'{text}' is not in the log:\n{}", self.log());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in [self.near(), self.far()] {
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

/// The entry of a link in the state.
pub fn interface<'a>(state: &'a serde_json::Value, name: &str) -> Option<&'a serde_json::Value> {
    state["Interfaces"].as_array()?.iter().find(|link| link["Name"] == name)
}

/// What the kernel told since it was begun.
pub struct Watch {
    child: Child,
    out: std::io::BufReader<std::process::ChildStdout>,
    namespace: String,
}

impl Watch {
    /// All of it, without what this watch itself did.
    pub fn end(mut self) -> String {
        let last = ["-n", &self.namespace, "addr", "add", "127.99.0.3/32", "dev", "lo"];
        assert!(Command::new("ip").args(last).status().unwrap().success());
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert!(std::io::BufRead::read_line(&mut self.out, &mut line).unwrap() > 0, "ip monitor ended");
            if line.contains("127.99.0.3") {
                break;
            }
            // Lifetimes stand in lines of their own.
            if !line.contains("127.99.") && !line.contains("valid_lft") {
                text.push_str(&line);
            }
        }
        text
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
