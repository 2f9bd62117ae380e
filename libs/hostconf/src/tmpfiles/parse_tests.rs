//! Tests of lines of tmpfiles.d: faults in systemd's words, and what a good line means.

use super::*;
use crate::specifier::Answer;

pub(in crate::tmpfiles) struct Here;

impl Facts for Here {
    fn specifier(&self, letter: char) -> Answer {
        match letter {
            'm' => Answer::Value("0123".into()),
            'b' => Answer::Unresolvable,
            _ => Answer::Unknown,
        }
    }
}

impl Machine for Here {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "root").then_some(0)
    }
    fn group(&self, name: &str) -> Option<u32> {
        (name == "adm").then_some(4)
    }
    fn credential(&self, name: &str) -> Option<Vec<u8>> {
        (name == "motd").then(|| b"aGk=".to_vec())
    }
    fn exists(&self, path: &str) -> bool {
        path.starts_with("/usr")
    }
}

fn read_with(text: &str, options: &Options) -> (Result<Option<Item>, String>, Vec<String>) {
    let place = Place { file: "x".into(), line: 1 };
    let mut notices = Vec::new();
    let item = line(text, &place, options, &Here, &mut notices).map_err(|fault| fault.message);
    (item, notices.into_iter().map(|fault| fault.message).collect())
}

fn read(text: &str) -> Result<Option<Item>, String> {
    read_with(text, &Options { is_boot: true, ..Options::default() }).0
}

#[test]
fn faults_have_the_words_of_systemd() {
    let cases = [
        ("f-++ /too/many", "Unknown modifiers in command: f-++"),
        ("; comment", "Path 'comment' not absolute."),
        ("C /a b c d e f g", "Source path 'f g' is not absolute."),
        ("C /a - - - - f g", "Source path 'f g' is not absolute."),
        ("f^ /tmp/aa", "Reading from credential requested, but no credential name specified."),
        ("f~ /tmp/aa - - - - !!!", "Failed to base64 decode specified argument '!!!': Invalid argument"),
        ("d /a 0755 nouser -", "Failed to resolve user 'nouser': No such process"),
        ("d relative", "Path 'relative' not absolute."),
        ("d", "Syntax error."),
        ("f? /a", "Modifier '?' combined with line type 'f' which does not support this modifier."),
        ("z$ /a", "Modifier '$' combined with line type 'z' which does not support this modifier."),
        ("f /a 0644 - - - %Z", "Failed to substitute specifiers in argument: Invalid slot"),
        ("f /a%Z", "Failed to replace specifiers in '/a%Z': Invalid slot"),
        ("f /a 9999", "Invalid mode '9999'."),
        ("f /a - - - 5x", "Invalid age '5x'."),
        ("f /a - - - q:5", "Invalid age-by 'q'."),
        ("f /a - - - - a\\qb", "Failed to substitute specifiers in argument: Invalid argument"),
        ("c /a - - - - 13", "Can't parse device file major/minor '13'."),
        ("w /a", "Write file requires argument."),
        ("d \"/a", "Failed to parse line: Invalid argument"),
        ("y /a", "Unknown command type 'y'."),
        ("L~ /a", "base64 decoding not supported for symlink targets."),
        ("h /a - - - - +q", "Unknown file attribute 'q' on '/a'."),
    ];
    for (text, message) in cases {
        assert_eq!(read(text), Err(message.to_string()), "{text}");
    }
}

#[test]
fn a_line_means_what_its_fields_say() {
    let item = read("  d=-   \"/tmp/sp ace\"/x\\x20y//  ~:2750 :root adm ~aM:1w").unwrap().unwrap();
    assert_eq!((item.kind, item.path.as_str()), (Kind::Folder, "/tmp/sp ace/x y"));
    assert_eq!((item.replaces, item.may_fail, item.is_forced), (true, true, false));
    assert_eq!(item.mode, Mode { bits: 0o2750, is_set: true, is_masked: true, only_new: true });
    assert_eq!(item.user, Some(Owner { id: 0, only_new: true }));
    assert_eq!(item.group, Some(Owner { id: 4, only_new: false }));
    let age = item.age.unwrap();
    assert_eq!((age.microseconds, age.keeps_first_level), (604_800_000_000, true));
    assert_eq!(age.of_files, Times { access: true, ..Times::NONE });
    assert_eq!(age.of_folders, Times { modification: true, ..Times::NONE });
}

#[test]
fn arguments_are_unescaped_decoded_and_found() {
    let data = |text: &str| read(text).unwrap().map(|item| item.data);
    assert_eq!(data("f /a - - - - \"q\"  x\\n\\x41%m%%"), Some(Data::Bytes(b"\"q\"  x\nA0123%".to_vec())));
    assert_eq!(data("f~ /a - - - - aGk="), Some(Data::Bytes(b"hi".to_vec())));
    assert_eq!(data("f^~ /a - - - - motd"), Some(Data::Bytes(b"hi".to_vec())));
    assert_eq!(data("f^ /a - - - - none"), None);
    assert_eq!(data("f /a%b"), None);
    assert_eq!(data("f /a"), Some(Data::None));
    assert_eq!(data("L /a"), Some(Data::Path("/usr/share/factory/a".into())));
    assert_eq!(data("L? /a - - - - ../x"), None);
    assert_eq!(data("C /a - - - - /none"), None);
    assert_eq!(data("C /a - - - - /usr//x/"), Some(Data::Path("/usr/x".into())));
    assert_eq!(data("c /a - - - - 1:3"), Some(Data::Device(1, 3)));
    let pairs = vec![("user.a".to_string(), "b".to_string()), ("user.c".into(), "d e".into())];
    assert_eq!(data("t /a - - - - user.a=b bad \"user.c=d e\""), Some(Data::Xattrs(pairs)));
}

#[test]
fn options_leave_lines_out() {
    let counts = |text: &str, options: &Options| read_with(text, options).0.unwrap().is_some();
    assert!(!counts("d! /a", &Options::default()) && counts("d /a", &Options::default()));
    let options = Options { prefixes: vec!["/run".into()], excluded: vec!["/run/x".into()], ..Options::default() };
    let paths = ["/run/y", "/run/x/y", "/etc", "/var/run/y"].map(|path| counts(&format!("d {path}"), &options));
    assert_eq!(paths, [true, false, false, true]);
    let graceful = Options { is_graceful: true, ..Options::default() };
    let (item, notices) = read_with("d /a 2750 nobody -", &graceful);
    assert_eq!(item.unwrap().unwrap().mode.bits, 0o750);
    assert_eq!(notices, ["Changing mode 02750 to 0750 because of changed ownership."]);
}

#[test]
fn remarks_are_made_where_a_line_still_counts() {
    let notices = |text: &str| read_with(text, &Options::default()).1;
    assert_eq!(notices("x /a - - - - arg"), ["x lines don't take argument fields, ignoring."]);
    assert!(notices("d /var/run/z/s").first().unwrap().contains("updating /var/run/z/s \u{2192} /run/z/s; please"));
    assert!(
        notices("a /a - - - - g:none:r").first().unwrap().starts_with("Failed to parse ACL \"g:none:r\", ignoring")
    );
}
