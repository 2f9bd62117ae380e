//! `systemctl --root=R enable` against the links that systemd made, for units of real packages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn golden(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units/golden").join(name);
    assert!(path.exists(), "{} is missing: the recorded answers must lie beside the repository", path.display());
    path
}

/// Unpacks the corpus with the tools of the host.
fn unpack(into: &Path) -> PathBuf {
    let archive = golden("corpus_unit_root.tar.zst");
    let status = Command::new("tar").arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(into).status();
    assert!(status.expect("tar runs").success(), "unpacking {} needs tar and zstd", archive.display());
    into.join("corpus_unit_root")
}

fn systemctl(root: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemctl"));
    command.arg(format!("--root={}", root.display())).args(words).output().expect("systemctl runs")
}

/// All links below /etc and /run of the root, as the recorded answers write them.
fn links(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![root.join("etc"), root.join("run")];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if let Ok(target) = std::fs::read_link(&path) {
                let place = path.strip_prefix(root).expect("below the root");
                found.insert(format!("{} -> {}", place.display(), target.display()));
            } else if path.is_dir() {
                left.push(path);
            }
        }
    }
    found
}

#[test]
fn enabling_makes_the_links_of_systemd_and_disabling_takes_them_away() {
    let folder = tempfile::tempdir().expect("a directory");
    let root = unpack(folder.path());
    let text = std::fs::read_to_string(golden("enable.tsv")).expect("recorded answers");
    let mut faults = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [unit, code, expected] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("a short row: {line}") };
        let before = links(&root);
        let output = systemctl(&root, &["enable", unit]);
        let found: Vec<String> = links(&root).difference(&before).cloned().collect();
        if output.status.code().map(|code| code.to_string()).as_deref() != Some(code) || found.join(" | ") != expected {
            faults.push(format!("{unit}: expected {code} {expected}\n  found {:?} {found:?}", output.status.code()));
        }
        systemctl(&root, &["disable", unit]);
        if links(&root) != before {
            faults.push(format!("{unit}: links are left after disable"));
        }
    }
    assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults.join("\n"));
}

fn small_root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write(
        "usr/lib/systemd/system/a.service",
        "[Install]\nWantedBy=multi-user.target\nAlias=b.service\nAlso=a.socket\n",
    );
    write("usr/lib/systemd/system/a.socket", "[Install]\nWantedBy=sockets.target\n");
    write("usr/lib/systemd/system/t@.service", "[Install]\nWantedBy=multi-user.target\nDefaultInstance=one\n");
    write("usr/lib/systemd/system/n@.service", "[Install]\nWantedBy=multi-user.target\n");
    write("usr/lib/systemd/system/s.service", "[Service]\nExecStart=/bin/true\n");
    write("usr/lib/systemd/system/multi-user.target", "[Unit]\n");
    write("usr/lib/systemd/system/sockets.target", "[Unit]\n");
    write("usr/lib/systemd/system-preset/90-x.preset", "disable a.*\nenable t@.service two three\nenable *\n");
    write("usr/lib/systemd/system/t@.target", "[Unit]\n");
    write("opt/linked.service", "[Install]\nWantedBy=multi-user.target\n");
    root
}

/// Runs commands one after the other; the exit code of the last, its output, and all links.
fn after(root: &Path, lines: &[&str]) -> (i32, String, Vec<String>) {
    let mut last = (0, String::new());
    for line in lines {
        let output = systemctl(root, &line.split(' ').collect::<Vec<_>>());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        last = (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr));
    }
    (last.0, last.1, links(root).into_iter().collect())
}

#[test]
fn every_verb_has_its_links_words_and_exit_code() {
    let etc = "etc/systemd/system";
    let lib = "/usr/lib/systemd/system";
    let wants = |unit: &str, file: &str| format!("{etc}/multi-user.target.wants/{unit} -> {lib}/{file}");
    for (lines, code, words, expected) in [
        (&["enable s.service"][..], 0, "The unit files have no installation config", vec![]),
        (&["enable gone.service"], 1, "Failed to enable unit: Unit gone.service does not exist\n", vec![]),
        (&["enable t@.service"], 0, "", vec![wants("t@one.service", "t@.service")]),
        (&["enable n@.service"], 1, "Refusing to operate on template unit n@.service when destination unit", vec![]),
        (&["enable n@x.service"], 0, "Created symlink '", vec![wants("n@x.service", "n@.service")]),
        (&["mask s"], 0, "", vec![format!("{etc}/s.service -> /dev/null")]),
        (&["mask s", "is-enabled s"], 1, "masked\n", vec![format!("{etc}/s.service -> /dev/null")]),
        (&["mask s", "enable s"], 1, "is masked\n", vec![format!("{etc}/s.service -> /dev/null")]),
        (&["mask s", "unmask s"], 0, "Removed '", vec![]),
        (&["mask --runtime s"], 0, "", vec!["run/systemd/system/s.service -> /dev/null".to_owned()]),
        (&["is-enabled a"], 1, "disabled\n", vec![]),
        (&["is-enabled gone"], 4, "not-found\n", vec![]),
        (&["is-enabled s gone"], 0, "static\nnot-found\n", vec![]),
        (&["add-wants multi-user s"], 0, "", vec![wants("s.service", "s.service")]),
        (&["set-default multi-user"], 0, "", vec![format!("{etc}/default.target -> {lib}/multi-user.target")]),
        (
            &["set-default multi-user", "get-default"],
            0,
            "multi-user.target\n",
            vec![format!("{etc}/default.target -> {lib}/multi-user.target")],
        ),
        (
            &["set-default t@"],
            1,
            "Failed to set default unit: Operation on 't@.target' failed: Invalid argument\n",
            vec![],
        ),
        (&["set-default gone"], 1, "Failed to set default unit: Unit gone.target does not exist\n", vec![]),
        (
            &["link /opt/linked.service", "is-enabled linked"],
            1,
            "linked\n",
            vec![format!("{etc}/linked.service -> /opt/linked.service")],
        ),
        (&["link relative.service"], 1, "Non-absolute paths are not allowed when --root= is used", vec![]),
        (
            &["preset a.service t@.service"],
            0,
            "",
            vec![wants("t@three.service", "t@.service"), wants("t@two.service", "t@.service")],
        ),
        (&["enable a", "preset-all --preset-mode=disable-only"], 0, "Removed '", vec![]),
    ] {
        let root = small_root();
        let (found, text, made) = after(root.path(), lines);
        assert_eq!((found, &made), (code, &expected), "{lines:?}: {text}");
        assert!(text.contains(words), "{lines:?}: {text}");
    }
}

#[test]
fn names_that_belong_together_come_and_go_together() {
    let root = small_root();
    let (code, text, made) = after(root.path(), &["enable a.service"]);
    assert_eq!((code, made.len()), (0, 3), "{text}");
    assert_eq!(after(root.path(), &["is-enabled b.service"]).1, "alias\n");
    // Of another root, systemd tells no links.
    assert_eq!(after(root.path(), &["is-enabled --full a.service"]).1, "enabled\n");
    // A file of the administrator hides the vendor's until it is reverted.
    std::fs::write(root.path().join("etc/systemd/system/a.socket"), "[Install]\n").expect("written");
    assert_eq!(after(root.path(), &["revert a.socket", "is-enabled a.socket"]).1, "enabled\n");
    // So does one whose links lead to it; where nothing runs they are left as they are, and mean the vendor's by name.
    std::fs::write(root.path().join("etc/systemd/system/s.service"), "[Install]\nWantedBy=multi-user.target\n")
        .expect("written");
    let lines = ["enable s.service", "revert s.service", "is-enabled s.service"];
    let (_, _, made) = after(root.path(), &lines);
    let wanted = "etc/systemd/system/multi-user.target.wants/s.service -> /etc/systemd/system/s.service";
    assert!(made.iter().any(|link| link == wanted), "{made:?}");
    assert!(!root.path().join("etc/systemd/system/s.service").exists());
    let (_, _, made) = after(root.path(), &["disable a.service", "disable s.service"]);
    assert_eq!(made, Vec::<String>::new());
    let listed = after(root.path(), &["list-unit-files --no-legend a.*"]).1;
    assert_eq!(listed, "a.service disabled disabled\na.socket  disabled disabled\n");
}
