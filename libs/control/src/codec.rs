//! One message a line. Pure: bytes in, messages out.
//!
//! A line that is too long is reported once and the connection is to be closed: there is no way back into step.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// A line that is no message.
#[derive(Debug, Error)]
pub enum CodecError {
    /// Longer than the reader allows.
    #[error("message longer than {limit} bytes")]
    TooLong {
        /// The reader's limit.
        limit: usize,
    },
    /// No JSON, or no message of the expected type.
    #[error("malformed message")]
    Malformed(#[source] serde_json::Error),
}

/// The message as one line, newline included.
pub fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut line = serde_json::to_vec(message).map_err(CodecError::Malformed)?;
    if line.len() >= limit {
        return Err(CodecError::TooLong { limit });
    }
    line.push(b'\n');
    Ok(line)
}

/// The message of a line without its newline.
pub fn decode<T: DeserializeOwned>(line: &[u8]) -> Result<T, CodecError> {
    serde_json::from_slice(line).map_err(CodecError::Malformed)
}

/// Collects bytes into lines, with a limit.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    scanned: usize,
    limit: usize,
}

impl LineBuffer {
    /// An empty buffer for lines of at most `limit` bytes, newline included.
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), scanned: 0, limit }
    }

    /// Adds what was read. Take all lines out with `next_line` before adding more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete line without its newline; `None`: more bytes are needed.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, CodecError> {
        let fresh = self.bytes.get(self.scanned..).unwrap_or_default();
        match fresh.iter().position(|byte| *byte == b'\n') {
            Some(offset) if self.scanned + offset >= self.limit => Err(CodecError::TooLong { limit: self.limit }),
            Some(offset) => {
                let rest = self.bytes.split_off(self.scanned + offset + 1);
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                self.scanned = 0;
                Ok(Some(line))
            }
            None if self.bytes.len() >= self.limit => Err(CodecError::TooLong { limit: self.limit }),
            None => {
                self.scanned = self.bytes.len();
                Ok(None)
            }
        }
    }

    /// What was added and not taken out.
    pub fn rest(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether a line has begun and is not complete.
    pub fn has_partial_line(&self) -> bool {
        !self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reply, Request};

    #[test]
    fn a_message_survives_the_line() {
        let request = Request::Show { unit: "a\nb\u{1f600}.service".into() };
        let line = encode(&request, 1000).expect("short enough");
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(decode::<Request>(&line[..line.len() - 1]).expect("the same message"), request);
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_arrive() {
        let mut buffer = LineBuffer::new(16);
        for byte in b"one\ntwo\n\nthr" {
            buffer.push(&[*byte]);
        }
        assert_eq!(buffer.next_line().expect("fits").as_deref(), Some(&b"one"[..]));
        assert_eq!(buffer.next_line().expect("fits").as_deref(), Some(&b"two"[..]));
        assert_eq!(buffer.next_line().expect("fits").as_deref(), Some(&b""[..]));
        assert_eq!(buffer.next_line().expect("fits"), None);
        assert!(buffer.has_partial_line());
        buffer.push(b"ee\n");
        assert_eq!(buffer.next_line().expect("fits").as_deref(), Some(&b"three"[..]));
        assert!(!buffer.has_partial_line());
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_with_and_without_its_end() {
        let mut open = LineBuffer::new(4);
        open.push(b"abcd");
        assert!(matches!(open.next_line(), Err(CodecError::TooLong { limit: 4 })));
        let mut closed = LineBuffer::new(4);
        closed.push(b"abcd\n");
        assert!(matches!(closed.next_line(), Err(CodecError::TooLong { limit: 4 })));
        let mut fits = LineBuffer::new(4);
        fits.push(b"abc\n");
        assert_eq!(fits.next_line().expect("fits").as_deref(), Some(&b"abc"[..]));
        assert!(encode(&"abcdef", 4).is_err());
    }

    #[test]
    fn garbage_is_malformed_and_never_a_panic() {
        for line in [&b""[..], b"{", b"[[[[", b"null", b"\xff\xfe", b"{\"exit\":1e99}"] {
            assert!(matches!(decode::<Reply>(line), Err(CodecError::Malformed(_))));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_never_panic(pieces: Vec<Vec<u8>>) {
            let mut buffer = LineBuffer::new(32);
            'pieces: for piece in &pieces {
                buffer.push(piece);
                loop {
                    match buffer.next_line() {
                        Ok(Some(line)) => { let _ = decode::<Request>(&line); }
                        Ok(None) => break,
                        Err(_) => break 'pieces,
                    }
                }
            }
        }
    }
}
