//! The pools: connections to them, what is known of their state, and the choice among them.
//!
//! * [`connection`]: a channel to one pool. [`health`]: following its state. [`choice`]: where a new file goes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use penstock_door_proto::v1::pool_client::PoolClient;
use tokio::sync::watch;
use tonic::transport::Channel;

pub mod choice;
pub mod connection;
pub mod health;

pub use choice::NoPool;
pub use connection::ConnectError;
pub use health::PoolState;

use crate::config::PoolConfig;

/// One pool.
#[derive(Debug)]
pub struct Pool {
    name: String,
    client: RwLock<PoolClient<Channel>>,
    state: watch::Sender<PoolState>,
}

impl Pool {
    /// A pool that is not connected yet. Reads its certificates.
    pub fn new(config: &PoolConfig) -> Result<Self, ConnectError> {
        let channel = connection::channel(config)?;
        Ok(Self {
            name: config.name.as_str().to_owned(),
            client: RwLock::new(PoolClient::new(channel)),
            state: watch::Sender::new(PoolState::Unknown),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A handle to call it; cheap, all share one connection.
    pub fn client(&self) -> PoolClient<Channel> {
        self.client.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls go another way, or with other certificates, from now on. Those that are under way go on as they began.
    fn reach_by(&self, channel: Channel) {
        // One assignment: whole whatever happened to others.
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = PoolClient::new(channel);
    }

    /// What it is known to be now.
    pub fn state(&self) -> PoolState {
        self.state.borrow().clone()
    }

    /// Follows what it is known to be.
    pub fn watch_state(&self) -> watch::Receiver<PoolState> {
        self.state.subscribe()
    }
}

/// All pools of the door.
#[derive(Debug)]
pub struct Pools {
    by_name: BTreeMap<String, Arc<Pool>>,
}

impl Pools {
    /// The pools of a configuration. Reads their certificates; connects to none.
    pub fn new(configs: &[PoolConfig]) -> Result<Self, ConnectError> {
        let pools = configs.iter().map(|config| {
            let pool = Pool::new(config)?;
            Ok((pool.name().to_owned(), Arc::new(pool)))
        });
        Ok(Self { by_name: pools.collect::<Result<_, ConnectError>>()? })
    }

    /// Reads certificates and addresses again, for all pools or, where one is wrong, for none. Pools that are there no
    /// more, or are new, wait for the next start; gives whether there are such.
    pub fn renew(&self, configs: &[PoolConfig]) -> Result<bool, ConnectError> {
        let channels = configs.iter().map(|config| Ok((config.name.as_str(), connection::channel(config)?)));
        let channels = channels.collect::<Result<Vec<_>, ConnectError>>()?;
        let mut same = channels.len() == self.by_name.len();
        for (name, channel) in channels {
            match self.by_name.get(name) {
                Some(pool) => pool.reach_by(channel),
                None => same = false,
            }
        }
        Ok(!same)
    }

    /// Every pool, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.by_name.values()
    }

    /// Waits, for at most so long, until each has told its state, or cannot be reached.
    pub async fn first_word(&self, within: Duration) {
        let all = async {
            for pool in self.iter() {
                // The sender lives as long as the pool.
                let _ = pool.watch_state().wait_for(|state| !matches!(state, PoolState::Unknown)).await;
            }
        };
        // Those that are silent are known as such later.
        let _ = tokio::time::timeout(within, all).await;
    }

    /// Bytes that all pools which answer hold, and those that they can still take.
    pub fn space(&self) -> (u64, u64) {
        let spaces = self.iter().filter_map(|pool| match pool.state() {
            PoolState::Up(status) => status.space,
            PoolState::Unknown | PoolState::Unreachable(_) => None,
        });
        spaces.fold((0, 0), |(used, available), space| {
            (used.saturating_add(space.used), available.saturating_add(space.available))
        })
    }

    /// The pool that holds a file. The text of the error is for the client.
    pub fn for_download(&self, name: &str) -> Result<Arc<Pool>, NoPool> {
        let pool = self.by_name.get(name).ok_or_else(|| {
            NoPool::unavailable(format!("the file is on pool {name}, which this door does not have"))
        })?;
        match pool.state().obstacle(Some(proto::pool_status::Health::ReadOnly)) {
            None => Ok(Arc::clone(pool)),
            Some(obstacle) => {
                Err(NoPool::unavailable(format!("the file is on pool {name}, which {obstacle}")))
            }
        }
    }

    /// The pools that can take a file, the best first.
    pub fn for_upload(&self, size_bytes: Option<u64>) -> Result<Vec<Arc<Pool>>, NoPool> {
        let states: Vec<_> = self.iter().map(|pool| (Arc::clone(pool), pool.state())).collect();
        let candidates: Vec<_> =
            states.iter().map(|(pool, state)| choice::Candidate::of(pool.name(), state)).collect();
        let random = getrandom::u64().unwrap_or_default();
        let order = choice::order(&candidates, size_bytes, random)?;
        Ok(order.into_iter().map(|index| Arc::clone(&states[index].0)).collect())
    }
}
