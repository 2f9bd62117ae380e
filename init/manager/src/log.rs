//! What PID 1 says: to the kernel log, and the progress of the boot to the consoles.

use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, Instant};

use ferrite_sys::console::Consoles;
use ferrite_sys::kmsg::{Kmsg, Priority};

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Kernel(Kmsg),
    Error,
}

/// A line that takes this long found a console that takes none.
const STUCK: Duration = Duration::from_millis(400);
/// So long such a console is left alone: boot and shutdown do not wait for somebody who pressed Ctrl-S.
const REST: Duration = Duration::from_secs(30);

/// The log of PID 1.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    consoles: bool,
    quiet_until: Cell<Option<Instant>>,
    /// Which status lines are written.
    show: Cell<Show>,
    /// The least important level that is written.
    level: Cell<usize>,
    target: Cell<Target>,
}

/// systemd's words for levels, in the order of their numbers.
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// Where lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The kernel log on a machine, standard error in a namespace.
    Usual,
    /// The consoles, or standard error in a namespace.
    Console,
    /// Nowhere.
    Nothing,
}

/// Which status lines are written (`systemd.show_status=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// All.
    All,
    /// Those that tell of a failure.
    Failures,
    /// None.
    Nothing,
}

/// The word before a status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `[  OK  ]`
    Ok,
    /// `[FAILED]`
    Failed,
    /// `[DEPEND]`
    Depend,
    /// `[ TIME ]`
    Time,
    /// Nothing, indented.
    None,
}

impl Mark {
    fn text(self) -> &'static str {
        match self {
            Mark::Ok => "[  OK  ] ",
            Mark::Failed => "[FAILED] ",
            Mark::Depend => "[DEPEND] ",
            Mark::Time => "[ TIME ] ",
            Mark::None => "         ",
        }
    }
}

impl Log {
    /// The log of a real boot: kernel log and consoles.
    pub fn kernel() -> Log {
        let sink = Kmsg::open().map_or(Sink::Error, Sink::Kernel);
        Log::new(sink, true)
    }

    fn new(sink: Sink, consoles: bool) -> Log {
        let (level, target) = (Cell::new(Priority::Debug as usize), Cell::new(Target::Usual));
        Log { sink, consoles, quiet_until: Cell::new(None), show: Cell::new(Show::All), level, target }
    }

    /// The log inside a namespace: standard error.
    pub fn plain() -> Log {
        Log::new(Sink::Error, false)
    }

    /// Chooses which status lines are written.
    pub fn set_show(&self, show: Show) {
        self.show.set(show);
    }

    /// Chooses whether lines for the curious are written.
    pub fn set_debug(&self, debug: bool) {
        self.level.set(if debug { Priority::Debug } else { Priority::Info } as usize);
    }

    /// The least important level that is written, in systemd's word.
    pub fn level(&self) -> &'static str {
        LEVELS.get(self.level.get()).copied().unwrap_or("debug")
    }

    /// Chooses it, by its word or number.
    pub fn set_level(&self, word: &str) -> Result<(), String> {
        let number = word.parse::<usize>().ok().filter(|number| *number < LEVELS.len());
        match LEVELS.iter().position(|known| *known == word).or(number) {
            Some(level) => self.level.set(level),
            None => return Err(format!("Invalid log level '{word}'")),
        }
        Ok(())
    }

    /// Where lines go, in systemd's word.
    pub fn target(&self) -> &'static str {
        match (self.target.get(), &self.sink) {
            (Target::Nothing, _) => "null",
            (Target::Usual, Sink::Kernel(_)) => "kmsg",
            (Target::Usual, Sink::Error) | (Target::Console, _) => "console",
        }
    }

    /// Chooses it. journald takes all lines from the kernel log, which is the machine's and not that of a namespace.
    pub fn set_target(&self, word: &str, machine: bool) -> Result<(), String> {
        self.target.set(match word {
            "auto" => Target::Usual,
            "console" | "console-prefixed" => Target::Console,
            "null" => Target::Nothing,
            "kmsg" | "journal" | "journal-or-kmsg" | "syslog" | "syslog-or-kmsg" if machine => Target::Usual,
            "kmsg" | "journal" | "journal-or-kmsg" | "syslog" | "syslog-or-kmsg" => {
                return Err(format!("Log target '{word}' is not there in a namespace"));
            }
            _ => return Err(format!("Invalid log target '{word}'")),
        });
        Ok(())
    }

    fn write(&self, priority: Priority, text: &str) {
        if priority as usize > self.level.get() {
            return;
        }
        // The log is the last place to report to: its own errors cannot be told to anybody.
        match (self.target.get(), &self.sink) {
            (Target::Nothing, _) => {}
            (Target::Usual, Sink::Kernel(kernel)) => drop(kernel.write(priority, "init", text)),
            (Target::Console, _) if self.consoles => self.write_consoles(&format!("init: {text}")),
            (Target::Usual, Sink::Error) | (Target::Console, _) => {
                say(&format!("<{}>init: {text}\n", priority as u8));
            }
        }
    }

    /// Something failed.
    pub fn error(&self, text: &str) {
        self.write(Priority::Error, text);
    }

    /// Something is not as it should be; we go on.
    pub fn warning(&self, text: &str) {
        self.write(Priority::Warning, text);
    }

    /// Worth knowing.
    pub fn info(&self, text: &str) {
        self.write(Priority::Info, text);
    }

    /// For the curious.
    pub fn debug(&self, text: &str) {
        self.write(Priority::Debug, text);
    }

    /// A line for the person at the console. Opened per line: a console may come and go.
    pub fn status(&self, mark: Mark, text: &str) {
        let shown = match self.show.get() {
            Show::All => true,
            Show::Failures => !matches!(mark, Mark::Ok | Mark::None),
            Show::Nothing => false,
        };
        if !shown {
            return;
        }
        if self.consoles {
            self.write_consoles(&format!("{}{text}", mark.text()));
        } else {
            say(&format!("{}{text}\n", mark.text()));
        }
    }

    fn write_consoles(&self, line: &str) {
        let began = Instant::now();
        if self.quiet_until.get().is_some_and(|until| began < until) {
            return;
        }
        Consoles::open().write_line(line);
        let stuck = began.elapsed() >= STUCK;
        self.quiet_until.set(stuck.then(|| Instant::now() + REST));
    }
}

/// Writes to standard error, at once and in one piece.
fn say(line: &str) {
    // There is nobody to tell that it failed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_have_systemds_words() {
        let log = Log::plain();
        assert_eq!((log.level(), log.target()), ("debug", "console"));
        for (word, level) in [("info", "info"), ("3", "err"), ("emerg", "emerg"), ("7", "debug")] {
            assert_eq!(log.set_level(word), Ok(()));
            assert_eq!(log.level(), level);
        }
        assert_eq!(log.set_level("8").unwrap_err(), "Invalid log level '8'");
        assert_eq!(log.level(), "debug");
        assert_eq!(log.set_target("null", false), Ok(()));
        assert_eq!(log.target(), "null");
        assert!(log.set_target("kmsg", false).is_err() && log.set_target("paper", true).is_err());
        assert_eq!(log.target(), "null");
        assert_eq!(log.set_target("auto", false), Ok(()));
        assert_eq!(log.target(), "console");
    }
}
