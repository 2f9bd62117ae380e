//! What is said to a message bus of D-Bus, and what it says: just enough to learn who owns a name. Pure.
//!
//! The bus is asked for the owner of each name once, and tells of every change from then on.

use std::collections::{BTreeMap, BTreeSet};

/// Longest message that is taken: nobody but the bus itself is listened to, and it has little to say.
const MESSAGE_MAX: usize = 64 * 1024;
/// Longest line before messages begin.
const LINE_MAX: usize = 4096;
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// Kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Fields of the header of a message.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const REPLY_TO: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Why a bus is not talked to any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BusError {
    #[error("the bus does not let us in: '{0}'")]
    Refused(String),
    #[error("the bus says something that is no message")]
    Malformed,
    #[error("the bus sends a message of more than {MESSAGE_MAX} bytes")]
    TooLong,
}

/// Somebody owns a name now, or nobody does any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name.
    pub name: String,
    /// Is there an owner?
    pub owned: bool,
}

/// What the bus said and what is to be answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Changes of owners.
    pub owners: Vec<Owner>,
    /// Bytes to send.
    pub answer: Vec<u8>,
}

/// A conversation with a bus.
#[derive(Debug, Default)]
pub struct Conversation {
    input: Vec<u8>,
    begun: bool,
    serial: u32,
    names: BTreeSet<String>,
    /// Names whose owner was asked for, by the number of the question.
    asked: BTreeMap<u32, String>,
}

impl Conversation {
    /// Begins one, with what has to be said first.
    pub fn begin(user: u32) -> (Conversation, Vec<u8>) {
        let digits: String = user.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        (Conversation::default(), format!("\0AUTH EXTERNAL {digits}\r\n").into_bytes())
    }

    /// Asks for the owner of a name, and to be told of each change; what has to be said for it.
    pub fn watch(&mut self, name: &str) -> Vec<u8> {
        if !self.names.insert(name.to_owned()) || !self.begun {
            return Vec::new();
        }
        self.questions(name)
    }

    /// From now on a name is of no interest.
    pub fn forget(&mut self, name: &str) -> Vec<u8> {
        if !self.names.remove(name) || !self.begun {
            return Vec::new();
        }
        self.call("RemoveMatch", &rule(name)).1
    }

    fn questions(&mut self, name: &str) -> Vec<u8> {
        // The rule first: a change between the two would never be told.
        let (_, mut bytes) = self.call("AddMatch", &rule(name));
        let (serial, question) = self.call("GetNameOwner", name);
        self.asked.insert(serial, name.to_owned());
        bytes.extend(question);
        bytes
    }

    fn call(&mut self, member: &str, argument: &str) -> (u32, Vec<u8>) {
        self.serial = self.serial.wrapping_add(1).max(1);
        (self.serial, call(self.serial, member, Some(argument).filter(|text| !text.is_empty())))
    }

    /// Takes what the bus said.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Heard, BusError> {
        self.input.extend_from_slice(bytes);
        let mut heard = Heard::default();
        if !self.begun {
            let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") else {
                return if self.input.len() > LINE_MAX { Err(BusError::Malformed) } else { Ok(heard) };
            };
            let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            if !line.starts_with("OK ") {
                return Err(BusError::Refused(line));
            }
            self.begun = true;
            heard.answer.extend_from_slice(b"BEGIN\r\n");
            let hello = self.call("Hello", "").1;
            heard.answer.extend(hello);
            for name in self.names.clone() {
                let questions = self.questions(&name);
                heard.answer.extend(questions);
            }
        }
        while let Some(length) = message_length(&self.input)? {
            if self.input.len() < length {
                break;
            }
            let message: Vec<u8> = self.input.drain(..length).collect();
            heard.owners.extend(parse(&message).and_then(|message| self.owner(message)));
        }
        Ok(heard)
    }

    /// What a message tells of an owner, if it tells of one.
    fn owner(&mut self, message: Message) -> Option<Owner> {
        let name = |name: &str| self.names.get(name).cloned();
        match message.kind {
            SIGNAL if message.member == "NameOwnerChanged" => match message.words.as_slice() {
                [changed, _, new] => name(changed).map(|name| Owner { name, owned: !new.is_empty() }),
                _ => None,
            },
            RETURN | ERROR => {
                let asked = self.asked.remove(&message.reply_to)?;
                name(&asked).map(|name| Owner { name, owned: message.kind == RETURN })
            }
            _ => None,
        }
    }
}

/// Which signals are wanted.
fn rule(name: &str) -> String {
    format!("type='signal',sender='{BUS}',path='{BUS_PATH}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'")
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
}

/// A call of the bus itself, with a text as its argument or without.
fn call(serial: u32, member: &str, argument: Option<&str>) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some(text) = argument {
        put_text(&mut body, text);
    }
    let mut fields = Vec::new();
    for (field, kind, text) in
        [(PATH, b'o', BUS_PATH), (INTERFACE, b's', BUS), (MEMBER, b's', member), (DESTINATION, b's', BUS)]
    {
        align(&mut fields, 8);
        fields.extend([field, 1, kind, 0]);
        put_text(&mut fields, text);
    }
    if argument.is_some() {
        align(&mut fields, 8);
        fields.extend([SIGNATURE, 1, b'g', 0, 1, b's', 0]);
    }
    let mut bytes = vec![b'l', CALL, 0, 1];
    for number in [body.len(), usize::try_from(serial).unwrap_or(1), fields.len()] {
        bytes.extend(u32::try_from(number).unwrap_or(0).to_le_bytes());
    }
    bytes.extend(fields);
    align(&mut bytes, 8);
    bytes.extend(body);
    bytes
}

/// A message as far as it is read.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    kind: u8,
    reply_to: u32,
    member: String,
    /// Its arguments, if all of them are texts.
    words: Vec<String>,
}

/// A place in a message.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl Cursor<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(length)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4);
        let big = self.big;
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        self.text_of(length)
    }

    fn text_of(&mut self, length: usize) -> Option<String> {
        let bytes = self.take(length.checked_add(1)?)?;
        String::from_utf8(bytes.get(..length)?.to_vec()).ok()
    }

    fn short_text(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.text_of(length)
    }
}

/// How long the message at the beginning is; `None`: not enough is known yet.
fn message_length(bytes: &[u8]) -> Result<Option<usize>, BusError> {
    if bytes.len() < 16 {
        return Ok(None);
    }
    let big = match bytes.first() {
        Some(b'l') => false,
        Some(b'B') => true,
        _ => return Err(BusError::Malformed),
    };
    let number = |at| Cursor { bytes, at, big }.number().and_then(|number| usize::try_from(number).ok());
    let (body, fields) = number(4).zip(number(12)).ok_or(BusError::Malformed)?;
    if body > MESSAGE_MAX || fields > MESSAGE_MAX {
        return Err(BusError::TooLong);
    }
    Ok(Some((16 + fields).next_multiple_of(8) + body))
}

/// Reads a message; `None` if it is not built as one, or holds what we never asked for.
fn parse(bytes: &[u8]) -> Option<Message> {
    let big = bytes.first() == Some(&b'B');
    let mut cursor = Cursor { bytes, at: 1, big };
    let mut message = Message { kind: cursor.byte()?, reply_to: 0, member: String::new(), words: Vec::new() };
    cursor.at = 12;
    let fields = usize::try_from(cursor.number()?).ok()?;
    let end = 16_usize.checked_add(fields)?;
    let mut signature = String::new();
    while cursor.at < end {
        cursor.align(8);
        let field = cursor.byte()?;
        match (field, cursor.short_text()?.as_str()) {
            (REPLY_TO, "u") => message.reply_to = cursor.number()?,
            (SIGNATURE, "g") => signature = cursor.short_text()?,
            (MEMBER, "s") => message.member = cursor.text()?,
            (_, "s" | "o") => drop(cursor.text()?),
            (_, "u") => drop(cursor.number()?),
            (_, "g") => drop(cursor.short_text()?),
            _ => return None,
        }
    }
    cursor.at = end.next_multiple_of(8);
    if signature.chars().all(|kind| kind == 's') {
        for _ in signature.chars() {
            message.words.push(cursor.text()?);
        }
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of the bus.
    fn message(kind: u8, fields: &[(u8, u8, &str)], reply_to: Option<u32>, words: &[&str]) -> Vec<u8> {
        let mut body = Vec::new();
        for word in words {
            align(&mut body, 4);
            put_text(&mut body, word);
        }
        let mut head = Vec::new();
        for (field, kind, text) in fields {
            align(&mut head, 8);
            head.extend([*field, 1, *kind, 0]);
            put_text(&mut head, text);
        }
        if let Some(number) = reply_to {
            align(&mut head, 8);
            head.extend([REPLY_TO, 1, b'u', 0]);
            head.extend(number.to_le_bytes());
        }
        if !words.is_empty() {
            align(&mut head, 8);
            head.extend([SIGNATURE, 1, b'g', 0, words.len() as u8]);
            head.extend(words.iter().map(|_| b's'));
            head.push(0);
        }
        let mut bytes = vec![b'l', kind, 0, 1];
        for number in [body.len() as u32, 1, head.len() as u32] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(head);
        align(&mut bytes, 8);
        bytes.extend(body);
        bytes
    }

    fn changed(name: &str, new: &str) -> Vec<u8> {
        let fields = [(PATH, b'o', BUS_PATH), (INTERFACE, b's', BUS), (MEMBER, b's', "NameOwnerChanged")];
        message(SIGNAL, &fields, None, &[name, "", new])
    }

    fn owner(name: &str, owned: bool) -> Owner {
        Owner { name: name.into(), owned }
    }

    #[test]
    fn names_are_asked_for_once_the_bus_lets_us_in() {
        let (mut bus, first) = Conversation::begin(0);
        assert_eq!(first, b"\0AUTH EXTERNAL 30\r\n");
        assert_eq!(bus.watch("a.B"), b"");
        assert_eq!(bus.take(b"OK 12").unwrap(), Heard::default());
        let heard = bus.take(b"34\r\n").unwrap();
        assert!(heard.answer.starts_with(b"BEGIN\r\nl\x01"));
        let text = String::from_utf8_lossy(&heard.answer).into_owned();
        assert!(text.contains("Hello") && text.contains("AddMatch") && text.contains("GetNameOwner"), "{text}");
        assert!(text.contains("arg0='a.B'"), "{text}");
        assert_eq!(bus.watch("a.B"), b"");
        assert!(!bus.watch("c.D").is_empty() && !bus.forget("c.D").is_empty());
        // Hello is 1, the rule 2, the question 3.
        let mut said = message(RETURN, &[], Some(1), &[":1.7"]);
        said.extend(message(ERROR, &[(4, b's', "x.NameHasNoOwner")], Some(3), &["none"]));
        said.extend(changed("a.B", ":1.9"));
        said.extend(changed("other.Name", ":1.9"));
        said.extend(changed("a.B", ""));
        let (head, tail) = said.split_at(said.len() / 2);
        let mut owners = bus.take(head).unwrap().owners;
        owners.extend(bus.take(tail).unwrap().owners);
        assert_eq!(owners, [owner("a.B", false), owner("a.B", true), owner("a.B", false)]);
    }

    #[test]
    fn what_is_no_message_ends_the_conversation() {
        let begin = || {
            let (mut bus, _) = Conversation::begin(0);
            bus.take(b"OK 1\r\n").unwrap();
            bus
        };
        let (mut refused, _) = Conversation::begin(7);
        assert_eq!(refused.take(b"REJECTED EXTERNAL\r\n"), Err(BusError::Refused("REJECTED EXTERNAL".into())));
        assert_eq!(begin().take(b"x123456789abcdef"), Err(BusError::Malformed));
        assert_eq!(
            begin().take(b"l\x01\x00\x01\xff\xff\xff\x7f\x01\x00\x00\x00\x00\x00\x00\x00"),
            Err(BusError::TooLong)
        );
        // Fields that reach beyond the message are no fault of the whole.
        let mut torn = changed("a.B", ":1");
        torn[20] = 0xff;
        assert_eq!(begin().take(&torn), Ok(Heard::default()));
    }
}
