//! The keys, part by part, in the order in which a reader wants to know of them.

use penstock_service::reference::Key;
use penstock_service::trace;

mod copy;
pub mod marking;
mod pools;
mod requests;
mod service;
mod users;

/// All of them.
pub const KEYS: &[&[Key]] = &[
    service::KEYS,
    users::KEYS,
    requests::KEYS,
    copy::KEYS,
    &[marking::DEFAULT_TAG],
    marking::RULES,
    &[
        trace::ENDPOINT_KEY,
        trace::sample_key(
            "The share, 0 to 1, that is traced of requests without a traceparent; those with one are traced as it says.",
            "Lower it where thousands come each second.",
        ),
    ],
    pools::KEYS,
];
