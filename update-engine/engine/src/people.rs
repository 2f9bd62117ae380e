//! Who is logged in, told from the processes that have a terminal, and a word to them. Acts: reads /proc, writes to
//! terminals.
//!
//! Nothing keeps a list of sessions here: a session is a process that leads one and has a terminal of its own, unless
//! it is a prompt that waits for somebody. A detached `screen` counts; it costs ten minutes at most.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use crate::places::Places;

/// Programs that sit on a terminal until somebody comes.
const PROMPTS: [&str; 4] = ["agetty", "login", "sulogin", "plymouthd"];
/// Device numbers of the kernel: consoles, serial lines, and the first of eight for terminals of programs.
const CONSOLES: u32 = 4;
const PROGRAMS_TERMINALS: std::ops::Range<u32> = 136..144;

/// The terminals that somebody works at, such as `pts/0` and `tty1`.
pub fn terminals(places: &Places) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(places.path("/proc")) else { return BTreeSet::new() };
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let processes = entries.flatten().filter(|entry| is_process(&entry.file_name()));
    // A process may end while it is looked at.
    processes.filter_map(|entry| terminal(&fs::read_to_string(entry.path().join("stat")).ok()?)).collect()
}

/// The terminal of a line of /proc/PID/stat, if its process is somebody's session.
fn terminal(stat: &str) -> Option<String> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (pid, name) = head.split_once(" (")?;
    let mut fields = rest.split(' ').skip(3);
    let (session, device) = (fields.next()?, fields.next()?.parse::<u32>().ok()?);
    if session != pid || PROMPTS.contains(&name) {
        return None;
    }
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    if PROGRAMS_TERMINALS.contains(&major) {
        return Some(format!("pts/{}", (major - PROGRAMS_TERMINALS.start) * 256 + minor));
    }
    match (major, minor) {
        (CONSOLES, 1..64) => Some(format!("tty{minor}")),
        (CONSOLES, 64..) => Some(format!("ttyS{}", minor - 64)),
        _ => None,
    }
}

/// Writes a line to terminals. One that does not take it at once is left out.
pub fn tell(places: &Places, terminals: &BTreeSet<String>, text: &str) {
    for name in terminals {
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let path = places.path("/dev").join(name);
        let opened = OpenOptions::new().append(true).custom_flags(flags.bits().cast_signed()).open(path);
        // Whoever has gone needs no word.
        let _ = opened.and_then(|mut terminal| terminal.write_all(format!("\r\n\x07{text}\r\n").as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_leader_with_a_terminal_that_is_no_prompt() {
        let stat = |pid: u32, name: &str, session: u32, device: u32| {
            format!("{pid} ({name}) S 1 {pid} {session} {device} {pid} 4194304 100 0 0")
        };
        for (text, wanted) in [
            (stat(7, "bash", 7, 136 << 8), Some("pts/0")),
            (stat(7, "my (odd) shell", 7, (136 << 8) | 12), Some("pts/12")),
            (stat(7, "bash", 7, (137 << 8) | 1), Some("pts/257")),
            (stat(7, "bash", 7, (4 << 8) | 1), Some("tty1")),
            (stat(7, "bash", 7, (4 << 8) | 65), Some("ttyS1")),
            (stat(8, "vi", 7, 136 << 8), None),
            (stat(7, "agetty", 7, (4 << 8) | 1), None),
            (stat(7, "sshd", 7, 0), None),
            ("7 (bash".to_string(), None),
            (String::new(), None),
        ] {
            assert_eq!(terminal(&text).as_deref(), wanted, "{text}");
        }
    }
}
