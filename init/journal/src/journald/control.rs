//! Orders of journalctl: varlink calls of `io.systemd.Journal` on a socket of our own. The parser is pure.
//!
//! A call is JSON that ends with a zero byte, and so is its answer; the stock journalctl speaks to us, too.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Longest call.
const CALL_MAX: usize = 4096;
const INTERFACE: &str = "io.systemd.Journal.";

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Take what was sent so far and make it durable.
    Synchronize,
    /// Begin a new file.
    Rotate,
    /// Move the journal in memory to the disk.
    FlushToVar,
    /// Leave the disk alone.
    RelinquishVar,
}

/// The name of a call.
pub fn method(order: Order) -> String {
    let word = match order {
        Order::Synchronize => "Synchronize",
        Order::Rotate => "Rotate",
        Order::FlushToVar => "FlushToVar",
        Order::RelinquishVar => "RelinquishVar",
    };
    format!("{INTERFACE}{word}")
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    socket: UnixStream,
    bytes: Vec<u8>,
}

/// What a connection wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// Nothing yet.
    Incomplete,
    /// To be closed.
    Over,
    /// This; it is to be answered.
    Order(Order),
    /// Something that we do not know.
    Unknown(String),
}

/// What a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// It was done.
    Done,
    /// The disk did not take it.
    NotDurable,
    /// There is no such call.
    Unknown(&'a str),
}

impl Client {
    /// A connection that was just made; it must not block.
    pub fn new(socket: UnixStream) -> Self {
        Self { socket, bytes: Vec::new() }
    }

    /// Takes what was sent.
    pub fn read(&mut self) -> Call {
        let mut buffer = [0; CALL_MAX];
        match self.socket.read(&mut buffer) {
            Ok(0) => return Call::Over,
            Ok(length) => self.bytes.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return Call::Over,
        }
        self.next_call()
    }

    fn next_call(&mut self) -> Call {
        let Some(end) = self.bytes.iter().position(|byte| *byte == 0) else {
            return if self.bytes.len() > CALL_MAX { Call::Over } else { Call::Incomplete };
        };
        let call: Vec<u8> = self.bytes.drain(..=end).collect();
        parse(call.get(..end).unwrap_or_default())
    }

    /// Answers; `false`: it does not read, and is to be closed.
    pub fn answer(&mut self, answer: Answer<'_>) -> bool {
        let mut text = match answer {
            Answer::Done => r#"{"parameters":{}}"#.to_owned(),
            // systemd's name for errors of the system; 5 is EIO.
            Answer::NotDurable => r#"{"error":"io.systemd.System","parameters":{"errno":5}}"#.to_owned(),
            Answer::Unknown(method) => serde_json::json!({
                "error": "org.varlink.service.MethodNotFound", "parameters": { "method": method }
            })
            .to_string(),
        };
        text.push('\0');
        self.socket.write_all(text.as_bytes()).is_ok()
    }

    /// The socket, to be watched.
    pub fn socket(&self) -> &UnixStream {
        &self.socket
    }
}

fn parse(bytes: &[u8]) -> Call {
    let value: serde_json::Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(_) => return Call::Over,
    };
    let Some(name) = value.get("method").and_then(serde_json::Value::as_str) else { return Call::Over };
    [Order::Synchronize, Order::Rotate, Order::FlushToVar, Order::RelinquishVar]
        .into_iter()
        .find(|order| method(*order) == name)
        .map_or_else(|| Call::Unknown(name.to_owned()), Call::Order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart() {
        assert_eq!(parse(br#"{"method":"io.systemd.Journal.Rotate","parameters":{}}"#), Call::Order(Order::Rotate));
        assert_eq!(parse(br#"{"method":"io.systemd.Journal.No"}"#), Call::Unknown("io.systemd.Journal.No".into()));
        assert_eq!((parse(b"{}"), parse(b"x"), parse(b"")), (Call::Over, Call::Over, Call::Over));
    }

    #[test]
    fn a_call_may_come_in_pieces_and_is_answered() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        theirs.set_nonblocking(true).expect("set");
        let mut client = Client::new(theirs);
        assert_eq!(client.read(), Call::Incomplete);
        ours.write_all(b"{\"method\":\"io.systemd.Jour").expect("written");
        assert_eq!(client.read(), Call::Incomplete);
        ours.write_all(b"nal.Synchronize\"}\0").expect("written");
        assert_eq!(client.read(), Call::Order(Order::Synchronize));
        assert!(client.answer(Answer::Done) && client.answer(Answer::Unknown("x")));
        drop(client);
        let mut text = String::new();
        ours.read_to_string(&mut text).expect("text");
        assert!(text.starts_with("{\"parameters\":{}}\0{") && text.contains("MethodNotFound"), "{text}");
    }

    #[test]
    fn an_endless_call_ends_the_connection() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let mut client = Client::new(theirs);
        ours.write_all(&[b'x'; 2 * CALL_MAX]).expect("written");
        client.read();
        assert_eq!(client.read(), Call::Over);
        drop(ours);
        assert_eq!(client.read(), Call::Over);
    }
}
