//! The contract between a door and a pool, package `penstock.pool.v1`.
//!
//! The `.proto` files under `proto/` are the contract and its documentation; this crate is what `prost` and `tonic`
//! make of them. Door and pool meet only here.
#![forbid(unsafe_code)]

mod codec;

/// Messages, client and server of `penstock.pool.v1`.
pub mod v1 {
    #![allow(missing_docs, clippy::all, clippy::pedantic)]
    tonic::include_proto!("penstock.pool.v1");
}

/// The compiled descriptors, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/penstock_descriptor.bin"));
