//! `ferrite run` and `ferrite ssh`, used as a person does: start, log in, stop with ctrl-c.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use ferrite_tests::board::{ferrite, tree};
use ferrite_tests::{Board, gate};

#[test]
fn a_person_starts_a_machine_logs_in_and_stops_it() -> anyhow::Result<()> {
    let _permit = gate::enter()?;
    let state = tempfile::Builder::new().prefix("ferrite-run-").tempdir().context("making a folder")?;
    let image = Board::Qemu.image()?;
    let ferrite_in = |arguments: &[&str]| -> anyhow::Result<Command> {
        // It ends with this test, even if this test is killed.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "INT"])
            .arg(ferrite()?)
            .args(arguments)
            .env("XDG_STATE_HOME", state.path())
            .current_dir(tree())
            .stdin(Stdio::null());
        Ok(command)
    };
    let mut run = ferrite_in(&["run", "--image", &image.display().to_string(), "--ephemeral"])?
        .stderr(Stdio::piped())
        .spawn()
        .context("starting ferrite run")?;
    let said = BufReader::new(run.stderr.take().context("ferrite run has no standard error")?);
    let (login, said) = until(said.lines(), "log in with: ")?;
    let (_, mut rest) = until(said, "ctrl-c")?;

    let uname = Command::new("sh").args(["-c", &format!("{login} uname -a")]).stdin(Stdio::null()).output();
    let uname = uname.context("logging in with the command that was shown")?;
    ensure!(uname.status.success(), "{}", String::from_utf8_lossy(&uname.stderr));
    let machine = format!("image-{}", image.file_stem().unwrap_or_default().to_string_lossy());
    let by_ssh = ferrite_in(&["ssh", "--board", &machine, "--", "id", "-un"])?.output().context("ferrite ssh")?;
    assert_eq!(String::from_utf8_lossy(&by_ssh.stdout).trim(), "core", "{}", String::from_utf8_lossy(&by_ssh.stderr));

    interrupt(&run)?;
    until(&mut rest, "console log")?;
    // A closed pipe would break what it still says.
    rest.for_each(drop);
    let status = run.wait().context("waiting for ferrite run")?;
    ensure!(status.success(), "ferrite run ended with {status}");

    let after = ferrite_in(&["ssh", "--board", &machine, "--", "true"])?.output().context("ferrite ssh")?;
    assert!(String::from_utf8_lossy(&after.stderr).contains("no machine"), "{after:?}");
    Ok(())
}

/// Reads lines until one holds `wanted`; gives what follows it, and the lines that were not read yet.
fn until<L: Iterator<Item = std::io::Result<String>>>(mut lines: L, wanted: &str) -> anyhow::Result<(String, L)> {
    let mut all = String::new();
    for line in lines.by_ref() {
        let line = line.context("reading what ferrite run says")?;
        if let Some((_, rest)) = line.split_once(wanted) {
            return Ok((rest.to_string(), lines));
        }
        all.push_str(&line);
        all.push('\n');
    }
    anyhow::bail!("ferrite run ended without saying '{wanted}':\n{all}")
}

fn interrupt(child: &Child) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().context("starting kill")?;
    ensure!(status.success(), "kill ended with {status}");
    Ok(())
}
