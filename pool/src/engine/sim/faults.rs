//! What goes wrong on a simulated disk: chosen calls fail by chance, and after a chosen number of calls the machine is
//! dead.

use std::io;

use rustix::io::Errno;

use super::random::Random;

/// A kind of call of the simulated disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `Disk::create_dir_all`
    CreateDir,
    /// `Disk::create_unnamed`
    CreateUnnamed,
    /// `Disk::link`
    Link,
    /// `Disk::rename`
    Rename,
    /// `Disk::open`, `Disk::reopen`
    Open,
    /// `Disk::lock`
    Lock,
    /// `Disk::set_direct`
    SetDirect,
    /// `Disk::allocate`
    Allocate,
    /// `Disk::truncate`
    Truncate,
    /// `Disk::write_all_at`
    Write,
    /// `Disk::read_at`
    Read,
    /// `Disk::set_attribute`
    SetAttribute,
    /// `Disk::attribute`
    Attribute,
    /// `Disk::sync_data`
    SyncData,
    /// `Disk::sync_all`
    SyncAll,
    /// `Disk::sync_dir`
    SyncDir,
    /// `Disk::sync_file_system`
    SyncFileSystem,
    /// `Disk::remove`
    Remove,
    /// `Disk::metadata`
    Metadata,
    /// `Disk::stat`
    Stat,
    /// `Disk::list_dir`
    ListDir,
    /// `Disk::space`
    Space,
    /// `Disk::cached`
    Cached,
    /// `Disk::drop_cached`
    DropCached,
    /// A write of the ring.
    RingWrite,
    /// A read of the ring.
    RingRead,
}

/// What shall go wrong.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    rules: Vec<Rule>,
    dead_from: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    call: Call,
    probability: f64,
    errno: Errno,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls of this kind fail with this probability and error.
    pub fn fail(mut self, call: Call, probability: f64, errno: Errno) -> Self {
        self.rules.push(Rule { call, probability, errno });
        self
    }

    /// The `n`-th call (from 1) and every later one fails and does nothing: the machine has stopped.
    pub fn crash_at(mut self, n: u64) -> Self {
        self.dead_from = Some(n);
        self
    }
}

/// A plan at work.
#[derive(Debug)]
pub(super) struct Faults {
    plan: FaultPlan,
    calls: u64,
    dead: bool,
    random: Random,
}

impl Faults {
    pub fn new(plan: FaultPlan, random: Random) -> Self {
        Self { plan, calls: 0, dead: false, random }
    }

    /// Counts a call, and tells whether it is to go well.
    pub fn enter(&mut self, call: Call) -> io::Result<()> {
        self.calls += 1;
        if self.plan.dead_from.is_some_and(|first| self.calls >= first) {
            self.dead = true;
        }
        if self.dead {
            return Err(Errno::IO.into());
        }
        for rule in self.plan.rules.iter().filter(|rule| rule.call == call) {
            if self.random.chance(rule.probability) {
                return Err(rule.errno.into());
            }
        }
        Ok(())
    }

    pub fn calls(&self) -> u64 {
        self.calls
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn kill(&mut self) {
        self.dead = true;
    }
}
