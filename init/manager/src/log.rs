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
    /// Are lines for the curious written?
    debug: Cell<bool>,
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
        let (show, debug) = (Cell::new(Show::All), Cell::new(true));
        Log { sink, consoles, quiet_until: Cell::new(None), show, debug }
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
        self.debug.set(debug);
    }

    fn write(&self, priority: Priority, text: &str) {
        // The log is the last place to report to: its own errors cannot be told to anybody.
        match &self.sink {
            Sink::Kernel(kernel) => drop(kernel.write(priority, "init", text)),
            Sink::Error => drop(writeln!(std::io::stderr(), "<{}>init: {text}", priority as u8)),
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
        if self.debug.get() {
            self.write(Priority::Debug, text);
        }
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
            let began = Instant::now();
            if self.quiet_until.get().is_some_and(|until| began < until) {
                return;
            }
            Consoles::open().write_line(&format!("{}{text}", mark.text()));
            let stuck = began.elapsed() >= STUCK;
            self.quiet_until.set(stuck.then(|| Instant::now() + REST));
        } else {
            drop(writeln!(std::io::stderr(), "{}{text}", mark.text()));
        }
    }
}
