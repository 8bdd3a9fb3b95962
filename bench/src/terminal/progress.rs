//! A progress bar on a terminal; nothing in a pipe.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// Longer messages are cut, so that all of it fits a line of 80 columns: a bar that fills its line, with the "^C" of the
/// terminal behind it, would not be cleared.
const MOST_CHARACTERS: usize = 38;

/// How far a measurement has come.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// For so many runs, shown on stderr if that is a terminal.
    pub fn new(runs: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let bar = ProgressBar::new(runs);
        let style = ProgressStyle::with_template("{bar:16.cyan/dim} {pos}/{len} {elapsed_precise} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━━─");
        bar.set_style(style);
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// What is being done now.
    pub fn doing(&self, what: &str) {
        let fits = what.char_indices().nth(MOST_CHARACTERS).is_none();
        let cut: String = what.chars().take(MOST_CHARACTERS - 1).collect();
        self.0.set_message(if fits { what.to_owned() } else { format!("{cut}…") });
    }

    /// One run more is behind us.
    pub fn one_done(&self) {
        self.0.inc(1);
    }

    /// More runs have been found necessary.
    pub fn more(&self, runs: u64) {
        self.0.inc_length(runs);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
