//! The pool: holds replicas on a disk server and moves their bytes between disk and network.
//!
//! Folders, top down; imports only ever run down this list:
//!
//! * [`check`]: whether a pool can run on this machine with its configuration.
//! * [`control`]: what doors and admins talk to (gRPC, queues, admin port), on tokio.
//! * [`config`]: the configuration file.
//! * [`scrub`]: verification of replicas on the disk, of one or, in the background, of all.
//! * [`transfer`]: what a transfer is, and how GET, PUT, pull and push move its bytes, on the shards.
//! * [`remote`]: remote HTTP servers, with the pool as their client.
//! * [`marking`]: whose traffic a flow is, told to networks by flow labels and fireflies.
//! * [`http1`]: heads, ranges, chunked coding and digest headers of the data port.
//! * [`checksum`]: algorithms, their combination, digests off the data path.
//! * [`store`]: replicas on the disk: layout, attributes, commit, space.
//! * [`engine`]: shards: io_uring (and a simulated ring), executor, buffers, timers, sockets, files.

pub mod check;
pub mod checksum;
pub mod config;
pub mod control;
pub mod engine;
pub mod http1;
pub mod marking;
pub mod remote;
pub mod scrub;
pub mod store;
pub mod tls;
pub mod transfer;
