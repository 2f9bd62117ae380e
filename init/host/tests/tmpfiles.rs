//! `systemd-tmpfiles` against those who plant links, races of kinds, and wrong lines.

#[path = "support/root.rs"]
mod root;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use root::{TestRoot, said};

/// The number of somebody who may write to a folder of his own.
const MALLORY: u32 = 1234;

/// A root with a secret and a folder of Mallory's.
fn attacked() -> TestRoot {
    let root = TestRoot::new();
    root.write("/etc/secret", "secret");
    fs::set_permissions(root.path().join("etc/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    for folder in ["home/m", "home/m/sub", "run", "tmp"] {
        fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    for folder in ["home/m", "home/m/sub"] {
        chown(root.path().join(folder), Some(MALLORY), Some(MALLORY)).unwrap();
    }
    root
}

fn planted(root: &TestRoot, path: &str, target: &str) {
    let path = root.path().join(path);
    symlink(target, &path).unwrap();
    std::os::unix::fs::lchown(&path, Some(MALLORY), Some(MALLORY)).unwrap();
}

fn assert_unharmed(root: &TestRoot) {
    let data = fs::metadata(root.path().join("etc/secret")).unwrap();
    assert_eq!((data.mode() & 0o7777, data.uid()), (0o600, 0));
    assert_eq!(root.read("/etc/secret"), "secret");
    assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 1, "nothing was made in /etc");
}

#[test]
fn a_planted_link_is_not_followed() {
    for line in [
        "f /home/m/link/new 0666 1234 1234 - x",
        "d /home/m/link/new 0777 1234 1234",
        "L /home/m/link/new - - - - /x",
        "p /home/m/link/new 0666 1234",
        "C /home/m/link/new 0666 1234 - - /etc/secret",
        "z /home/m/link/secret 0666 1234",
        "Z /home/m/link 0666 1234",
        "w /home/m/link/secret - - - - x",
        "w /home/m/file - - - - x",
        "f+ /home/m/link/secret - - - - x",
        "F /home/m/file 0666 1234 - - x",
        "f /home/m/file 0666 1234 - - x",
        "a /home/m/link/secret - - - - u:1234:rw",
        "h /home/m/link/secret - - - - +d",
        "t /home/m/link/secret - - - - user.x=y",
        "z /home/m/*/secret 0666 1234",
    ] {
        let root = attacked();
        planted(&root, "home/m/link", "/etc");
        planted(&root, "home/m/file", "/etc/secret");
        let output = root.run("systemd-tmpfiles", &["--create", "-"], &format!("{line}\n"));
        assert_unharmed(&root);
        assert!([Some(0), Some(73)].contains(&output.status.code()), "{line}: {}", said(&output));
        let is_refused = output.status.code() == Some(73);
        assert!(is_refused || line.contains('*') || line.starts_with('Z'), "{line}: it must be told");
    }
}

#[test]
fn removing_and_cleaning_stay_where_they_are() {
    for (line, operation) in [
        ("R /home/m/link/secret", "--remove"),
        ("r /home/m/link/secret", "--remove"),
        ("R /home/m/*/secret", "--remove"),
        ("D /home/m", "--remove"),
        ("D /home/m/link", "--remove"),
        ("R /home/m/link", "--remove"),
        ("e /home/m - - - 0", "--clean"),
        ("e /home/m/* - - - 0", "--clean"),
        ("d /home/m/link - - - 0", "--clean"),
        ("d$ /home/m/link", "--purge"),
        ("d$ /home/m", "--purge"),
    ] {
        let root = attacked();
        planted(&root, "home/m/link", "/etc");
        root.run("systemd-tmpfiles", &[operation, "-"], &format!("{line}\n"));
        assert_unharmed(&root);
    }
}

#[test]
fn a_hard_link_to_a_file_of_root_is_not_given_away() {
    let root = attacked();
    fs::hard_link(root.path().join("etc/secret"), root.path().join("home/m/hard")).unwrap();
    let output =
        root.run("systemd-tmpfiles", &["--create", "-"], "z /home/m/hard 0666 1234\nw /home/m/hard - - - - x\n");
    // The step from Mallory's folder to a file of root's is refused before the link count matters.
    assert_eq!(output.status.code(), Some(73), "{}", said(&output));
    assert_unharmed(&root);
}

#[test]
fn no_link_leads_out_of_the_root() {
    let root = attacked();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("file"), "outside").unwrap();
    symlink(outside.path(), root.path().join("out")).unwrap();
    symlink("../../../../../../../..", root.path().join("up")).unwrap();
    let target = outside.path().display().to_string();
    let lines = format!(
        "d /out/new\nf /up{target}/new2\nw /out/file - - - - x\nz /out/file 0777\nC /copy - - - - /out/file\n\
         L /link - - - - {target}\nd /link/new3\nR /out/file\n"
    );
    root.run("systemd-tmpfiles", &["--create", "--remove", "-"], &lines);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "outside");
    // What the root itself has at this path was made instead.
    assert!(root.path().join(target.trim_start_matches('/')).join("new2").is_file());
    assert!(!root.path().join("copy").exists());
}

#[test]
fn a_folder_that_is_moved_away_in_between_does_not_matter() {
    let root = attacked();
    let (home, stop) = (root.path().join("home/m"), root.path().join("stop"));
    let mover = {
        let (home, stop) = (home.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut rounds = 0_u32;
            while !stop.exists() {
                let _ = fs::rename(home.join("sub"), home.join("aside"));
                let _ = symlink("/etc", home.join("sub"));
                let _ = std::os::unix::fs::lchown(home.join("sub"), Some(MALLORY), Some(MALLORY));
                let _ = fs::remove_file(home.join("sub"));
                let _ = fs::rename(home.join("aside"), home.join("sub"));
                rounds += 1;
            }
            rounds
        })
    };
    let lines = "f /home/m/sub/secret 0666 1234 1234 - x\nz /home/m/sub/secret 0666 1234\nR /home/m/sub/secret\n";
    for _ in 0..200 {
        root.run("systemd-tmpfiles", &["--create", "--remove", "-"], lines);
    }
    fs::write(&stop, "").unwrap();
    assert!(mover.join().unwrap() > 0);
    assert_unharmed(&root);
}

#[test]
fn the_second_run_changes_nothing() {
    let root = attacked();
    root.write(
        "/usr/lib/tmpfiles.d/a.conf",
        "d /run/a 0750 7 8\nf /run/a/f 0640 - - - text\nL /run/l - - - - a\nC /run/c - - - - /etc/secret\n\
         f+ /run/g - - - - \n",
    );
    let run = || {
        let output = root.run("systemd-tmpfiles", &["--create", "--remove", "--boot"], "");
        assert!(output.status.success(), "{}", said(&output));
        let changed = |path: &str| {
            let data = fs::symlink_metadata(root.path().join(path)).unwrap();
            (data.ino(), data.ctime(), data.ctime_nsec())
        };
        (root.listing(&[]), ["run/a", "run/a/f", "run/l", "run/c", "run/g"].map(changed))
    };
    assert_eq!(run(), run());
}

#[test]
fn faults_have_their_exit_codes() {
    let root = attacked();
    let code = |arguments: &[&str], lines: &str| root.run("systemd-tmpfiles", arguments, lines).status.code();
    assert_eq!(code(&["--create", "-"], "d /run/x\n"), Some(0));
    assert_eq!(code(&["--create", "-"], "y /run/x\nd /run/y\n"), Some(65));
    assert!(root.path().join("run/y").is_dir(), "a wrong line does not keep the others");
    assert_eq!(code(&["--create", "-"], "F /run/x\n"), Some(73));
    assert_eq!(code(&["--create", "-"], "f^ /run/z\n"), Some(1));
    assert_eq!(code(&["-"], ""), Some(1));
    assert_eq!(code(&["--create", "/nonexistent"], ""), Some(1));
    assert_eq!(code(&["--purge"], ""), Some(1));
    assert_eq!(code(&["--create", "--user"], ""), Some(1));
}

#[test]
fn what_is_locked_or_not_old_is_not_cleaned() {
    let root = attacked();
    let folder = root.path().join("tmp");
    let old = |name: &str| {
        let path = folder.join(name);
        fs::write(&path, "").unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7 * 24 * 3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        path
    };
    let (gone, locked, new) = (old("gone"), old("locked"), folder.join("new"));
    fs::write(&new, "").unwrap();
    let held = fs::File::open(&locked).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = modified(&folder);
    assert_eq!(root.run("systemd-tmpfiles", &["--clean", "-"], "d /tmp - - - m:5d\n").status.code(), Some(0));
    assert_eq!([gone.exists(), locked.exists(), new.exists()], [false, true, true]);
    assert_eq!(modified(&folder), before, "the folder's own time stays");
}
