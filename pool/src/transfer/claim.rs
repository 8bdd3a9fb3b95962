//! One client request's hold on a transfer: what a shard tells of it, and what it may wait for.
//!
//! Dropping an unsettled claim settles it: a PUT whose client went away has failed, a GET's request just ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::desk::ClaimMethod;
use super::failure::Failure;
use super::lifecycle::{Transfer, Verdict};
use super::link::{ConnectionInfo, Limit, Link};
use super::record::Outcome;
use super::state::IllegalStep;

/// A hold on a transfer. Lives on one shard, for one request.
#[derive(Debug)]
pub struct Claim {
    transfer: Arc<Transfer>,
    method: ClaimMethod,
    /// Its place among the transfer's open claims.
    key: usize,
    link: Option<Arc<Link>>,
    settled: bool,
}

impl Claim {
    pub(super) fn new(transfer: Arc<Transfer>, method: ClaimMethod, key: usize) -> Self {
        Self { transfer, method, key, link: None, settled: false }
    }

    /// The transfer.
    #[must_use]
    pub fn transfer(&self) -> &Arc<Transfer> {
        &self.transfer
    }

    /// What was claimed.
    #[must_use]
    pub fn method(&self) -> ClaimMethod {
        self.method
    }

    /// The request is validated and bytes may move: GET and PUT are running from here. A HEAD only shows its
    /// connection. An error means that the transfer has ended meanwhile.
    pub fn started(&mut self, connection: ConnectionInfo) -> Result<(), IllegalStep> {
        match self.method {
            ClaimMethod::Get | ClaimMethod::Put | ClaimMethod::Pull | ClaimMethod::Push => {
                // Listed first, so that whoever is told of the start sees the connection.
                self.link = Some(self.transfer.progress().link(connection));
                self.enter(Limit::Source);
                self.transfer.start()
            }
            ClaimMethod::Head | ClaimMethod::Options => Ok(()),
        }
    }

    /// The transfer runs from here, on connections that are shown apart from this claim (see
    /// [`super::strand::Strand`]). An error means that it has ended meanwhile.
    pub fn started_apart(&self) -> Result<(), IllegalStep> {
        self.transfer.start()
    }

    /// Counts bytes moved: written to the file (PUT) or handed to the client (GET).
    pub fn moved(&self, bytes: u64) {
        self.transfer.progress().moved(bytes);
    }

    /// The connection's own counters, once started.
    #[must_use]
    pub fn link(&self) -> Option<&Link> {
        self.link.as_deref()
    }

    /// From now on this holds the request back. Cheap; call it at every change of what is awaited.
    pub fn enter(&self, limit: Limit) {
        if let Some(link) = &self.link {
            link.enter(limit, self.transfer.now());
        }
    }

    /// PUT: the last byte has arrived, the commit begins. An error means that the transfer has ended meanwhile:
    /// nothing must be committed.
    pub fn finishing(&self) -> Result<(), IllegalStep> {
        match self.method {
            ClaimMethod::Put | ClaimMethod::Pull | ClaimMethod::Push => self.transfer.all_moved(),
            ClaimMethod::Get | ClaimMethod::Head | ClaimMethod::Options => Ok(()),
        }
    }

    /// The request went well. For a PUT: the replica is durable; an error means that the transfer was ended
    /// meanwhile (cancelled, past its deadline), and the replica must be removed again.
    pub fn finish(&mut self, outcome: Outcome) -> Result<(), IllegalStep> {
        self.settled = true;
        match self.method {
            ClaimMethod::Get | ClaimMethod::Put | ClaimMethod::Pull | ClaimMethod::Push => {
                self.transfer.finish(outcome)
            }
            ClaimMethod::Head | ClaimMethod::Options => Ok(()),
        }
    }

    /// The request failed. A PUT has failed with it; a GET may be asked again while it lingers, unless the fault is
    /// the pool's.
    pub fn fail(&mut self, failure: Failure) {
        self.settled = true;
        match self.method {
            ClaimMethod::Get | ClaimMethod::Put | ClaimMethod::Pull | ClaimMethod::Push => {
                self.transfer.claim_failed(self.method, failure);
            }
            ClaimMethod::Head | ClaimMethod::Options => {}
        }
    }

    /// The transfer was ended from outside (cancelled, deadline, shutdown): stop moving bytes.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.transfer.stopped()
    }

    /// Ready once the transfer was ended from outside. Remembers the waker otherwise.
    pub fn poll_stopped(&self, context: &mut Context<'_>) -> Poll<()> {
        self.transfer.poll_stopped(self.key, context.waker())
    }

    /// Completes once the transfer was ended from outside; to be selected against I/O.
    pub fn until_stopped(&self) -> Stopped<'_> {
        Stopped { claim: self }
    }

    /// PUT, after [`finish`](Self::finish): what the door decides about the replica. Ends by itself with
    /// [`Verdict::Timeout`].
    pub fn await_verdict(&self) -> AwaitVerdict<'_> {
        AwaitVerdict { claim: self }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            link.rest(self.transfer.now());
        }
        if !self.settled {
            let (replica, moved) = (&self.transfer.request().replica, self.transfer.progress().bytes_moved());
            match self.method {
                ClaimMethod::Put => self.transfer.claim_failed(
                    self.method,
                    Failure::connection_lost(format!(
                        "the upload of {replica} broke off after {moved} bytes: the client's connection ended"
                    )),
                ),
                ClaimMethod::Pull | ClaimMethod::Push => self.transfer.claim_failed(
                    self.method,
                    Failure::internal(format!("the copy of {replica} was dropped after {moved} bytes")),
                ),
                ClaimMethod::Get | ClaimMethod::Head | ClaimMethod::Options => {}
            }
        }
        self.transfer.release(self.key);
    }
}

/// See [`Claim::until_stopped`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Stopped<'a> {
    claim: &'a Claim,
}

impl Future for Stopped<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.claim.poll_stopped(context)
    }
}

/// See [`Claim::await_verdict`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct AwaitVerdict<'a> {
    claim: &'a Claim,
}

impl Future for AwaitVerdict<'_> {
    type Output = Verdict;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Verdict> {
        self.claim.transfer.poll_verdict(self.claim.key, context.waker())
    }
}
