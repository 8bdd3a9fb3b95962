//! What every daemon of Penstock is to the machine it runs on, whatever it does there.
//!
//! * [`log`]: the log on standard error, which never holds anybody up, and whose level can be changed while it runs.
//! * [`life`]: from the start over reloads to the drained end, told to the service manager on the way.
//! * [`notify`]: the service manager's socket. [`watchdog`]: what it wants to hear, and how often.
//! * [`activation`]: listeners that it has opened beforehand. [`signals`]: what admins say.
//! * [`exposition`]: the text formats in which Prometheus reads metrics.
//! * [`records`]: lines of JSON of what has happened.
//! * [`trace`]: traces for OpenTelemetry.
//! * [`reference`](mod@reference): what a configuration can say, in words. [`check`]: whether a daemon can run here.
//!   [`manual`]: completions, man pages. [`settings`]: what a configuration says, from a file, the environment, the command
//!   line.
//! * [`watch`]: files that are read again when they have changed.
//! * [`reminder`]: what is said once a day.
//! * [`complaint`]: the last words of a daemon that cannot go on.
//!
//! Knows nothing of pools and doors; both binaries and the one that is both use it.
#![forbid(unsafe_code)]

pub mod activation;
pub mod check;
pub mod complaint;
pub mod exposition;
pub mod life;
pub mod log;
pub mod manual;
pub mod notify;
pub mod records;
pub mod reference;
pub mod reminder;
pub mod settings;
pub mod signals;
pub mod trace;
pub mod watch;
pub mod watchdog;

pub use life::{Daemon, live};
pub use log::{Log, LogFilter};

/// The beginning of a text: at most so many bytes, and whole characters. (`floor_char_boundary` is Rust 1.91.)
pub(crate) fn beginning(text: &str, most_bytes: usize) -> &str {
    let end = (0..=most_bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        for (most, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (99, "aé")] {
            assert_eq!(beginning("aé", most), expected, "{most}");
        }
    }
}
