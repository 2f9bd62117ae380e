//! systemd's own tools in an unpacked Debian root, and the golden files that are recorded from them.
//!
//! With `FERRITE_PEER_ROOT` (made by `tests/peer.sh`) they run beside ours; `UPDATE_GOLDEN=1` records what they do.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The root with systemd in it, if there is one.
pub fn peer_root() -> Option<PathBuf> {
    std::env::var_os("FERRITE_PEER_ROOT").map(PathBuf::from)
}

/// Runs a command in the peer's root, with /proc in it; its input are `lines`.
pub fn run(peer: &Path, command: &[&str], lines: &str) -> Output {
    let script = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" \"$@\"";
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(peer)
        .args(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare is there");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Compares what we do, and what the peer does where it is there, with what was recorded of the peer.
pub fn compare(name: &str, ours: &str, peer: Option<&str>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let peer = peer.expect("recording needs FERRITE_PEER_ROOT: make it with tests/peer.sh");
        std::fs::write(&path, peer).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (who, text) in [("systemd's tool", peer), ("our tool", Some(ours))] {
        if let Some(text) = text
            && text != golden
        {
            let differing = text.lines().zip(golden.lines()).find(|(is, was)| is != was);
            panic!("{who} differs from {}: {differing:?}\n{text}", path.display());
        }
    }
}
