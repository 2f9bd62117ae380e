//! Compares `ferrite-init plan` with the jobs that systemd 257 queues for the units of 208 packages.
//!
//! The golden data lies beside the repository (`shared/data/units`); the root is unpacked with `tar`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// What generators and packages of the machine of the recording added; the archive does not hold what pulls it in.
const NOT_IN_ARCHIVE: [&str; 3] = ["dbus.socket", "sshd-unix-local.socket", "systemd-remount-fs.service"];
/// What was up on that machine already.
const MOUNTED_THERE: &str = "tmp.mount";

#[test]
fn starts_from_nothing_queue_the_jobs_that_were_recorded() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units/golden");
    let archive = data.join("corpus_unit_root.tar.zst");
    assert!(archive.exists(), "golden data {} is missing", archive.display());
    let folder = tempfile::tempdir().unwrap();
    let unpacked = Command::new("tar").arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(folder.path()).status();
    assert!(unpacked.expect("tar and zstd are installed").success());
    let root = folder.path().join("corpus_unit_root");
    let mut compared = 0;
    for entry in std::fs::read_dir(data.join("transactions")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(unit) = name.strip_suffix(".jobs") else { continue };
        let output = Command::new(env!("CARGO_BIN_EXE_ferrite-init"))
            .args(["plan", "--root"])
            .arg(&root)
            .arg(unit)
            .output()
            .unwrap();
        assert!(output.status.success(), "{unit}: {}", String::from_utf8_lossy(&output.stderr));
        let lines = |text: &str| -> BTreeSet<String> {
            let unit = |line: &str| line.split(' ').next().unwrap_or("").to_owned();
            let counts = |line: &&str| !NOT_IN_ARCHIVE.contains(&unit(line).as_str()) && unit(line) != MOUNTED_THERE;
            text.lines().filter(counts).map(str::to_owned).collect()
        };
        let have = lines(std::str::from_utf8(&output.stdout).unwrap());
        let wanted = lines(&std::fs::read_to_string(entry.path()).unwrap());
        let (missing, more): (Vec<_>, Vec<_>) =
            (wanted.difference(&have).collect(), have.difference(&wanted).collect());
        assert!(missing.is_empty() && more.is_empty(), "{unit}: not {missing:?}, but {more:?}");
        compared += 1;
    }
    assert!(compared > 0, "no recorded transaction in {}", data.display());
}
