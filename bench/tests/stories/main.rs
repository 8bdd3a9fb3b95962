//! `penstock-bench` as an admin meets it who has never used it: on good machines and on bad ones.
#![forbid(unsafe_code)]

mod checksum;
mod disk;
mod door;
mod engine;
mod net;
mod pool;
mod program;
mod site;
mod tpc;
