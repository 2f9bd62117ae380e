//! Tests of the plan of sysusers.d: what systemd's own tool answers to the same files.

use super::super::render::{Texts, render};
use super::*;
use crate::specifier::Answer;

struct Here;

impl Facts for Here {
    fn specifier(&self, letter: char) -> Answer {
        if letter == 'H' { Answer::Value("vm".into()) } else { Answer::Unknown }
    }
}

impl Machine for Here {
    fn owner(&self, path: &str) -> Option<(u32, u32)> {
        (path == "/data").then_some((500, 501))
    }

    fn credential(&self, name: &str) -> Option<String> {
        (name == "passwd.hashed-password.cred").then(|| "$6$x".into())
    }
}

/// The files after the lines, and what was said.
fn outcome(text: &str, passwd: &str, group: &str) -> (Vec<String>, [String; 4]) {
    let mut lines = Lines::default();
    lines.read("x.conf", text, &Here);
    lines.add_implied();
    let plan = plan(&lines, &Accounts::read(passwd, group), &Here);
    let texts = Texts { passwd: Some(passwd.into()), group: Some(group.into()), ..Texts::default() };
    let new = render(&plan, &texts, 20_782);
    let or = |new: Option<String>, old: &str| new.unwrap_or_else(|| old.to_string());
    let files = [or(new.passwd, passwd), or(new.group, group), or(new.shadow, ""), or(new.gshadow, "")];
    (plan.said, files)
}

#[test]
fn users_groups_and_members_are_made_in_systemd_s_order() {
    let text = "u foo - \"A foo\" /var/foo /bin/sh\ng bar 300\nm foo bar\nu! baz 400 - - -\nu zed 401:bar - - -\n\
                m other wheel\nu root 0 - /root /bin/bash\n";
    let (_, [passwd, group, shadow, gshadow]) = outcome(text, "", "");
    assert_eq!(
        passwd,
        "foo:x:998:998:A foo:/var/foo:/bin/sh\nbaz:x:400:400::/:/usr/sbin/nologin\n\
         zed:x:401:300::/:/usr/sbin/nologin\nroot:x:0:0::/root:/bin/bash\nother:x:997:997::/:/usr/sbin/nologin\n"
    );
    assert_eq!(group, "bar:x:300:foo\nwheel:x:999:other\nfoo:x:998:\nbaz:x:400:\nroot:x:0:\nother:x:997:\n");
    assert_eq!(
        shadow,
        "foo:!*:20782::::::\nbaz:!*:20782:::::1:\nzed:!*:20782::::::\nroot:!unprovisioned:20782::::::\n\
         other:!*:20782::::::\n"
    );
    assert_eq!(gshadow, "bar:!*::foo\nwheel:!*::other\nfoo:!*::\nbaz:!*::\nroot:!*::\nother:!*::\n");
}

#[test]
fn numbers_are_given_out_from_the_ranges_downwards() {
    let (said, [passwd, group, ..]) = outcome("r - 500-510\nu a -\nu b -\nu c 505:505\ng d -\n", "", "");
    assert_eq!(passwd, "a:x:509:509::/:/usr/sbin/nologin\nb:x:508:508::/:/usr/sbin/nologin\n");
    assert_eq!(group, "d:x:510:\na:x:509:\nb:x:508:\n");
    assert_eq!(said.last().map(String::as_str), Some("Failed to create c: please create GID 505"));
    let (said, _) = outcome("r - 5-5\ng a -\ng b -\n", "", "");
    assert_eq!(said, ["Creating group 'a' with GID 5.", "No free group ID available for b."]);
}

#[test]
fn numbers_of_others_are_not_reused() {
    let (said, [passwd, ..]) = outcome("u a 999\ng b 999\n", "exist:x:999:999::/:/bin/sh\n", "exist:x:999:\n");
    assert_eq!(passwd, "exist:x:999:999::/:/bin/sh\na:x:997:997::/:/usr/sbin/nologin\n");
    assert_eq!(said.first().map(String::as_str), Some("Suggested group ID 999 for b already used."));
    let (_, [passwd, group, ..]) = outcome("u a 200\n", "b:x:200:7::/:/bin/sh\n", "z:x:200:\n");
    assert!(passwd.ends_with("a:x:999:999::/:/usr/sbin/nologin\n") && group.ends_with("a:x:999:\n"));
    let (_, [_, group, ..]) = outcome("g a 200\n", "b:x:200:7::/:/bin/sh\n", "");
    assert_eq!(group, "a:x:200:\n");
}

#[test]
fn groups_by_name_and_number_must_be_there() {
    let (said, [passwd, ..]) = outcome("u a -:bar\ng bar -\nu c -:none\nu d 100:200\nu e 101:20\n", "", "q:x:20:\n");
    assert_eq!(passwd, "a:x:998:999::/:/usr/sbin/nologin\ne:x:101:20::/:/usr/sbin/nologin\n");
    assert!(said.contains(&"Group none not found.".to_string()), "{said:?}");
    assert!(said.contains(&"Failed to create d: please create GID 200".to_string()), "{said:?}");
}

#[test]
fn what_is_there_stays_and_members_are_merged() {
    let (said, [passwd, group, ..]) = outcome("m b q\nm a q\n", "b:x:7:7::/:/bin/sh\n", "q:x:200:z\n#remark\n+\n");
    assert_eq!(passwd, "b:x:7:7::/:/bin/sh\na:x:998:998::/:/usr/sbin/nologin\n");
    assert_eq!(group, "q:x:200:a,b,z\n#remark\nb:x:999:\na:x:998:\n+\n");
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(outcome("u b 9\ng q 9\nm b q\n", "b:x:7:7::/:/bin/sh\n", "q:x:200:b\nb:x:7:").0, Vec::<String>::new());
}

#[test]
fn owners_of_files_credentials_and_specifiers_count() {
    let (_, [passwd, group, shadow, _]) = outcome("u a /data \"on %H\"\nu cred 7\n", "", "");
    assert_eq!(passwd, "a:x:500:501:on vm:/:/usr/sbin/nologin\ncred:x:7:7::/:/usr/sbin/nologin\n");
    assert_eq!(group, "a:x:501:\ncred:x:7:\n");
    assert!(shadow.ends_with("cred:$6$x:20782::::::\n"));
}

#[test]
fn an_old_password_gets_its_user_back() {
    let mut lines = Lines::default();
    lines.read("x.conf", "u! a 5\n", &Here);
    let plan = plan(&lines, &Accounts::default(), &Here);
    let texts = Texts { shadow: Some("root:x:1::::::\na:foo:2::::::\n".into()), ..Texts::default() };
    let shadow = render(&plan, &texts, 20_782).shadow.unwrap();
    assert_eq!(shadow, "root:x:1::::::\na:foo:20782:::::1:\n");
}
