//! Shows messages on a terminal (`ForwardToConsole=`), a line each.
//!
//! Never waits: what the terminal does not take at once is only in the log.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::fcntl::OFlag;

use crate::fields::Fields;

/// The terminal, if one is wanted.
#[derive(Debug)]
pub struct Terminal {
    path: Option<PathBuf>,
    level_max: u8,
}

impl Terminal {
    /// This one, for messages of this level and more important ones; `None`: it is not wanted.
    pub fn new(path: Option<PathBuf>, level_max: u8) -> Self {
        Self { path, level_max }
    }

    /// Shows a message.
    pub fn show(&self, priority: u8, fields: &Fields) {
        let Some(path) = self.path.as_ref().filter(|_| priority <= self.level_max) else { return };
        // Opened for each message: a terminal that hangs up ends what was opened before, and must not become ours.
        let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
        if let Ok(mut terminal) = OpenOptions::new().write(true).custom_flags(flags).open(path) {
            let _ = terminal.write(&line(fields));
        }
    }
}

/// `identifier[pid]: message`; what could move the cursor is taken out.
fn line(fields: &Fields) -> Vec<u8> {
    let mut out = fields.get("SYSLOG_IDENTIFIER").or_else(|| fields.get("_COMM")).unwrap_or(b"unknown").to_vec();
    if let Some(pid) = fields.get("_PID").or_else(|| fields.get("SYSLOG_PID")) {
        out.push(b'[');
        out.extend_from_slice(pid);
        out.push(b']');
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(fields.get("MESSAGE").unwrap_or_default());
    for byte in &mut out {
        if byte.is_ascii_control() && !matches!(byte, b'\t' | b'\n') {
            *byte = b'?';
        }
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_sender_and_moves_no_cursor() {
        let mut fields = Fields::default();
        fields.text("_COMM", "tool");
        fields.text("_PID", "7");
        fields.push(b"MESSAGE", b"a\x1b[2J\tb\nc");
        assert_eq!(line(&fields), b"tool[7]: a?[2J\tb\nc\n");
    }

    #[test]
    fn less_important_messages_are_not_shown() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tty");
        std::fs::write(&path, "").expect("written");
        let terminal = Terminal::new(Some(path.clone()), 4);
        let mut fields = Fields::default();
        fields.text("MESSAGE", "seen");
        terminal.show(5, &fields);
        terminal.show(4, &fields);
        Terminal::new(None, 7).show(0, &fields);
        assert_eq!(std::fs::read_to_string(path).expect("text"), "unknown: seen\n");
    }
}
