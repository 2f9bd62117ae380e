//! The monitor of QEMU: commands in, events out, both as lines of JSON.
//!
//! QEMU connects to us (we listen before it starts), so there is no moment at which the socket does not exist yet.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::QemuError;

/// How long QEMU may take for an answer; generous, because the host may be busy.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// The connection to a monitor.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    shared: Arc<Shared>,
    next_id: u64,
}

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    answers: Vec<Value>,
    events: Vec<Event>,
    closed: bool,
}

/// Something that happened to the guest, as `RESET`, `SHUTDOWN`, `WATCHDOG`.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data, as QEMU says it.
    pub data: Value,
}

/// Where a monitor will connect to.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, QemuError> {
    let listener = UnixListener::bind(path).map_err(QemuError::file("listening on", path))?;
    listener.set_nonblocking(true).map_err(QemuError::file("listening on", path))?;
    Ok(listener)
}

/// Waits for the monitor of a QEMU that was just started; `Ok(None)` when that QEMU has ended instead.
pub(crate) fn accept(listener: &UnixListener, child: &mut Child) -> Result<Option<Qmp>, QemuError> {
    let end = Instant::now() + ANSWER_DEADLINE;
    let silent = || QemuError::MonitorSilent { command: "the connection".into(), deadline: ANSWER_DEADLINE };
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).map_err(|_| QemuError::Gone)?;
            return Qmp::new(stream).map(Some);
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return Ok(None);
        }
        if Instant::now() > end {
            return Err(silent());
        }
        // Two things are waited for, a connection and the end of a child; std can only poll for both.
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Qmp {
    fn new(stream: UnixStream) -> Result<Self, QemuError> {
        let shared = Arc::<Shared>::default();
        let reader = BufReader::new(stream.try_clone().map_err(|_| QemuError::Gone)?);
        let heard = shared.clone();
        std::thread::spawn(move || listen_to(reader, &heard));
        let mut qmp = Self { stream, shared, next_id: 0 };
        qmp.command("qmp_capabilities", Value::Null)?;
        Ok(qmp)
    }

    /// Gives a command and waits for its answer.
    pub fn command(&mut self, name: &str, arguments: Value) -> Result<Value, QemuError> {
        self.next_id += 1;
        let id = self.next_id;
        let mut message = json!({ "execute": name, "id": id });
        if !arguments.is_null() {
            message["arguments"] = arguments;
        }
        self.stream.write_all(format!("{message}\n").as_bytes()).map_err(|_| QemuError::Gone)?;
        let answer = self.wait(ANSWER_DEADLINE, |heard| {
            let at = heard.answers.iter().position(|answer| answer["id"] == id)?;
            Some(heard.answers.remove(at))
        });
        match answer {
            Some(Some(answer)) if answer.get("error").is_some() => Err(QemuError::MonitorRefused {
                command: name.into(),
                message: answer["error"]["desc"].as_str().unwrap_or("no reason given").into(),
            }),
            Some(Some(answer)) => Ok(answer["return"].clone()),
            Some(None) => Err(QemuError::Gone),
            None => Err(QemuError::MonitorSilent { command: name.into(), deadline: ANSWER_DEADLINE }),
        }
    }

    /// How many events were heard so far.
    pub fn event_count(&self) -> usize {
        self.heard().events.len()
    }

    /// The events after the first `count`.
    pub fn events_since(&self, count: usize) -> Vec<Event> {
        self.heard().events.get(count..).unwrap_or_default().to_vec()
    }

    /// Waits for an event of that name after the first `count` events.
    pub fn wait_for_event(&self, count: usize, name: &str, deadline: Duration) -> Option<Event> {
        self.wait_for_event_with(count, name, deadline, |_| true)
    }

    /// The same for one whose data is right.
    pub fn wait_for_event_with(
        &self,
        count: usize,
        name: &str,
        deadline: Duration,
        is_right: impl Fn(&Value) -> bool,
    ) -> Option<Event> {
        let wanted = |event: &&Event| event.name == name && is_right(&event.data);
        let found = |heard: &mut Heard| heard.events.get(count..).unwrap_or_default().iter().find(wanted).cloned();
        self.wait(deadline, found).flatten()
    }

    /// `None`: the time was over. `Some(None)`: the monitor is gone.
    fn wait<T>(&self, deadline: Duration, mut found: impl FnMut(&mut Heard) -> Option<T>) -> Option<Option<T>> {
        let end = Instant::now() + deadline;
        let mut heard = self.heard();
        loop {
            if let Some(value) = found(&mut heard) {
                return Some(Some(value));
            }
            if heard.closed {
                return Some(None);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            heard = match self.shared.changed.wait_timeout(heard, left) {
                Ok((heard, _)) => heard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.shared.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn listen_to(reader: impl BufRead, shared: &Shared) {
    for line in reader.lines() {
        let Ok(line) = line else { break };
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let mut heard = shared.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match message["event"].as_str() {
            Some(name) => heard.events.push(Event { name: name.into(), data: message["data"].clone() }),
            None if message.get("id").is_some() => heard.answers.push(message),
            // The greeting.
            None => {}
        }
        drop(heard);
        shared.changed.notify_all();
    }
    shared.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).closed = true;
    shared.changed.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(lines: &'static [&'static str]) -> Qmp {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        std::thread::spawn(move || {
            let mut out = theirs.try_clone().expect("a second handle");
            out.write_all(b"{\"QMP\": {}}\n").expect("the greeting");
            let mut commands = BufReader::new(theirs).lines();
            commands.next();
            out.write_all(b"{\"return\": {}, \"id\": 1}\n").expect("the first answer");
            commands.next();
            for line in lines {
                out.write_all(format!("{line}\n").as_bytes()).expect("an answer");
            }
        });
        Qmp::new(ours).expect("the handshake")
    }

    #[test]
    fn events_between_a_command_and_its_answer_are_kept() {
        let mut qmp = answering(&[
            r#"{"event": "RESET", "data": {"guest": true}}"#,
            r#"{"return": {"status": "running"}, "id": 2}"#,
        ]);
        assert_eq!(qmp.command("query-status", Value::Null).expect("an answer")["status"], "running");
        let event = qmp.wait_for_event(0, "RESET", Duration::from_secs(5)).expect("the event");
        assert_eq!(event.data["guest"], true);
    }

    #[test]
    fn a_refusal_carries_the_words_of_the_monitor() {
        let mut qmp = answering(&[r#"{"error": {"class": "GenericError", "desc": "no such thing"}, "id": 2}"#]);
        let error = qmp.command("stop", Value::Null).expect_err("a refusal");
        assert_eq!(error.to_string(), "the monitor of QEMU refused stop: no such thing");
    }

    #[test]
    fn a_monitor_that_goes_away_ends_the_wait_at_once() {
        let mut qmp = answering(&[]);
        assert!(matches!(qmp.command("stop", Value::Null), Err(QemuError::Gone)));
    }
}
