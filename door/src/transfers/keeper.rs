//! One task for each pool: whenever it comes back it is settled with, whenever it owes a deletion it is asked for it.

use std::sync::Arc;
use std::time::Duration;

use crate::pools::{Pool, PoolState, health};

use super::Transfers;

/// How often each pool is settled with even if nothing was seen to break: what fell through is picked up then.
const SETTLE_PERIOD: Duration = Duration::from_secs(60);

impl Transfers {
    /// Starts to follow and to keep every pool.
    pub fn keep_pools(self: &Arc<Self>) {
        for pool in self.pools.iter() {
            let follow = health::follow(Arc::clone(pool), self.door.clone(), self.stop.clone());
            self.tasks.spawn(follow);
            let (transfers, pool) = (Arc::clone(self), Arc::clone(pool));
            self.tasks.spawn(async move {
                tokio::select! {
                    () = transfers.keep(&pool) => {}
                    () = transfers.stop.cancelled() => {}
                }
            });
        }
    }

    async fn keep(self: &Arc<Self>, pool: &Arc<Pool>) {
        let mut state = pool.watch_state();
        let mut removals = self.removals.subscribe();
        // The pool's instance that was settled with last.
        let mut settled_with: Option<String> = None;
        let mut settle_at = tokio::time::Instant::now();
        let mut remove = true;
        // The damaged replicas that were asked for last, as the pool counted them.
        let mut broken_seen = 0;
        loop {
            let (instance, broken) = match &*state.borrow_and_update() {
                PoolState::Up(status) => (Some(status.instance_id.clone()), status.broken_replicas),
                PoolState::Unknown | PoolState::Unreachable(_) => (None, broken_seen),
            };
            if instance.is_none() {
                settled_with = None;
                remove = true;
            } else {
                let look_again = instance != settled_with || tokio::time::Instant::now() >= settle_at;
                if look_again {
                    match self.settle(pool).await {
                        Ok(()) => settled_with = instance,
                        Err(error) => {
                            tracing::warn!(pool = pool.name(), %error, "cannot settle with the pool now")
                        }
                    }
                    settle_at = tokio::time::Instant::now() + SETTLE_PERIOD;
                    remove = true;
                }
                // Also from time to time, as one may be mended while another breaks, or be given another name.
                if (broken != broken_seen || (look_again && broken > 0))
                    && self.look_for_broken(pool, broken).await
                {
                    broken_seen = broken;
                }
                if remove {
                    remove = false;
                    if let Err(error) = self.remove_owed(pool).await {
                        tracing::warn!(pool = pool.name(), %error, "cannot tell what the pool has to delete");
                    }
                }
            }
            tokio::select! {
                // Both senders live as long as `self`, so neither fails.
                _ = state.changed() => {}
                _ = removals.changed() => remove = true,
                () = tokio::time::sleep_until(settle_at), if settled_with.is_some() => {}
            }
        }
    }
}
