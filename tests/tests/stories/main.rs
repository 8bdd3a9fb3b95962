//! The end-to-end stories, by what they are about. Each starts daemons of its own and needs nothing of another.

mod access;
mod bytes;
mod cluster;
mod configuration;
mod contract;
mod copies;
mod crash;
mod digests;
mod environment;
mod expectation;
mod guide;
mod host;
mod hostile;
mod index;
mod interchange;
mod interruption;
mod marking;
mod ranges;
mod readme;
mod redirect;
mod restart;
mod results;
mod rot;
mod tls;
mod volumes;
mod webdav;
