//! The status page: one HTML document with its style and script in it, and the JSON that it asks for again and again.
//!
//! It fetches nothing but that JSON from where it came from itself: the Content-Security-Policy allows its own style and
//! script by their hashes, and nothing else.

use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use penstock_door_proto::v1;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::history::{History, SAMPLE_PERIOD};
use crate::control::messages::{status_json, transfer_json};
use crate::control::registry::Registry;
use crate::transfer::state::StateName;

/// Transfers that are listed; further ones are counted.
const LISTED_TRANSFERS: usize = 100;
/// Failures that are listed.
const LISTED_FAILURES: usize = 20;
/// What the page has use for of a transfer.
const FIELDS: [&str; 20] = [
    "transfer",
    "kind",
    "state",
    "path",
    "replica",
    "subject",
    "client",
    "door",
    "remote_url",
    "submitted_at",
    "started_at",
    "ended_at",
    "bytes_moved",
    "bytes_requested",
    "rate_bytes_per_second",
    "limited_by",
    "limits",
    "experiment",
    "why",
    "error",
];

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The document.
pub(super) static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| include_str!("page.html").replace("{style}", STYLE).replace("{script}", SCRIPT));

/// What a browser lets the document do (CSP Level 3).
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// What the page shows.
pub(super) fn status(status: &v1::PoolStatus, registry: &Registry, history: &History) -> Value {
    let mut running: Vec<_> = registry
        .list()
        .into_iter()
        .filter(|entry| match entry.state() {
            StateName::Queued | StateName::Ready | StateName::Running | StateName::Finishing => true,
            StateName::Done | StateName::Failed | StateName::Cancelled => false,
        })
        .collect();
    // Those that move bytes first; among equals the oldest.
    running.sort_by_key(|entry| std::cmp::Reverse(entry.state()));
    let omitted = running.len().saturating_sub(LISTED_TRANSFERS);
    let transfers: Vec<Value> =
        running.iter().take(LISTED_TRANSFERS).map(|entry| short(&entry.info())).collect();
    let failures = registry.chronicle().failures();
    let failures: Vec<Value> =
        failures.iter().take(LISTED_FAILURES).map(|entry| short(&entry.info())).collect();
    let samples = history.samples();
    let whole = |rates: Vec<f64>| rates.into_iter().map(|rate| rate.round() as u64).collect::<Vec<_>>();
    let mut object = status_json::status(status);
    let more = [
        ("now", transfer_json::time(Some(&SystemTime::now().into()))),
        ("transfers", transfers.into()),
        ("transfers_omitted", omitted.into()),
        ("failures", failures.into()),
        (
            "history",
            json!({
                "period_seconds": SAMPLE_PERIOD.as_secs(),
                "in": whole(samples.iter().map(|sample| sample.in_rate).collect()),
                "out": whole(samples.iter().map(|sample| sample.out_rate).collect()),
            }),
        ),
    ];
    object.extend(more.map(|(name, value)| (name.to_owned(), value)));
    object.into()
}

/// A transfer for the page: many people may look, every two seconds.
fn short(info: &v1::TransferInfo) -> Value {
    let mut all = transfer_json::transfer(info);
    let remote = all
        .get("connections")
        .and_then(|connections| connections.get(0))
        .and_then(|connection| connection.get("remote"))
        .cloned();
    let mut object: Map<String, Value> =
        FIELDS.iter().filter_map(|name| all.remove(*name).map(|value| ((*name).to_owned(), value))).collect();
    object.insert("remote".into(), remote.unwrap_or(Value::Null));
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_whole_and_asks_nobody_else() {
        assert!(DOCUMENT.contains(STYLE) && DOCUMENT.contains(SCRIPT));
        for outside in ["http://", "https://", "@import", "url("] {
            assert!(!DOCUMENT.contains(outside), "{outside}");
        }
    }

    #[test]
    fn nothing_is_allowed_that_is_not_named() {
        assert!(POLICY.starts_with("default-src 'none'; "));
        assert!(!POLICY.contains("unsafe") && !POLICY.contains('*'));
    }

    #[test]
    fn style_and_script_cannot_end_their_own_elements() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</"));
    }

    #[test]
    fn every_field_that_is_asked_for_is_there() {
        let object = transfer_json::transfer(&v1::TransferInfo::default());
        for name in FIELDS {
            assert!(object.contains_key(name), "{name}");
        }
    }
}
