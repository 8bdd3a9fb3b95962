//! A simulated shard with its network and disk, driven by a test.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use super::disk::SimDisk;
use super::net::SimNet;
use super::ring::{RingFaults, SimRing};
use crate::engine::arena::Arena;
use crate::engine::core::Core;
use crate::engine::net::Connection;
use crate::engine::remote::Remote;
use crate::engine::shard::Tasks;

/// One shard of a simulation.
pub struct World {
    core: Rc<Core>,
    net: SimNet,
    remote: Arc<Remote>,
    tasks: Tasks,
}

impl World {
    /// A shard with so many buffers, over a disk.
    pub fn new(seed: u64, faults: RingFaults, disk: SimDisk, slots: usize) -> std::io::Result<World> {
        let net = SimNet::default();
        let ring = SimRing::new(seed, faults, net.clone(), disk);
        let remote = Remote::new(None);
        let core = Core::new(Box::new(ring), Arc::clone(&remote), Arena::new(slots)?, true, true, false);
        Ok(World { core, net, remote, tasks: Tasks::new() })
    }

    /// The shard.
    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The network.
    pub fn net(&self) -> &SimNet {
        &self.net
    }

    /// A connection: the server's end and the client's.
    pub fn connect(&self, capacity: usize) -> (Connection, Connection) {
        let (server, client) = self.net.pair(capacity);
        (Connection::new(Rc::clone(&self.core), server), Connection::new(Rc::clone(&self.core), client))
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.core.spawn(task);
    }

    /// Tasks that ended with a panic, which a shard survives but a test must not.
    pub fn panicked(&self) -> usize {
        self.tasks.panicked()
    }

    /// Runs until every task has ended and the ring has let go of all memory, at most so many turns. False when they had not.
    pub fn run(&mut self, turns: usize) -> bool {
        let waker = Waker::from(Arc::clone(&self.remote));
        for _ in 0..turns {
            let busy = self.tasks.run(&self.core, &self.remote, &waker);
            if self.tasks.is_empty() && !busy && self.core.operations_in_flight() == 0 {
                return true;
            }
            // The simulated ring never fails as a whole.
            let _ = self.core.turn(busy);
        }
        false
    }

    /// Drops every task, as a stopping shard does, and lets what was in flight end.
    pub fn stop(&mut self, turns: usize) -> bool {
        self.tasks = Tasks::new();
        for _ in 0..turns {
            if self.core.operations_in_flight() == 0 {
                return true;
            }
            let _ = self.core.turn(true);
        }
        false
    }
}
