//! Lines of sysusers.d: `u`, `u!`, `g`, `m` and `r`. Pure.

use crate::fault::{Fault, Place};
use crate::field::{given, id, is_id};
use crate::specifier::{self, Facts, Failure};
use ferrite_unit::words::{Escapes, next_word};

/// Longest name of a user or group.
const NAME_MAX: usize = 31;
/// Lines of all files together.
const LINES_MAX: usize = 100_000;

/// Which number a user or group is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Number {
    /// Any that is free.
    Any,
    /// This one.
    Fixed(u32),
    /// That of the owner of a file.
    OwnerOf(String),
}

/// The group of a user, when it is not one of the user's own name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// By number; it must exist.
    Number(u32),
    /// By name; it must exist or be declared.
    Name(String),
}

/// A user or group that is to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: Number,
    /// The group of a user.
    pub group: Option<Group>,
    /// The comment (GECOS).
    pub comment: Option<String>,
    /// The home.
    pub home: Option<String>,
    /// The login shell.
    pub shell: Option<String>,
    /// Whether the account is locked entirely (`u!`).
    pub is_locked: bool,
    /// Where it was declared; nothing for what a membership implies.
    pub place: Option<Place>,
}

impl Declared {
    fn implied(name: &str) -> Self {
        Self {
            name: name.to_string(),
            number: Number::Any,
            group: None,
            comment: None,
            home: None,
            shell: None,
            is_locked: false,
            place: None,
        }
    }

    /// Whether another line asks for the same.
    fn agrees(&self, other: &Self) -> bool {
        let plain_home = |home: &Option<String>| home.clone().filter(|home| home != "/");
        self.number == other.number
            && self.group == other.group
            && self.comment == other.comment
            && plain_home(&self.home) == plain_home(&other.home)
            && self.shell == other.shell
    }
}

/// All that the files declare, in their order.
#[derive(Debug, Default)]
pub struct Lines {
    /// Users.
    pub users: Vec<Declared>,
    /// Groups.
    pub groups: Vec<Declared>,
    /// Members by group.
    pub members: Vec<(String, Vec<String>)>,
    /// Numbers that may be given out; none: the default.
    pub ranges: Vec<(u32, u32)>,
    /// What was wrong.
    pub faults: Vec<Fault>,
}

impl Lines {
    /// Reads the text of one file.
    pub fn read(&mut self, file: &str, text: &str, facts: &dyn Facts) {
        for (number, line) in text.lines().enumerate().take(LINES_MAX) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place { file: file.to_string(), line: number + 1 };
            if let Err(message) = self.line(line, &place, facts) {
                self.faults.push(Fault::invalid(&place, message));
            }
        }
    }

    /// Adds the users and groups that memberships speak of and no line declares.
    pub fn add_implied(&mut self) {
        for (group, members) in &self.members {
            for member in members {
                if !self.users.iter().any(|user| user.name == *member) {
                    self.users.push(Declared::implied(member));
                }
            }
            let is_declared = self.groups.iter().any(|declared| declared.name == *group);
            if !is_declared && !self.users.iter().any(|user| user.name == *group && user.group.is_none()) {
                self.groups.push(Declared::implied(group));
            }
        }
    }

    fn line(&mut self, text: &str, place: &Place, facts: &dyn Facts) -> Result<(), String> {
        let mut rest = text;
        let mut fields = Vec::new();
        while fields.len() < 6 {
            match next_word(&mut rest, Escapes::C) {
                Ok(Some(word)) => fields.push(word),
                Ok(None) => break,
                Err(_) => return Err("Syntax error.".into()),
            }
        }
        if fields.len() < 2 {
            return Err("Missing action and name columns.".into());
        }
        if !rest.is_empty() {
            return Err("Trailing garbage.".into());
        }
        let (action, is_locked) = match fields.first().map(String::as_str) {
            Some("u!") => ("u", true),
            Some(action @ ("u" | "g" | "m" | "r")) => (action, false),
            other => return Err(unknown(other.unwrap_or_default())),
        };
        let mut expanded = Vec::new();
        for field in fields.iter().skip(1) {
            let value = specifier::expand(field, facts);
            expanded.push(value.map_err(|failure: Failure| {
                format!("Failed to replace specifiers in '{field}': {}", failure.words())
            })?);
        }
        let field = |index: usize| given(expanded.get(index));
        let name = field(0);
        if let Some(name) = name
            && action != "r"
        {
            check_name(name)?;
        }
        match (action, name) {
            ("r", name) => self.range(name, field(1), [field(2), field(3), field(4)]),
            (_, None) => Err(format!("Lines of type '{action}' require a name field.")),
            ("m", Some(name)) => self.member(name, field(1), [field(2), field(3), field(4)]),
            ("g", Some(name)) => {
                refuse("g", [field(2), field(3), field(4)])?;
                let number = field(1).map_or(Ok(Number::Any), |text| number(text, "GID"))?;
                let declared = Declared { number, place: Some(place.clone()), ..Declared::implied(name) };
                add(&mut self.groups, declared, "group", &mut self.faults);
                Ok(())
            }
            (_, Some(name)) => {
                let mut user = Declared { is_locked, place: Some(place.clone()), ..Declared::implied(name) };
                (user.number, user.group) = field(1).map_or(Ok((Number::Any, None)), identity)?;
                user.comment = checked(field(2), "GECOS", is_comment)?;
                user.home = checked(field(3), "home directory", is_home)?;
                user.shell = checked(field(4), "login shell", is_shell)?;
                add(&mut self.users, user, "user", &mut self.faults);
                Ok(())
            }
        }
    }

    fn range(&mut self, name: Option<&str>, range: Option<&str>, rest: [Option<&str>; 3]) -> Result<(), String> {
        if name.is_some() {
            return Err("Lines of type 'r' don't take a name field.".into());
        }
        let range = range.ok_or("Lines of type 'r' require an ID range in the third field.")?;
        refuse("r", rest)?;
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.trim().parse::<u32>().ok();
        match (number(low), number(high)) {
            (Some(low), Some(high)) if low <= high => self.ranges.push((low, high)),
            _ => return Err(format!("Invalid UID range {range}.")),
        }
        Ok(())
    }

    fn member(&mut self, user: &str, group: Option<&str>, rest: [Option<&str>; 3]) -> Result<(), String> {
        let group = group.ok_or("Lines of type 'm' require a group name in the third field.")?;
        check_name(group)?;
        refuse("m", rest)?;
        let at = match self.members.iter().position(|(known, _)| known == group) {
            Some(at) => at,
            None => {
                self.members.push((group.to_string(), Vec::new()));
                self.members.len() - 1
            }
        };
        if let Some((_, members)) = self.members.get_mut(at)
            && !members.iter().any(|member| member == user)
        {
            members.push(user.to_string());
        }
        Ok(())
    }
}

fn unknown(action: &str) -> String {
    match action.chars().next() {
        Some('u' | 'g' | 'm' | 'r') => format!("Unknown modifiers in command '{action}'."),
        Some(letter) => format!("Unknown command type '{letter}'."),
        None => "Command too short ''.".into(),
    }
}

/// The first declaration counts; another one that says something else is told.
fn add(list: &mut Vec<Declared>, new: Declared, kind: &str, faults: &mut Vec<Fault>) {
    match list.iter().find(|known| known.name == new.name) {
        None => list.push(new),
        Some(known) if known.agrees(&new) => {}
        Some(known) => {
            let first = known.place.as_ref().map_or(String::new(), |at| format!(" in {}:{}", at.file, at.line));
            let message =
                format!("Conflict with earlier configuration for {kind} '{}'{first}, ignoring line.", new.name);
            faults.extend(new.place.map(|place| Fault::notice(&place, message)));
        }
    }
}

fn refuse(action: &str, fields: [Option<&str>; 3]) -> Result<(), String> {
    let names = ["GECOS", "home directory", "login shell"];
    match fields.iter().position(Option::is_some).and_then(|at| names.get(at)) {
        Some(name) => {
            let article =
                if *name == "GECOS" || *name == "home directory" || *name == "login shell" { "a" } else { "" };
            Err(format!("Lines of type '{action}' don't take {article} {name} field."))
        }
        None => Ok(()),
    }
}

fn number(text: &str, what: &str) -> Result<Number, String> {
    if text.starts_with('/') {
        return Ok(Number::OwnerOf(crate::field::simplified(text)));
    }
    match (id(text), text.parse::<u64>()) {
        (Some(id), _) => Ok(Number::Fixed(id)),
        (None, Ok(number)) if u32::try_from(number).is_ok_and(|id| !is_id(id)) => {
            Err(format!("Failed to parse {what}: '{text}': No such device or address"))
        }
        (None, Ok(_)) => Err(format!("Failed to parse {what}: '{text}': Numerical result out of range")),
        (None, Err(_)) => Err(format!("Failed to parse {what}: '{text}': Invalid argument")),
    }
}

/// `UID`, `UID:GID`, `UID:GROUP`, `-:GROUP` or a path.
fn identity(text: &str) -> Result<(Number, Option<Group>), String> {
    if text.starts_with('/') {
        return Ok((number(text, "UID")?, None));
    }
    let Some((uid, gid)) = text.split_once(':') else { return Ok((number(text, "UID")?, None)) };
    let group = match id(gid) {
        Some(gid) => Group::Number(gid),
        None if is_name(gid) => Group::Name(gid.to_string()),
        None => return Err(format!("Failed to parse GID: '{text}': Invalid argument")),
    };
    let number = match uid {
        "-" => Number::Any,
        "" => return Err(format!("Failed to parse UID: '{text}': Invalid argument")),
        uid => number(uid, "UID")?,
    };
    Ok((number, Some(group)))
}

fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) { Ok(()) } else { Err(format!("'{name}' is not a valid user or group name.")) }
}

/// Letters, digits, `_` and `-`; the first is no digit and no dash.
fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    starts_well && is_plain && name.len() <= NAME_MAX
}

fn checked(field: Option<&str>, what: &str, is_valid: impl Fn(&str) -> bool) -> Result<Option<String>, String> {
    match field {
        None => Ok(None),
        Some(value) if is_valid(value) => Ok(Some(value.to_string())),
        Some(value) => Err(format!("'{value}' is not a valid {what} field.")),
    }
}

/// A colon ends a field of /etc/passwd.
fn is_comment(text: &str) -> bool {
    !text.contains(|c: char| c == ':' || c.is_control())
}

fn is_home(text: &str) -> bool {
    text.starts_with('/') && is_comment(text) && !text.split('/').any(|part| part == ".." || part == ".")
}

fn is_shell(text: &str) -> bool {
    is_home(text) && !text.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specifier::Answer;

    struct NoFacts;

    impl Facts for NoFacts {
        fn specifier(&self, _: char) -> Answer {
            Answer::Unknown
        }
    }

    fn read(text: &str) -> Lines {
        let mut lines = Lines::default();
        lines.read("x.conf", text, &NoFacts);
        lines
    }

    #[test]
    fn faults_have_the_words_of_systemd() {
        let cases = [
            ("x a", "Unknown command type 'x'."),
            ("u", "Missing action and name columns."),
            ("u a b c d e f g", "Trailing garbage."),
            ("u a 70000000000", "Failed to parse UID: '70000000000': Numerical result out of range"),
            ("u a 65535", "Failed to parse UID: '65535': No such device or address"),
            ("u e :5", "Failed to parse UID: ':5': Invalid argument"),
            ("u f -:-", "Failed to parse GID: '-:-': Invalid argument"),
            ("u bad:name -", "'bad:name' is not a valid user or group name."),
            ("u a - \"x:y\"", "'x:y' is not a valid GECOS field."),
            ("u a - - relative", "'relative' is not a valid home directory field."),
            ("u a - - /x bin/sh", "'bin/sh' is not a valid login shell field."),
            ("g a - \"gecos\"", "Lines of type 'g' don't take a GECOS field."),
            ("m a", "Lines of type 'm' require a group name in the third field."),
            ("r a 7", "Lines of type 'r' don't take a name field."),
            ("u a %Z", "Failed to replace specifiers in '%Z': Invalid slot"),
        ];
        for (text, message) in cases {
            let faults: Vec<String> = read(text).faults.iter().map(ToString::to_string).collect();
            assert_eq!(faults, [format!("x.conf:1: {message}")], "{text}");
        }
    }

    #[test]
    fn the_first_declaration_counts_and_an_equal_one_is_silent() {
        let lines = read("u a 5 \"d\"\nu a 5 \"d\" /\nu a 6\n# remark\nm a b\nm a b\n");
        assert_eq!(lines.users.len(), 1);
        assert_eq!(lines.members, [("b".to_string(), vec!["a".to_string()])]);
        let told = "x.conf:3: Conflict with earlier configuration for user 'a' in x.conf:1, ignoring line.";
        assert_eq!(lines.faults.iter().map(ToString::to_string).collect::<Vec<_>>(), [told]);
    }

    #[test]
    fn memberships_imply_users_and_groups() {
        let mut lines = read("m a b\n");
        lines.add_implied();
        let names = |list: &[Declared]| list.iter().map(|declared| declared.name.clone()).collect::<Vec<_>>();
        assert_eq!((names(&lines.users), names(&lines.groups)), (vec!["a".into()], vec!["b".into()]));
    }
}
