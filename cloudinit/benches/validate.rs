//! CPU time and memory of `validate` and `apply` on a simple document. `cargo bench -p ferrite-cloudinit`.
//!
//! The aims: `validate` below 5 ms of CPU time, `apply` below 20 ms, both below 10 MiB. A missed aim is said and fails.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

const BINARY: &str = env!("CARGO_BIN_EXE_ferrite-cloudinit");
const RUNS: u32 = 200;
const DOCUMENT: &str = "#cloud-config\nhostname: web1\nssh_authorized_keys:\n  - ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIGSnPSrFHGXYWzCiVgW2Wd0bTMHQkyXIUHSqdRwpmCEY alice@laptop\nwrite_files:\n  - \
    path: /etc/motd\n    content: hello\n    permissions: '0644'\n";

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000))
        .sum()
}

fn measure(name: &str, arguments: &[&str], aim: Duration) -> bool {
    let before = cpu();
    for _ in 0..RUNS {
        let status = Command::new(BINARY).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{name}: {status}");
    }
    let each = (cpu() - before) / RUNS;
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage").max_rss();
    println!("{name:10} {:6.2} ms CPU of {:2} ms, at most {memory} KiB", each.as_secs_f64() * 1e3, aim.as_millis());
    each <= aim && memory <= 10 * 1024
}

fn root(folder: &Path) {
    std::fs::create_dir_all(folder.join("etc")).unwrap();
    std::fs::write(folder.join("etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n").unwrap();
    std::fs::write(folder.join("etc/group"), "root:x:0:\nsudo:x:27:\nshadow:x:42:\n").unwrap();
    std::fs::write(folder.join("user-data"), DOCUMENT).unwrap();
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    root(folder.path());
    let document = folder.path().join("user-data");
    let (root, document) = (folder.path().to_str().unwrap(), document.to_str().unwrap());
    let validate = measure("validate", &["validate", document], Duration::from_millis(5));
    let apply = measure("apply", &["--root", root, "apply", "--user-data", document], Duration::from_millis(20));
    assert!(validate && apply, "an aim was missed");
}
