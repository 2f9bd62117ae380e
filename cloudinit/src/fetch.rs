//! Fetches what a document includes, by HTTP or HTTPS; deadlines and a limit on the size. A server of HTTPS is trusted
//! when the image's authorities say so, those of `ca_certs` of an earlier boot among them.

use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use ferrite_trust::AUTHORITIES;

use crate::document::MAX_BYTES;

const ATTEMPTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(5);
/// What all fetches of a boot together may take: logins wait for them.
const WHOLE_WAIT: Duration = Duration::from_secs(60);

/// Why nothing was fetched before there is a network.
pub(crate) const NOT_YET: &str = "there is no network yet";

/// Fetches nothing, to see whether a document wants anything.
pub(crate) fn not_yet(_: &str) -> Result<Vec<u8>, String> {
    Err(NOT_YET.into())
}

/// Fetches URLs until the time of all of them is over.
#[derive(Debug)]
pub(crate) struct Fetcher {
    end: Instant,
}

impl Fetcher {
    /// The time begins now.
    pub(crate) fn new() -> Self {
        Self { end: Instant::now() + WHOLE_WAIT }
    }

    /// Fetches a URL; `Err` says what went wrong.
    pub(crate) fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        get_trusting(url, Path::new(AUTHORITIES), self.end)
    }
}

/// What a client is made from.
pub(crate) type Builder = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

/// A client for a URL; what begins with HTTPS never goes on without it.
pub(crate) fn client(url: &str, authorities: &Path) -> Result<ureq::Agent, String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(3);
    Ok(secured(config, url, authorities)?.build().into())
}

/// Adds whom a client of this URL trusts.
pub(crate) fn secured(config: Builder, url: &str, authorities: &Path) -> Result<Builder, String> {
    if url.starts_with("http://") {
        return Ok(config);
    }
    if !url.starts_with("https://") {
        return Err("only http:// and https:// can be fetched".into());
    }
    let name = authorities.display();
    let bundle = std::fs::read(authorities).map_err(|error| format!("reading '{name}': {error}"))?;
    let tls = ferrite_trust::tls(&bundle);
    let tls = tls.ok_or_else(|| format!("https needs certificate authorities, and there are none in '{name}'"))?;
    Ok(config.https_only(true).tls_config(tls))
}

fn get_trusting(url: &str, authorities: &Path, end: Instant) -> Result<Vec<u8>, String> {
    let agent = client(url, authorities)?;
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        if Instant::now() >= end {
            let late = format!("all that is fetched took more than {} s", WHOLE_WAIT.as_secs());
            return Err(if last.is_empty() { late } else { format!("{last}; {late}") });
        }
        match once(&agent, url) {
            Ok(bytes) => return Ok(bytes),
            // The server has spoken; asking again does not help.
            Err(ureq::Error::StatusCode(code)) if (400..500).contains(&code) => return Err(format!("status {code}")),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}

fn once(agent: &ureq::Agent, url: &str) -> Result<Vec<u8>, ureq::Error> {
    let mut response = agent.get(url).call()?;
    response.body_mut().with_config().limit(MAX_BYTES as u64).read_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::process::{Child, Command, Stdio};

    /// A web server with a certificate of its own.
    struct Server(Child);

    impl Drop for Server {
        fn drop(&mut self) {
            // It may have ended by itself.
            let _ended = self.0.kill();
            let _status = self.0.wait();
        }
    }

    const SERVER: &str = "import http.server, ssl\n\
        server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n\
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
        context.load_cert_chain('cert.pem', 'key.pem')\n\
        server.socket = context.wrap_socket(server.socket, server_side=True)\n\
        print(server.server_address[1], flush=True)\n\
        server.serve_forever()\n";

    fn serve(folder: &Path) -> (Server, u16) {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"]);
        let made = openssl.current_dir(folder).output().expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
        let mut python = Command::new("python3");
        python.args(["-c", SERVER]).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = python.spawn().expect("python3 is installed");
        let mut line = String::new();
        let output = child.stdout.take().expect("it has an output");
        std::io::BufReader::new(output).read_line(&mut line).expect("it tells its port");
        (Server(child), line.trim().parse().expect("a port"))
    }

    #[test]
    fn a_server_is_trusted_when_the_authorities_of_the_image_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let (_server, port) = serve(folder.path());
        std::fs::write(folder.path().join("config"), "#cloud-config\n").unwrap();
        let url = format!("https://127.0.0.1:{port}/config");
        let trusted = folder.path().join("cert.pem");
        let end = Instant::now() + Duration::from_secs(600);
        assert_eq!(get_trusting(&url, &trusted, end), Ok(b"#cloud-config\n".to_vec()));
        assert_eq!(get_trusting(&format!("https://127.0.0.1:{port}/none"), &trusted, end), Err("status 404".into()));
        let late = get_trusting(&url, &trusted, Instant::now()).unwrap_err();
        assert_eq!(late, "all that is fetched took more than 60 s");
        let other = tempfile::tempdir().unwrap();
        let (_other, _) = serve(other.path());
        let refused = get_trusting(&url, &other.path().join("cert.pem"), end).unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
        let none = folder.path().join("config");
        assert!(get_trusting(&url, &none, end).unwrap_err().contains("there are none in"));
    }

    #[test]
    fn only_the_web_is_fetched() {
        for url in ["file:///etc/shadow", "ftp://example.com/a", "/etc/shadow"] {
            assert_eq!(Fetcher::new().get(url), Err("only http:// and https:// can be fetched".into()), "{url}");
        }
    }
}
