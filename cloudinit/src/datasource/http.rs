//! The client of metadata services: short deadlines, a limit on what is taken, and patience with an end.

use std::time::{Duration, Instant};

use crate::document::MAX_BYTES;
use crate::fetch;

const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take while somebody waits for it.
const ANSWER: Duration = Duration::from_secs(2);
/// A body may come in pieces, each within the time of an answer; all of them within this at least.
const WHOLE_BODY: Duration = Duration::from_secs(10);
/// A server of the web is farther away than a metadata service.
const WEB_CONNECT: Duration = Duration::from_secs(5);
const WEB_ANSWER: Duration = Duration::from_secs(10);
const WEB_REDIRECTIONS: u32 = 5;
/// What a conversation that has begun may go on after the last time that a question was put again.
const TO_FINISH: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why there is no answer that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Asking again may help: nobody answered, or the service is not well.
    Passing(String),
    /// The service has spoken.
    Final(String),
}

impl Trouble {
    /// What is wrong.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Passing(reason) | Self::Final(reason) => reason,
        }
    }
}

/// What a service said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// The bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// The bytes of a good answer, `None` for 404.
    pub(crate) fn found(self, url: &str) -> Result<Option<Vec<u8>>, Trouble> {
        match self.status {
            200 => Ok(Some(self.body)),
            404 => Ok(None),
            300..400 => Err(Trouble::Final(format!(
                "'{url}' answers with status {}, a redirection, which is not followed",
                self.status
            ))),
            // Too early, too often, or the service itself is in trouble.
            408 | 425 | 429 | 500.. => Err(Trouble::Passing(format!("'{url}' answers with status {}", self.status))),
            status => Err(Trouble::Final(format!("'{url}' answers with status {status}"))),
        }
    }
}

/// Until when somebody asks again, and how long he waits for each answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Nobody asks again after it.
    pub end: Instant,
    /// Nobody asks anything after it.
    limit: Instant,
    answer: Duration,
}

impl Patience {
    /// From now on.
    pub(crate) fn of(length: Duration) -> Self {
        let end = Instant::now() + length;
        Self { end, limit: end + TO_FINISH, answer: ANSWER }
    }

    /// With so long for each answer, and for the whole conversation what many such answers take.
    pub(crate) fn waiting(self, answer: Duration) -> Self {
        let answer = answer.max(ANSWER);
        Self { answer, limit: self.end + TO_FINISH.max(answer * 20), ..self }
    }

    /// For a single question now.
    pub(crate) fn once(self) -> Self {
        Self::of(Duration::ZERO).waiting(self.answer)
    }

    /// For half of the time that is left.
    pub(crate) fn half(self) -> Self {
        Self::of(self.end.saturating_duration_since(Instant::now()) / 2).waiting(self.answer)
    }

    /// Asks until there is an answer, with longer and longer pauses.
    pub(crate) fn ask<T>(self, mut question: impl FnMut() -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut pause = FIRST_PAUSE;
        if Instant::now() > self.limit {
            return Err(Trouble::Passing("the answers took too long".into()));
        }
        loop {
            match question() {
                Err(Trouble::Passing(_)) if Instant::now() + pause < self.end => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }
}

/// A client. That of a metadata service follows no redirection; none knows a proxy.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
}

impl Client {
    /// With the deadlines of metadata services.
    pub(crate) fn new(patience: Patience) -> Self {
        let config = config(patience.answer).timeout_connect(Some(CONNECT)).max_redirects(0);
        Self { agent: config.build().into() }
    }

    /// For a URL of the web. What begins with HTTPS never goes on without it.
    pub(crate) fn of_web(url: &str, patience: Patience) -> Result<Self, Trouble> {
        let config = config(patience.answer.max(WEB_ANSWER)).timeout_connect(Some(WEB_CONNECT));
        let config = config.max_redirects(WEB_REDIRECTIONS);
        let config = fetch::secured(config, url, fetch::AUTHORITIES.as_ref());
        let config = config.map_err(|reason| Trouble::Final(format!("'{url}': {reason}")))?;
        Ok(Self { agent: config.build().into() })
    }

    /// GET.
    pub(crate) fn get(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Trouble> {
        let request = headers.iter().fold(self.agent.get(url), |request, (name, value)| request.header(*name, *value));
        answer(url, request.call())
    }

    /// PUT without a body.
    pub(crate) fn put(&self, url: &str, headers: &[(&str, &str)]) -> Result<Answer, Trouble> {
        let request = headers.iter().fold(self.agent.put(url), |request, (name, value)| request.header(*name, *value));
        answer(url, request.send_empty())
    }
}

fn config(answer: Duration) -> fetch::Builder {
    ureq::Agent::config_builder()
        .timeout_recv_response(Some(answer))
        .timeout_per_read(Some(answer))
        .timeout_recv_body(Some(WHOLE_BODY.max(answer)))
        .http_status_as_error(false)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("ferrite-cloudinit/", env!("CARGO_PKG_VERSION")))
}

fn answer(url: &str, sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Trouble> {
    let passing = |error: ureq::Error| Trouble::Passing(format!("asking '{url}': {error}"));
    let mut response = sent.map_err(passing)?;
    let status = response.status().as_u16();
    match response.body_mut().with_config().limit(MAX_BYTES as u64).read_to_vec() {
        Ok(body) => Ok(Answer { status, body }),
        Err(ureq::Error::BodyExceedsLimit(_)) => {
            Err(Trouble::Final(format!("'{url}' answers with more than the limit of {MAX_BYTES} bytes")))
        }
        Err(error) => Err(passing(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_asked_again_and_what_is_final_is_not() {
        let mut asked = 0;
        let outcome = Patience::of(Duration::from_secs(60)).ask(|| {
            asked += 1;
            if asked < 3 { Err(Trouble::Passing("away".into())) } else { Ok(asked) }
        });
        assert_eq!(outcome, Ok(3));
        let outcome: Result<(), Trouble> =
            Patience::of(Duration::from_secs(60)).ask(|| Err(Trouble::Final("no".into())));
        assert_eq!(outcome, Err(Trouble::Final("no".into())));
        let mut asked = 0;
        let outcome: Result<(), Trouble> = Patience::of(Duration::ZERO).ask(|| {
            asked += 1;
            Err(Trouble::Passing("away".into()))
        });
        assert_eq!((outcome, asked), (Err(Trouble::Passing("away".into())), 1));
        let late = Patience { limit: Instant::now() - Duration::from_millis(1), ..Patience::of(Duration::ZERO) };
        let outcome: Result<(), Trouble> = late.ask(|| unreachable!("the conversation is over"));
        assert_eq!(outcome, Err(Trouble::Passing("the answers took too long".into())));
    }

    #[test]
    fn a_status_says_whether_asking_again_helps() {
        let found = |status| Answer { status, body: vec![1] }.found("u");
        assert_eq!(found(200), Ok(Some(vec![1])));
        assert_eq!(found(404), Ok(None));
        assert!(matches!(found(503), Err(Trouble::Passing(_))) && matches!(found(429), Err(Trouble::Passing(_))));
        assert!(matches!(found(403), Err(Trouble::Final(_))) && matches!(found(301), Err(Trouble::Final(_))));
    }
}
