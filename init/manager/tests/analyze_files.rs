//! The verbs of `systemd-analyze` that look at files, as real processes; no PID 1 is asked but where the test says so.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;

fn analyze(directory: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemctl"));
    command.arg0("systemd-analyze").args(line.split(' ')).current_dir(directory);
    command.env("SYSTEMD_UNIT_PATH", directory.join("path")).env("LANG", "C.UTF-8").env_remove("LC_ALL");
    run(&mut command)
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(path, text).expect("a file");
    }
    directory
}

const GOOD: &str = "[Service]\nExecStart=/bin/sh\n";

#[test]
fn verify_tells_every_fault_with_its_place() {
    let bad = "[Unit]\nRequires=nope.service\nDocmentation=x\n[Service]\nExecStrat=/bin/sh\n\
               ExecStart=/bin/sh\nExecStartPost=/nonexistent/x -y\nExecStop=-/nonexistent/y\n";
    let directory =
        folder(&[("a.service", bad), ("path/basic.target", "[Unit]\n"), ("path/sysinit.target", "[Unit]\n")]);
    let (code, out, words) = analyze(directory.path(), "verify --man=no a.service");
    let place = directory.path().join("a.service");
    let place = place.display();
    let wanted = [
        format!("{place}:3: unknown key Docmentation= in section [Unit], ignoring it (did you mean Documentation=?)"),
        format!("{place}:5: unknown key ExecStrat= in section [Service], ignoring it (did you mean ExecStart=?)"),
        format!("{place}:7: Command /nonexistent/x is not executable: No such file or directory"),
    ];
    for line in &wanted {
        assert!(words.contains(line), "{line} is not in\n{words}");
    }
    assert!(words.contains("a.service: Failed to create a.service/start: Unit nope.service not found."), "{words}");
    assert!(!words.contains("/nonexistent/y"), "{words}");
    assert_eq!((code, out.as_str()), (1, ""));
}

#[test]
fn verify_counts_ignored_settings_as_it_is_told() {
    let user = "[Unit]\nWants=b.service\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh\n";
    let bogus = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sh\nBogus=1\n";
    let directory = folder(&[("a.service", user), ("b.service", bogus), ("t@.service", GOOD)]);
    for (line, code, is_told) in [
        ("verify a.service", 0, true),
        ("verify --recursive-errors=yes a.service", 1, true),
        ("verify --recursive-errors=no a.service", 0, false),
        ("verify --recursive-errors=one a.service", 0, true),
        ("verify b.service", 0, true),
        ("verify --recursive-errors=no b.service", 1, true),
        ("verify --recursive-errors=one b.service", 1, true),
        ("verify t@.service --recursive-errors=no", 0, false),
        ("verify t@x.service --recursive-errors=no", 0, false),
    ] {
        let (found, _, words) = analyze(directory.path(), line);
        assert_eq!((found, words.contains("unknown key Bogus=")), (code, is_told), "{line}\n{words}");
    }
    for (line, message) in [
        ("verify", "Too few arguments.\n"),
        ("verify --recursive-errors=maybe a.service", "Unknown mode passed to --recursive-errors='maybe'.\n"),
        ("verify c.service", "Unit c.service not found.\n"),
        ("verify readme.txt", "Failed to prepare filename readme.txt: Invalid argument\n"),
    ] {
        assert_eq!(analyze(directory.path(), line), (1, String::new(), message.to_owned()), "{line}");
    }
}

#[test]
fn verify_finds_cycles_masks_bad_settings_and_sockets_without_service() {
    let one = "[Unit]\nDefaultDependencies=no\nRequires=b.service\nAfter=b.service\n[Service]\nExecStart=/bin/sh\n";
    let other = one.replace("b.service", "a.service");
    let files = [
        ("a.service", one),
        ("b.service", &other),
        ("empty.service", "[Service]\nType=oneshot\n"),
        ("s.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/s\n"),
        ("u.socket", "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/u\nAccept=yes\n"),
        ("u@.service", GOOD),
        ("masked.service", ""),
    ];
    let directory = folder(&files);
    for (file, code, message) in [
        ("a.service", 1, "a.service: Failed to create a.service/start: ordering cycle"),
        ("empty.service", 1, "Unit empty.service has a bad unit file setting.\n"),
        ("masked.service", 1, "Unit masked.service is masked.\n"),
        ("s.socket", 1, "s.socket: service s.service not loaded, socket cannot be started.\n"),
        ("u.socket", 0, ""),
    ] {
        let (found, _, words) = analyze(directory.path(), &format!("verify --man=no {file}"));
        assert!(found == code && words.contains(message), "{file}: {found}\n{words}");
    }
}

#[test]
fn verify_looks_below_a_root() {
    let directory = folder(&[
        ("root/etc/systemd/system/a.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/opt/program\n"),
        ("root/opt/program", ""),
    ]);
    let line = "verify --man=no --root=root";
    let (code, _, words) = analyze(directory.path(), &format!("{line} root/etc/systemd/system/a.service"));
    let fault = "/etc/systemd/system/a.service:4: Command /opt/program is not executable: Permission denied\n";
    assert_eq!((code, words.as_str()), (1, fault));
    let program = directory.path().join("root/opt/program");
    fs::set_permissions(program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a program");
    let (code, _, words) = analyze(directory.path(), &format!("{line} /etc/systemd/system/a.service"));
    assert_eq!((code, words.as_str()), (0, ""));
}

#[test]
fn conditions_are_tested_on_this_machine() {
    let text = "[Unit]\nConditionPathExists=/nonexistent\nAssertPathExists=/\n[Service]\nExecStart=/bin/sh\n";
    let directory = folder(&[("a.service", text)]);
    let (code, out, words) =
        analyze(directory.path(), "condition ConditionPathIsDirectory=/ ConditionPathExists=!/nonexistent");
    let wanted = "test.service: ConditionPathExists=!/nonexistent succeeded.\n\
                  test.service: ConditionPathIsDirectory=/ succeeded.\nConditions succeeded.\n";
    assert_eq!((code, out.as_str(), words.as_str()), (0, "", wanted));
    let (code, _, words) = analyze(directory.path(), "condition --unit=a.service");
    let wanted = "a.service: AssertPathExists=/ succeeded.\nAsserts succeeded.\n\
                  a.service: ConditionPathExists=/nonexistent failed.\nConditions failed.\n";
    assert_eq!((code, words.as_str()), (1, wanted));
    assert_eq!(analyze(directory.path(), "condition -q --unit=a.service"), (1, String::new(), String::new()));
    let (code, _, words) = analyze(directory.path(), "condition Foo=1");
    assert_eq!((code, words.as_str()), (1, "Cannot parse \"Foo=1\".\n"));
}

#[test]
fn lists_of_names_are_printed() {
    let directory = folder(&[("path/a.service", GOOD), ("path/t@.service", GOOD)]);
    std::os::unix::fs::symlink("a.service", directory.path().join("path/b.service")).expect("a link");
    let path = directory.path().join("path");
    let path = path.display();
    let out = |line: &str| analyze(directory.path(), line).1;
    assert_eq!(out("unit-paths"), format!("{path}\n"));
    assert_eq!(
        out("unit-files ?.service"),
        format!(
            "ids: a.service → {path}/a.service\nids: b.service → {path}/a.service\naliases: a.service ← b.service\n"
        )
    );
    assert!(out("exit-status EXEC").contains("EXEC    203 systemd"));
    assert_eq!(out("capability cap_kill").lines().last(), Some("cap_kill      5"));
    assert!(
        out("syscall-filter @swap").starts_with("@swap\n    # ")
            && out("syscall-filter @swap").contains("    swapon\n")
    );
    assert!(out("filesystems @temporary").ends_with("    ramfs\n    tmpfs\n"));
    assert!(out("filesystems").contains("\n@network\n"));
    let (code, _, words) = analyze(directory.path(), "filesystems @nope");
    assert!(code == 1 && words.starts_with("Filesystem set \"@nope\" not found."), "{words}");
    assert_eq!(
        analyze(directory.path(), "compare-versions 1.2~rc1 1.2"),
        (12, "1.2~rc1 < 1.2\n".into(), String::new())
    );
    assert_eq!(analyze(directory.path(), "compare-versions 2 gt 1").0, 0);
    assert_eq!(analyze(directory.path(), "compare-versions 2 lt 1").0, 1);
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units/corpus").join(name)
}

#[test]
fn the_exposure_of_packaged_services_is_what_systemd_says() {
    let golden = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/security.tsv"));
    let golden = golden.expect("recorded answers");
    let mut faults = Vec::new();
    let mut count = 0;
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let (file, wanted) = line.split_once('\t').expect("two columns");
        // A package may link to a unit of its own.
        let text = fs::read_to_string(data(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let name = file.rsplit('/').next().expect("a name");
        let directory = folder(&[(name, &text)]);
        let (_, out, words) = analyze(directory.path(), &format!("security --offline=true {name}"));
        let last = out.lines().last().unwrap_or_default();
        let found = last.split_whitespace().rev().skip(1).take(2).collect::<Vec<_>>();
        let found = found.into_iter().rev().collect::<Vec<_>>().join(" ");
        if found != wanted {
            faults.push(format!("{file}: '{found}' instead of '{wanted}' {words}"));
        }
        count += 1;
    }
    assert!(count > 80 && faults.is_empty(), "{} of {count} differ:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_threshold_and_json_are_for_scripts() {
    let directory = folder(&[("a.service", GOOD), ("path/b.service", GOOD)]);
    let code = |line: &str| analyze(directory.path(), line).0;
    assert_eq!(code("security --offline=true a.service --threshold=96"), 0);
    assert_eq!(code("security --offline=true a.service --threshold=95"), 1);
    assert_eq!(code("security --offline=true a.service --threshold=101"), 1);
    let (_, out, _) = analyze(directory.path(), "security --json=short --offline=true a.service");
    let rows: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let user = rows.as_array().and_then(|rows| rows.iter().find(|row| row["json_field"] == "UserOrDynamicUser"));
    let user = user.expect("the question about the user");
    assert_eq!((user["set"].as_bool(), user["exposure"].as_str()), (Some(false), Some("0.4")));
    let (code, out, words) = analyze(directory.path(), "security b nope.service c.target");
    assert!(out.contains("Overall exposure level for b.service: 9.6 UNSAFE"), "{out}");
    let wanted = "Unit nope.service not found, cannot analyze.\nUnit c.target is not a service unit, refusing.\n";
    assert_eq!((code, words.as_str()), (1, wanted));
    assert!(out.ends_with("UNIT      EXPOSURE PREDICATE HAPPY\nb.service      9.6 UNSAFE    😨\n"), "{out}");
}

#[test]
fn without_names_the_services_of_a_running_pid_1_are_assessed() {
    let sandboxed = "[Service]\nExecStart=/bin/sleep 1000\nPrivateNetwork=yes\nUser=nobody\n";
    let once = "[Service]\nType=oneshot\nExecStart=/bin/true\nRemainAfterExit=yes\n";
    let target = "[Unit]\nWants=b.service a.service once.service\n";
    let units = [("default.target", target), ("a.service", "[Service]\nExecStart=/bin/sleep 1000\n")];
    let machine = machine::Machine::boot(&[units[0], units[1], ("b.service", sandboxed), ("once.service", once)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemctl"));
    command.arg0("systemd-analyze").args(["security", "--no-pager"]).env("LANG", "C");
    command.env("SYSTEMD_UNIT_PATH", machine.directory.path().join("units"));
    command.env("FERRITE_INIT_SOCKET", machine.directory.path().join("run/ferrite/init.sock"));
    let (code, out, words) = run(&mut command);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, words.as_str(), lines.len()), (0, "", 3), "{out}");
    assert_eq!(lines[1], "a.service      9.6 UNSAFE    :-{");
    assert!(lines[2].starts_with("b.service      9.1 UNSAFE"), "{out}");
}
