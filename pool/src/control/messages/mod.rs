//! What is told of transfers, replicas and the pool: from our types to the contract's messages ([`wire`]), and from those
//! to JSON ([`transfer_json`], [`status_json`]), the same wherever they are told.

pub mod status_json;
pub mod transfer_json;
pub(super) mod wire;
