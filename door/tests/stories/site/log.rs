//! What the door writes into its log, for stories that run on one thread.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// The log since [`capture`]; it ends with this.
pub struct Log {
    lines: Lines,
    _capturing: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

/// Writes down all that the door logs on this thread from now on, down to the finest level.
pub fn capture() -> Log {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("penstock_door=trace")
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    Log { lines, _capturing: tracing::subscriber::set_default(subscriber) }
}

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
