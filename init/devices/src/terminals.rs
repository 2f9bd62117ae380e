//! Which terminals get a login prompt: those that the kernel uses as consoles. Others may have no port behind them.
//!
//! The units of the prompts look for a mark of an unused terminal, so that without marks every terminal has a prompt.

use std::path::Path;

/// The terminals for which the image has units.
const TERMINALS: [&str; 3] = ["hvc0", "tty1", "ttyS0"];
const MARKS: &str = "run/ferrite/unused-terminals";
const MAX_BYTES: u64 = 4096;

/// Leaves a mark for each terminal that is no console.
pub(crate) fn mark_unused(root: &Path) {
    let Some(active) = crate::sysfs::small_text(&root.join("sys/class/tty/console/active"), MAX_BYTES) else { return };
    let marks = root.join(MARKS);
    for terminal in unused(&active) {
        let marked = std::fs::create_dir_all(&marks).and_then(|()| std::fs::write(marks.join(terminal), ""));
        marked.unwrap_or_else(|error| eprintln!("warning: marking {terminal} as unused: {error}, it has a prompt"));
    }
}

/// `active` is what the kernel says: `tty0 ttyS0`. The screen is tty0, its first prompt is on tty1.
fn unused(active: &str) -> Vec<&'static str> {
    let is_used = |terminal: &str| {
        let console = if terminal == "tty1" { "tty0" } else { terminal };
        active.split_ascii_whitespace().any(|word| word == console || word == terminal)
    };
    TERMINALS.into_iter().filter(|terminal| !is_used(terminal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_is_no_console_is_marked() {
        for (active, expected) in
            [("tty0 ttyS0", vec!["hvc0"]), ("ttyS0", vec!["hvc0", "tty1"]), ("hvc0 tty1", vec!["ttyS0"])]
        {
            assert_eq!(unused(active), expected, "{active}");
        }
    }

    #[test]
    fn marks_are_files_and_without_the_kernels_word_there_are_none() {
        let root = tempfile::tempdir().unwrap();
        mark_unused(root.path());
        assert!(!root.path().join(MARKS).exists());
        let folder = root.path().join("sys/class/tty/console");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("active"), "ttyS0\n").unwrap();
        mark_unused(root.path());
        assert!(root.path().join(MARKS).join("tty1").exists() && !root.path().join(MARKS).join("ttyS0").exists());
    }
}
