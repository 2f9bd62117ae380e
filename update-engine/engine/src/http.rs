//! A published directory on a web server. Acts: asks for the bytes from some offset on, and passes over what a server
//! without ranges sends before them.

use std::io::{self, Read};
use std::time::Duration;

use ferrite_payload::channel::check_path;
use ureq::http::header::{CONTENT_RANGE, RANGE};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use crate::source::{Opened, Repository, Source, SourceError, read_limited};

/// A server that does not begin to answer for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// An answer is read for so long, then the rest is asked for anew: one that has stalled is noticed by then.
const ANSWER: Duration = Duration::from_secs(120);

/// A published directory.
#[derive(Debug, Clone)]
pub struct Server {
    client: Agent,
    base: String,
}

/// One file of it.
#[derive(Debug, Clone)]
pub struct HttpFile {
    client: Agent,
    url: String,
}

impl Server {
    /// The directory at an address. Proxies are those of the environment.
    pub fn new(base: &str) -> Server {
        let config = Agent::config_builder()
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_recv_body(Some(ANSWER))
            .http_status_as_error(false)
            .user_agent(concat!("ferrite-update/", env!("CARGO_PKG_VERSION")));
        Server { client: config.build().into(), base: base.trim_end_matches('/').to_string() }
    }

    fn file(&self, path: &str) -> HttpFile {
        HttpFile { client: self.client.clone(), url: format!("{}/{path}", self.base) }
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
            return Ok(Opened { reader: Box::new(response.into_body().into_reader()), total });
        }
        let total = response.body().content_length();
        let mut reader = response.into_body().into_reader();
        let skipped = io::copy(&mut (&mut reader).take(offset), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == offset => Ok(Opened { reader: Box::new(reader), total }),
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
