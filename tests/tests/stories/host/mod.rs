//! On a disk server, under a service manager: units, readiness, watchdog, reload, and what goes wrong there.

mod bad_input;
mod lifecycle;
mod reload;
mod sockets;
mod traces;
mod units;
