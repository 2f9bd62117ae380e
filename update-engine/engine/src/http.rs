//! A published directory on a web server. Acts: asks for the bytes from some offset on, and passes over what a server
//! without ranges sends before them.

use std::io::{self, Read};
use std::time::Duration;

use ferrite_payload::channel::check_path;
use reqwest::StatusCode;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_RANGE, RANGE};

use crate::source::{Opened, Repository, Source, SourceError, read_limited};

/// A server that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);

/// A published directory.
#[derive(Debug, Clone)]
pub struct Server {
    client: Client,
    base: String,
}

/// One file of it.
#[derive(Debug, Clone)]
pub struct HttpFile {
    client: Client,
    url: String,
}

impl Server {
    /// The directory at an address. Proxies are those of the environment.
    pub fn new(base: &str) -> Result<Server, SourceError> {
        let agent = concat!("ferrite-update/", env!("CARGO_PKG_VERSION"));
        let client = Client::builder().timeout(SILENCE).connect_timeout(SILENCE).user_agent(agent).build();
        let client = client.map_err(|error| failed(base, error))?;
        Ok(Server { client, base: base.trim_end_matches('/').to_string() })
    }

    fn file(&self, path: &str) -> HttpFile {
        HttpFile { client: self.client.clone(), url: format!("{}/{path}", self.base) }
    }
}

impl Repository for Server {
    fn small(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let file = self.file(path);
        match file.get(0) {
            Ok(response) => read_limited(response, &file.url, limit).map(Some),
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
    fn get(&self, offset: u64) -> Result<Response, SourceError> {
        let request = self.client.get(&self.url);
        let request = if offset > 0 { request.header(RANGE, format!("bytes={offset}-")) } else { request };
        let response = request.send().map_err(|error| failed(&self.url, error))?;
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
        let mut response = self.get(offset)?;
        if response.status() == StatusCode::PARTIAL_CONTENT {
            let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).map(str::to_string);
            let (start, total) = range.as_deref().and_then(content_range).unwrap_or((u64::MAX, None));
            if start != offset {
                let source = io::Error::other(format!("bytes from {offset} on were wanted, others are sent"));
                return Err(SourceError::Read { name: self.url.clone(), source });
            }
            return Ok(Opened { reader: Box::new(response), total });
        }
        let total = response.content_length();
        let skipped = io::copy(&mut (&mut response).take(offset), &mut io::sink());
        match skipped {
            Ok(skipped) if skipped == offset => Ok(Opened { reader: Box::new(response), total }),
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

fn failed(url: &str, error: reqwest::Error) -> SourceError {
    SourceError::Read { name: url.to_string(), source: io::Error::other(error.without_url()) }
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
