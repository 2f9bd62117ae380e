//! Fetches what a document includes. Plain HTTP; deadlines and a limit on the size.

use std::time::Duration;

use crate::document::MAX_BYTES;

const ATTEMPTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why nothing was fetched before there is a network.
pub(crate) const NOT_YET: &str = "there is no network yet";

/// Fetches nothing, to see whether a document wants anything.
pub(crate) fn not_yet(_: &str) -> Result<Vec<u8>, String> {
    Err(NOT_YET.into())
}

/// Fetches a URL; `Err` says what went wrong.
pub(crate) fn get(url: &str) -> Result<Vec<u8>, String> {
    if url.starts_with("https://") {
        return Err("https is not supported by this version; use http, or put the content into the user-data".into());
    }
    if !url.starts_with("http://") {
        return Err("only http:// can be fetched".into());
    }
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).max_redirects(3).build().into();
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
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
