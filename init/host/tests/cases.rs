//! Lines of tmpfiles.d on small roots: exit code and result are those that systemd 257 was recorded with.

#[path = "support/peer.rs"]
mod peer;
#[path = "support/root.rs"]
mod root;

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use root::TestRoot;

/// What most cases begin with.
const THINGS: &str =
    "mkdir -p w/a w/b w/c/d; touch w/a/f w/b/g w/c/h w/i; ln -s /etc w/l; chown 5 w/a; ln -s /etc w/a/l";
/// Old and new files, some of them spoken of by lines.
const AGED: &str = "mkdir -p w/c/old w/c/new w/c/keepme w/c/X/in w/c/y/in w/c/X2; \
    touch w/c/f1 w/c/f2 w/c/X/ff w/c/y/ff w/c/s w/c/keepme/z; chmod +t w/c/s; \
    touch -d '3 days ago' w/c/f1 w/c/X/ff w/c/y/ff w/c/s w/c/keepme/z w/c/old w/c/X2 w/c/X/in";

struct Case {
    setup: &'static str,
    options: &'static [&'static str],
    lines: &'static str,
}

const fn case(setup: &'static str, options: &'static [&'static str], lines: &'static str) -> Case {
    Case { setup, options, lines }
}

const CREATE: &[&str] = &["--create"];
const REMOVE: &[&str] = &["--remove"];
const CLEAN: &[&str] = &["--clean"];

const CASES: &[Case] = &[
    case(THINGS, &["--purge"], "d$ /w/a\nd /w/b\nf$ /w/i\nd$ /w/c\nf /w/c/h"),
    case(THINGS, REMOVE, "R /w/a\nr /w/b\nr /w/i\nD /w/c\nf /w/c/h"),
    case(THINGS, &["--remove", "--dry-run"], "R /w/a\nr /w/b\nr /w/i\nD /w/c"),
    case(THINGS, REMOVE, "r /w/a\nr /w/i\nR /w/l\nr /w/c/*\nR /w/{a,b}"),
    case("mkdir -p w/a w/b; touch w/.hid w/b/g", REMOVE, "R /w/.*\nr /w/[ab]\nR /w/?"),
    case(
        "mkdir -p w/c/old/in; touch w/c/f1 w/c/old/f; ln -s /etc w/c/ln",
        &["--remove", "--create"],
        "D /w/c - - - 1d\nd /w/c/old",
    ),
    case(THINGS, CREATE, "d= /w/i/k\nL+ /w/b - - - - x\nL+ /w/c/h - - - - y\np+ /w/c/d\nf /w/n/m/o 0600 - - - hi"),
    case(THINGS, CREATE, "d /w/a/l/q\nf /w/a/f/x\nd /w/a/new\nf /w/a/f 0644 0 0"),
    case(THINGS, CREATE, "f /w/a/f 0600 root root\nz /w/a/f 0600 root\nL+ /w/a/l - - - - /qq\nd /w/a/new/sub"),
    case(
        THINGS,
        CREATE,
        "d /w/x 2775 7 9\nf /w/x/y 0640 3 4 - hello\\\\world\nf+ /w/i - - - - new\n\
        F /w/c/h 0600 - - - trunc",
    ),
    case(THINGS, CREATE, "w /w/i - - - - W\nw+ /w/b/g - - - - one\nw+ /w/b/g - - - - two\nw /w/none - - - - x"),
    case(
        "mkdir -p w/b w/c/d; touch w/b/g w/i; echo data > w/c/h; chmod 640 w/c/h; chown 3 w/c/h; mkfifo w/c/p",
        CREATE,
        "C /w/copy 0700 7 8 - /w/c\nC+ /w/b - - - - /w/c\nC /w/c - - - - /w/b\nC /w/i2 - - - - /w/i\n\
        C /w/n - - - - /no",
    ),
    case(
        THINGS,
        CREATE,
        "c /w/null 0666 - - - 1:3\nb+ /w/i 0660 0 6 - 7:0\nc /w/a 0600 - - - 1:5\n\
        p /w/fifo 0622 3 4\np /w/i",
    ),
    case(THINGS, CREATE, "z /w/* 0700 8 9\nZ /w/c ~2750 4 5\nZ /w/a 0600"),
    case(THINGS, CREATE, "t /w/i - - - - user.x=y \"user.z=a b\"\nT /w/c - - - - user.x=1"),
    case(
        THINGS,
        CREATE,
        "a+ /w/c - - - - d:group::r-x,d:group:7:r-x,group::r-x,group:7:r-x\n\
        A+ /w/b - - - - d:group:7:r-x,group:7:r-X\na /w/i - - - - u:5:rwX",
    ),
    case(
        THINGS,
        CREATE,
        "a /w/c - - - - g:7:r-x,d:g:7:rwx\nA /w/b - - - - u:9:r-X,m::rwx\na+ /w/i - - - - u:5:rw,o::-\n\
        a+ /w/i - - - - u:6:x",
    ),
    case(THINGS, CREATE, "d /w/m ~0777 :5 :6\nz /w/c :0700 :5\nd /w/c :0711 :5 6"),
    case(THINGS, CREATE, "e /w/* 0750 2 3\ne /w/none"),
    case(THINGS, CREATE, "L /w/q\nL /w/i - - - - x\nL? /w/ll - - - - /w\nL? /w/lm - - - - /nope\nL+? /w/i - - - - /w"),
    case("mkdir -p w/a w/c; ln -s nowhere w/l2; ln -s .. w/a/l", CREATE, "d= /w/l2/x\nf= /w/c\nd= /w/a/l/z"),
    case(THINGS, CREATE, "d relative\nf /w/a/f/g/h\nq /w/sub\nv /w/subv\nQ /w/q 0700\nm /w/i 0600"),
    case(THINGS, CREATE, "d /w/a\nd /w/a\nd /w/a 0700\nf /w/a"),
    case("mkdir w", CREATE, "f /w/o - - - - x\nf /w/e - - - - \"\"\nf /w/d - - - - -\nf~ /w/b - - - - aGVsbG8K"),
    case("mkdir w", CREATE, "f /w/esc - - - - \\x41\\u00e4\\t%%|\nf /w/\"s p\"\\x20q - - - - '  quoted  '"),
    case(THINGS, CREATE, "Z /w - - -\nd /w/../etc\nr /w/../xx\nd /w/./q//"),
    case("mkdir -p w/c; ln -s c w/l; touch w/c/file", CREATE, "w /w/l/file - - - - xx"),
    case("mkdir w", CREATE, "f /w/x 0644 nosuch - - y\nf /w/y - - - - z"),
    case("mkdir w", &["--create", "--graceful"], "f /w/x 4755 nosuch - - y\nf /w/y - - - - z"),
    case("mkdir w", CREATE, "d! /w/boot\nd /w/nb"),
    case(THINGS, &["--create", "--boot", "--remove"], "d! /w/boot\nd /w/nb\nr! /w/i"),
    case("mkdir w", &["--create", "--prefix=/w/q", "--exclude-prefix=/w/q/3"], "d /w/p/1\nd /w/q/2\nd /w/q/3"),
    case(THINGS, CREATE, "d- /w/i/x\nf- /w/a/l/zz\nd /w/ok"),
    case("mkdir w", CREATE, "f-++ /too/many"),
    case("mkdir w", CREATE, "f^ /w/x"),
    case(AGED, CLEAN, "d /w/c - - - 1d\nx /w/c/keep*\nX /w/c/X\nx /w/c/y"),
    case(AGED, CLEAN, "d /w/c - - - m:1d\nx /w/c/keep*\nX /w/c/X\nx /w/c/y"),
    case(AGED, CLEAN, "d /w/c - - - mM:1d\nx /w/c/keep*\nX /w/c/X\nx /w/c/y"),
    case(AGED, CLEAN, "d /w/c - - - ~mM:1d\nX /w/c/X"),
    case(AGED, CLEAN, "d /w/c - - - 0"),
    case(AGED, CLEAN, "e /w/* - - - mM:1d"),
];

fn set_up(root: &TestRoot, setup: &str) {
    let done = Command::new("sh").args(["-e", "-c", setup]).current_dir(root.path()).status().unwrap();
    assert!(done.success(), "{setup}");
}

fn result(number: usize, case: &Case, code: Option<i32>, root: &TestRoot) -> String {
    let (options, lines) = (case.options.join(" "), case.lines.replace('\n', " ; "));
    let code = code.map_or("killed".to_string(), |code| code.to_string());
    format!("== {number} {options}: {lines}\nexit {code}\n{}", root.listing(&[]))
}

#[test]
fn every_case_ends_as_systemd_ends_it() {
    let peer = peer::peer_root();
    let (mut ours, mut theirs) = (String::new(), String::new());
    for (number, case) in CASES.iter().enumerate() {
        let root = TestRoot::new();
        set_up(&root, case.setup);
        let mut arguments = case.options.to_vec();
        arguments.push("-");
        let output = root.run("systemd-tmpfiles", &arguments, &format!("{}\n", case.lines));
        ours.push_str(&result(number, case, output.status.code(), &root));
        if let Some(peer) = &peer {
            theirs.push_str(&by_peer(peer, number, case, &arguments));
        }
    }
    writeln!(ours, "== end").unwrap();
    writeln!(theirs, "== end").unwrap();
    peer::compare("cases.txt", &ours, peer.as_ref().map(|_| theirs.as_str()));
}

fn by_peer(peer: &Path, number: usize, case: &Case, arguments: &[&str]) -> String {
    let root = TestRoot::new_in(peer);
    set_up(&root, case.setup);
    let inside = format!("--root=/{}", root.path().strip_prefix(peer).unwrap().display());
    let mut command = vec!["systemd-tmpfiles", &inside];
    command.extend(arguments);
    let output = peer::run(peer, &command, &format!("{}\n", case.lines));
    result(number, case, output.status.code(), &root)
}
