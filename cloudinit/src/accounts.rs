//! The files of users and groups as tables that a plan changes: /etc/passwd, group, shadow and gshadow. Pure.
//!
//! Lines that are not understood stay as they are.

const FIRST_NUMBER: u32 = 1000;
const LAST_NUMBER: u32 = 60_000;
const FIRST_SYSTEM: u32 = 101;

/// A file of lines with `:` between fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Table(Vec<Vec<String>>);

impl Table {
    fn parse(text: &str) -> Self {
        Self(text.lines().map(|line| line.split(':').map(str::to_string).collect()).collect())
    }

    fn render(&self) -> String {
        self.0.iter().map(|fields| fields.join(":") + "\n").collect()
    }

    fn find(&self, name: &str) -> Option<&Vec<String>> {
        self.0.iter().find(|fields| fields.first().is_some_and(|first| first == name))
    }

    fn find_mut(&mut self, name: &str) -> Option<&mut Vec<String>> {
        self.0.iter_mut().find(|fields| fields.first().is_some_and(|first| first == name))
    }

    fn field(&self, name: &str, index: usize) -> Option<&str> {
        self.find(name)?.get(index).map(String::as_str)
    }

    fn set(&mut self, name: &str, index: usize, value: String) {
        if let Some(slot) = self.find_mut(name).and_then(|fields| fields.get_mut(index)) {
            *slot = value;
        }
    }

    fn add(&mut self, fields: &[&str]) {
        self.0.push(fields.iter().map(|field| (*field).to_string()).collect());
    }

    fn numbers(&self) -> Vec<u32> {
        self.0.iter().filter_map(|fields| fields.get(2)?.parse().ok()).collect()
    }

    /// Adds to a list with commas.
    fn add_member(&mut self, name: &str, index: usize, member: &str) {
        if let Some(list) = self.find_mut(name).and_then(|fields| fields.get_mut(index))
            && !list.split(',').any(|known| known == member)
        {
            *list = if list.is_empty() { member.to_string() } else { format!("{list},{member}") };
        }
    }
}

/// A user to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewUser<'a> {
    /// The login name.
    pub name: &'a str,
    /// The number; the next free one without it.
    pub uid: Option<u32>,
    /// The number of the login group.
    pub gid: u32,
    /// The full name.
    pub gecos: &'a str,
    /// The home folder.
    pub home: &'a str,
    /// The login shell.
    pub shell: &'a str,
    /// A number of the system.
    pub system: bool,
}

/// The four files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    passwd: Table,
    group: Table,
    shadow: Table,
    gshadow: Table,
}

impl Accounts {
    /// From the texts of passwd, group, shadow and gshadow.
    pub(crate) fn parse(passwd: &str, group: &str, shadow: &str, gshadow: &str) -> Self {
        Self {
            passwd: Table::parse(passwd),
            group: Table::parse(group),
            shadow: Table::parse(shadow),
            gshadow: Table::parse(gshadow),
        }
    }

    /// The texts in the same order.
    pub(crate) fn render(&self) -> [String; 4] {
        [self.passwd.render(), self.group.render(), self.shadow.render(), self.gshadow.render()]
    }

    /// Whether there is such a user.
    pub(crate) fn has_user(&self, name: &str) -> bool {
        self.passwd.find(name).is_some()
    }

    /// Whether there is such a group.
    pub(crate) fn has_group(&self, name: &str) -> bool {
        self.group.find(name).is_some()
    }

    /// User and group number of a user.
    pub(crate) fn owner(&self, name: &str) -> Option<(u32, u32)> {
        Some((self.passwd.field(name, 2)?.parse().ok()?, self.passwd.field(name, 3)?.parse().ok()?))
    }

    /// The number of a group.
    pub(crate) fn gid(&self, name: &str) -> Option<u32> {
        self.group.field(name, 2)?.parse().ok()
    }

    /// The home folder of a user, when it is one that can be written to.
    pub(crate) fn home(&self, name: &str) -> Option<&str> {
        let home = self.passwd.field(name, 5)?.trim_end_matches('/');
        (home.starts_with('/') && !home.split('/').any(|part| part == "..")).then_some(home)
    }

    /// Adds a group that is not there; its number is the next free one, or `wanted` when that is free.
    pub(crate) fn add_group(&mut self, name: &str, wanted: Option<u32>, system: bool) -> u32 {
        if let Some(gid) = self.gid(name) {
            return gid;
        }
        let taken = self.group.numbers();
        let gid = wanted.filter(|wanted| !taken.contains(wanted)).unwrap_or_else(|| next(&taken, system));
        self.group.add(&[name, "x", &gid.to_string(), ""]);
        self.gshadow.add(&[name, "!", "", ""]);
        gid
    }

    /// The number the next user gets.
    pub(crate) fn next_uid(&self, system: bool) -> u32 {
        next(&self.passwd.numbers(), system)
    }

    /// Adds a user with a locked password.
    pub(crate) fn add_user(&mut self, user: &NewUser<'_>, today: i64) {
        let uid = user.uid.unwrap_or_else(|| self.next_uid(user.system));
        let (uid, gid) = (uid.to_string(), user.gid.to_string());
        self.passwd.add(&[user.name, "x", &uid, &gid, user.gecos, user.home, user.shell]);
        if self.shadow.find(user.name).is_none() {
            self.shadow.add(&[user.name, "!", &today.to_string(), "0", "99999", "7", "", "", ""]);
        }
    }

    /// Makes a user a member of a group.
    pub(crate) fn add_member(&mut self, group: &str, user: &str) {
        self.group.add_member(group, 3, user);
        self.gshadow.add_member(group, 3, user);
    }

    /// The password field of a user.
    pub(crate) fn password(&self, name: &str) -> Option<&str> {
        self.shadow.field(name, 1)
    }

    /// Sets the password field of a user.
    pub(crate) fn set_password(&mut self, name: &str, field: &str) {
        self.shadow.set(name, 1, field.to_string());
    }

    /// Sets the day of the last change; 0: the password must be changed at the next login.
    pub(crate) fn set_changed(&mut self, name: &str, day: i64) {
        self.shadow.set(name, 2, day.to_string());
    }

    /// Sets the days after which an expired password closes the account.
    pub(crate) fn set_inactive(&mut self, name: &str, days: &str) {
        self.shadow.set(name, 6, days.to_string());
    }

    /// Sets the day on which the account closes.
    pub(crate) fn set_expiry(&mut self, name: &str, day: i64) {
        self.shadow.set(name, 7, day.to_string());
    }
}

fn next(taken: &[u32], system: bool) -> u32 {
    if system {
        return (FIRST_SYSTEM..FIRST_NUMBER).rev().find(|number| !taken.contains(number)).unwrap_or(FIRST_NUMBER - 1);
    }
    let highest = taken.iter().copied().filter(|number| (FIRST_NUMBER..LAST_NUMBER).contains(number)).max();
    let wanted = highest.map_or(FIRST_NUMBER, |number| number + 1);
    (wanted..LAST_NUMBER).find(|number| !taken.contains(number)).unwrap_or(LAST_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_added_and_the_rest_stays() {
        let mut accounts = Accounts::parse(
            "root:x:0:0:root:/root:/bin/bash\n+odd\n",
            "sudo:x:27:a\n",
            "root:*:1::::::\n",
            "sudo:*::a\n",
        );
        let gid = accounts.add_group("web", None, false);
        let user = NewUser { name: "u", uid: None, gid, gecos: "", home: "/home/u", shell: "/bin/sh", system: false };
        accounts.add_user(&user, 20_000);
        accounts.add_member("sudo", "u");
        accounts.add_member("sudo", "u");
        accounts.set_password("u", "!$6$x");
        let [passwd, group, shadow, gshadow] = accounts.render();
        assert_eq!(passwd, "root:x:0:0:root:/root:/bin/bash\n+odd\nu:x:1000:1000::/home/u:/bin/sh\n");
        assert_eq!(group, "sudo:x:27:a,u\nweb:x:1000:\n");
        assert_eq!(shadow, "root:*:1::::::\nu:!$6$x:20000:0:99999:7:::\n");
        assert_eq!(gshadow, "sudo:*::a,u\nweb:!::\n");
        assert_eq!((accounts.owner("u"), accounts.home("u")), (Some((1000, 1000)), Some("/home/u")));
    }

    #[test]
    fn numbers_do_not_collide_and_a_home_cannot_leave_the_root() {
        let accounts = Accounts::parse("a:x:1000:1000::/home/../etc:/bin/sh\nb:x:999:1::/:/x\n", "", "", "");
        assert_eq!((accounts.next_uid(false), accounts.next_uid(true)), (1001, 998));
        assert_eq!(accounts.home("a"), None);
    }
}
