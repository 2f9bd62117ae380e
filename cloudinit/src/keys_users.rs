//! The keys of users and groups. Pure.

use crate::document::{Node, Value};
use crate::fault::{Faults, Severity};
use crate::language::{Key, Kind, Verdict};
use crate::rules;

const PUBLIC_KEYS: Kind = Kind::Count(&Kind::Text(rules::public_key), 1, usize::MAX);
const IMPORT: &str = "keys are not fetched from the network; give them in 'ssh_authorized_keys'";

/// `users`.
pub(crate) const USERS: Kind = Kind::OneOf(
    &[
        Kind::List(&Kind::OneOf(
            &[Kind::Text(rules::line), Kind::Map(USER, Some(user_together)), Kind::List(&Kind::Text(rules::line))],
            "a map of a user, 'default' or a name",
        )),
        Kind::Text(rules::line),
        Kind::Table(&Kind::Any),
    ],
    "a list of users, each beginning with '- name: '",
);

/// `user`.
pub(crate) const SINGLE: Kind =
    Kind::OneOf(&[Kind::Text(rules::account), Kind::Map(USER, None)], "a name or a map of a user");

/// `groups`.
pub(crate) const GROUPS: Kind = Kind::OneOf(
    &[
        Kind::Count(
            &Kind::OneOf(&[Kind::Text(rules::account), Kind::Table(&MEMBERS)], "a name, or 'name: [members]'"),
            1,
            usize::MAX,
        ),
        Kind::Text(rules::line),
        Kind::Table(&MEMBERS),
    ],
    "a list of groups",
);

const MEMBERS: Kind = Kind::OneOf(
    &[Kind::Text(rules::line), Kind::Count(&Kind::Text(rules::account), 1, usize::MAX), Kind::Null],
    "a list of members",
);

static USER: &[Key] = &[
    Key::new("name", Kind::Text(rules::account), "the login name").required(),
    Key::new("gecos", Kind::Text(rules::field), "the full name"),
    Key::new("homedir", Kind::Text(rules::path), "the home folder; /home/NAME without it"),
    Key::new("primary_group", Kind::Text(rules::account), "the login group; one of the user's own name without it"),
    Key::new(
        "groups",
        Kind::OneOf(
            &[
                Kind::Text(rules::line),
                Kind::Count(&Kind::Text(rules::account), 1, usize::MAX),
                Kind::Table(&Kind::Any),
            ],
            "a list of groups or names with commas between",
        ),
        "further groups; those that are missing are made",
    ),
    Key::new("uid", Kind::OneOf(&[Kind::Int, Kind::Text(uid)], "a number"), "the user number"),
    Key::new("system", Kind::Bool, "a number below 1000 and no home folder"),
    Key::new("no_create_home", Kind::Bool, "make no home folder"),
    Key::new("no_user_group", Kind::Bool, "make no group of the user's name"),
    Key::new("no_log_init", Kind::Bool, "").verdict(Verdict::Silent),
    Key::new("create_groups", Kind::Bool, "make the groups that are missing; true without it"),
    Key::new("shell", Kind::Text(rules::field), "the login shell"),
    Key::new("expiredate", Kind::Scalar(rules::day), "the day after which the account is closed"),
    Key::new("inactive", Kind::Text(rules::line), "days after which an expired password closes the account"),
    Key::new("passwd", Kind::Text(rules::hash), "the hash of the password; only for a new user"),
    Key::new("hashed_passwd", Kind::Text(rules::hash), "the hash of the password, also of an existing user"),
    Key::new("plain_text_passwd", Kind::Text(rules::line), "the password itself; prefer a hash"),
    Key::new("lock_passwd", Kind::Bool, "no login by password; true without it"),
    Key::new(
        "sudo",
        Kind::OneOf(
            &[Kind::Text(rules::line), Kind::List(&Kind::Text(rules::line)), Kind::Bool, Kind::Null],
            "a rule, a list of rules or nothing",
        ),
        "rules of sudo",
    ),
    Key::new("doas", Kind::Any, "").verdict(Verdict::Refused("there is no doas; use 'sudo'")),
    Key::new("ssh_authorized_keys", PUBLIC_KEYS, "public keys that may log in"),
    Key::new("ssh_import_id", Kind::List(&Kind::Text(rules::line)), "accounts elsewhere whose keys may log in")
        .verdict(Verdict::Recorded),
    Key::new(
        "ssh_redirect_user",
        Kind::OneOf(&[Kind::Bool, Kind::Words(&["default"])], "true or false"),
        "let the cloud's keys say which user to log in as",
    ),
    Key::new("selinux_user", Kind::Text(rules::line), "").verdict(Verdict::Recorded),
    Key::new("snapuser", Kind::Any, "")
        .verdict(Verdict::Refused("there is no snap; give the user's keys and password")),
    Key::new("coreos_ssh_import_github", Kind::Any, "").verdict(Verdict::Refused(IMPORT)),
    Key::new("coreos_ssh_import_github_users", Kind::Any, "").verdict(Verdict::Refused(IMPORT)),
    Key::new("coreos_ssh_import_url", Kind::Any, "").verdict(Verdict::Refused(IMPORT)),
];

fn uid(text: &str) -> Result<(), String> {
    text.parse::<u32>().map(|_| ()).map_err(|_| "the user number must be a whole number of at most 4294967295".into())
}

/// Keys have nowhere to go when a user has no home.
fn user_together(user: &Node, faults: &mut Faults) -> bool {
    let homeless =
        ["system", "no_create_home"].into_iter().find(|key| user.get(key).and_then(Node::truth) == Some(true));
    if let (Some(reason), Some(keys)) = (homeless, user.get("ssh_authorized_keys"))
        && user.get("homedir").is_none_or(|_| reason == "no_create_home")
        && matches!(&keys.value, Value::List(items) if !items.is_empty())
    {
        let message = format!("a user with '{reason}: true' has no home folder for keys; leave out one of the two");
        faults.push(Severity::Error, keys.place, message);
    }
    let asks = user.get("ssh_redirect_user").filter(|node| node.truth() != Some(false));
    if let (Some(redirect), Some(_)) = (asks, user.get("ssh_authorized_keys").or_else(|| user.get("ssh_import_id"))) {
        let message =
            "who logs in is sent to the default user, so that keys have no use here; leave out one of the two";
        faults.push(Severity::Error, redirect.place, message);
        return false;
    }
    true
}
