//! The HTTP and WebDAV front.
//!
//! * [`server`]: accepting and serving connections; [`connection`]: one client's socket.
//! * [`service`]: from a request to the handler of its method, and its line in the log.
//! * [`exchange`]: what all handlers need of a request; [`answer`]: what they answer.
//! * One file for each method: [`options`], [`get`], [`head`], [`put`], [`delete`], [`mkcol`], [`propfind`]; and a
//!   folder, [`copy`].
//! * [`precondition`]: If-Match and its kin. [`digest`]: checksum headers. [`proxy`]: bytes through the door.
//! * [`property`], [`multistatus`]: WebDAV's XML. [`directory_page`]: a directory for a browser.
//! * [`admin`]: the admin port.
//!
//! Methods still to come (MOVE, PROPPATCH, LOCK, POST) are refused with 405 in [`service`].
#![forbid(unsafe_code)]

pub mod admin;
pub mod answer;
pub mod connection;
pub mod copy;
pub mod current;
pub mod delete;
pub mod digest;
pub mod directory_page;
pub mod exchange;
pub mod get;
pub mod head;
pub mod mkcol;
pub mod multistatus;
pub mod options;
pub mod precondition;
pub mod property;
pub mod propfind;
pub mod proxy;
pub mod put;
pub mod server;
pub mod service;

pub use service::Service;
