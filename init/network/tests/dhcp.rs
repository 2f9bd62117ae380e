//! The daemon against real DHCP servers: a pair of virtual cables between two network namespaces, dnsmasq at the
//! far end.
//!
//! Needs root, `ip`, `dnsmasq` and `busybox`; a missing one fails the test with its name.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Two namespaces, the cable between them, a server at one end and the daemon at the other.
struct Lab {
    folder: tempfile::TempDir,
    name: String,
    children: Vec<Child>,
}

impl Lab {
    fn new(name: &str) -> Self {
        for tool in ["ip", "dnsmasq", "busybox", "unshare"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
            assert!(
                found.status.success(),
                "this test needs the program '{tool}' (packages iproute2, dnsmasq-base, busybox)"
            );
        }
        let name = format!("fn{}{name}", std::process::id());
        let lab = Self { folder: tempfile::tempdir().unwrap(), name, children: Vec::new() };
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

    fn far(&self) -> String {
        format!("{}s", self.name)
    }

    fn near(&self) -> String {
        format!("{}c", self.name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ip(&self, arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?} needs root: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn shown(&self, arguments: &[&str]) -> String {
        let output = Command::new("ip").args(["-n", &self.near()]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn server(&mut self, extra: &[&str]) {
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
    fn daemon(&mut self) {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.near(), "unshare", "--uts", "sh", "-c"]);
        let log = std::fs::File::options().append(true).create(true).open(self.path("log")).unwrap();
        command.arg(format!(
            "hostname localhost; exec '{}' --report {} --resolv {} --leases {} --hostname {}",
            env!("CARGO_BIN_EXE_ferrite-networkd"),
            self.path("report").display(),
            self.path("resolv").display(),
            self.path("leases").display(),
            self.path("hostname").display()
        ));
        self.children.push(command.stderr(log).spawn().unwrap());
    }

    fn stop_last(&mut self) {
        let child = self.children.last().unwrap();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        let mut child = self.children.pop().unwrap();
        assert!(child.wait().unwrap().success(), "the daemon ends well on SIGTERM: {}", self.log());
    }

    /// Sends packets of random bytes from the server's port, some of them beginning like a reply.
    fn send_garbage(&self, count: usize) {
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
    fn short_lease_server(&mut self, seconds: u32) {
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

    fn wait_online(&self, seconds: u64) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ferrite-networkd"))
            .args(["wait-online", "--timeout", &seconds.to_string(), "--report"])
            .arg(self.path("report"))
            .output()
            .unwrap()
    }

    fn must_be_online(&self) {
        let output = self.wait_online(60);
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.log());
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn log(&self) -> String {
        self.text("log")
    }

    /// Waits for the daemon's log to hold a text: the event, not the time.
    fn wait_for_log(&self, text: &str) {
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

const RANGE: &str = "--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,2m";

#[test]
fn a_link_gets_address_routes_dns_mtu_and_host_name() {
    let mut lab = Lab::new("a");
    lab.server(&[
        RANGE,
        "--dhcp-option=option:router,10.77.0.1",
        "--dhcp-option=option:dns-server,10.77.0.3,10.77.0.4",
        "--dhcp-option=option:domain-name,example.org",
        "--dhcp-option=option:mtu,1400",
        "--dhcp-host=*:*:*:*:*:*,10.77.0.77,web7",
    ]);
    lab.daemon();
    lab.must_be_online();
    assert_eq!(lab.text("report"), "eth0 configured 10.77.0.77/24 10.77.0.1 10.77.0.3,10.77.0.4\n");
    let resolv = lab.text("resolv");
    assert!(resolv.ends_with("nameserver 10.77.0.3\nnameserver 10.77.0.4\nsearch example.org\n"), "{resolv}");
    let addresses = lab.shown(&["-4", "addr", "show", "dev", "eth0"]);
    assert!(addresses.contains("mtu 1400") && addresses.contains("inet 10.77.0.77/24 brd 10.77.0.255"), "{addresses}");
    assert!(addresses.contains("valid_lft 1") && addresses.contains("dynamic"), "{addresses}");
    let routes = lab.shown(&["route"]);
    assert!(routes.contains("default via 10.77.0.1 dev eth0 proto dhcp src 10.77.0.77 metric 1024"), "{routes}");
    assert!(lab.shown(&["addr", "show", "dev", "lo"]).contains("UP"), "loopback is up");
    assert!(lab.log().contains("host name web7 from DHCP"), "{}", lab.log());
}

#[test]
fn the_address_stays_over_a_restart_and_is_asked_for_again() {
    let mut lab = Lab::new("b");
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.daemon();
    lab.must_be_online();
    let before = lab.text("report");
    lab.stop_last();
    assert!(lab.shown(&["-4", "addr", "show", "dev", "eth0"]).contains("inet 10.77.0."), "the address stays");
    std::fs::write(lab.path("log"), "").unwrap();
    lab.daemon();
    lab.wait_for_log("rebooting -> bound");
    assert_eq!(lab.text("report"), before);
    lab.stop_last();
    // A reboot: the kernel has forgotten everything, the lease file has not.
    lab.ip(&["-n", &lab.near(), "addr", "flush", "dev", "eth0"]);
    lab.ip(&["-n", &lab.near(), "link", "set", "eth0", "down"]);
    std::fs::write(lab.path("report"), "").unwrap();
    lab.daemon();
    lab.must_be_online();
    assert_eq!(lab.text("report"), before);
    assert!(lab.log().contains("stopped -> rebooting"), "{}", lab.log());
}

#[test]
fn a_lease_of_another_network_is_given_up() {
    let mut lab = Lab::new("c");
    std::fs::create_dir_all(lab.path("leases")).unwrap();
    let shown = lab.shown(&["link", "show", "dev", "eth0"]);
    let mac = shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_string();
    std::fs::write(lab.path("leases").join(format!("{mac}.lease")), "address=192.168.9.9/24\nserver=192.168.9.1\n")
        .unwrap();
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1", "--dhcp-authoritative"]);
    lab.daemon();
    lab.must_be_online();
    assert!(lab.text("report").contains(" 10.77.0."), "{}", lab.text("report"));
}

#[test]
fn a_late_cable_a_late_server_and_a_new_link_are_all_found() {
    let mut lab = Lab::new("d");
    lab.ip(&["-n", &lab.far(), "link", "set", "srv0", "down"]);
    lab.daemon();
    lab.wait_for_log("eth0: new link");
    let output = lab.wait_online(0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("eth0 has no carrier"), "{output:?}");
    lab.ip(&["-n", &lab.far(), "link", "set", "srv0", "up"]);
    lab.wait_for_log("stopped -> selecting");
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.must_be_online();
    lab.ip(&["-n", &lab.near(), "link", "add", "eth1", "type", "veth", "peer", "name", "other"]);
    lab.wait_for_log("eth1: new link");
    lab.ip(&["-n", &lab.near(), "link", "del", "eth1"]);
    lab.wait_for_log("eth1: the link is gone");
}

#[test]
fn garbage_at_the_client_port_disturbs_nobody() {
    let mut lab = Lab::new("e");
    lab.daemon();
    lab.wait_for_log("stopped -> selecting");
    lab.send_garbage(2000);
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.must_be_online();
    assert!(Path::new(&lab.path("leases")).exists());
}

#[test]
fn a_lease_is_renewed_and_given_up_when_nobody_renews_it() {
    let mut lab = Lab::new("f");
    lab.short_lease_server(12);
    lab.daemon();
    lab.must_be_online();
    lab.wait_for_log("renewing -> bound");
    let mut server = lab.children.remove(0);
    server.kill().unwrap();
    server.wait().unwrap();
    lab.wait_for_log("rebinding -> selecting");
    lab.wait_for_log("the lease is gone, removing the address");
    // The daemon finishes what it began before it ends.
    lab.stop_last();
    assert!(!lab.shown(&["-4", "addr", "show", "dev", "eth0"]).contains("inet "));
    assert_eq!(lab.text("report"), "eth0 configuring - - -\n");
    assert!(!lab.shown(&["route"]).contains("default"));
}
