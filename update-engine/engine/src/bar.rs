//! A progress bar for a terminal, and nothing for a file. The line is pure.

use std::io::{IsTerminal, Write};

use crate::protocol::{Operation, Status};

const WIDTH: usize = 30;

/// Shows progress on standard error.
pub struct Bar {
    terminal: bool,
    shown: bool,
}

impl Bar {
    /// A bar, if somebody looks.
    pub fn new() -> Bar {
        Bar { terminal: std::io::stderr().is_terminal(), shown: false }
    }

    /// Shows how things are.
    pub fn show(&mut self, status: &Status) {
        if self.terminal {
            self.shown = true;
            // A terminal that is gone needs no bar.
            let _ = write!(std::io::stderr(), "\r{}\x1b[K", line(status)).and_then(|()| std::io::stderr().flush());
        }
    }
}

impl Default for Bar {
    fn default() -> Self {
        Bar::new()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown {
            eprintln!();
        }
    }
}

/// The line of the bar.
pub fn line(status: &Status) -> String {
    let version = status.new_version.as_deref().unwrap_or("");
    match status.operation {
        Operation::Checking => "looking for an update".into(),
        Operation::Verifying => format!("reading {version} back"),
        Operation::Downloading => {
            let done = (status.progress.clamp(0.0, 1.0) * WIDTH as f64) as usize;
            let (full, empty) = ("#".repeat(done), ".".repeat(WIDTH - done));
            format!("{version} [{full}{empty}] {:3.0} % of {}", status.progress * 100.0, megabytes(status.new_size))
        }
        Operation::Idle | Operation::Available | Operation::NeedReboot => String::new(),
    }
}

/// Bytes for a person.
pub fn megabytes(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes} bytes"),
        0x400..0x10_0000 => format!("{:.1} KiB", bytes as f64 / f64::from(1 << 10)),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_from_empty_to_full() {
        let at = |progress| {
            line(&Status {
                operation: Operation::Downloading,
                progress,
                new_version: Some("1.2".into()),
                new_size: 27 << 20,
                ..Status::default()
            })
        };
        assert_eq!(at(0.0), format!("1.2 [{}]   0 % of 27.0 MiB", ".".repeat(30)));
        assert_eq!(at(0.5), format!("1.2 [{}{}]  50 % of 27.0 MiB", "#".repeat(15), ".".repeat(15)));
        assert_eq!([0, 37_690, 95_547_036].map(megabytes), ["0 bytes", "36.8 KiB", "91.1 MiB"]);
        assert_eq!(at(1.0), format!("1.2 [{}] 100 % of 27.0 MiB", "#".repeat(30)));
    }
}
