//! Numbers and times as people read them, and facts one below the other.

use std::io::{self, IsTerminal as _, Write as _};

use jiff::Timestamp;
pub use penstock_service::check::{bytes, plain};

/// A time to the second, in UTC; "never" for none.
pub fn time(at: Option<&prost_types::Timestamp>) -> String {
    timestamp(at).map_or_else(|| "never".to_owned(), |at| format!("{at:.0}"))
}

/// A time of the contract.
pub fn timestamp(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
}

/// Facts below each other: what, and how it is. Nothing is said of what is empty.
pub fn facts(facts: &[(&str, String)]) -> String {
    let shown = || facts.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    shown().map(|(name, value)| format!("{name:width$}{value}\n")).collect()
}

/// Prints to the standard output. Whoever reads it may have seen enough (`head`): then that is the end, in order.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// A line on the terminal that is written over and over; nothing where nobody watches.
#[derive(Debug)]
pub struct ProgressLine {
    watched: bool,
    shown: Option<String>,
}

impl ProgressLine {
    /// On the standard error.
    pub fn new() -> Self {
        Self { watched: io::stderr().is_terminal(), shown: None }
    }

    /// Shows how far it is.
    pub fn show(&mut self, text: String) {
        if self.watched && self.shown.as_ref() != Some(&text) {
            eprint!("\r\x1b[K{text}");
            self.shown = Some(text);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_elsewhere_stays_on_its_line() {
        assert_eq!(plain("a\u{1b}[2J\nb é"), "a\u{fffd}[2J\u{fffd}b é");
    }

    #[test]
    fn times_are_utc_to_the_second() {
        let at = prost_types::Timestamp { seconds: 1_767_225_600, nanos: 999 };
        assert_eq!(time(Some(&at)), "2026-01-01T00:00:00Z");
        assert_eq!(time(None), "never");
    }

    #[test]
    fn facts_stand_below_each_other_and_empty_ones_are_left_out() {
        let shown = facts(&[("a", "1".into()), ("long", "2".into()), ("none", String::new())]);
        assert_eq!(shown, "a     1\nlong  2\n");
    }
}
