//! Probes: shell scripts that try what a unit's settings forbid, run on a machine as services with and without them.
//!
//! All scripts of a run go to the machine at once; a service's standard output is its answer, so what a script's exit
//! status is does not matter. Some are killed, as they should be.

use std::fmt::Write;

use anyhow::{Context, ensure};

use crate::machine::Machine;
use crate::tiny_elf::{Argument, calls, calls_of_32_bits};

/// Where scripts, programs and answers are on the machine: on the state partition, which programs may run from.
pub const FOLDER: &str = "/var/lib/probe";

/// One thing that is tried.
#[derive(Debug, Clone, Copy)]
pub struct Probe<'a> {
    /// Lines of `[Service]`.
    pub settings: &'a str,
    /// A shell script. `call NAME` in it makes one of [`CALLS`] and says `0`, the name of the error, or `killed`.
    pub script: &'a str,
    /// What it says with the settings, lines joined by `|`.
    pub with: &'a str,
    /// What it says without; `*` is anything but what it says with them.
    pub without: &'a str,
}

/// System calls that no command of the image makes, by the name that scripts call them by.
pub const CALLS: [(&str, u32, [Argument; 6]); 13] = {
    use Argument::{Number as N, Space, Text};
    const O: Argument = Argument::Number(0);
    [
        ("unshare-user", 272, [N(0x1000_0000), O, O, O, O, O]),
        ("socket-unix", 41, [N(1), N(2), O, O, O, O]),
        ("socket-inet", 41, [N(2), N(2), O, O, O, O]),
        ("socket-inet6", 41, [N(10), N(2), O, O, O, O]),
        ("uname", 63, [Space, O, O, O, O, O]),
        ("acct", 163, [O, O, O, O, O, O]),
        ("unknown", 999, [O, O, O, O, O, O]),
        ("personality", 135, [N(8), O, O, O, O, O]),
        ("map-to-write-and-execute", 9, [O, N(4096), N(7), N(0x22), N(u64::MAX), O]),
        ("fork", 57, [O, O, O, O, O, O]),
        ("clock", 227, [N(99), Space, O, O, O, O]),
        // add_key in the keyring of the user, and a search from the keyring of the session.
        ("add-key-of-the-user", 248, [Text("user"), Text("of-a-test"), Text("x"), N(1), N(-4_i64 as u64), O]),
        ("find-key-of-the-user", 250, [N(10), N(-3_i64 as u64), Text("user"), Text("of-a-test"), O, O]),
    ]
};

const HEAD: &str = "call() { /var/lib/probe/call-$1; case $? in 0) echo 0;; 1) echo EPERM;; 2) echo ENOENT;; \
    11) echo EAGAIN;; 22) echo EINVAL;; 25) echo ENOTTY;; 38) echo ENOSYS;; 84) echo EILSEQ;; 97) echo EAFNOSUPPORT;; \
    13) echo EACCES;; 126) echo ENOKEY;; 159) echo killed;; *) echo other;; esac; }\n\
    tries() { \"$@\" >/dev/null 2>&1 && echo yes || echo no; }\n\
    writes() { ( : >> \"$1\" ) 2>/dev/null && echo yes || echo no; }\n\
    makes() { touch \"$1\"/probe-$$ 2>/dev/null && rm \"$1\"/probe-$$ && echo yes || echo no; }\n\
    group() { IFS=: read -r _ _ place < /proc/self/cgroup; echo /sys/fs/cgroup$place; }\n";

/// Runs all probes, so many at a time; those with the settings first. What they say is told before any of it fails the
/// test.
pub fn run(machine: &mut Machine, probes: &[Probe<'_>], together: usize) -> anyhow::Result<()> {
    prepare(machine)?;
    let mut files = String::from("set -e\n");
    let mut names: Vec<String> = Vec::new();
    for (number, probe) in probes.iter().enumerate() {
        add_file(&mut files, &format!("{FOLDER}/{number}.sh"), &format!("{HEAD}{}\n", probe.script));
    }
    for with in ["with", "without"] {
        for (number, probe) in probes.iter().enumerate() {
            let name = format!("probe-{number}-{with}");
            let settings = if with == "with" { probe.settings } else { "" };
            add_file(&mut files, &format!("/etc/systemd/system/{name}.service"), &unit(&name, settings, number));
            names.push(name);
        }
    }
    machine.send(&format!("{FOLDER}/run"), files.as_bytes())?;
    machine.sudo(&format!("bash {FOLDER}/run && systemctl daemon-reload"))?;
    let mut answers = String::new();
    for names in names.chunks(together) {
        let names = names.join(" ");
        answers.push_str(&machine.sudo(&format!(
            "systemctl start {names} 2>/dev/null; cd {FOLDER}; for name in {names}; do \
             echo \"$name $(tr \"\\n\" \"|\" < $name)\"; echo \"$name-why $(tr \"\\n\" \" \" < $name.err)\"; done"
        ))?);
    }
    machine.sudo("rm /etc/systemd/system/probe-*.service; systemctl daemon-reload; systemctl reset-failed")?;
    judge(probes, &answers)
}

/// What a probe said: the line that begins with its name.
fn answer<'a>(answers: &'a str, name: &str) -> Option<&'a str> {
    let line = answers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.trim_end_matches(['|', ' ']))
}

fn judge(probes: &[Probe<'_>], answers: &str) -> anyhow::Result<()> {
    let mut faults = String::new();
    for (number, probe) in probes.iter().enumerate() {
        for (name, wanted) in [("with", probe.with), ("without", probe.without)] {
            let name = format!("probe-{number}-{name}");
            let said = answer(answers, &name).with_context(|| format!("no answer of {name} in:\n{answers}"))?;
            let right = if wanted == "*" { said != probe.with } else { said == wanted };
            if !right {
                let why = answer(answers, &format!("{name}-why")).unwrap_or_default();
                let Probe { settings, script, .. } = probe;
                let _ = writeln!(faults, "{settings}\n  {script}\n  {name} wants '{wanted}', says '{said}' ({why})");
            }
        }
    }
    ensure!(faults.is_empty(), "settings without their effect:\n{faults}");
    Ok(())
}

/// Puts the programs of [`CALLS`] on the machine.
fn prepare(machine: &mut Machine) -> anyhow::Result<()> {
    machine.sudo(&format!("mkdir -p -m 755 {FOLDER}"))?;
    let programs = CALLS.map(|(name, number, arguments)| (name, calls(number, &arguments)));
    for (name, program) in programs.into_iter().chain([("getpid-of-32-bits", calls_of_32_bits(20))]) {
        machine.send(&format!("{FOLDER}/call-{name}"), &program)?;
    }
    machine.sudo(&format!("chmod 755 {FOLDER}/call-*; {FOLDER}/call-add-key-of-the-user"))?;
    Ok(())
}

fn unit(name: &str, settings: &str, number: usize) -> String {
    format!(
        "[Service]\nType=oneshot\nStandardOutput=file:{FOLDER}/{name}\nStandardError=file:{FOLDER}/{name}.err\n\
         {settings}\nExecStart=/bin/sh {FOLDER}/{number}.sh\n"
    )
}

/// Adds to a shell script what writes a file.
fn add_file(script: &mut String, path: &str, text: &str) {
    let _ = write!(script, "cat > {path} <<'END-OF-FILE'\n{text}END-OF-FILE\n");
}
