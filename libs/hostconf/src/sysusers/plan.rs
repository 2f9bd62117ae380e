//! Which users and groups are made, with which numbers. Pure.
//!
//! A number is never shared by a user and a group of different names, unless the file names it.

use super::accounts::Accounts;
use super::line::{Declared, Group, Lines, Number};
use crate::field::is_id;
use crate::specifier::Facts;

/// Numbers that are given out when no line names a range.
const DEFAULT_RANGE: (u32, u32) = (1, 999);
/// The shell of those who do not log in.
const NO_SHELL: &str = "/usr/sbin/nologin";
/// The shell of user 0.
const ROOT_SHELL: &str = "/bin/sh";

/// What the plan asks of the machine.
pub trait Machine: Facts {
    /// Owner and group of a file.
    fn owner(&self, path: &str) -> Option<(u32, u32)>;
    /// A credential, such as `passwd.shell.root`.
    fn credential(&self, name: &str) -> Option<String>;
}

/// A group that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
}

/// A user who is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The comment.
    pub comment: String,
    /// The home.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// The field of /etc/shadow.
    pub password: String,
    /// Whether the account has expired from the beginning.
    pub is_locked: bool,
}

/// Everything that changes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Groups, in the order of their making.
    pub groups: Vec<NewGroup>,
    /// Users.
    pub users: Vec<NewUser>,
    /// Members by group, whether or not they are members already.
    pub members: Vec<(String, Vec<String>)>,
    /// What is said about it, in order.
    pub said: Vec<String>,
}

/// Decides.
pub fn plan(lines: &Lines, accounts: &Accounts, machine: &dyn Machine) -> Plan {
    let ranges = if lines.ranges.is_empty() { vec![DEFAULT_RANGE] } else { lines.ranges.clone() };
    let mut planner = Planner {
        known: accounts.clone(),
        old: accounts,
        next: Next { ranges, last: None },
        machine,
        plan: Plan { members: lines.members.clone(), ..Plan::default() },
    };
    for group in &lines.groups {
        planner.group(group, false);
    }
    for user in &lines.users {
        planner.user(user);
    }
    planner.plan
}

/// The numbers that are left, downwards; one that was looked at is never looked at again.
struct Next {
    ranges: Vec<(u32, u32)>,
    last: Option<u32>,
}

impl Iterator for Next {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let below = self.last.map_or(u32::MAX, |last| last);
        let candidate = |(low, high): &(u32, u32)| (*low < below).then(|| (*high).min(below - 1));
        let next = self.ranges.iter().filter_map(candidate).max()?;
        self.last = Some(next);
        Some(next)
    }
}

struct Planner<'a> {
    /// What there was and what is to be made.
    known: Accounts,
    old: &'a Accounts,
    next: Next,
    machine: &'a dyn Machine,
    plan: Plan,
}

/// Whether a number may also be that of a user or group of another name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Allowed,
    Refused,
}

impl Planner<'_> {
    fn gid_is_free(&self, gid: u32, name: &str, sharing: Sharing) -> bool {
        let is_taken = self.known.groups.name(gid).is_some();
        !is_taken && (sharing == Sharing::Allowed || !self.known.users.is_of_another(gid, name))
    }

    fn uid_is_free(&self, uid: u32, name: &str, sharing: Sharing) -> bool {
        let is_taken = self.known.users.name(uid).is_some();
        !is_taken && (sharing == Sharing::Allowed || !self.known.groups.is_of_another(uid, name))
    }

    fn is_in_range(&self, id: u32) -> bool {
        id > 0 && self.next.ranges.iter().any(|(low, high)| (*low..=*high).contains(&id))
    }

    /// Makes the group of this name; `of_user`: the number that is named is a user's, which the group takes if it can.
    fn group(&mut self, declared: &Declared, of_user: bool) -> Option<u32> {
        let name = &declared.name;
        if let Some(gid) = self.known.groups.id(name) {
            return Some(gid);
        }
        let mut found = None;
        match &declared.number {
            Number::Fixed(id) if of_user => {
                found = Some(*id).filter(|id| self.gid_is_free(*id, name, Sharing::Refused));
            }
            Number::Fixed(id) => {
                found = Some(*id).filter(|id| self.gid_is_free(*id, name, Sharing::Allowed));
                if found.is_none() {
                    self.plan.said.push(format!("Suggested group ID {id} for {name} already used."));
                }
            }
            Number::OwnerOf(path) => {
                let gid = self.machine.owner(path).map(|(_, gid)| gid);
                let gid = gid.filter(|gid| self.is_in_range(*gid));
                found = gid.filter(|gid| self.gid_is_free(*gid, name, Sharing::Refused));
            }
            Number::Any => {}
        }
        while found.is_none() {
            match self.next.next() {
                Some(id) if is_id(id) => {
                    found = Some(id).filter(|id| self.gid_is_free(*id, name, Sharing::Refused));
                }
                Some(_) => {}
                None => {
                    self.plan.said.push(format!("No free group ID available for {name}."));
                    return None;
                }
            }
        }
        let gid = found?;
        self.known.groups.add(name, gid);
        self.plan.groups.push(NewGroup { name: name.clone(), gid });
        self.plan.said.push(format!("Creating group '{name}' with GID {gid}."));
        Some(gid)
    }

    /// The group of a user; `None`: it cannot be had, which was said.
    fn primary_group(&mut self, user: &Declared) -> Option<(u32, Sharing)> {
        match &user.group {
            Some(Group::Number(gid)) => {
                if let Some(own) = self.old.groups.id(&user.name) {
                    return Some((own, Sharing::Allowed));
                }
                if self.known.groups.name(*gid).is_none() {
                    self.plan.said.push(format!("Failed to create {}: please create GID {gid}", user.name));
                    return None;
                }
                Some((*gid, Sharing::Allowed))
            }
            Some(Group::Name(name)) => match self.known.groups.id(name) {
                Some(gid) => Some((gid, Sharing::Allowed)),
                None => {
                    self.plan.said.push(format!("Group {name} not found."));
                    None
                }
            },
            None if self.plan.groups.iter().any(|group| group.name == user.name) => {
                Some((self.known.groups.id(&user.name)?, Sharing::Allowed))
            }
            None => Some((self.group(user, true)?, Sharing::Refused)),
        }
    }

    fn user(&mut self, user: &Declared) {
        let Some((gid, sharing)) = self.primary_group(user) else { return };
        let name = &user.name;
        if self.old.users.id(name).is_some() {
            return;
        }
        let mut found = None;
        match &user.number {
            Number::Fixed(id) => {
                found = Some(*id).filter(|id| self.uid_is_free(*id, name, sharing));
                if found.is_none() {
                    self.plan.said.push(format!("Suggested user ID {id} for {name} already used."));
                }
            }
            Number::OwnerOf(path) => {
                let uid = self.machine.owner(path).map(|(uid, _)| uid);
                let uid = uid.filter(|uid| self.is_in_range(*uid));
                found = uid.filter(|uid| self.uid_is_free(*uid, name, Sharing::Refused));
            }
            Number::Any => {}
        }
        if found.is_none() {
            found = Some(gid).filter(|id| self.uid_is_free(*id, name, Sharing::Refused));
        }
        while found.is_none() {
            match self.next.next() {
                Some(id) if is_id(id) => {
                    found = Some(id).filter(|id| self.uid_is_free(*id, name, Sharing::Refused));
                }
                Some(_) => {}
                None => {
                    self.plan.said.push(format!("No free user ID available for {name}."));
                    return;
                }
            }
        }
        let Some(uid) = found else { return };
        self.known.users.add(name, uid);
        let comment = user.comment.as_deref().unwrap_or("n/a");
        self.plan.said.push(format!("Creating user '{name}' ({comment}) with UID {uid} and GID {gid}."));
        let user = self.new_user(user, uid, gid);
        self.plan.users.push(user);
    }

    fn new_user(&self, user: &Declared, uid: u32, gid: u32) -> NewUser {
        let name = &user.name;
        let home = user.home.clone().unwrap_or_else(|| if name == "root" { "/root".into() } else { "/".into() });
        let shell = self.machine.credential(&format!("passwd.shell.{name}")).or_else(|| user.shell.clone());
        let shell = shell.unwrap_or_else(|| if uid == 0 { ROOT_SHELL.into() } else { NO_SHELL.into() });
        let password = self.machine.credential(&format!("passwd.hashed-password.{name}"));
        let unset = if name == "root" { "!unprovisioned" } else { "!*" };
        NewUser {
            name: name.clone(),
            uid,
            gid,
            comment: user.comment.clone().unwrap_or_default(),
            home,
            shell,
            password: password.unwrap_or_else(|| unset.into()),
            is_locked: user.is_locked,
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
