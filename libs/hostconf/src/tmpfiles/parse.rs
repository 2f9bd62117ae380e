//! Reading one line of tmpfiles.d. Pure; the machine answers for specifiers, users and credentials.

use super::item::{Age, Data, Item, Kind, Mode, Owner, Times};
use super::{acl, attributes};
use crate::fault::{Fault, Place};
use crate::field::{given, id, is_below, simplified};
use crate::specifier::{self, Facts, Failure};
use ferrite_unit::unescape::{base64, unescape};
use ferrite_unit::words::{Escapes, WordError, next_word};

/// Where links and copies without a source come from.
const FACTORY: &str = "/usr/share/factory";

/// What a line may ask the machine.
pub trait Machine: Facts {
    /// The number of a user.
    fn user(&self, name: &str) -> Option<u32>;
    /// The number of a group.
    fn group(&self, name: &str) -> Option<u32>;
    /// The bytes of a credential.
    fn credential(&self, name: &str) -> Option<Vec<u8>>;
    /// Whether the source of a copy or link exists.
    fn exists(&self, path: &str) -> bool;
}

/// What the command line says about lines.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Lines with `!` count.
    pub is_boot: bool,
    /// Unknown users and groups are passed over.
    pub is_graceful: bool,
    /// Only paths below these; none: all.
    pub prefixes: Vec<String>,
    /// No paths below these.
    pub excluded: Vec<String>,
}

impl Options {
    fn includes(&self, path: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|prefix| is_below(path, prefix));
        !is_in(&self.excluded) && (self.prefixes.is_empty() || is_in(&self.prefixes))
    }
}

/// The signs behind the letter.
#[derive(Debug, Default)]
struct Signs {
    boot: bool,
    force: bool,
    may_fail: bool,
    replace: bool,
    base64: bool,
    credential: bool,
    purge: bool,
    if_source: bool,
}

/// The fields of a line before they are looked at.
struct Fields<'a> {
    words: Vec<String>,
    argument: &'a str,
}

/// Reads a line; `Ok(None)`: it does not count here. Remarks go to `notices`.
pub(super) fn line(
    text: &str,
    place: &Place,
    options: &Options,
    machine: &dyn Machine,
    notices: &mut Vec<Fault>,
) -> Result<Option<Item>, Fault> {
    let reader = Reader { place, options, machine };
    reader.read(text, notices)
}

struct Reader<'a> {
    place: &'a Place,
    options: &'a Options,
    machine: &'a dyn Machine,
}

impl Reader<'_> {
    fn invalid(&self, message: impl Into<String>) -> Fault {
        Fault::invalid(self.place, message)
    }

    fn read(&self, text: &str, notices: &mut Vec<Fault>) -> Result<Option<Item>, Fault> {
        let fields = self.fields(text)?;
        let word = |index: usize| given(fields.words.get(index));
        let action = fields.words.first().map(String::as_str).unwrap_or_default();
        let signs = self.signs(action)?;
        if signs.boot && !self.options.is_boot {
            return Ok(None);
        }
        let raw = fields.words.get(1).map(String::as_str).unwrap_or_default();
        let Some(path) = self.path(raw, notices)? else { return Ok(None) };
        let kind = self.kind(action, &signs)?;
        let argument = Some(fields.argument).filter(|text| !text.is_empty() && *text != "-");
        self.check(kind, &signs, argument, notices)?;
        if !self.options.includes(&path) {
            return Ok(None);
        }
        let Some(data) = self.data(kind, &signs, argument, &path, notices)? else { return Ok(None) };
        let (user, no_user) = self.owner(word(3), "user", &|name| self.machine.user(name))?;
        let (group, no_group) = self.owner(word(4), "group", &|name| self.machine.group(name))?;
        let mut mode = self.mode(kind, word(2))?;
        if (no_user || no_group) && mode.bits & !0o777 != 0 {
            let plain = mode.bits & 0o777;
            let message = format!("Changing mode 0{:o} to 0{plain:o} because of changed ownership.", mode.bits);
            notices.push(Fault::notice(self.place, message));
            mode.bits = plain;
        }
        let age = word(5).map(|text| self.age(text)).transpose()?;
        Ok(Some(Item {
            place: self.place.clone(),
            kind,
            path,
            is_forced: signs.force,
            may_fail: signs.may_fail,
            replaces: signs.replace,
            is_purged: signs.purge,
            mode,
            user,
            group,
            age,
            data,
        }))
    }

    fn fields<'a>(&self, text: &'a str) -> Result<Fields<'a>, Fault> {
        let mut rest = text;
        let mut words = Vec::new();
        while words.len() < 6 {
            match next_word(&mut rest, Escapes::C) {
                Ok(Some(word)) => words.push(word),
                Ok(None) => break,
                Err(WordError::OpenQuote | WordError::BadEscape | WordError::TrailingBackslash) => {
                    return Err(self.invalid("Failed to parse line: Invalid argument"));
                }
            }
        }
        match words.first() {
            Some(_) if words.len() < 2 => Err(self.invalid("Syntax error.")),
            Some(action) if action.is_empty() => Err(self.invalid("Command too short ''.")),
            Some(_) => Ok(Fields { words, argument: rest }),
            None => Err(self.invalid("Syntax error.")),
        }
    }

    fn signs(&self, action: &str) -> Result<Signs, Fault> {
        let mut signs = Signs::default();
        for sign in action.chars().skip(1) {
            let flag = match sign {
                '!' => &mut signs.boot,
                '+' => &mut signs.force,
                '-' => &mut signs.may_fail,
                '=' => &mut signs.replace,
                '~' => &mut signs.base64,
                '^' => &mut signs.credential,
                '$' => &mut signs.purge,
                '?' => &mut signs.if_source,
                _ => return Err(self.invalid(format!("Unknown modifiers in command: {action}"))),
            };
            if std::mem::replace(flag, true) {
                return Err(self.invalid(format!("Unknown modifiers in command: {action}")));
            }
        }
        Ok(signs)
    }

    fn kind(&self, action: &str, signs: &Signs) -> Result<Kind, Fault> {
        let letter = action.chars().next().unwrap_or_default();
        let kind = Kind::of(letter).ok_or_else(|| self.invalid(format!("Unknown command type '{letter}'.")))?;
        let unfit = |sign: char| {
            let words = "which does not support this modifier.";
            self.invalid(format!("Modifier '{sign}' combined with line type '{letter}' {words}"))
        };
        if signs.if_source && kind != Kind::Link {
            return Err(unfit('?'));
        }
        if signs.purge && !kind.is_purged() {
            return Err(unfit('$'));
        }
        Ok(kind)
    }

    fn path(&self, raw: &str, notices: &mut Vec<Fault>) -> Result<Option<String>, Fault> {
        let path = match specifier::expand(raw, self.machine) {
            Ok(path) => path,
            Err(Failure::Unresolvable) => return Ok(None),
            Err(failure) => {
                return Err(self.invalid(format!("Failed to replace specifiers in '{raw}': {}", failure.words())));
            }
        };
        if !path.starts_with('/') {
            return Err(self.invalid(format!("Path '{path}' not absolute.")));
        }
        let plain = simplified(&path);
        let Some(rest) = plain.strip_prefix("/var/run/") else { return Ok(Some(plain)) };
        let new = format!("/run/{rest}");
        let message = format!(
            "Line references path below legacy directory /var/run/, updating {path} \u{2192} {new}; please update the \
             tmpfiles.d/ drop-in file accordingly."
        );
        notices.push(Fault::notice(self.place, message));
        Ok(Some(new))
    }

    /// Whether the argument fits the kind.
    fn check(&self, kind: Kind, signs: &Signs, argument: Option<&str>, notices: &mut Vec<Fault>) -> Result<(), Fault> {
        let decoded_none = match kind {
            Kind::Link => "symlink targets",
            Kind::Copy => "copy sources",
            Kind::Character | Kind::Block => "device node creation",
            Kind::Xattrs | Kind::XattrsTree => "extended attributes",
            Kind::Acl | Kind::AclTree => "ACLs",
            Kind::Attributes | Kind::AttributesTree => "file attributes",
            _ => "",
        };
        if signs.base64 && !decoded_none.is_empty() {
            return Err(self.invalid(format!("base64 decoding not supported for {decoded_none}.")));
        }
        let needed = match kind {
            Kind::Write => "Write file requires argument.",
            Kind::Character | Kind::Block => "Device file requires argument.",
            Kind::Xattrs | Kind::XattrsTree => "Set extended attribute requires argument.",
            Kind::Acl | Kind::AclTree => "Set ACLs requires argument.",
            Kind::Attributes | Kind::AttributesTree => "Set file attribute requires argument.",
            _ => "",
        };
        if argument.is_none() && !needed.is_empty() {
            return Err(self.invalid(needed));
        }
        let takes = !needed.is_empty() || matches!(kind, Kind::File | Kind::Truncate | Kind::Link | Kind::Copy);
        if argument.is_some() && !takes && !signs.credential {
            let message = format!("{} lines don't take argument fields, ignoring.", kind.letter());
            notices.push(Fault::notice(self.place, message));
        }
        Ok(())
    }

    /// The argument as the kind wants it; `None`: the line does not count.
    fn data(
        &self,
        kind: Kind,
        signs: &Signs,
        argument: Option<&str>,
        path: &str,
        notices: &mut Vec<Fault>,
    ) -> Result<Option<Data>, Fault> {
        Ok(Some(match kind {
            Kind::File | Kind::Truncate | Kind::Write => return self.content(signs, argument),
            Kind::Link | Kind::Copy => return self.source(kind, signs, argument, path, notices),
            Kind::Character | Kind::Block => {
                let text = argument.unwrap_or_default();
                let number = |part: &str| part.parse::<u32>().ok().filter(|_| !part.starts_with('+'));
                let numbers = text.split_once(':').and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
                let (major, minor) = numbers
                    .filter(|(major, minor)| *major < 1 << 12 && *minor < 1 << 20)
                    .ok_or_else(|| self.invalid(format!("Can't parse device file major/minor '{text}'.")))?;
                Data::Device(major, minor)
            }
            Kind::Xattrs | Kind::XattrsTree => return self.xattrs(argument.unwrap_or_default(), notices),
            Kind::Acl | Kind::AclTree => {
                let text = argument.unwrap_or_default();
                let (user, group) = (|name: &str| self.machine.user(name), |name: &str| self.machine.group(name));
                Data::Acl(acl::parse(text, &user, &group).unwrap_or_else(|error| {
                    if !self.options.is_graceful {
                        let message = format!("Failed to parse ACL \"{text}\", ignoring: {error}");
                        notices.push(Fault::notice(self.place, message));
                    }
                    acl::AclRequest::default()
                }))
            }
            Kind::Attributes | Kind::AttributesTree => {
                let change = attributes::parse(argument.unwrap_or_default(), path);
                Data::Attributes(change.map_err(|message| self.invalid(message))?)
            }
            _ => Data::None,
        }))
    }

    /// Escapes and specifiers of an argument; `None`: the line is skipped.
    fn expanded(&self, text: &str) -> Result<Option<Vec<u8>>, Fault> {
        let failed = |why: &str| self.invalid(format!("Failed to substitute specifiers in argument: {why}"));
        let bytes = unescape(text).map_err(|_| failed("Invalid argument"))?;
        if !bytes.contains(&b'%') {
            return Ok(Some(bytes));
        }
        let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8"))?;
        match specifier::expand(&text, self.machine) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(Failure::Unresolvable) => Ok(None),
            Err(failure) => Err(failed(failure.words())),
        }
    }

    fn content(&self, signs: &Signs, argument: Option<&str>) -> Result<Option<Data>, Fault> {
        let mut content = match argument {
            None => None,
            Some(text) if signs.base64 => Some(text.as_bytes().to_vec()),
            Some(text) => match self.expanded(text)? {
                None => return Ok(None),
                content => content,
            },
        };
        if signs.credential {
            let missing = "Reading from credential requested, but no credential name specified.";
            let name = content.ok_or_else(|| Fault::failure(self.place, missing))?;
            let name = String::from_utf8_lossy(&name).into_owned();
            if name.is_empty() || name.contains('/') || name == "." || name == ".." || name.len() > 255 {
                return Err(Fault::failure(self.place, format!("Credential name not valid: {name}")));
            }
            content = match self.machine.credential(&name) {
                None => return Ok(None),
                credential => credential,
            };
        }
        if let (true, Some(text)) = (signs.base64, &content) {
            let text = String::from_utf8_lossy(text).into_owned();
            let wrong = || format!("Failed to base64 decode specified argument '{text}': Invalid argument");
            content = Some(base64(&text).ok_or_else(|| Fault::failure(self.place, wrong()))?);
        }
        Ok(Some(content.map_or(Data::None, Data::Bytes)))
    }

    /// Where a link leads or a copy comes from.
    fn source(
        &self,
        kind: Kind,
        signs: &Signs,
        argument: Option<&str>,
        path: &str,
        notices: &mut Vec<Fault>,
    ) -> Result<Option<Data>, Fault> {
        let source = match argument {
            None => format!("{FACTORY}{path}"),
            Some(text) => match self.expanded(text)? {
                None => return Ok(None),
                Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            },
        };
        if source.contains('\0') {
            return Err(self.invalid("Path contains a zero byte."));
        }
        if kind == Kind::Link {
            if signs.if_source && !self.machine.exists(&source) {
                let message = format!("Symlink source path '{source}' does not exist, skipping line.");
                notices.push(Fault::notice(self.place, message));
                return Ok(None);
            }
            return Ok(Some(Data::Path(source)));
        }
        if !source.starts_with('/') {
            return Err(self.invalid(format!("Source path '{source}' is not absolute.")));
        }
        let source = simplified(&source);
        // A source that is missing is not worth a word.
        Ok(self.machine.exists(&source).then_some(Data::Path(source)))
    }

    fn xattrs(&self, text: &str, notices: &mut Vec<Fault>) -> Result<Option<Data>, Fault> {
        let mut rest = text;
        let mut pairs = Vec::new();
        loop {
            let word = match next_word(&mut rest, Escapes::C) {
                Ok(Some(word)) => word,
                Ok(None) => break,
                Err(error) => {
                    let message = format!("Failed to parse extended attribute '{rest}', ignoring: {error}");
                    notices.push(Fault::notice(self.place, message));
                    break;
                }
            };
            let pair = word.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
            let Some((name, value)) = pair.filter(|_| !word.contains('\0')) else {
                let message = format!("Malformed extended attribute found, ignoring: {word}");
                notices.push(Fault::notice(self.place, message));
                continue;
            };
            match (specifier::expand(name, self.machine), specifier::expand(value, self.machine)) {
                (Ok(name), Ok(value)) => pairs.push((name, value)),
                (Err(Failure::Unresolvable), _) | (_, Err(Failure::Unresolvable)) => return Ok(None),
                (Err(failure), _) | (_, Err(failure)) => {
                    let words = failure.words();
                    return Err(self.invalid(format!("Failed to substitute specifiers in argument: {words}")));
                }
            }
        }
        Ok(Some(Data::Xattrs(pairs)))
    }

    /// The owner, and whether it is unknown and passed over.
    fn owner(
        &self,
        field: Option<&str>,
        what: &str,
        find: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<(Option<Owner>, bool), Fault> {
        let Some(field) = field else { return Ok((None, false)) };
        let (only_new, name) = field.strip_prefix(':').map_or((false, field), |name| (true, name));
        match id(name).or_else(|| find(name)) {
            Some(id) => Ok((Some(Owner { id, only_new }), false)),
            None if self.options.is_graceful => Ok((None, true)),
            None => Err(self.invalid(format!("Failed to resolve {what} '{name}': No such process"))),
        }
    }

    fn mode(&self, kind: Kind, field: Option<&str>) -> Result<Mode, Fault> {
        let bits = if kind.is_folder() { 0o755 } else { 0o644 };
        let mut mode = Mode { bits, is_set: false, is_masked: false, only_new: false };
        let Some(field) = field else { return Ok(mode) };
        let digits = field.trim_start_matches(['~', ':']);
        let signs = field.strip_suffix(digits).unwrap_or_default();
        mode.is_set = true;
        mode.is_masked = signs.contains('~');
        mode.only_new = signs.contains(':');
        let is_octal = !digits.is_empty() && digits.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let bits = u32::from_str_radix(digits, 8).ok().filter(|bits| is_octal && *bits <= 0o7777);
        mode.bits = bits.ok_or_else(|| self.invalid(format!("Invalid mode '{field}'.")))?;
        Ok(mode)
    }

    fn age(&self, field: &str) -> Result<Age, Fault> {
        let (keeps_first_level, text) = field.strip_prefix('~').map_or((false, field), |text| (true, text));
        let (mut of_files, mut of_folders) = (Times::ALL, Times::OF_FOLDERS);
        let (by, span) = text.split_once(':').map_or((None, text), |(by, span)| (Some(by), span));
        if let Some(by) = by {
            let invalid = || self.invalid(format!("Invalid age-by '{by}'."));
            let times = |upper: bool| {
                let has = |letter: char| by.contains(if upper { letter.to_ascii_uppercase() } else { letter });
                let times = Times { access: has('a'), birth: has('b'), change: has('c'), modification: has('m') };
                Some(times).filter(|times| *times != Times::NONE)
            };
            let is_known = |c: char| "abcmABCM".contains(c) || c.is_ascii_whitespace();
            let (files, folders) = (times(false), times(true));
            if !by.chars().all(is_known) || (files.is_none() && folders.is_none()) {
                return Err(invalid());
            }
            of_files = files.unwrap_or(Times::ALL);
            of_folders = folders.unwrap_or(Times::OF_FOLDERS);
        }
        let microseconds = ferrite_unit::timespan::parse(span);
        let microseconds = microseconds.map_err(|_| self.invalid(format!("Invalid age '{span}'.")))?;
        Ok(Age { microseconds, keeps_first_level, of_files, of_folders })
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
pub(in crate::tmpfiles) mod tests;
