//! Transfers that the pool makes by itself: third-party copies with a remote HTTP server, and copies of its own
//! replicas.
//!
//! ```text
//! control: the transfer's turn has come → claim → a shard → pull, push or local copy → Finished or Failed
//! ```
//!
//! All streams of one transfer run on one shard: they share a file, its writes and its checksums, and a shard moves
//! more than any path between sites.

mod failures;
mod guard;
#[cfg(test)]
pub(crate) mod stories;

use std::rc::Rc;
use std::sync::Arc;

pub use self::failures::Far;
pub use self::guard::Guard;

use super::port::Port;
use super::request::Kind;
use super::{Claim, local_copy, pull, push};
use crate::engine::core::Core;
use crate::remote::Remotes;

/// What these transfers share.
pub struct ThirdParty {
    /// The store, the digest threads, and how bytes come to the disk.
    pub port: Arc<Port>,
    /// Remote servers.
    pub remotes: Arc<Remotes>,
}

impl ThirdParty {
    /// Runs a transfer to its end, on the shard of `core`.
    pub async fn run(self: Arc<Self>, core: Rc<Core>, mut claim: Claim) {
        let transfer = Arc::clone(claim.transfer());
        let outcome = match &transfer.request().kind {
            Kind::Pull(pull) => pull::run(&self, &core, &claim, pull).await,
            Kind::Push(push) => push::run(&self, &core, &claim, push).await,
            Kind::LocalCopy(copy) => local_copy::run(&self, &core, &claim, copy).await,
            // Whoever claims for the pool has looked at the kind.
            Kind::Get(_) | Kind::Put(_) => return,
        };
        match outcome {
            Ok(done) => done.finish(&self, &core, &mut claim).await,
            Err(failure) => claim.fail(failure),
        }
    }
}

/// A transfer that did what it was asked for.
pub struct Done {
    /// To be told to the door.
    pub outcome: super::Outcome,
}

impl Done {
    async fn finish(self, third_party: &ThirdParty, core: &Rc<Core>, claim: &mut Claim) {
        let stored = matches!(self.outcome, super::Outcome::Stored { .. });
        if claim.finish(self.outcome).is_ok() || !stored {
            return;
        }
        // Called off while it was being made durable: the replica goes again.
        let replica = claim.transfer().request().replica.clone();
        let store = Arc::clone(&third_party.port.store);
        let _ = core.blocking(move || store.delete(&replica)).await;
    }
}
