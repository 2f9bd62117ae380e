//! A published directory on a web server. Acts: asks for the bytes from some offset on, and passes over what a server
//! without ranges sends before them.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ferrite_payload::channel::check_path;
use ferrite_trust::AUTHORITIES;
use ureq::config::ConfigBuilder;
use ureq::http::header::{CONTENT_RANGE, RANGE};
use ureq::http::{Response, StatusCode};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body, Proxy};

use crate::source::{Opened, Repository, Source, SourceError, read_limited};

/// A server that does not begin to answer for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// An answer is read for so long, then the rest is asked for anew: one that has stalled is noticed by then.
const ANSWER: Duration = Duration::from_secs(120);

/// How a server is reached.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Instead of the proxy of the environment.
    pub proxy: Option<String>,
    /// Certificates of those who sign for https servers, as PEM text.
    pub authorities: Vec<u8>,
    /// Bytes a second.
    pub rate_limit: Option<u64>,
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
}

/// One file of it.
#[derive(Debug, Clone)]
pub struct HttpFile {
    client: Agent,
    url: String,
    rate_limit: Option<u64>,
}

impl Server {
    /// The directory at an address. Proxies are those of the environment.
    pub fn new(base: &str) -> Server {
        Server { client: config().build().into(), base: trimmed(base), rate_limit: None }
    }

    /// The same, reached in a certain way.
    pub fn with(base: &str, access: &Access) -> Result<Server, AccessError> {
        let mut config = config();
        if let Some(proxy) = &access.proxy {
            let parsed = Proxy::new(proxy).map_err(|_| AccessError::Proxy(proxy.clone()))?;
            config = config.proxy(Some(parsed));
        }
        if base.starts_with("https://") {
            let tls = ferrite_trust::tls(&access.authorities).ok_or(AccessError::NoAuthorities)?;
            config = config.tls_config(tls);
        }
        Ok(Server { client: config.build().into(), base: trimmed(base), rate_limit: access.rate_limit })
    }

    fn file(&self, path: &str) -> HttpFile {
        let (client, rate_limit) = (self.client.clone(), self.rate_limit);
        HttpFile { client, url: format!("{}/{path}", self.base), rate_limit }
    }
}

fn trimmed(base: &str) -> String {
    base.trim_end_matches('/').to_string()
}

fn config() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_recv_body(Some(ANSWER))
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

fn limited(reader: impl Read + 'static, rate: Option<u64>) -> Box<dyn Read> {
    match rate {
        Some(rate) => Box::new(Limited { inner: reader, rate, begin: Instant::now(), taken: 0 }),
        None => Box::new(reader),
    }
}

impl Repository for Server {
    fn small(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let file = self.file(path);
        match file.get(0) {
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
    fn get(&self, offset: u64) -> Result<Response<Body>, SourceError> {
        let request = self.client.get(&self.url);
        let request = if offset > 0 { request.header(RANGE, format!("bytes={offset}-")) } else { request };
        let response = request.call().map_err(|error| failed(&self.url, error))?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(SourceError::Missing(self.url.clone())),
            status => Err(SourceError::Status { name: self.url.clone(), status: status.as_u16() }),
        }
    }
}

impl Source for HttpFile {
    fn name(&self) -> String {
        self.url.clone()
    }

    fn open_at(&mut self, offset: u64) -> Result<Opened, SourceError> {
        let response = self.get(offset)?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).map(str::to_string);
            let (start, total) = range.as_deref().and_then(content_range).unwrap_or((u64::MAX, None));
            if start != offset {
                let source = io::Error::other(format!("bytes from {offset} on were wanted, others are sent"));
                return Err(SourceError::Read { name: self.url.clone(), source });
            }
            let reader = limited(response.into_body().into_reader(), self.rate_limit);
            return Ok(Opened { reader, total });
        }
        let total = response.body().content_length();
        let mut reader = response.into_body().into_reader();
        let skipped = io::copy(&mut (&mut reader).take(offset), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == offset => Ok(Opened { reader: limited(reader, self.rate_limit), total }),
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
    fn the_answer_to_a_range_is_read() {
        assert_eq!(content_range("bytes 5-99/100"), Some((5, Some(100))));
        assert_eq!(content_range("bytes 0-0/*"), Some((0, None)));
        for wrong in ["", "bytes */100", "bytes 5/100", "lines 1-2/3", "bytes x-2/3"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
