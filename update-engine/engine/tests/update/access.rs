//! Ways to a server: https with the machine's own authorities, a proxy, and an engine that is killed on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferrite_layout::Slot;

use crate::machine::{Machine, Site};
use crate::release::Release;
use crate::web::{Fault, Web};

const SERVER: &str = "
import http.server, ssl, sys
server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('../tls/cert.pem', '../tls/key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

struct Tls {
    child: Child,
    port: u16,
}

impl Tls {
    fn serve(folder: &Path) -> Tls {
        let mut command = Command::new("python3");
        command.args(["-c", SERVER]).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python3 is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("it says its port");
        Tls { child, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn https_servers_are_believed_only_with_an_authority_of_the_machine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tls = folder.path().join("tls");
    std::fs::create_dir(&tls).expect("a folder");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"]);
    let made = openssl.current_dir(&tls).output().expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut site = Site::new();
    site.publish(&Release::new(2));
    std::fs::rename(site.folder.path(), folder.path().join("site")).expect("they are on one disk");
    let server = Tls::serve(&folder.path().join("site"));
    let mut machine = Machine::new(&Release::new(1));
    machine.configure(&format!("SERVER=https://127.0.0.1:{}/\nREBOOT_STRATEGY=off\n", server.port));
    machine.start();
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("https needs certificate authorities"), "{text}");
    let authorities = machine.path("etc/ssl/certs");
    std::fs::create_dir_all(&authorities).expect("a folder");
    let bundle = authorities.join("ca-certificates.crt");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/other-authority.pem"), &bundle)
        .expect("it is there");
    let (good, text) = machine.update(&["update"]);
    assert!(!good && text.contains("UnknownIssuer"), "{text}");
    std::fs::copy(tls.join("cert.pem"), &bundle).expect("it is there");
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
}

/// A proxy that knows CONNECT; how often it was used.
fn proxy() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it listens").port();
    let used = Arc::new(AtomicUsize::new(0));
    let count = used.clone();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            // A connection that breaks is the client's business.
            std::thread::spawn(move || drop(connect(client)));
        }
    });
    (port, used)
}

fn connect(mut client: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let target = text.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let server = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (server.try_clone()?, client.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to).and_then(|_| to.shutdown(std::net::Shutdown::Both)));
    std::io::copy(&mut client, &mut &server)?;
    Ok(())
}

#[test]
fn the_proxy_of_the_configuration_is_used_for_all_requests() {
    let mut site = Site::new();
    site.publish(&Release::new(2));
    let web = Web::new(site.folder.path());
    let (port, used) = proxy();
    let mut machine = Machine::new(&Release::new(1));
    let conf = |proxy: &str| format!("SERVER=http://{}/\nREBOOT_STRATEGY=off\nPROXY={proxy}\n", web.address);
    machine.configure(&conf(&format!("http://127.0.0.1:{port}")));
    machine.start();
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(used.load(Ordering::Relaxed) > 0, "it went past the proxy");
    machine.configure(&conf("::"));
    let (good, text) = machine.update(&["check"]);
    assert!(!good && text.contains("PROXY '::' is no address"), "{text}");
}

#[test]
fn an_engine_that_is_killed_again_and_again_ends_the_install_all_the_same() {
    let mut site = Site::new();
    let new = Release::new(2);
    site.publish(&new);
    let web = Web::new(site.folder.path());
    let mut machine = Machine::new(&Release::new(1));
    machine.configure(&format!("SERVER=http://{}/\nREBOOT_STRATEGY=off\n", web.address));
    web.set(Fault::Slow(4000));
    for _ in 0..4 {
        machine.start();
        let begun = std::thread::scope(|scope| {
            // It ends with an error when the engine is killed.
            let client = scope.spawn(|| machine.client(&["ferrite-update", "update"]));
            let begun = machine.wait_for("some progress", || {
                let status = machine.status();
                status["progress"].as_f64().filter(|progress| *progress > 0.0)
            });
            machine.kill();
            drop(client.join());
            begun
        });
        assert!(begun < 1.0, "the link is too fast for this test");
        assert!(machine.holds(Slot::A, &Release::new(1)));
        assert_eq!(machine.flags().order.first(), Slot::A);
    }
    web.set(Fault::None);
    machine.start();
    assert_eq!(machine.status()["reboot_pending"], false);
    assert!(machine.status()["blocked"].as_array().is_some_and(Vec::is_empty), "a kill is no failure of the release");
    let (good, text) = machine.update(&["update"]);
    assert!(good && text.contains("1.2 was installed"), "{text}");
    assert!(machine.holds(Slot::B, &new));
}
