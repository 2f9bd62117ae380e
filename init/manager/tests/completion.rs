//! Completion in bash: the real shell, the completion of the image, systemctl against a root and a running PID 1.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;

const COMMANDS: [&str; 12] = [
    "systemctl",
    "systemd-analyze",
    "systemd-run",
    "systemd-escape",
    "systemd-cat",
    "systemd-notify",
    "systemd-id128",
    "systemd-cgls",
    "systemd-detect-virt",
    "hostnamectl",
    "timedatectl",
    "sudo",
];

fn image(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../image/rootfs").join(path)
}

/// A shell that has our commands and completions.
struct Shell {
    directory: tempfile::TempDir,
    socket: PathBuf,
}

impl Shell {
    fn new(socket: &Path) -> Shell {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("bin")).expect("a folder");
        for name in COMMANDS {
            symlink(env!("CARGO_BIN_EXE_systemctl"), directory.path().join("bin").join(name)).expect("a link");
        }
        Shell { directory, socket: socket.to_path_buf() }
    }

    fn bash(&self, script: &str, words: &[&str]) -> String {
        let path = format!("{}:/usr/bin:/bin", self.directory.path().join("bin").display());
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash"]).args(words).env("PATH", path);
        bash.env("FERRITE_INIT_SOCKET", &self.socket).env_remove("SYSTEMD_UNIT_PATH");
        let output = bash.output().expect("bash is installed");
        assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// What the tabulator key offers behind a line, by name.
    fn offers(&self, line: &str) -> Vec<String> {
        let script = "source \"$1\"; COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:@'
            _ferrite_complete; ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"";
        let file = image("usr/share/bash-completion/completions/systemctl");
        let text = self.bash(script, &[file.to_str().expect("text"), line]);
        let mut offers: Vec<String> = text.lines().map(str::to_owned).collect();
        offers.sort();
        offers
    }
}

fn nobody() -> Shell {
    Shell::new(Path::new("/nonexistent"))
}

#[test]
fn commands_and_options_are_those_of_the_help() {
    let shell = nobody();
    assert_eq!(shell.offers("systemctl st"), ["start", "status", "stop"]);
    assert_eq!(shell.offers("systemctl daemon-"), ["daemon-reexec", "daemon-reload"]);
    assert_eq!(shell.offers("systemctl --fa"), ["--fail", "--failed"]);
    assert_eq!(shell.offers("systemctl --no-block --typ"), ["--type="]);
    assert_eq!(shell.offers("systemctl --type=mo"), ["mount"]);
    assert_eq!(shell.offers("systemctl -t tim"), ["timer"]);
    assert_eq!(shell.offers("systemctl fr"), ["freeze"]);
    assert_eq!(shell.offers("systemctl cl"), ["clean"]);
    assert_eq!(shell.offers("systemctl clean --what=c"), ["cache", "configuration"]);
    assert_eq!(shell.offers("systemd-analyze veri"), ["verify"]);
    assert_eq!(shell.offers("systemd-analyze --recursive-errors="), ["no", "one", "yes"]);
    assert_eq!(shell.offers("systemd-analyze exit-status EXE"), ["EXEC"]);
    assert_eq!(shell.offers("systemd-analyze syscall-filter @cl"), ["@clock"]);
    assert_eq!(shell.offers("systemd-analyze filesystems @te"), ["@temporary"]);
    assert_eq!(shell.offers("systemd-id128 ma"), ["machine-id"]);
    assert_eq!(shell.offers("systemd-id128 show root-x86-64-verity-"), ["root-x86-64-verity-sig"]);
    assert_eq!(shell.offers("systemd-escape --suf"), ["--suffix="]);
    assert_eq!(shell.offers("systemd-escape --suffix=sw"), ["swap"]);
    assert!(shell.offers("systemd-notify --").contains(&"--ready".to_owned()));
    assert!(shell.offers("systemd-cat --").contains(&"--identifier=".to_owned()));
    assert!(shell.offers("systemd-run --").contains(&"--unit=".to_owned()));
    assert!(shell.offers("sudo -u roo").contains(&"root".to_owned()));
    assert!(shell.offers("sudo -u root system").contains(&"systemctl".to_owned()));
    assert!(shell.offers("systemd-run --wait system").contains(&"systemctl".to_owned()));
}

#[test]
fn every_command_that_is_offered_is_one() {
    let shell = nobody();
    let offers = shell.offers("systemctl ");
    assert!(offers.len() > 40, "{offers:?}");
    for verb in offers {
        let script = "systemctl --root=/nonexistent \"$1\" --no-block 2>&1 </dev/null; true";
        // What would act at once is not tried.
        if ["reboot", "poweroff", "halt", "kexec", "soft-reboot", "exit", "edit"].contains(&verb.as_str()) {
            continue;
        }
        let text = shell.bash(script, &[&verb]);
        assert!(
            !text.contains("is not supported by this version") && !text.contains("nknown command"),
            "{verb}: {text}"
        );
    }
}

#[test]
fn units_of_another_root_are_offered_by_their_state() {
    let shell = nobody();
    let root = shell.directory.path().join("root");
    let units = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&units).expect("folders");
    fs::create_dir_all(root.join("etc/systemd/system/multi-user.target.wants")).expect("folders");
    let install = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    for name in ["off.service", "on.service", "getty@.service", "with\\x2ddash.service"] {
        fs::write(units.join(name), install).expect("a unit");
    }
    fs::write(units.join("multi-user.target"), "[Unit]\n").expect("a unit");
    fs::write(units.join("plain.service"), "[Service]\nExecStart=/bin/true\n").expect("a unit");
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    for (link, target) in [("on.service", "on.service"), ("getty@tty1.service", "getty@.service")] {
        symlink(format!("/usr/lib/systemd/system/{target}"), wants.join(link)).expect("a link");
    }
    symlink("/dev/null", root.join("etc/systemd/system/gone.service")).expect("a link");
    let offers = |words: &str| shell.offers(&format!("systemctl --root={} {words}", root.display()));
    assert_eq!(offers("enable o"), ["off.service"]);
    assert_eq!(offers("disable o"), ["on.service"]);
    assert_eq!(offers("unmask "), ["gone.service"]);
    assert_eq!(offers("set-default "), ["multi-user.target"]);
    assert_eq!(offers("mask with"), ["with\\\\x2ddash.service"]);
    assert_eq!(offers("mask with\\\\x2dd"), ["with\\\\x2ddash.service"]);
    // The sign is where a word begins for the shell.
    assert_eq!(offers("reenable getty@"), ["@.service"]);
    assert!(offers("is-enabled ").contains(&"plain.service".to_owned()));
}

#[test]
fn units_of_a_running_pid_1_are_offered_by_what_can_be_done_with_them() {
    let running = "[Service]\nExecStart=/bin/sleep 1000\n";
    let machine = machine::Machine::boot(&[
        ("default.target", "[Unit]\nWants=runs.service\n"),
        ("runs.service", running),
        ("rests.service", running),
        ("broken.service", "[Service]\nExecStart=/bin/false\n"),
    ]);
    machine.job(ferrite_control::JobVerb::Start, "broken.service");
    machine.wait_for("the failure", |machine| machine.state("broken.service").starts_with("failed"));
    let shell = Shell::new(&machine.directory.path().join("run/ferrite/init.sock"));
    let units = machine.directory.path().join("units");
    let offers = |line: &str| {
        // The files are those of that PID 1.
        let script = format!("export SYSTEMD_UNIT_PATH={}; ", units.display());
        let file = image("usr/share/bash-completion/completions/systemctl");
        let script = script
            + "source \"$1\"; COMP_LINE=$2 COMP_POINT=${#2}; _ferrite_complete
               ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"";
        let text = shell.bash(&script, &[file.to_str().expect("text"), line]);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offers("systemctl start rest"), ["rests.service"]);
    assert_eq!(offers("systemctl stop runs"), ["runs.service"]);
    assert!(!offers("systemctl stop ").contains(&"rests.service".to_owned()));
    assert_eq!(offers("systemctl reset-failed "), ["broken.service"]);
    assert_eq!(offers("systemctl status rests"), ["rests.service"]);
    assert_eq!(offers("systemctl show runs.service -p MainP"), ["MainPID"]);
    assert_eq!(offers("systemd-analyze security runs"), ["runs.service"]);
}

#[test]
fn a_shell_of_the_image_loads_completions_when_they_are_needed() {
    let completions = image("usr/share/bash-completion/completions");
    for name in COMMANDS.into_iter().chain(["journalctl", "ferrite-slots", "reboot", "poweroff", "halt", "shutdown"]) {
        assert!(completions.join(name).exists(), "{name} has no completion");
    }
    let script = "_ferrite_load_completion systemd-run; echo $?; complete -p systemd-run systemctl
                  _ferrite_load_completion no-such-command; echo $?";
    let mut bash = Command::new("bash");
    bash.arg("--rcfile").arg(image("etc/bash.bashrc")).args(["-i", "-c", script]);
    let output = bash.env("FERRITE_COMPLETIONS", &completions).output().expect("bash is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = "124\ncomplete -o bashdefault -F _ferrite_complete systemd-run\n\
                  complete -o bashdefault -F _ferrite_complete systemctl\n1\n";
    assert_eq!(text, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_person_at_a_terminal_gets_whole_words() {
    let shell = nobody();
    let root = shell.directory.path().join("root");
    let units = root.join("usr/lib/systemd/system");
    fs::create_dir_all(&units).expect("folders");
    for name in ["getty@tty1.service", "with\\x2ddash.service"] {
        fs::write(units.join(name), "[Service]\nExecStart=/bin/true\n").expect("a unit");
    }
    let bash = format!("bash --rcfile {} -i", image("etc/bash.bashrc").display());
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-c", &bash, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    terminal.env("PATH", format!("{}:/usr/bin:/bin", shell.directory.path().join("bin").display()));
    terminal.env("FERRITE_COMPLETIONS", image("usr/share/bash-completion/completions")).env("TERM", "dumb");
    let mut terminal = terminal.spawn().expect("script of util-linux is installed");
    let keys = format!(
        "systemd-analyze exit-status EXE\t\n\
         systemctl --root={0} is-enabled getty@t\t\n\
         systemctl --root={0} is-enabled with\t\n\
         systemd-analyze syscall-filter @cl\t\n\
         exit 0\n",
        root.display()
    );
    terminal.stdin.take().expect("a pipe").write_all(keys.as_bytes()).expect("keys");
    let output = terminal.wait_with_output().expect("the terminal ends");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(output.status.success(), "{text}");
    for line in ["EXEC    203 systemd", "    clock_settime"] {
        assert!(text.lines().any(|have| have == line), "'{line}' is not in\n{text}");
    }
    // Both units were found under the whole name, or systemctl would complain.
    assert_eq!(text.lines().filter(|line| *line == "static").count(), 2, "{text}");
}
