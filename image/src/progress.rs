//! What a person sees while an image is built: one line a step, with its seconds, on stderr.
//!
//! On a terminal the step that runs shows as a moving line. Steps are called one after the other.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(120);

/// Shows steps.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
}

/// A step that runs. Notes may come from several threads.
pub struct Step<'a> {
    progress: &'a Progress,
    name: &'static str,
    started: Instant,
}

impl Progress {
    /// Looks whether stderr is a terminal.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:<10} {elapsed:>5}  {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, started: Instant::now() }
    }

    /// Begins a step.
    pub fn step(&self, name: &'static str) -> Step<'_> {
        if let Some(bar) = &self.bar {
            bar.reset_elapsed();
            bar.set_prefix(name);
            bar.set_message("");
        }
        Step { progress: self, name, started: Instant::now() }
    }

    /// A line of its own.
    pub fn line(&self, text: impl Display) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Takes the moving line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Step<'_> {
    /// Shows what the step works on. Without a terminal only what takes long is worth a line: see `line`.
    pub fn note(&self, text: impl Display) {
        if let Some(bar) = &self.progress.bar {
            bar.set_message(text.to_string());
        }
    }

    /// Ends the step with what came out of it.
    pub fn done(self, result: impl Display) {
        self.progress.line(format!("{:<10} {:>6.1} s  {result}", self.name, self.started.elapsed().as_secs_f64()));
    }
}
