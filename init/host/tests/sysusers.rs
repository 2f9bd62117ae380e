//! `systemd-sysusers` on real files: what is written, what is left alone, and that the second run writes nothing.

#[path = "support/root.rs"]
mod root;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use root::{TestRoot, said};

const LINES: &str = "u etcd 110 \"key-value store\" /var/lib/etcd\ng input 102\nm etcd input\nu! locked -\n";

fn root() -> TestRoot {
    let root = TestRoot::new();
    root.write("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    root.write("/etc/group", "root:x:0:\n");
    root.write("/etc/shadow", "root:*:20000::::::\n");
    root.write("/usr/lib/sysusers.d/a.conf", LINES);
    fs::set_permissions(root.path().join("etc/shadow"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(root.path().join("etc/shadow"), Some(0), Some(42)).unwrap();
    root
}

#[test]
fn accounts_are_added_and_modes_and_predecessors_are_kept() {
    let root = root();
    let output = root.run("systemd-sysusers", &[], "");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Creating user 'etcd' (key-value store) with UID 110 and GID 110."));
    assert!(root.read("/etc/passwd").contains("etcd:x:110:110:key-value store:/var/lib/etcd:/usr/sbin/nologin\n"));
    assert!(root.read("/etc/group").contains("input:x:102:etcd\n"));
    assert!(root.read("/etc/shadow").contains("locked:!*:") && root.read("/etc/shadow").contains(":1:\n"));
    assert_eq!(root.read("/etc/passwd-"), "root:x:0:0:root:/root:/bin/bash\n");
    let data = |name: &str| fs::metadata(root.path().join("etc").join(name)).unwrap();
    assert_eq!((data("shadow").mode() & 0o7777, data("shadow").gid()), (0o640, 42));
    assert_eq!((data("gshadow").mode() & 0o7777, data(".pwd.lock").mode() & 0o7777), (0, 0o600));
}

#[test]
fn the_second_run_writes_and_says_nothing() {
    let root = root();
    root.run("systemd-sysusers", &[], "");
    let inode = |name: &str| fs::metadata(root.path().join("etc").join(name)).unwrap().ino();
    let names = ["passwd", "group", "shadow", "gshadow", "passwd-"];
    let before = names.map(inode);
    fs::remove_file(root.path().join("etc/.pwd.lock")).unwrap();
    let output = root.run("systemd-sysusers", &[], "");
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
    assert_eq!(names.map(inode), before);
    assert!(!root.path().join("etc/.pwd.lock").exists(), "nothing to do needs no lock");
}

#[test]
fn options_change_where_lines_come_from_and_what_is_done() {
    let root = root();
    let output = root.run("systemd-sysusers", &["--dry-run"], "");
    assert!(said(&output).contains("Would write /etc/passwd\u{2026}"));
    assert!(!root.path().join("etc/.pwd.lock").exists() && !root.path().join("etc/gshadow").exists());
    assert!(root.run("systemd-sysusers", &["--inline", "g one 200", "g two 201"], "").status.success());
    assert!(root.read("/etc/group").ends_with("one:x:200:\ntwo:x:201:\n"));
    let replace = "--replace=/usr/lib/sysusers.d/a.conf";
    assert!(root.run("systemd-sysusers", &[replace, "-"], "g three 202\n").status.success());
    assert!(root.read("/etc/group").contains("three:x:202:") && !root.read("/etc/group").contains("input"));
    fs::create_dir_all(root.path().join("etc/sysusers.d")).unwrap();
    std::os::unix::fs::symlink("/dev/null", root.path().join("etc/sysusers.d/a.conf")).unwrap();
    assert!(root.run("systemd-sysusers", &[], "").status.success());
    assert!(!root.read("/etc/group").contains("input"), "a masked file says nothing");
}

#[test]
fn faults_of_named_files_fail_and_those_of_folders_do_not() {
    let root = root();
    root.write("/usr/lib/sysusers.d/0.conf", "x y\n");
    let output = root.run("systemd-sysusers", &[], "");
    assert!(output.status.success() && said(&output).contains("0.conf:1: Unknown command type 'x'."));
    assert!(root.read("/etc/group").contains("input"));
    let output = root.run("systemd-sysusers", &["-"], "g four 204\nx y\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("<stdin>:2: Unknown command type 'x'.") && !root.read("/etc/group").contains("four")
    );
    assert_eq!(root.run("systemd-sysusers", &["/nonexistent.conf"], "").status.code(), Some(1));
    assert_eq!(root.run("systemd-sysusers", &["--nope"], "").status.code(), Some(1));
}

#[test]
fn a_link_in_etc_leads_nowhere_else() {
    let root = root();
    let outside = tempfile::tempdir().unwrap();
    fs::rename(root.path().join("etc"), root.path().join("conf")).unwrap();
    std::os::unix::fs::symlink("/conf", root.path().join("etc")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("x"), root.path().join("conf/gshadow")).unwrap();
    assert!(root.run("systemd-sysusers", &[], "").status.success());
    assert!(root.read("/conf/passwd").contains("etcd") && !outside.path().join("x").exists());
}
