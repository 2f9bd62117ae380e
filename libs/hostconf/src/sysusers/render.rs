//! The new texts of /etc/passwd, group, shadow and gshadow. Pure.
//!
//! Lines that are there stay as they are, byte for byte, but for members that a group gets; lines of the network's
//! accounts (`+`, `-`) stay last.

use super::plan::{NewGroup, NewUser, Plan};

/// The texts there are; `None`: no such file.
#[derive(Debug, Default, Clone)]
pub struct Texts {
    /// /etc/passwd.
    pub passwd: Option<String>,
    /// /etc/group.
    pub group: Option<String>,
    /// /etc/shadow.
    pub shadow: Option<String>,
    /// /etc/gshadow.
    pub gshadow: Option<String>,
}

/// The texts that change; `None`: the file stays as it is.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// /etc/passwd.
    pub passwd: Option<String>,
    /// /etc/group.
    pub group: Option<String>,
    /// /etc/shadow.
    pub shadow: Option<String>,
    /// /etc/gshadow.
    pub gshadow: Option<String>,
}

/// Makes the new texts. `today`: days since 1970, the day of the password's last change.
pub fn render(plan: &Plan, texts: &Texts, today: u64) -> Rendered {
    let members = |name: &str| -> &[String] {
        plan.members.iter().find(|(group, _)| group == name).map_or(&[], |(_, members)| members)
    };
    let group_line = |group: &NewGroup| format!("{}:x:{}:{}", group.name, group.gid, joined("", members(&group.name)));
    let gshadow_line = |group: &NewGroup| format!("{}:!*::{}", group.name, joined("", members(&group.name)));
    let extended = |line: &str| {
        let (head, list) = line.rsplit_once(':')?;
        let new = members(line.split(':').next()?);
        let old: Vec<&str> = list.split(',').collect();
        let is_new = new.iter().any(|member| !old.contains(&member.as_str()));
        (head.matches(':').count() == 2 && is_new).then(|| format!("{head}:{}", joined(list, new)))
    };
    let lines = |text: &Option<String>, new: Vec<String>, change: &dyn Fn(&str) -> Option<String>| {
        let old = text.as_deref().unwrap_or_default();
        let changed = with_lines(old, &new, change);
        (changed != old).then_some(changed)
    };
    let of_groups = |line: &dyn Fn(&NewGroup) -> String| plan.groups.iter().map(line).collect();
    let has_shadow = |name: &str| texts.shadow.as_deref().is_some_and(|text| has_entry(text, name));
    let new_shadow = plan.users.iter().filter(|user| !has_shadow(&user.name));
    Rendered {
        passwd: lines(&texts.passwd, plan.users.iter().map(passwd_line).collect(), &|_| None),
        group: lines(&texts.group, of_groups(&group_line), &extended),
        shadow: lines(&texts.shadow, new_shadow.map(|user| shadow_line(user, today)).collect(), &|line| {
            refreshed(line, plan, today)
        }),
        gshadow: lines(&texts.gshadow, of_groups(&gshadow_line), &extended),
    }
}

fn has_entry(text: &str, name: &str) -> bool {
    text.lines().any(|line| line.split(':').next() == Some(name))
}

/// The text with its lines changed and new ones before those of the network's accounts.
fn with_lines(text: &str, new: &[String], change: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len() + new.len() * 64);
    let mut is_placed = false;
    let mut place = |out: &mut String| {
        if !std::mem::replace(&mut is_placed, true) {
            new.iter().for_each(|line| out.extend([line, "\n"]));
        }
    };
    for line in text.lines() {
        if line.starts_with(['+', '-']) {
            place(&mut out);
        }
        match change(line) {
            Some(changed) => out.push_str(&changed),
            None => out.push_str(line),
        }
        out.push('\n');
    }
    place(&mut out);
    // A last line without its end stays as it is when nothing follows.
    if new.is_empty() && !text.ends_with('\n') && out.ends_with('\n') {
        out.pop();
    }
    out
}

fn passwd_line(user: &NewUser) -> String {
    let NewUser { name, uid, gid, comment, home, shell, .. } = user;
    format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}")
}

fn shadow_line(user: &NewUser, today: u64) -> String {
    let expires = if user.is_locked { "1" } else { "" };
    format!("{}:{}:{today}:::::{expires}:", user.name, user.password)
}

/// A password that was there before its user keeps its word and gets today's date.
fn refreshed(line: &str, plan: &Plan, today: u64) -> Option<String> {
    let mut fields: Vec<String> = line.split(':').map(str::to_string).collect();
    let user = plan.users.iter().find(|user| Some(&user.name) == fields.first())?;
    *fields.get_mut(2)? = today.to_string();
    if user.is_locked {
        *fields.get_mut(7)? = "1".into();
    }
    Some(fields.join(":"))
}

/// The members there are and the new ones, sorted when one is new.
fn joined(list: &str, new: &[String]) -> String {
    let mut all: Vec<&str> = list.split(',').filter(|member| !member.is_empty()).collect();
    all.extend(new.iter().map(String::as_str));
    all.sort_unstable();
    all.dedup();
    all.join(",")
}
