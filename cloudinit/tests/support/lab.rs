//! A machine made of namespaces: a root of its own, firmware as the test says, a cable to a metadata service.
//!
//! The program under test believes that the root is the machine. Needs root, `ip` and `unshare`; a missing one fails
//! the test with its name. `systemctl` and `networkctl` are scripts that write down what they were told: there is no
//! daemon here.

#[path = "machine_files.rs"]
mod machine_files;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use ferrite_qemu::MetadataService;
use ferrite_qemu::metadata::{Cloud, Request};
use machine_files::MACHINE_FILES;

/// Where the service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine's side of a configured network.
    Ipv4,
    /// The same, but there is only IPv6.
    Ipv6,
    /// At the other end of a cable whose near end has no address and is not switched on.
    Link,
}

/// Serves the files of its folder; `/old` leads to `/new`.
const SECURE_WEB: &str = "import http.server, ssl, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path != '/old': return super().do_GET()
        self.send_response(302)
        self.send_header('Location', '/new')
        self.end_headers()
server = http.server.HTTPServer(('169.254.169.254', 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + '/cert.pem', sys.argv[1] + '/key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print('listening', flush=True)
server.serve_forever()
";

/// The machine.
pub struct Lab {
    folder: tempfile::TempDir,
    name: String,
    place: Place,
}

impl Lab {
    /// A machine with this kernel command line and these fields of the firmware.
    pub fn new(place: Place, command_line: &str, firmware: &[(&str, &str)]) -> Self {
        for tool in ["ip", "unshare", "mount", "chroot"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap();
            assert!(found.status.success(), "this test needs the program '{tool}' (iproute2, util-linux, coreutils)");
        }
        let folder = tempfile::tempdir().unwrap();
        let unique = folder.path().file_name().unwrap().to_string_lossy().replace(".tmp", "");
        let lab = Self { name: format!("ci{unique}"), folder, place };
        lab.network();
        let devices = ["dev/console", "dev/null", "dev/urandom"].map(|path| (path, ""));
        for (path, text) in MACHINE_FILES.into_iter().chain(devices).chain([("cmdline", command_line)]) {
            lab.write(path, text);
        }
        for (name, value) in firmware {
            lab.write(&format!("sys/class/dmi/id/{name}"), value);
        }
        for path in ["usr", "proc", "run", "var", "home", "tmp", "sys/class/block"] {
            std::fs::create_dir_all(lab.path(path)).unwrap();
        }
        for name in ["systemctl", "networkctl"] {
            lab.write(&format!("t/{name}"), &format!("#!/bin/sh\necho \"$@\" >> /{name}.log\n"));
            let script = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(lab.path(&format!("t/{name}")), script).unwrap();
        }
        std::fs::copy(env!("CARGO_BIN_EXE_ferrite-cloudinit"), lab.path("t/ferrite-cloudinit")).unwrap();
        lab
    }

    fn network(&self) {
        self.ip(&["netns", "add", &self.near()]);
        self.ip(&["netns", "add", &self.far()]);
        self.ip(&["-n", &self.near(), "link", "set", "lo", "up"]);
        match self.place {
            Place::Ipv4 => self.ip(&["-n", &self.near(), "addr", "add", "169.254.169.254/32", "dev", "lo"]),
            Place::Ipv6 => self.ip(&["-n", &self.near(), "addr", "add", "fd00:ec2::254/128", "dev", "lo", "nodad"]),
            Place::Link => {
                let (near, far) = (self.near(), self.far());
                let cable =
                    ["link", "add", "eth0", "address", "04:01:2a:0f:2a:01", "type", "veth", "peer", "name", "far0"];
                self.ip(&[&["-n", &near][..], &cable, &["netns", &far]].concat());
                self.ip(&["-n", &far, "addr", "add", "169.254.169.254/16", "dev", "far0"]);
                self.ip(&["-n", &far, "link", "set", "far0", "up"]);
            }
        }
    }

    fn near(&self) -> String {
        format!("{}n", self.name)
    }

    fn far(&self) -> String {
        format!("{}f", self.name)
    }

    fn ip(&self, arguments: &[&str]) {
        let output = Command::new("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?} needs root: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Adds a wired link to the machine.
    pub fn wire(&self, name: &str, mac: &str) {
        let cable = ["link", "add", name, "address", mac, "type", "veth", "peer", "name"];
        self.ip(&[&["-n", &self.near()][..], &cable, &[&format!("{name}-far"), "netns", &self.far()]].concat());
    }

    /// Starts a web server with a certificate that the machine trusts, in the machine's network.
    pub fn secure_web(&self, files: &Path) -> Child {
        let own = self.path("web");
        std::fs::create_dir(&own).unwrap();
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:169.254.169.254"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"]);
        let made = openssl.current_dir(&own).output().expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
        self.write("etc/ssl/certs/ca-certificates.crt", &self.text("web/cert.pem"));
        let mut server = Command::new("ip");
        server.args(["netns", "exec", &self.near(), "python3", "-c", SECURE_WEB]).arg(&own).current_dir(files);
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("python3 is installed");
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "listening\n");
        server
    }

    /// What `ip` shows on the machine.
    pub fn shown(&self, arguments: &[&str]) -> String {
        let output = Command::new("ip").args(["-n", &self.near()]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A path of the machine's root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Leaves a file on the machine.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A file of the machine; empty when there is none.
    pub fn text(&self, path: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(path)).unwrap_or_default()).into_owned()
    }

    /// Starts a metadata service in the machine's network.
    pub fn service(&self, cloud: Cloud) -> MetadataService {
        let (netns, address) = match self.place {
            Place::Ipv4 => (self.near(), "169.254.169.254:80"),
            Place::Ipv6 => (self.near(), "[fd00:ec2::254]:80"),
            Place::Link => (self.far(), "169.254.169.254:80"),
        };
        let address: SocketAddr = address.parse().unwrap();
        let handle = std::fs::File::open(Path::new("/run/netns").join(netns)).unwrap();
        // A thread belongs to a network namespace, and so does what it starts.
        std::thread::spawn(move || {
            nix::sched::setns(handle, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            MetadataService::start(cloud, address).unwrap()
        })
        .join()
        .unwrap()
    }

    /// Starts the program.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let script = "mount --rbind /usr usr && \
            for name in bin sbin lib lib64; do \
                if [ -L /$name ]; then cp -d /$name . ; \
                elif [ -d /$name ]; then mkdir -p $name && mount --rbind /$name $name; fi; \
            done && mount -t proc proc proc && mount --bind cmdline proc/cmdline && \
            mount --bind /dev/null dev/null && mount --bind /dev/urandom dev/urandom && \
            hostname before && exec env PATH=/t:/usr/bin:/bin:/usr/sbin chroot . /t/ferrite-cloudinit \"$@\"";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.near(), "unshare", "--mount", "--uts", "sh", "-ec", script, "sh"]);
        command.args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the program.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_with_output().unwrap()
    }

    /// What the network daemon is told, all files together.
    pub fn network_files(&self) -> String {
        let entries = std::fs::read_dir(self.path("run/systemd/network")).into_iter().flatten().flatten();
        entries.map(|entry| std::fs::read_to_string(entry.path()).unwrap()).collect()
    }

    /// The keys that may log in as `core`.
    pub fn keys(&self) -> String {
        self.text("home/core/.ssh/authorized_keys.d/cloud-config")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in [self.near(), self.far()] {
            // A name that is left behind only costs memory; the test has ended.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

/// `METHOD path` of each request. On a busy host an answer may come too late, and the question is put again: once here.
pub fn lines(requests: &[Request]) -> Vec<String> {
    let mut lines: Vec<String> =
        requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect();
    lines.dedup();
    lines
}

/// Waits until the service has been asked so often.
pub fn wait_for_requests(service: &MetadataService, count: usize) {
    let asked = service.wait_for_requests(count, std::time::Duration::from_secs(120));
    assert!(asked, "only {:?}", lines(&service.requests()));
}
