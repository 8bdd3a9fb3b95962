//! The keys, part by part, in the order in which a reader wants to know of them.

use penstock_service::reference::Key;
use penstock_service::trace;

pub mod marking;
mod service;
mod tpc;

/// All of them.
pub const KEYS: &[&[Key]] = &[
    service::KEYS,
    tpc::KEYS,
    marking::KEYS,
    &[
        trace::ENDPOINT_KEY,
        trace::sample_key(
            "Without effect at a pool: what the door traces is traced.",
            "The door decides, so that no trace is half of one.",
        ),
    ],
];
