//! Locks that stand against a request: 423, and which they are (RFC 4918 §11.3, §16).

use hyper::StatusCode;

use super::answer::Refusal;
use super::exchange::Exchange;
use crate::namespace::lock::MAX_TOLD;
use crate::namespace::{Lock, NsPath, Shown, Touch};

/// Why the header `If` is needed.
const TEXT: &str = "it is locked: show the lock's token in the header If, or wait until the lock ends";

/// The refusal of a change without the token.
pub fn refuse(exchange: &Exchange, locks: &[Lock]) -> Refusal {
    condition(exchange, "lock-token-submitted", locks)
}

/// The refusal of a lock where others are.
pub fn refuse_lock(exchange: &Exchange, locks: &[Lock]) -> Refusal {
    condition(exchange, "no-conflicting-lock", locks)
}

/// Refuses new data for a name that somebody has locked, or a new name in a directory that somebody has.
pub async fn check_name(
    exchange: &Exchange,
    path: &NsPath,
    exists: bool,
    shown: &Shown,
) -> Result<(), Refusal> {
    let touches = [Touch::Entry(path), Touch::Name(path)];
    let touches = if exists { &touches[..1] } else { &touches[..] };
    let locks = exchange.service.namespace.obstacles(touches, shown).await?;
    if locks.is_empty() { Ok(()) } else { Err(refuse(exchange, &locks)) }
}

fn condition(exchange: &Exchange, name: &str, locks: &[Lock]) -> Refusal {
    let root = exchange.view_root();
    let hrefs: String = locks
        .iter()
        .take(MAX_TOLD)
        .map(|lock| {
            // A lock may be above all that the client sees.
            let path = lock.path.below(&root).unwrap_or_else(NsPath::root);
            format!("<d:href>{}</d:href>", path.to_url())
        })
        .collect();
    Refusal::new(StatusCode::LOCKED, TEXT).condition(format!("<d:{name}>{hrefs}</d:{name}>"))
}
