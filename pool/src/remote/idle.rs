//! Connections of this shard that wait for their next request.
//!
//! A connection cannot leave its shard, so each shard's thread keeps its own. One that waited too long is closed by a
//! timer; one that the server has closed meanwhile is noticed when it is taken.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::url::Origin;
use super::wire::Wire;
use crate::engine::core::Core;
use crate::marking::Tag;
use crate::tls::Fingerprint;

/// Connections that wait at once, of one shard; of more the oldest is closed.
const MAX_IDLE: usize = 64;

struct Waiting {
    number: u64,
    wire: Wire,
}

#[derive(Default)]
struct Idle {
    /// Oldest first.
    waiting: Vec<Waiting>,
    next_number: u64,
}

thread_local! {
    static IDLE: RefCell<Idle> = RefCell::default();
}

/// Keeps a connection for the next request to the same server.
pub(super) fn park(mut wire: Wire, keep_alive: Duration) {
    if keep_alive.is_zero() {
        return;
    }
    wire.reused = true;
    wire.input.release();
    let core = Rc::clone(wire.input.connection().core());
    let (number, too_old) = IDLE.with_borrow_mut(|idle| {
        let number = idle.next_number;
        idle.next_number += 1;
        let too_old = (idle.waiting.len() >= MAX_IDLE).then(|| idle.waiting.remove(0));
        idle.waiting.push(Waiting { number, wire });
        (number, too_old)
    });
    drop(too_old);
    let sleeping = core.sleep(keep_alive);
    core.spawn(async move {
        sleeping.await;
        let expired = IDLE.with_borrow_mut(|idle| {
            let place = idle.waiting.iter().position(|waiting| waiting.number == number);
            place.map(|place| idle.waiting.remove(place))
        });
        drop(expired);
    });
}

/// A connection to that server which is still open, the one used last. Its packets carry the mark of the transfer that it
/// was made for, and the server takes who speaks on it for whoever was shown when it was made: so it can only serve
/// others with the same.
pub(super) async fn take(
    core: &Rc<Core>,
    origin: &Origin,
    tag: Option<Tag>,
    shown: Option<Fingerprint>,
) -> Option<Wire> {
    loop {
        let wire = IDLE.with_borrow_mut(|idle| {
            let usable = |waiting: &Waiting| {
                let wire = &waiting.wire;
                let same = wire.origin() == origin && wire.tag() == tag && wire.shown() == shown;
                same && Rc::ptr_eq(waiting.wire.input.connection().core(), core)
            };
            let place = idle.waiting.iter().rposition(usable);
            place.map(|place| idle.waiting.remove(place).wire)
        })?;
        // Readable without a question asked: closed, or not to be trusted.
        let connection = wire.input.connection().clone();
        if core.within(Duration::ZERO, connection.readable()).await.is_none() {
            return Some(wire);
        }
    }
}
