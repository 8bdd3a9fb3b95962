//! Progress of a push that is never ahead of the truth: bytes that the destination's TCP has acknowledged.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crate::tls::Wire;
use crate::transfer::Transfer;
use crate::transfer::strand::Strand;

/// How often the kernel is asked while nothing else happens.
const PERIOD: Duration = Duration::from_millis(250);
/// TLS: a record's bytes, and more than what encryption ever adds to them (RFC 8446 §5.2, RFC 5246 §6.2.3).
const RECORD_BYTES: u64 = 16 << 10;
const RECORD_EXTRA_BYTES: u64 = 64;

/// What has arrived of a body.
pub(super) struct Acks<'a> {
    connection: Wire,
    transfer: &'a Arc<Transfer>,
    strand: &'a Strand,
    /// Acknowledged on this connection before the body's first byte.
    before: u64,
    /// Body bytes handed to the connection.
    sent: Cell<u64>,
    /// Of those, counted as moved.
    counted: Cell<u64>,
}

impl<'a> Acks<'a> {
    /// Nothing of the body is sent. `head_underway`: bytes of the request's head that may not be acknowledged yet.
    pub(super) fn new(
        connection: &Wire,
        head_underway: u64,
        transfer: &'a Arc<Transfer>,
        strand: &'a Strand,
    ) -> Acks<'a> {
        let acknowledged = connection.tcp_facts().map_or(0, |facts| facts.bytes_acknowledged);
        Acks {
            connection: connection.clone(),
            transfer,
            strand,
            before: acknowledged + head_underway,
            sent: Cell::new(0),
            counted: Cell::new(0),
        }
    }

    /// More of the body went to the connection.
    pub(super) fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
        self.strand.sent(bytes);
        self.note();
    }

    /// Asks the kernel what has arrived.
    pub(super) fn note(&self) {
        self.strand.note_tcp(&self.connection);
        let Some(facts) = self.connection.tcp_facts() else { return };
        let on_the_wire = facts.bytes_acknowledged.saturating_sub(self.before);
        let of_body = match self.connection.tls() {
            None => on_the_wire,
            Some(_) => on_the_wire.saturating_sub((on_the_wire / RECORD_BYTES + 1) * RECORD_EXTRA_BYTES),
        };
        self.count_up_to(of_body);
    }

    /// The destination has answered for all of it.
    pub(super) fn complete(&self) {
        self.count_up_to(u64::MAX);
    }

    /// Asks now and then, for ever.
    pub(super) async fn keep_noting(&self) -> Infallible {
        loop {
            self.connection.core().sleep(PERIOD).await;
            self.note();
        }
    }

    fn count_up_to(&self, arrived: u64) {
        let arrived = arrived.min(self.sent.get());
        let new = arrived.saturating_sub(self.counted.get());
        if new > 0 {
            self.counted.set(arrived);
            self.transfer.progress().moved(new);
        }
    }
}
