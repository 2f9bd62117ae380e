//! A published directory on a web server. Acts: asks for the bytes from some offset on, and passes over what a server
//! without ranges sends before them.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ferrite_payload::channel::check_path;
use ferrite_trust::AUTHORITIES;
use ureq::config::ConfigBuilder;
use ureq::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, RANGE};
use ureq::http::{HeaderMap, HeaderName, Response, StatusCode};
use ureq::typestate::{AgentScope, WithBody};
use ureq::{Agent, Body, Proxy, RequestBuilder};

use crate::source::{Opened, Repository, Source, SourceError, read_limited};

/// A server that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// A document, or the answer to what a lock or a steering server is asked, is there after so long.
const DOCUMENT: Duration = Duration::from_secs(60);
/// Redirects that are followed one after the other.
const REDIRECTS_MAX: u32 = 5;

/// How slow a server may be with a payload: its answers are waited for so long in sum, and each byte buys a little more
/// of it. One that sends a byte now and then holds nothing up for ever.
#[derive(Debug, Clone, Copy)]
pub struct Slowness {
    /// At most so long.
    pub patience: Duration,
    /// Bytes a second that are enough for ever.
    pub least: u64,
}

impl Default for Slowness {
    fn default() -> Self {
        Slowness { patience: Duration::from_secs(120), least: 256 }
    }
}

/// How a server is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Instead of the proxy of the environment.
    pub proxy: Option<String>,
    /// Hosts, separated by commas, that are reached without that proxy.
    pub no_proxy: Option<String>,
    /// Certificates of those who sign for https servers, as PEM text.
    pub authorities: Vec<u8>,
    /// Bytes a second.
    pub rate_limit: Option<u64>,
    /// How slow it may be.
    pub slowness: Slowness,
}

/// The server cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Such a proxy cannot be.
    #[error("PROXY '{0}' is no address like http://proxy:3128")]
    Proxy(String),
    /// Nobody to trust.
    #[error("https needs certificate authorities, and the image has none ({AUTHORITIES})")]
    NoAuthorities,
}

/// A published directory.
#[derive(Debug, Clone)]
pub struct Server {
    client: Agent,
    base: String,
    rate_limit: Option<u64>,
    slowness: Slowness,
}

/// One file of it.
#[derive(Debug, Clone)]
pub struct HttpFile {
    client: Agent,
    url: String,
    rate_limit: Option<u64>,
    slowness: Slowness,
    /// What is left of the patience with it.
    patience: Rc<Cell<Duration>>,
}

/// A client that reaches an address in a certain way.
pub fn client(address: &str, access: &Access) -> Result<Agent, AccessError> {
    let mut config = config();
    if let Some(proxy) = &access.proxy {
        let parsed = proxy_of(proxy, access.no_proxy.as_deref()).ok_or_else(|| AccessError::Proxy(proxy.clone()))?;
        config = config.proxy(Some(parsed));
    }
    if address.starts_with("https://") {
        let tls = ferrite_trust::tls(&access.authorities).ok_or(AccessError::NoAuthorities)?;
        // Nor does a redirect lead out of it.
        config = config.tls_config(tls).https_only(true);
    }
    Ok(config.build().into())
}

/// Sends the body of a request to a lock or a steering server.
pub fn send(request: RequestBuilder<WithBody>, body: &str) -> Result<Response<Body>, ureq::Error> {
    request.config().timeout_recv_body(Some(DOCUMENT)).build().send(body)
}

/// A proxy that some hosts are reached without.
fn proxy_of(address: &str, no_proxy: Option<&str>) -> Option<Proxy> {
    let plain = Proxy::new(address).ok()?;
    let Some(hosts) = no_proxy else { return Some(plain) };
    let mut builder = Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let (Some(name), Some(password)) = (plain.username(), plain.password()) {
        builder = builder.username(name).password(password);
    }
    for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build().ok()
}

impl Server {
    /// The directory at an address. Proxies are those of the environment.
    pub fn new(base: &str) -> Server {
        let (client, slowness) = (config().build().into(), Slowness::default());
        Server { client, base: trimmed(base), rate_limit: None, slowness }
    }

    /// The same, reached in a certain way.
    pub fn with(base: &str, access: &Access) -> Result<Server, AccessError> {
        let (client, slowness) = (client(base, access)?, access.slowness);
        Ok(Server { client, base: trimmed(base), rate_limit: access.rate_limit, slowness })
    }

    fn file(&self, path: &str) -> HttpFile {
        let Server { client, rate_limit, slowness, .. } = self.clone();
        let (url, patience) = (format!("{}/{path}", self.base), Rc::new(Cell::new(slowness.patience)));
        HttpFile { client, url, rate_limit, slowness, patience }
    }
}

fn trimmed(base: &str) -> String {
    base.trim_end_matches('/').to_string()
}

fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .timeout_per_write(Some(SILENCE))
        .max_redirects(REDIRECTS_MAX)
        .http_status_as_error(false)
        .user_agent(concat!("ferrite-update/", env!("CARGO_PKG_VERSION")))
}

/// A reader that takes no more than so many bytes a second, in steps of a tenth.
struct Limited<R> {
    inner: R,
    rate: u64,
    begin: Instant,
    taken: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let step = usize::try_from(self.rate / 10).unwrap_or(usize::MAX).max(1);
        let due = Duration::from_millis(self.taken.saturating_mul(1000) / self.rate.max(1));
        if let Some(early) = due.checked_sub(self.begin.elapsed()) {
            std::thread::sleep(early);
        }
        let length = buffer.len().min(step);
        let read = self.inner.read(buffer.get_mut(..length).unwrap_or_default())?;
        self.taken += read as u64;
        Ok(read)
    }
}

/// A reader that loses its patience.
struct Watched<R> {
    inner: R,
    name: String,
    slowness: Slowness,
    patience: Rc<Cell<Duration>>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        let outcome = self.inner.read(buffer);
        let bytes = *outcome.as_ref().unwrap_or(&0) as u64;
        let bought = Duration::from_millis(bytes.saturating_mul(1000) / self.slowness.least.max(1));
        let left = (self.patience.get() + bought).saturating_sub(begin.elapsed()).min(self.slowness.patience);
        self.patience.set(left);
        if left.is_zero() { Err(io::Error::new(io::ErrorKind::TimedOut, too_slow(&self.name))) } else { outcome }
    }
}

fn too_slow(name: &str) -> SourceError {
    SourceError::Slow(name.to_string())
}

impl Repository for Server {
    fn small(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let file = self.file(path);
        match file.get(0, Some(DOCUMENT)) {
            Ok(response) => read_limited(response.into_body().into_reader(), &file.url, limit).map(Some),
            Err(SourceError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn payload(&mut self, path: &str) -> Box<dyn Source> {
        // Channel documents are checked for this when they are read; here it is used.
        Box::new(self.file(if check_path(path) { path } else { "" }))
    }
}

impl HttpFile {
    fn get(&self, offset: u64, whole: Option<Duration>) -> Result<Response<Body>, SourceError> {
        let request = self.client.get(&self.url).config().timeout_recv_body(whole).build();
        // What is asked for is the bytes of the file: a place in them means nothing in a compressed copy.
        let request = request.header(ACCEPT_ENCODING, "identity");
        let request = if offset > 0 { request.header(RANGE, format!("bytes={offset}-")) } else { request };
        let response = request.call().map_err(|error| failed(&self.url, error))?;
        let encoding = header(response.headers(), CONTENT_ENCODING).filter(|encoding| *encoding != "identity");
        match (response.status(), encoding) {
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, None) => Ok(response),
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, Some(encoding)) => {
                Err(SourceError::Encoded { name: self.url.clone(), encoding: encoding.chars().take(40).collect() })
            }
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => Err(SourceError::Missing(self.url.clone())),
            (status, _) => Err(SourceError::Status { name: self.url.clone(), status: status.as_u16() }),
        }
    }

    fn reader(&self, inner: impl Read + 'static) -> Box<dyn Read> {
        let (name, slowness, patience) = (self.url.clone(), self.slowness, self.patience.clone());
        let watched = Watched { inner, name, slowness, patience };
        match self.rate_limit {
            Some(rate) => Box::new(Limited { inner: watched, rate, begin: Instant::now(), taken: 0 }),
            None => Box::new(watched),
        }
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

impl Source for HttpFile {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn open_at(&mut self, offset: u64) -> Result<Opened, SourceError> {
        if self.patience.get().is_zero() {
            return Err(too_slow(&self.url));
        }
        let response = self.get(offset, None)?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = header(response.headers(), CONTENT_RANGE);
            let (start, total) = range.and_then(content_range).unwrap_or((u64::MAX, None));
            if start != offset {
                let source = io::Error::other(format!("bytes from {offset} on were wanted, others are sent"));
                return Err(SourceError::Read { name: self.url.clone(), source });
            }
            return Ok(Opened { reader: self.reader(response.into_body().into_reader()), total });
        }
        let total = response.body().content_length();
        // A server without ranges begins anew; what it sends again is passed over as slowly as the rest is read.
        let mut reader = self.reader(response.into_body().into_reader());
        let skipped = io::copy(&mut (&mut reader).take(offset), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == offset => Ok(Opened { reader, total }),
            Ok(_) => Err(SourceError::Read { name: self.url.clone(), source: io::ErrorKind::UnexpectedEof.into() }),
            Err(source) => Err(SourceError::Read { name: self.url.clone(), source }),
        }
    }
}

/// `bytes 5-99/100`: the start, and the length of the whole if it is told.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

fn failed(url: &str, error: ureq::Error) -> SourceError {
    SourceError::Read { name: url.to_string(), source: error.into_io() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_loses_its_patience_with_a_trickle_and_never_with_a_stream() {
        struct Trickle(Duration);
        impl Read for Trickle {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                // This is what makes it slow.
                std::thread::sleep(self.0);
                Ok(buffer.len())
            }
        }
        let read = |pause: u64, bytes: usize, least: u64| {
            let slowness = Slowness { patience: Duration::from_millis(300), least };
            let patience = Rc::new(Cell::new(slowness.patience));
            let inner = Trickle(Duration::from_millis(pause));
            let mut watched = Watched { inner, name: "x".into(), slowness, patience };
            (0..40).try_for_each(|_| watched.read(&mut vec![0; bytes]).map(drop))
        };
        let error = read(20, 1, 1000).expect_err("too slow");
        assert!(error.to_string().starts_with("'x' gives less than"), "{error}");
        read(20, 4096, 1000).expect("it is fast enough");
    }

    #[test]
    fn hosts_can_be_reached_without_the_proxy() {
        let uri = |host: &str| format!("http://{host}/").parse().expect("an address");
        let proxy = proxy_of("http://me:secret@proxy:3128", Some("localhost, .example.com,")).expect("it is one");
        assert_eq!((proxy.host(), proxy.port(), proxy.username()), ("proxy", 3128, Some("me")));
        for (host, without) in [("localhost", true), ("a.example.com", true), ("example.org", false)] {
            assert_eq!(proxy.is_no_proxy(&uri(host)), without, "{host}");
        }
        assert!(proxy_of("::", None).is_none() && proxy_of("::", Some("x")).is_none());
    }

    #[test]
    fn the_answer_to_a_range_is_read() {
        assert_eq!(content_range("bytes 5-99/100"), Some((5, Some(100))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for wrong in ["", "bytes */100", "bytes 5/100", "lines 1-2/3", "bytes x-2/3"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
