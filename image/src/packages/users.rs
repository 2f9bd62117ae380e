//! The accounts of an image: /etc/passwd, group, shadow and gshadow from the board and from packages' sysusers.d.
//! Pure.
//!
//! Ids are never handed out by a counter: the state partition outlives the image, and files on it belong to numbers.
//! A package's user without a number must therefore be named, with one, in a board file.

use ferrite_boards::Board;
use ferrite_hostconf::Weight;
use ferrite_hostconf::specifier::{Answer, Facts};
use ferrite_hostconf::sysusers::{Declared, Lines, line};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A group that belongs to the state of the password files.
const SHADOW: &str = "shadow";

/// The accounts of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    users: BTreeMap<u32, Account>,
    groups: BTreeMap<u32, GroupEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    gid: u32,
    comment: String,
    home: String,
    shell: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct GroupEntry {
    name: String,
    members: Vec<String>,
}

/// Why accounts could not be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum AccountError {
    /// No number is known.
    #[error("{file}:{line}: {kind} {name} has no fixed id: give it one under '{kind}s' in a board file")]
    NoId { file: String, line: usize, kind: &'static str, name: String },
    /// A line is wrong.
    #[error("{0}")]
    Line(String),
    /// A group is needed that nobody has declared.
    #[error("user {user} is to be in group {group}, which does not exist")]
    NoGroup { user: String, group: String },
    /// Two accounts with one number.
    #[error("{kind}s {first} and {second} both have the id {id}")]
    SameId { kind: &'static str, first: String, second: String, id: u32 },
}

/// A sysusers.d file of a package.
#[derive(Debug, Clone)]
pub(super) struct SysusersFile {
    pub(super) path: String,
    pub(super) text: String,
}

/// Joins the board's accounts and the packages'.
pub(super) fn accounts(board: &Board, files: &[SysusersFile]) -> Result<Accounts, AccountError> {
    let mut accounts = Accounts::default();
    for group in &board.groups {
        accounts.add_group(&group.name, group.gid)?;
    }
    for user in &board.users {
        let gid = match accounts.gid(&user.name) {
            Some(gid) => gid,
            None if user.name == "nobody" && accounts.gid("nogroup").is_some() => user.uid,
            None => {
                accounts.add_group(&user.name, user.uid)?;
                user.uid
            }
        };
        let (comment, home, shell) = (user.comment.clone(), user.home.clone(), user.shell.clone());
        accounts.add_user(user.uid, Account { name: user.name.clone(), gid, comment, home, shell })?;
    }
    add_sysusers(&mut accounts, files)?;
    for user in &board.users {
        for group in &user.groups {
            accounts.add_member(&user.name, group)?;
        }
    }
    Ok(accounts)
}

impl Accounts {
    /// The number of a user.
    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        self.users.iter().find(|(_, account)| account.name == name).map(|(uid, _)| *uid)
    }

    /// The number of a group.
    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|(_, group)| group.name == name).map(|(gid, _)| *gid)
    }

    fn add_user(&mut self, uid: u32, account: Account) -> Result<(), AccountError> {
        if let Some(same) = self.users.get(&uid) {
            let (first, second) = (same.name.clone(), account.name);
            return Err(AccountError::SameId { kind: "user", first, second, id: uid });
        }
        self.users.insert(uid, account);
        Ok(())
    }

    fn add_group(&mut self, name: &str, gid: u32) -> Result<(), AccountError> {
        if let Some(same) = self.groups.get(&gid) {
            let (first, second) = (same.name.clone(), name.to_owned());
            return Err(AccountError::SameId { kind: "group", first, second, id: gid });
        }
        self.groups.insert(gid, GroupEntry { name: name.to_owned(), members: Vec::new() });
        Ok(())
    }

    fn add_member(&mut self, user: &str, group: &str) -> Result<(), AccountError> {
        let entry = self.groups.values_mut().find(|entry| entry.name == group);
        let missing = || AccountError::NoGroup { user: user.to_owned(), group: group.to_owned() };
        let members = &mut entry.ok_or_else(missing)?.members;
        if !members.iter().any(|member| member == user) {
            members.push(user.to_owned());
        }
        Ok(())
    }

    /// The text of /etc/passwd.
    pub(super) fn passwd(&self) -> String {
        let mut text = String::new();
        for (uid, Account { name, gid, comment, home, shell }) in &self.users {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name}:x:{uid}:{gid}:{comment}:{home}:{shell}");
        }
        text
    }

    /// The text of /etc/group.
    pub(super) fn group(&self) -> String {
        self.groups.iter().map(|(gid, g)| format!("{}:x:{gid}:{}\n", g.name, g.members.join(","))).collect()
    }

    /// The text of /etc/shadow: every password is locked, no password ever expires.
    pub(super) fn shadow(&self) -> String {
        self.users.values().map(|account| format!("{}:*:::::::\n", account.name)).collect()
    }

    /// The text of /etc/gshadow.
    pub(super) fn gshadow(&self) -> String {
        self.groups.values().map(|g| format!("{}:*::{}\n", g.name, g.members.join(","))).collect()
    }

    /// The group that may read the shadow files.
    pub(super) fn shadow_gid(&self) -> u32 {
        self.gid(SHADOW).unwrap_or(0)
    }
}

/// No specifier has a value while an image is built: it is for many machines.
struct NoMachine;

impl Facts for NoMachine {
    fn specifier(&self, _: char) -> Answer {
        Answer::Unknown
    }
}

fn add_sysusers(accounts: &mut Accounts, files: &[SysusersFile]) -> Result<(), AccountError> {
    let mut lines = Lines::default();
    for file in files {
        lines.read(&file.path, &file.text, &NoMachine);
    }
    if let Some(fault) = lines.faults.iter().find(|fault| fault.weight == Weight::Invalid) {
        return Err(AccountError::Line(fault.to_string()));
    }
    for group in &lines.groups {
        if accounts.gid(&group.name).is_none() {
            accounts.add_group(&group.name, fixed(group, "group")?)?;
        }
    }
    for user in &lines.users {
        if accounts.uid(&user.name).is_none() {
            add_declared(accounts, user)?;
        }
    }
    for (group, members) in &lines.members {
        members.iter().try_for_each(|member| accounts.add_member(member, group))?;
    }
    Ok(())
}

fn add_declared(accounts: &mut Accounts, user: &Declared) -> Result<(), AccountError> {
    let (name, uid) = (&user.name, fixed(user, "user")?);
    let gid = match &user.group {
        Some(line::Group::Number(gid)) => *gid,
        Some(line::Group::Name(group)) => {
            let missing = || AccountError::NoGroup { user: name.clone(), group: group.clone() };
            accounts.gid(group).ok_or_else(missing)?
        }
        None => match accounts.gid(name) {
            Some(gid) => gid,
            None => {
                accounts.add_group(name, uid)?;
                uid
            }
        },
    };
    let or = |value: &Option<String>, default: &str| value.clone().unwrap_or_else(|| default.to_owned());
    let (comment, home, shell) = (or(&user.comment, ""), or(&user.home, "/"), or(&user.shell, "/usr/sbin/nologin"));
    accounts.add_user(uid, Account { name: name.clone(), gid, comment, home, shell })
}

fn fixed(declared: &Declared, kind: &'static str) -> Result<u32, AccountError> {
    match (&declared.number, &declared.place) {
        (line::Number::Fixed(id), _) => Ok(*id),
        (_, place) => {
            let (file, line) = place.as_ref().map_or((String::new(), 0), |place| (place.file.clone(), place.line));
            Err(AccountError::NoId { file, line, kind, name: declared.name.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_boards::{Group, User};
    use std::path::Path;

    fn board() -> Board {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.yaml");
        std::fs::write(&path, "name: b\nkernel: linux-image\n").unwrap();
        let mut board = Board::load(&path, Path::new("/nonexistent")).unwrap();
        let user = |name: &str, uid: u32, groups: &[&str]| User {
            name: name.into(),
            uid,
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            home: format!("/home/{name}"),
            shell: "/bin/bash".into(),
            comment: String::new(),
        };
        board.users = vec![user("root", 0, &[]), user("core", 1000, &["sudo"]), user("nobody", 65534, &[])];
        let group = |name: &str, gid: u32| Group { name: name.into(), gid };
        board.groups = vec![group("sudo", 27), group("nogroup", 65534), group("shadow", 42)];
        board
    }

    fn file(text: &str) -> Vec<SysusersFile> {
        vec![SysusersFile { path: "x.conf".into(), text: text.into() }]
    }

    #[test]
    fn board_and_packages_make_one_sorted_set_of_files() {
        let text = "# remark\nu sshd 101:65534 \"sshd user\" /run/sshd\ng input 102\nm core input\n";
        let accounts = accounts(&board(), &file(text)).unwrap();
        assert_eq!(
            accounts.passwd(),
            "root:x:0:0::/home/root:/bin/bash\nsshd:x:101:65534:sshd user:/run/sshd:/usr/sbin/nologin\n\
             core:x:1000:1000::/home/core:/bin/bash\nnobody:x:65534:65534::/home/nobody:/bin/bash\n"
        );
        assert_eq!(
            accounts.group(),
            "root:x:0:\nsudo:x:27:core\nshadow:x:42:\ninput:x:102:core\ncore:x:1000:\nnogroup:x:65534:\n"
        );
        assert!(accounts.shadow().starts_with("root:*:::::::\n"));
        assert!(accounts.gshadow().contains("sudo:*::core\n"));
        assert_eq!(accounts.shadow_gid(), 42);
    }

    #[test]
    fn a_user_without_a_number_must_be_named_by_the_board() {
        let error = accounts(&board(), &file("\nu etcd - \"store\"\n")).unwrap_err();
        assert_eq!(error.to_string(), "x.conf:2: user etcd has no fixed id: give it one under 'users' in a board file");
        let mut board = board();
        board.users.push(User { name: "etcd".into(), uid: 110, ..board.users[1].clone() });
        assert_eq!(accounts(&board, &file("u etcd -\n")).unwrap().uid("etcd"), Some(110));
    }

    #[test]
    fn contradictions_are_named() {
        let error = |text: &str| accounts(&board(), &file(text)).unwrap_err().to_string();
        assert_eq!(error("u other 1000 x\n"), "groups core and other both have the id 1000");
        assert_eq!(error("m core wheel\n"), "user core is to be in group wheel, which does not exist");
        assert_eq!(error("x y z\n"), "x.conf:1: Unknown command type 'x'.");
        assert_eq!(error("u other 7:none x\n"), "user other is to be in group none, which does not exist");
    }
}
