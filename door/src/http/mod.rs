//! The HTTP and WebDAV front.
//!
//! * [`server`]: accepting and serving connections; [`connection`]: one client's socket; [`threads`]: where it is
//!   served; [`client_limit`]: how many a client may have.
//! * [`service`]: from a request to the handler of its method, and its line in the log.
//! * [`exchange`]: what all handlers need of a request; [`answer`]: what they answer.
//! * One file for each method: [`options`], [`get`], [`head`], [`put`], [`delete`], [`mkcol`], [`propfind`],
//!   [`proppatch`], [`lock`], [`unlock`], [`rename`] (MOVE); and a folder, [`copy`].
//! * [`precondition`]: If-Match and its kin. [`condition`]: If. [`destination`], [`depth`]: headers of WebDAV.
//! * [`digest`]: checksum headers. [`proxy`], [`pool_stream`]: bytes through the door. [`request_body`]: short bodies.
//! * [`xml`], [`property`], [`multistatus`], [`locked`]: WebDAV's XML. [`listing`]: a directory, page by page;
//!   [`directory_page`]: for a browser.
//! * [`delegation`]: GridSite's delegation service.
//! * [`tape`]: the tape REST API of a site without tapes. [`admin`]: the admin port.
//! * [`macaroon`]: POST, requests for macaroons; [`oauth`]: the same in the manner of OAuth 2.0.
#![forbid(unsafe_code)]

pub mod admin;
pub mod answer;
pub mod client_limit;
pub mod condition;
pub mod connection;
pub mod copy;
pub mod current;
pub mod delegation;
pub mod delete;
pub mod depth;
pub mod destination;
pub mod digest;
pub mod directory_page;
pub mod exchange;
pub mod get;
pub mod head;
pub mod listing;
pub mod lock;
pub mod locked;
pub mod macaroon;
pub mod mkcol;
pub mod multistatus;
pub mod oauth;
pub mod on_record;
pub mod options;
pub mod pool_stream;
pub mod precondition;
pub mod property;
pub mod propfind;
pub mod proppatch;
pub mod proxy;
pub mod put;
pub mod rename;
pub mod request_body;
pub mod reserved;
pub mod server;
pub mod service;
pub mod tape;
pub mod threads;
pub mod unlock;
pub mod xml;

pub use service::Service;
