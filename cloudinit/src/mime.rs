//! MIME messages: entities with their types and decoded bodies. Pure.
//!
//! As forgiving as mail readers are: CRLF or LF, a closing boundary may be missing. `multipart/*` inside of
//! `multipart/*` is flattened.

use crate::decode;

const MAX_ENTITIES: usize = 1000;
const MAX_LEVELS: usize = 8;
/// Each line of a message costs, however short it is.
const MAX_LINES: usize = 500_000;
const SNIFFED_BYTES: usize = 4096;

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entity {
    /// `text/cloud-config` and its like, in small letters.
    pub kind: String,
    /// Its file name.
    pub name: Option<String>,
    /// How it is joined to those before it.
    pub merge: Option<String>,
    /// What is in it.
    pub body: Vec<u8>,
    /// How many lines of the message stand before the body; `None` when the body was decoded.
    pub line: Option<u64>,
}

/// Whether a text is a MIME message.
pub(crate) fn is_message(text: &str) -> bool {
    let end = (0..=SNIFFED_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let start = text.get(..end).unwrap_or_default().to_ascii_lowercase();
    let first = start.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let is_header = first.split_once(':').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    is_header && (first.starts_with("content-type:") && first.contains("multipart/") || start.contains("mime-version:"))
}

/// The parts of a message, and what is wrong with it by line.
pub(crate) fn split(text: &str) -> (Vec<Entity>, Vec<(u64, String)>) {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let lines: Vec<&str> = text.split_inclusive('\n').take(MAX_LINES + 1).collect();
    if lines.len() > MAX_LINES {
        return (found, vec![(1, format!("a message has at most {MAX_LINES} lines"))]);
    }
    let blank = lines.iter().take_while(|line| line.trim().is_empty()).count();
    entity(lines.get(blank..).unwrap_or_default(), blank as u64, 0, &mut found, &mut problems);
    (found, problems)
}

#[derive(Default)]
struct Headers {
    kind: String,
    boundary: Option<String>,
    name: Option<String>,
    merge: Option<String>,
    transfer: String,
}

fn entity(lines: &[&str], before: u64, level: usize, found: &mut Vec<Entity>, problems: &mut Vec<(u64, String)>) {
    if level > MAX_LEVELS || found.len() >= MAX_ENTITIES {
        if problems.len() >= MAX_ENTITIES {
            return;
        }
        problems.push((before + 1, format!("a message has at most {MAX_ENTITIES} parts in {MAX_LEVELS} levels")));
        return;
    }
    let count = lines.iter().take_while(|line| !line.trim_end().is_empty()).count();
    let headers = headers(lines.get(..count).unwrap_or_default());
    let start = (count + 1).min(lines.len());
    let body = lines.get(start..).unwrap_or_default();
    let before_body = before + start as u64;
    if headers.kind.starts_with("multipart/") {
        match &headers.boundary {
            Some(boundary) => parts(body, boundary, before_body, level, found, problems),
            None => problems.push((before + 1, "a multipart message needs 'boundary=' in its Content-Type".into())),
        }
        return;
    }
    // The line break before a boundary belongs to the boundary.
    let text = body.concat();
    let text = text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    let (body, line) = match headers.transfer.as_str() {
        "base64" => match decode::base64(text.as_bytes()) {
            Ok(bytes) => (bytes, None),
            Err(message) => {
                problems.push((before_body + 1, message));
                return;
            }
        },
        "quoted-printable" => (quoted_printable(text), None),
        _ => (format!("{}\n", text.replace("\r\n", "\n")).into_bytes(), Some(before_body)),
    };
    found.push(Entity { kind: headers.kind, name: headers.name, merge: headers.merge, body, line });
}

fn parts(
    lines: &[&str],
    boundary: &str,
    before: u64,
    level: usize,
    found: &mut Vec<Entity>,
    problems: &mut Vec<(u64, String)>,
) {
    let (open, close) = (format!("--{boundary}"), format!("--{boundary}--"));
    let mut start = None;
    for (index, line) in lines.iter().enumerate() {
        let line = line.trim_end();
        if line != open && line != close {
            continue;
        }
        if let Some(start) = start {
            let inner = lines.get(start..index).unwrap_or_default();
            entity(inner, before + start as u64, level + 1, found, problems);
        }
        start = (line == open).then_some(index + 1);
        if line == close {
            return;
        }
    }
    match start {
        Some(start) if start < lines.len() => {
            entity(lines.get(start..).unwrap_or_default(), before + start as u64, level + 1, found, problems);
        }
        Some(_) => {}
        None => problems.push((before + 1, format!("no line '{open}' begins a part of this message"))),
    }
}

fn headers(lines: &[&str]) -> Headers {
    let mut unfolded: Vec<String> = Vec::new();
    for line in lines {
        match unfolded.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => unfolded.push(line.trim_end().to_string()),
        }
    }
    let mut headers = Headers { kind: "text/plain".into(), ..Headers::default() };
    for line in &unfolded {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match name.trim().to_ascii_lowercase().as_str() {
            "content-type" => {
                let kind = value.split(';').next().unwrap_or_default();
                headers.kind = kind.trim().to_ascii_lowercase();
                headers.boundary = parameter(value, "boundary");
                headers.name = headers.name.take().or_else(|| parameter(value, "name"));
            }
            "content-disposition" => headers.name = parameter(value, "filename").or(headers.name.take()),
            "content-transfer-encoding" => headers.transfer = value.to_ascii_lowercase(),
            "merge-type" | "x-merge-type" => headers.merge = Some(value.to_string()),
            _ => {}
        }
    }
    headers
}

/// A parameter of a header; quotes around it are no part of it.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';').map(|(_, rest)| rest)?;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (text, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(';').unwrap_or(after.len())),
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text.trim().to_string());
        }
        rest = next.trim_start().strip_prefix(';')?;
    }
}

fn quoted_printable(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (content, end) = match line.strip_suffix('\n') {
            Some(content) => (content.trim_end_matches(['\r', ' ', '\t']), "\n"),
            None => (line, ""),
        };
        let (content, soft) = content.strip_suffix('=').map_or((content, false), |content| (content, true));
        let mut bytes = content.as_bytes().iter();
        while let Some(&byte) = bytes.next() {
            let pair = bytes.as_slice().get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
            match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| byte == b'=') {
                Some(decoded) => {
                    out.push(decoded);
                    bytes.nth(1);
                }
                None => out.push(byte),
            }
        }
        if !soft {
            out.extend(end.bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MESSAGE: &str = "Content-Type: multipart/mixed;\n boundary=\"B\"\nMIME-Version: 1.0\n\npreamble\n--B\nContent-Type: \
        text/cloud-config\nContent-Disposition: attachment; filename=\"c.yml\"\n\nhostname: a\n--B\nContent-Type: \
        text/plain\nContent-Transfer-Encoding: base64\n\nI2Nsb3VkLWNvbmZpZwo=\n";

    #[test]
    fn parts_have_types_names_bodies_and_lines_and_the_end_may_be_missing() {
        assert!(is_message(MESSAGE));
        for text in [MESSAGE.to_string(), MESSAGE.replace('\n', "\r\n"), format!("{MESSAGE}--B--\nepilogue\n")] {
            let (parts, problems) = split(&text);
            assert_eq!((parts.len(), problems.len()), (2, 0), "{parts:?} {problems:?}");
            assert_eq!((parts[0].kind.as_str(), parts[0].name.as_deref()), ("text/cloud-config", Some("c.yml")));
            assert_eq!((parts[0].body.as_slice(), parts[0].line), (&b"hostname: a\n"[..], Some(9)));
            assert_eq!((parts[1].body.as_slice(), parts[1].line), (&b"#cloud-config\n"[..], None));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_a_line() {
        let (parts, problems) = split("MIME-Version: 1.0\nContent-Type: multipart/mixed\n\n--B\n");
        assert!(parts.is_empty() && problems[0].1.contains("boundary="));
        let (_, problems) = split("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\nno parts\n");
        assert_eq!(problems[0].0, 4);
        assert!(!is_message("hostname: x\n") && !is_message("#cloud-config\nmime-version: 1\n"));
    }

    #[test]
    fn quoted_printable_is_decoded() {
        assert_eq!(quoted_printable("a=3Db=\nc =\r\nd=zz"), b"a=bc d=zz");
    }

    proptest! {
        #[test]
        fn any_message_is_taken_apart(text in "(Content-Type: multipart/mixed; boundary=B\n)?\n?(--B(--)?\n|[ -~]{0,9}\n|[a-z-]{1,9}: [a-z=;\"]{0,9}\n){0,20}") {
            let _outcome = (is_message(&text), split(&text));
        }
    }
}
