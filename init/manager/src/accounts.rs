//! Users and groups, read from the files alone: no name service is ever loaded into PID 1. Pure but for `read`.

use crate::disk::read_text;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

/// The contents of /etc/passwd and /etc/group.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads the files; missing ones count as empty.
    pub fn read() -> Accounts {
        Accounts { passwd: read_text("/etc/passwd"), group: read_text("/etc/group") }
    }

    /// A user by name or number.
    pub fn user(&self, wanted: &str) -> Option<User> {
        let number = wanted.parse::<u32>().ok();
        let known = self.passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
            let user = User {
                name: (*name).to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
            };
            (user.name == wanted || Some(user.uid) == number).then_some(user)
        });
        known.or_else(|| match (number, wanted) {
            (Some(uid), _) => {
                Some(User { name: uid.to_string(), uid, gid: uid, home: "/".into(), shell: "/usr/sbin/nologin".into() })
            }
            (None, "root") => {
                Some(User { name: "root".into(), uid: 0, gid: 0, home: "/root".into(), shell: "/bin/sh".into() })
            }
            _ => None,
        })
    }

    /// A group by name or number.
    pub fn group(&self, wanted: &str) -> Option<u32> {
        if let Ok(gid) = wanted.parse() {
            return Some(gid);
        }
        let known = self.groups().find(|(name, ..)| *name == wanted).map(|(_, gid, _)| gid);
        known.or_else(|| (wanted == "root").then_some(0))
    }

    /// The text of /etc/passwd.
    pub fn passwd_text(&self) -> &str {
        &self.passwd
    }

    /// The text of /etc/group.
    pub fn group_text(&self) -> &str {
        &self.group
    }

    /// The numbers of all users and groups.
    pub fn numbers(&self) -> Vec<u32> {
        let third = |line: &str| line.split(':').nth(2)?.parse().ok();
        self.passwd.lines().chain(self.group.lines()).filter_map(third).collect()
    }

    /// All groups that name a user as a member.
    pub fn groups_of(&self, user: &str) -> Vec<u32> {
        self.groups().filter(|(_, _, members)| members.split(',').any(|m| m == user)).map(|(_, gid, _)| gid).collect()
    }

    fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
        self.group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let gid = fields.nth(1)?.parse().ok()?;
            Some((name, gid, fields.next().unwrap_or("")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/bash\ncore:x:1000:1000::/home/core:/bin/bash\nbad line\n".into(),
            group: "sudo:x:27:core,other\nwheel:x:10:\n".into(),
        };
        assert_eq!(accounts.user("core").unwrap().uid, 1000);
        assert_eq!(accounts.user("1000").unwrap().name, "core");
        assert_eq!(accounts.user("4242").unwrap().gid, 4242);
        assert_eq!(accounts.user("nobody-here"), None);
        assert_eq!((accounts.group("sudo"), accounts.groups_of("core")), (Some(27), vec![27]));
    }
}
