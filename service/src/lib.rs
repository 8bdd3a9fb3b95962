//! What every daemon of Penstock is to the machine it runs on, whatever it does there.
//!
//! * [`log`]: the log on standard error, which never holds anybody up, and whose level can be changed while it runs.
//! * [`life`]: from the start over reloads to the drained end, told to the service manager on the way.
//! * [`notify`]: the service manager's socket. [`watchdog`]: what it wants to hear, and how often.
//! * [`activation`]: listeners that it has opened beforehand. [`signals`]: what admins say.
//! * [`trace`]: traces for OpenTelemetry.
//! * [`complaint`]: the last words of a daemon that cannot go on.
//!
//! Knows nothing of pools and doors; both binaries and the one that is both use it.
#![forbid(unsafe_code)]

pub mod activation;
pub mod complaint;
pub mod life;
pub mod log;
pub mod notify;
pub mod signals;
pub mod trace;
pub mod watchdog;

pub use life::{Daemon, live};
pub use log::{Log, LogFilter};
