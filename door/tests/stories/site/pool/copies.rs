//! The pool's side of a copy, played by the story.

use bytes::Bytes;
use penstock_door_proto::v1 as proto;
use proto::transfer_event::Event;
use proto::transfer_request::Kind;

use super::{FakePool, Inner};

impl Inner {
    /// Ends a transfer that runs. `false` when it had ended, or is not known.
    pub(super) fn cancel_running(&self, id: &str, reason: &str) -> bool {
        let mut state = self.lock();
        let finish_late = state.faults.finish_late;
        let Some(transfer) = state.transfers.get(id).filter(|transfer| !transfer.has_ended()) else {
            return false;
        };
        if finish_late {
            let replica = transfer.request.replica_id.clone();
            transfer.event.send_replace(Event::Finished(finished(4)));
            state.replicas.insert(replica, Bytes::from_static(b"Wiki"));
            return false;
        }
        let event = proto::Cancelled { reason: reason.to_owned(), ..Default::default() };
        transfer.event.send_replace(Event::Cancelled(event));
        true
    }
}

impl FakePool {
    /// The id of the last transfer that was asked for.
    pub fn last_transfer(&self) -> String {
        self.last_request().transfer_id
    }

    /// The pull that was asked for last.
    pub fn last_pull(&self) -> proto::Pull {
        match self.last_request().kind {
            Some(Kind::Pull(pull)) => pull,
            other => panic!("not a pull: {other:?}"),
        }
    }

    /// The push that was asked for last.
    pub fn last_push(&self) -> proto::Push {
        match self.last_request().kind {
            Some(Kind::Push(push)) => push,
            other => panic!("not a push: {other:?}"),
        }
    }

    /// How often the last transfer was to tell its progress, in milliseconds.
    pub fn progress_period_ms(&self) -> i64 {
        let period = self.inner.lock().progress_period.expect("no progress was asked for");
        period.seconds * 1000 + i64::from(period.nanos) / 1_000_000
    }

    /// What was cancelled, and why.
    pub fn cancels(&self) -> Vec<(String, String)> {
        self.inner.lock().cancels.clone()
    }

    /// Something happens to the last transfer.
    pub fn tell(&self, event: Event) {
        self.inner.end(&self.last_transfer(), event);
    }

    /// The last transfer, a pull, has stored these bytes.
    pub fn finish_pull(&self, bytes: &'static [u8]) {
        self.finish_transfer(&self.last_request(), bytes);
    }

    /// A pull has stored these bytes.
    pub fn finish_transfer(&self, request: &proto::TransferRequest, bytes: &'static [u8]) {
        self.inner.lock().replicas.insert(request.replica_id.clone(), Bytes::from_static(bytes));
        self.inner.end(&request.transfer_id, Event::Finished(finished(bytes.len() as u64)));
    }

    /// The last transfer has failed.
    pub fn fail_copy(&self, text: &str) {
        self.tell(Event::Failed(proto::Failed { text: text.to_owned(), ..Default::default() }));
    }
}

/// The end of a transfer that went well.
pub fn finished(size: u64) -> proto::Finished {
    let checksum = proto::Checksum {
        algorithm: proto::ChecksumAlgorithm::Adler32.into(),
        value: vec![0x03, 0xda, 0x01, 0x95],
    };
    proto::Finished { size, bytes_moved: size, checksums: vec![checksum], ..Default::default() }
}

/// One connection, from here to there.
pub fn connection(local: (&str, u32), remote: (&str, u32), retransmits: u64) -> proto::Connection {
    let endpoint = |(address, port): (&str, u32)| Some(proto::Endpoint { address: address.to_owned(), port });
    proto::Connection {
        local: endpoint(local),
        remote: endpoint(remote),
        tcp: Some(proto::TcpInfo { retransmits, ..Default::default() }),
        ..Default::default()
    }
}
