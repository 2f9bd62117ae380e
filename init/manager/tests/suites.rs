//! What systemd's own test scripts ask of PID 1 and its commands, in our words: files that come late, namespaces that
//! are handed on, directories of mounts, words of `systemctl`.

use std::fs;
use std::process::Command;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

/// Runs a program under another name of the client, in the namespaces of process 1; exit code and everything it says.
fn client(machine: &Machine, name: &str, line: &str, input: &str) -> (i32, String) {
    let link = machine.output(name);
    if !link.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_systemctl"), &link).unwrap();
    }
    let pid = machine.pid.to_string();
    let script = format!("printf '%s' \"$INPUT\" | {} {line} 2>&1", link.display());
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-m", "-p", "sh", "-c", &script]).env("INPUT", input);
    let output = command.env("SYSTEMD_UNIT_PATH", machine.output("units")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_unit_that_is_pulled_in_is_found_although_its_file_came_after_it_was_looked_for() {
    let machine = Machine::boot(&[("all.target", "[Unit]\nWants=late.service inst@a.service\n")]);
    assert_eq!(machine.job(JobVerb::Start, "all.target"), JobOutcome::Done);
    assert_eq!(machine.show("late.service").summary.load, "not-found");
    machine.write_unit("late.service", SLEEPER);
    machine.write_unit("inst@.service", SLEEPER);
    assert_eq!(machine.job(JobVerb::Restart, "all.target"), JobOutcome::Done);
    for unit in ["late.service", "inst@a.service"] {
        assert_eq!(machine.state(unit), "active running", "{unit}");
    }
    // A requirement that is there by now is none that is missing.
    machine.write_unit(
        "top.service",
        "[Unit]\nRequires=low.service\nAfter=low.service\n[Service]\nExecStart=/bin/sleep 9\n",
    );
    assert_eq!(machine.job(JobVerb::Start, "top.service"), JobOutcome::Refused);
    machine.write_unit("low.service", SLEEPER);
    assert_eq!(machine.job(JobVerb::Start, "top.service"), JobOutcome::Done);
}

#[test]
fn who_joins_a_namespace_joins_all_that_share_it() {
    let service = |joined: &str, command: &str| {
        format!(
            "[Unit]\n{joined}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nPrivateTmp=yes\n\
             ExecStart=/bin/sh -c '{command}'\n"
        )
    };
    let machine = Machine::boot(&[
        ("first.service", &service("JoinsNamespaceOf=middle.service", "touch /tmp/mark")),
        ("middle.service", &service("", "true")),
        ("last.service", &service("JoinsNamespaceOf=middle.service", "test -e /tmp/mark")),
        ("next.service", &service("JoinsNamespaceOf=middle.service", "test -e /tmp/mark")),
        ("alone.service", &service("", "test ! -e /tmp/mark")),
    ]);
    // The one in the middle never runs.
    for unit in ["first.service", "last.service", "alone.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done, "{unit}\n{}", machine.log());
    }
    assert_eq!(machine.job(JobVerb::Stop, "first.service"), JobOutcome::Done);
    // One that still has it hands it on.
    assert_eq!(machine.job(JobVerb::Start, "next.service"), JobOutcome::Done, "{}", machine.log());
}

#[test]
fn a_mount_has_directories_like_a_service() {
    let machine = Machine::boot(&[(
        "run-place.mount",
        "[Mount]\nWhat=tmpfs\nType=tmpfs\nWhere=/run/place\nRuntimeDirectory=made kept/below\n\
         RuntimeDirectoryMode=0750\n",
    )]);
    assert_eq!(machine.job(JobVerb::Start, "run-place.mount"), JobOutcome::Done);
    let made = machine.output("run/made");
    assert!(made.is_dir() && machine.output("run/kept/below").is_dir());
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&made).unwrap().permissions()) & 0o7777, 0o750);
    assert_eq!(client(&machine, "systemctl", "clean --what=runtime run-place.mount", "").0, 1);
    assert_eq!(machine.job(JobVerb::Stop, "run-place.mount"), JobOutcome::Done);
    assert!(!made.exists() && !machine.output("run/kept/below").exists());
}

#[test]
fn a_runtime_directory_that_outlives_a_dynamic_user_is_hidden() {
    let unit = |preserve: &str| {
        format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nDynamicUser=yes\nRuntimeDirectory=own\n{preserve}\n\
             ExecStart=/bin/sh -c 'touch /run/own/file'\n"
        )
    };
    let machine = Machine::boot(&[
        ("keeps.service", &unit("RuntimeDirectoryPreserve=yes")),
        ("drops.service", &unit("").replace("own", "other")),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "keeps.service"), JobOutcome::Done, "{}", machine.log());
    assert!(machine.output("run/private/own/file").exists());
    assert!(fs::symlink_metadata(machine.output("run/own")).unwrap().is_symlink());
    assert_eq!(machine.job(JobVerb::Stop, "keeps.service"), JobOutcome::Done);
    assert!(machine.output("run/private/own/file").exists());
    assert_eq!(client(&machine, "systemctl", "clean --what=runtime keeps.service", ""), (0, String::new()));
    assert!(!machine.output("run/private/own").exists() && fs::symlink_metadata(machine.output("run/own")).is_err());
    // Nothing of it would be left: then it need not be hidden.
    assert_eq!(machine.job(JobVerb::Start, "drops.service"), JobOutcome::Done, "{}", machine.log());
    assert!(fs::symlink_metadata(machine.output("run/other")).unwrap().is_dir());
}

#[test]
fn process_1_belongs_to_its_scope() {
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    assert_eq!(machine.state("init.scope"), "active running");
    assert_eq!(client(&machine, "systemctl", "whoami 1", ""), (0, "init.scope\n".into()));
    let (code, text) = client(&machine, "systemctl", "status 1", "");
    assert!(code == 0 && text.starts_with("● init.scope - System and Service Manager\n"), "{code} {text}");
    let (code, text) = client(&machine, "systemctl", "status 999999", "");
    let words = "Failed to get unit for PID 999999: PID 999999 doesn't exist or is already gone.\n";
    assert_eq!((code, text.as_str()), (1, words));
}

#[test]
fn disabling_a_template_at_once_stops_its_instances() {
    let machine = Machine::boot_with(
        &[("t@.service", "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=default.target\n")],
        &[],
        "mkdir -p /etc/systemd && mount -t tmpfs etc /etc/systemd",
    );
    let both = ["t@1.service", "t@2.service"];
    for unit in both {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    let (code, text) = client(&machine, "systemctl", "disable --now t@.service", "");
    assert_eq!(code, 0, "{text}");
    for unit in both {
        assert_eq!(machine.state(unit), "inactive dead", "{unit}");
    }
}

#[test]
fn the_editor_gets_all_files_at_once_and_the_line_to_begin_at() {
    let machine = Machine::boot_with(
        &[("a.service", SLEEPER), ("b.service", SLEEPER)],
        &[],
        "mkdir -p /etc/systemd && mount -t tmpfs etc /etc/systemd",
    );
    let show = |name: &str| {
        let pid = machine.pid.to_string();
        let path = format!("/etc/systemd/system/{name}.d");
        let output = Command::new("nsenter").args(["-t", &pid, "-m", "sh", "-c", &format!("cat {path}/*")]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    // The editor writes its own arguments between the marks, in whose place nothing else stands.
    let editor = machine.output("editor");
    fs::write(&editor, "#!/bin/sh\nfor last; do :; done\necho \"# $#\" \"$1\" > \"$last\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&editor, mode).unwrap();
    let edit = |line: &str, input: &str| {
        let name = machine.output("with-editor");
        let text =
            format!("#!/bin/sh\nEDITOR={} exec {}/systemctl \"$@\"\n", editor.display(), machine.output("").display());
        fs::write(&name, text).unwrap();
        fs::set_permissions(&name, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        client(&machine, "with-editor", line, input)
    };
    client(&machine, "systemctl", "is-active a.service", "");
    let (code, text) = edit("edit a.service", "");
    assert_eq!((code, show("a.service").as_str()), (0, "# 2 +4\n"), "{text}");
    // Blank lines at the ends go; of one text, every unit gets its copy, even one that has no file.
    let line = "edit a.service none.service --stdin --force --drop-in=second";
    let (code, text) = edit(line, "\n[Unit]\nDescription=x\n\n\n");
    assert_eq!((code, text.lines().count()), (0, 2), "{text}");
    assert_eq!(show("none.service"), "[Unit]\nDescription=x\n");
    assert_eq!(
        edit("edit a.service --stdin", " \n"),
        (0, "Stripped stdin content is empty, not writing file.\n".into())
    );
    let (code, text) = edit("edit nowhere.service", "");
    assert!(code == 1 && text.starts_with("No files found for nowhere.service."), "{text}");
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
}

#[test]
fn a_revert_takes_the_links_to_what_it_removes_along() {
    let install = "[Service]\nExecStart=/bin/sleep 9\n[Install]\nWantedBy=default.target\nAlias=other.service\n";
    let machine = Machine::boot_with(
        &[("run/vendor/r.service", install)],
        &[("SYSTEMD_UNIT_PATH", "/etc/systemd/system:@/units:/usr/lib/systemd/system")],
        "mkdir -p /etc/systemd /usr/lib/systemd && mount -t tmpfs etc /etc/systemd && mkdir -p /etc/systemd/system && \
         mount -t tmpfs usr /usr/lib/systemd && mkdir -p /usr/lib/systemd/system && \
         cp /run/vendor/r.service /usr/lib/systemd/system && cp /run/vendor/r.service /etc/systemd/system",
    );
    let path = "/etc/systemd/system:/usr/lib/systemd/system";
    let shell = |text: &str| {
        let pid = machine.pid.to_string();
        let text = format!("PATH={}:$PATH; {text}", machine.output("").display());
        let output = Command::new("nsenter")
            .args(["-t", &pid, "-m", "-p", "sh", "-c", &text])
            .env("SYSTEMD_UNIT_PATH", path)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    client(&machine, "systemctl", "is-active r.service", "");
    let links = "find /etc/systemd/system -type l | sort";
    let made = shell(&format!("systemctl enable r.service; {links}"));
    assert_eq!(made.lines().count(), 2, "{made}");
    assert_eq!(shell(&format!("systemctl revert r.service; {links}")), "");
}
