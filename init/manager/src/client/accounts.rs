//! Users of /etc/passwd. Read without NSS: the image has no other source of users.

use anyhow::{Context, Result, anyhow};

/// Bytes of /etc/passwd that are read at most.
const PASSWD_MAX: usize = 1024 * 1024;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    pub shell: String,
}

/// The user of a name, a number, or a number with `#` in front.
pub fn account(who: &str) -> Result<Account> {
    let bytes = std::fs::read("/etc/passwd").context("reading '/etc/passwd'")?;
    let text = String::from_utf8_lossy(bytes.get(..PASSWD_MAX).unwrap_or(&bytes));
    find(&text, who).ok_or_else(|| anyhow!("unknown user '{who}'"))
}

fn find(passwd: &str, who: &str) -> Option<Account> {
    let number = who.strip_prefix('#').unwrap_or(who);
    let accounts: Vec<Account> = passwd.lines().filter_map(parse).collect();
    let by_name = accounts.iter().find(|account| account.name == who);
    by_name.or_else(|| accounts.iter().find(|account| account.uid.to_string() == number)).cloned()
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let home = fields.nth(1)?.to_owned();
    let shell = fields.next().filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh").to_owned();
    Some(Account { name, uid, gid, home, shell })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\ncore:x:1000:1000:,,:/home/core:\n5:x:7:7::/:/bin/a\n";
        assert_eq!(find(passwd, "root").expect("found").shell, "/bin/bash");
        let core = find(passwd, "#1000").expect("found");
        assert_eq!((core.name.as_str(), core.home.as_str(), core.shell.as_str()), ("core", "/home/core", "/bin/sh"));
        assert_eq!(find(passwd, "5").expect("a name goes first").uid, 7);
        assert_eq!(find(passwd, "nobody"), None);
    }
}
