//! The serial console of a guest: every line with the time and the processor seconds of QEMU at its arrival.
//!
//! A reader thread owns the pipe. Everybody else looks at the shared text and waits on a condition variable.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::process;
use crate::trouble;

/// A line that the guest printed.
#[derive(Debug, Clone)]
pub struct ConsoleLine {
    /// Time since the guest was started.
    pub at: Duration,
    /// Processor time that QEMU had used.
    pub cpu: Duration,
    /// The text, without control sequences.
    pub text: String,
}

/// A place in the console: what comes after it is new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(usize);

/// The console. Clones show the same text.
#[derive(Debug, Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    text: Mutex<Text>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Text {
    lines: Vec<ConsoleLine>,
    /// The bytes after the last end of line.
    open: Vec<u8>,
    /// How often something came.
    arrivals: u64,
    ended: bool,
}

impl Text {
    /// The text of line `index`; the open line counts as one when it says something.
    fn line(&self, index: usize) -> Option<String> {
        match self.lines.get(index) {
            Some(line) => Some(line.text.clone()),
            None if index == self.lines.len() && !self.open.is_empty() => Some(plain(&self.open)),
            None => None,
        }
    }

    fn find(&self, from: usize, wanted: &mut impl FnMut(&str) -> bool) -> Option<String> {
        (from..=self.lines.len()).filter_map(|index| self.line(index)).find(|text| wanted(text))
    }
}

/// How waiting for anything ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Something came.
    Came,
    /// The time was over.
    Quiet,
    /// The guest's console has ended.
    Ended,
}

/// How waiting for a line ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// The line came.
    Line(String),
    /// The guest's console ended without it.
    Ended,
    /// The time was over.
    TimedOut,
}

impl Console {
    /// Reads `source` in a thread until it ends; raw bytes also go to `log`.
    pub(crate) fn follow(source: impl Read + Send + 'static, log: Option<File>, started: Instant, pid: u32) -> Self {
        let console = Self { shared: Arc::default() };
        let shared = console.shared.clone();
        std::thread::spawn(move || follow(source, log, started, pid, &shared));
        console
    }

    /// The place where the console is now.
    pub fn mark(&self) -> Mark {
        Mark(self.text().lines.len())
    }

    /// Waits for a line at or after `mark` that `wanted` accepts. The last line counts before it is ended (a prompt).
    pub fn wait(&self, mark: Mark, deadline: Duration, mut wanted: impl FnMut(&str) -> bool) -> Waited {
        let end = Instant::now() + deadline;
        let mut text = self.text();
        let mut seen = mark.0;
        loop {
            if let Some(line) = text.find(seen, &mut wanted) {
                return Waited::Line(line);
            }
            if text.ended {
                return Waited::Ended;
            }
            // The open line may still grow, so it is looked at again.
            seen = seen.max(text.lines.len());
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::TimedOut;
            }
            text = match self.shared.changed.wait_timeout(text, left) {
                Ok((text, _)) => text,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Waits until the guest prints anything more, even a part of a line.
    pub fn wait_for_more(&self, deadline: Duration) -> More {
        let text = self.text();
        let before = text.arrivals;
        let quiet = |text: &mut Text| text.arrivals == before && !text.ended;
        let text = match self.shared.changed.wait_timeout_while(text, deadline, quiet) {
            Ok((text, _)) => text,
            Err(poisoned) => poisoned.into_inner().0,
        };
        match (text.ended, text.arrivals == before) {
            (true, _) => More::Ended,
            (false, true) => More::Quiet,
            (false, false) => More::Came,
        }
    }

    /// The lines at or after `mark`.
    pub fn lines_since(&self, mark: Mark) -> Vec<ConsoleLine> {
        let text = self.text();
        text.lines.get(mark.0..).unwrap_or_default().to_vec()
    }

    /// The lines at or after `mark`, which is moved behind them.
    pub fn take_new(&self, mark: &mut Mark) -> Vec<ConsoleLine> {
        let lines = self.lines_since(*mark);
        mark.0 += lines.len();
        lines
    }

    /// Everything so far.
    pub fn lines(&self) -> Vec<ConsoleLine> {
        self.lines_since(Mark::default())
    }

    /// Everything so far as plain text, with the line that is not ended yet.
    pub fn plain_text(&self) -> String {
        let text = self.text();
        let mut all: Vec<String> = text.lines.iter().map(|line| line.text.clone()).collect();
        all.extend(text.line(text.lines.len()));
        all.join("\n")
    }

    /// The last `count` lines, for a person who wants to know what went wrong.
    pub fn tail(&self, count: usize) -> String {
        let all = self.plain_text();
        let lines: Vec<&str> = all.lines().collect();
        lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
    }

    /// The first line at or after `mark` that speaks of trouble which `expected` does not name.
    pub fn trouble_since(&self, mark: Mark, expected: &[&str]) -> Option<String> {
        self.text()
            .find(mark.0, &mut |line| trouble::is_trouble(line) && !expected.iter().any(|name| line.contains(name)))
    }

    /// Whether QEMU has closed the console.
    pub fn has_ended(&self) -> bool {
        self.text().ended
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.shared.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn follow(mut source: impl Read, mut log: Option<File>, started: Instant, pid: u32, shared: &Shared) {
    let mut buffer = [0; 4096];
    loop {
        // An error means the same as the end: the guest's side of the pipe is gone.
        let count = source.read(&mut buffer).unwrap_or(0);
        let bytes = buffer.get(..count).unwrap_or_default();
        if let Some(file) = &mut log
            && let Err(error) = file.write_all(bytes)
        {
            eprintln!("warning: writing the console log: {error}, going on without");
            log = None;
        }
        let at = started.elapsed();
        let cpu = process::cpu_used(pid);
        let mut text = shared.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        add(&mut text, bytes, at, cpu);
        text.arrivals += 1;
        text.ended = count == 0;
        drop(text);
        shared.changed.notify_all();
        if count == 0 {
            return;
        }
    }
}

fn add(text: &mut Text, bytes: &[u8], at: Duration, cpu: Option<Duration>) {
    let cpu = cpu.or_else(|| text.lines.last().map(|line| line.cpu)).unwrap_or_default();
    for &byte in bytes {
        if byte == b'\n' {
            let line = ConsoleLine { at, cpu, text: plain(&text.open) };
            text.open.clear();
            text.lines.push(line);
        } else {
            text.open.push(byte);
        }
    }
}

/// The text of a line as a person sees it: without control sequences, and after the last return to its beginning.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    let mut chars = text.trim_end_matches('\r').chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => skip_sequence(&mut chars),
            '\r' => out.clear(),
            char if char.is_control() && char != '\t' => {}
            char => out.push(char),
        }
    }
    out
}

fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if chars.next_if_eq(&'[').is_some() {
        while chars.next_if(|char| !('@'..='~').contains(char)).is_some() {}
    }
    chars.next();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn console(text: &str) -> Console {
        Console::follow(Cursor::new(text.as_bytes().to_vec()), None, Instant::now(), 0)
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_prompt_without_an_end_of_line_is_found() {
        assert_eq!(
            console("Debian\r\nlogin: ").wait(Mark::default(), SOON, |line| line.contains("login:")),
            Waited::Line("login: ".into())
        );
    }

    #[test]
    fn an_open_line_that_was_there_already_is_nothing_more() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        let console = Console::follow(ours, None, Instant::now(), 0);
        theirs.write_all(b"login: ").expect("a prompt");
        assert!(matches!(console.wait(Mark::default(), SOON, |line| line == "login: "), Waited::Line(_)));
        assert_eq!(console.wait_for_more(Duration::from_millis(50)), More::Quiet);
        drop(theirs);
        assert_eq!(console.wait_for_more(SOON), More::Ended);
    }

    #[test]
    fn a_console_that_ends_without_the_line_says_so() {
        assert_eq!(console("x\n").wait(Mark::default(), SOON, |line| line == "y"), Waited::Ended);
    }

    #[test]
    fn what_was_said_before_the_mark_is_not_found() {
        let console = console("old\nnew\n");
        assert_eq!(console.wait(Mark::default(), SOON, |line| line == "new"), Waited::Line("new".into()));
        let mark = console.mark();
        assert_eq!(console.wait(mark, SOON, |line| line == "old"), Waited::Ended);
    }

    #[test]
    fn colours_and_overprinted_text_are_removed() {
        assert_eq!(plain(b"\x1b[2J\x1b[0;32m  OK  \x1b[0m fine\r"), "  OK   fine");
        assert_eq!(plain(b"50%\r100%\r"), "100%");
    }

    #[test]
    fn trouble_is_found_unless_it_was_expected() {
        let console = console("fine\nKernel panic - not syncing: x\n");
        assert_eq!(console.wait(Mark::default(), SOON, |_| false), Waited::Ended);
        assert!(console.trouble_since(Mark::default(), &[]).is_some());
        assert_eq!(console.trouble_since(Mark::default(), &["Kernel panic"]), None);
    }
}
