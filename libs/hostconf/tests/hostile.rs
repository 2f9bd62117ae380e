//! Lines made at random, from parts that mean something and from none: every reader answers, none panics.

use ferrite_hostconf::specifier::{Answer, Facts};
use ferrite_hostconf::sysusers::{Accounts, Lines, Texts, plan, render};
use ferrite_hostconf::tmpfiles::{Operations, Options, Rules, acl};
use ferrite_hostconf::{modules_load, variables};
use ferrite_pattern::{expand_braces, matches_path};
use proptest::prelude::*;

struct Here;

impl Facts for Here {
    fn specifier(&self, letter: char) -> Answer {
        match letter {
            'm' => Answer::Value("0123456789abcdef".into()),
            'b' => Answer::Unresolvable,
            _ => Answer::Unknown,
        }
    }
}

impl ferrite_hostconf::tmpfiles::Machine for Here {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "root").then_some(0)
    }
    fn group(&self, name: &str) -> Option<u32> {
        (name == "adm").then_some(4)
    }
    fn credential(&self, name: &str) -> Option<Vec<u8>> {
        name.len().is_multiple_of(2).then(|| vec![0, 255, b'%'])
    }
    fn exists(&self, path: &str) -> bool {
        path.len().is_multiple_of(2)
    }
}

impl ferrite_hostconf::sysusers::Machine for Here {
    fn owner(&self, path: &str) -> Option<(u32, u32)> {
        path.len().is_multiple_of(2).then_some((path.len() as u32, 500))
    }
    fn credential(&self, _: &str) -> Option<String> {
        None
    }
}

/// A field as people and fools write it.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "-", "root", "adm", ":root", "0755", "~:2750", "aM:1w", "~10d", "0", "/a/b", "/a/*", "/var/run/x",
            "%m", "%b",
            "%Z", "%",
            "\"", "\"a b\"", "\\x41", "\\", "/..", "//", "/", "/a/{b,c}", "user.a=b", "1:3", "+C", "=",
            "d:group:adm:r-X,u:0:rw", "500-510", "100:200", "-:adm", ":", "4294967295",
            "99999999999", "aGk=", "[", "[!-]",
        ]).prop_map(str::to_string),
        1 => ".{0,12}",
    ]
}

fn line(actions: &'static [&'static str]) -> impl Strategy<Value = String> {
    let action = prop_oneof![4 => prop::sample::select(actions.to_vec()).prop_map(str::to_string), 1 => ".{0,4}"];
    (action, prop::collection::vec(field(), 0..9)).prop_map(|(action, fields)| format!("{action} {}", fields.join(" ")))
}

const TMPFILES: &[&str] = &[
    "f", "f+", "F", "w", "w+", "d", "D!", "e", "v", "q", "Q", "p", "p+", "L", "L+", "L?", "c", "b", "C", "C+", "x",
    "X", "r", "R", "z", "Z", "t", "T", "h", "H", "a", "a+", "A", "A+", "f^", "f~", "f^~", "d=", "d-", "d$", "m", "#",
    ";",
];
const SYSUSERS: &[&str] = &["u", "u!", "g", "m", "r", "#", "x"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn tmpfiles_lines_are_answered(lines in prop::collection::vec(line(TMPFILES), 0..12)) {
        let text = lines.join("\n");
        let mut rules = Rules::default();
        rules.read("x", &text, &Options { is_boot: true, ..Options::default() }, &Here);
        rules.link();
        let steps = rules.steps(Operations { create: true, clean: true, remove: true, purge: true });
        // Every item has each of the four operations exactly once.
        prop_assert_eq!(steps.len() % 4, 0);
        prop_assert!(steps.iter().all(|step| step.item.path.starts_with('/')));
        rules.speaks_of("/a/b");
    }

    #[test]
    fn sysusers_lines_make_files_that_can_be_read_again(lines in prop::collection::vec(line(SYSUSERS), 0..12)) {
        let mut read = Lines::default();
        read.read("x", &lines.join("\n"), &Here);
        read.add_implied();
        let accounts = Accounts::read("root:x:0:0::/:/bin/sh\n", "root:x:0:\nadm:x:4:\n");
        let first = plan(&read, &accounts, &Here);
        let texts = Texts {
            passwd: Some("root:x:0:0::/:/bin/sh\n".into()),
            group: Some("root:x:0:\nadm:x:4:\n".into()),
            ..Texts::default()
        };
        let rendered = render(&first, &texts, 20_000);
        let passwd = rendered.passwd.clone().unwrap_or_else(|| texts.passwd.clone().unwrap());
        let group = rendered.group.clone().unwrap_or_else(|| texts.group.clone().unwrap());
        prop_assert!(passwd.lines().all(|line| line.split(':').count() == 7), "{}", passwd);
        prop_assert!(group.lines().all(|line| line.split(':').count() == 4), "{}", group);
        // Nothing is left to do, and no number was given out twice.
        let second = plan(&read, &Accounts::read(&passwd, &group), &Here);
        prop_assert!(second.users.is_empty() && second.groups.is_empty(), "{:?}", second);
        let mut ids: Vec<&str> = passwd.lines().filter_map(|line| line.split(':').nth(2)).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), passwd.lines().count());
    }

    #[test]
    fn anything_is_answered(
        text in "\\PC{0,200}",
        path in "[/a-c.*?\\[\\]{},\\\\!-]{0,24}",
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut settings = variables::Settings::default();
        settings.read("x", &text, &[]);
        settings.values(&|_| vec!["a".into(), "b".into()]);
        modules_load::of_command_line(&text);
        matches_path(&path, "/a/b.c");
        expand_braces(&path);
        if let Some(list) = acl::decode(&bytes) {
            prop_assert_eq!(acl::decode(&acl::encode(&list)), Some(list));
        }
    }
}
