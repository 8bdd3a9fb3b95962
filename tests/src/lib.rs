//! What the end-to-end stories are told with: the real daemons on free ports, the real curl, a raw socket for what
//! no honest client sends, and a door's view of a pool.
//!
//! Nothing here knows how the daemons are built inside: stories speak HTTP, gRPC, signals and files, as users and
//! admins do. A story that cannot go on panics with what it saw; a daemon that dies with it shows its log.
#![forbid(unsafe_code)]

pub mod admin;
pub mod attributes;
pub mod binaries;
pub mod certificates;
pub mod cluster;
pub mod crash;
pub mod curl;
pub mod daemon;
pub mod damage;
pub mod davix;
pub mod files;
pub mod grid;
pub mod issuer;
pub mod kerberos;
pub mod lone_pool;
pub mod macaroon;
pub mod manager;
pub mod marking;
pub mod metrics;
pub mod network;
pub mod pair;
pub mod patience;
pub mod pool_client;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod python;
pub mod raw;
pub mod remote;
pub mod room;
pub mod secure_site;
pub mod site;
pub mod volume;
