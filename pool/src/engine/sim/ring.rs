//! A ring without a kernel: deterministic from a seed, and as unkind as the real one may be.
//!
//! Every turn a random part of what could be done is done, in random order: operations are delayed, reordered and
//! shortened; reads and writes fail with EIO, writes with ENOSPC, connections break (ECONNRESET), and a cancelled
//! operation may or may not have got somewhere (ECANCELED).
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::disk::SimDisk;
use super::net::{FIRST_SOCKET, SimNet};
use super::random::Random;
use crate::engine::net::connect::{ConnectOptions, Peer};
use crate::engine::net::socket::SocketHandle;
use crate::engine::ring::{CANCEL_TOKEN, Completion, Job, Memory, Op, Ring, Stage};

/// How often things go wrong, in thousandths of all operations.
#[derive(Debug, Clone, Copy, Default)]
pub struct RingFaults {
    /// An operation does less than it was asked to.
    pub short: u32,
    /// A file read fails with EIO.
    pub read_error: u32,
    /// A file write fails with EIO or ENOSPC.
    pub write_error: u32,
    /// A connection breaks.
    pub reset: u32,
    /// An operation ends with ECANCELED although nobody asked for it.
    pub cancelled: u32,
    /// An operation that could be done waits.
    pub delay: u32,
}

fn per_mille(random: &mut Random, chance: u32) -> bool {
    random.below(1000) < u64::from(chance)
}

fn below(random: &mut Random, bound: usize) -> usize {
    random.below(bound as u64) as usize
}

/// The simulated ring.
pub struct SimRing {
    random: Random,
    faults: RingFaults,
    net: SimNet,
    disk: SimDisk,
    pending: Vec<Pending>,
    /// Memory that was sent without a copy and is still being read.
    lent: Vec<LentMemory>,
    jobs: Vec<Job>,
    ready: VecDeque<Completion>,
    start: Instant,
    elapsed: Duration,
}

struct Pending {
    token: u64,
    op: Op,
    /// Bytes that a filling receive has got so far.
    done: u32,
}

struct LentMemory {
    token: u64,
    memory: Memory,
    /// What the network has taken of it.
    sent: Vec<u8>,
}

impl SimRing {
    /// A ring over a simulated network and disk.
    pub fn new(seed: u64, faults: RingFaults, net: SimNet, disk: SimDisk) -> SimRing {
        SimRing {
            random: Random::new(seed),
            faults,
            net,
            disk,
            pending: Vec::new(),
            lent: Vec::new(),
            jobs: Vec::new(),
            ready: VecDeque::new(),
            start: Instant::now(),
            elapsed: Duration::ZERO,
        }
    }

    fn length(&mut self, memory: Memory) -> usize {
        let length = memory.length as usize;
        if length > 1 && per_mille(&mut self.random, self.faults.short) {
            1 + below(&mut self.random, length - 1)
        } else {
            length
        }
    }

    /// Carries an operation out as far as it goes. `None`: it has to wait.
    fn attempt(&mut self, pending: &mut Pending) -> Option<i32> {
        if per_mille(&mut self.random, self.faults.cancelled) && !matches!(pending.op, Op::Poll { .. }) {
            return Some(if pending.done > 0 { pending.done as i32 } else { -libc::ECANCELED });
        }
        let result = match pending.op {
            Op::Receive { socket, memory, fill } => {
                if per_mille(&mut self.random, self.faults.reset) {
                    self.net.reset(socket);
                }
                let rest = Memory {
                    // SAFETY: `done` is at most the length of the memory, which the operation owns.
                    pointer: unsafe { memory.pointer.add(pending.done as usize) },
                    length: memory.length - pending.done,
                    registered: false,
                };
                let length = self.length(rest);
                // SAFETY: the memory belongs to this operation alone until its completion (contract of `push`).
                let target = unsafe { std::slice::from_raw_parts_mut(rest.pointer, length) };
                match self.net.receive(socket, target) {
                    Ok(0) => Ok(pending.done as usize),
                    Ok(count) => {
                        pending.done += count as u32;
                        if fill && pending.done < memory.length {
                            return None;
                        }
                        Ok(pending.done as usize)
                    }
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock && pending.done > 0 => {
                        Ok(pending.done as usize)
                    }
                    Err(error) => Err(error),
                }
            }
            Op::Send { socket, memory, .. } | Op::SendZeroCopy { socket, memory } => {
                if per_mille(&mut self.random, self.faults.reset) {
                    self.net.reset(socket);
                }
                let length = self.length(memory);
                // SAFETY: as above; nobody writes to it.
                self.net.send(socket, unsafe { std::slice::from_raw_parts(memory.pointer, length) })
            }
            Op::Read { file, memory, offset, .. } => {
                if per_mille(&mut self.random, self.faults.read_error) {
                    Err(io::Error::from_raw_os_error(libc::EIO))
                } else {
                    // SAFETY: as above.
                    let target =
                        unsafe { std::slice::from_raw_parts_mut(memory.pointer, memory.length as usize) };
                    self.disk.ring_read(file, target, offset)
                }
            }
            Op::Write { file, memory, offset, .. } => {
                if per_mille(&mut self.random, self.faults.write_error) {
                    let errno = if per_mille(&mut self.random, 500) { libc::EIO } else { libc::ENOSPC };
                    Err(io::Error::from_raw_os_error(errno))
                } else {
                    // Short, but aligned as O_DIRECT must be.
                    let mut length = self.length(memory);
                    if length > 4096 {
                        length -= length % 4096;
                    } else {
                        length = memory.length as usize;
                    }
                    // SAFETY: as above.
                    self.disk.ring_write(
                        file,
                        unsafe { std::slice::from_raw_parts(memory.pointer, length) },
                        offset,
                    )
                }
            }
            Op::Poll { fd, writable } => {
                if fd >= FIRST_SOCKET && !self.net.is_ready(fd, writable) {
                    return None;
                }
                Ok(1)
            }
            Op::Connect { socket, address } => {
                if per_mille(&mut self.random, self.faults.reset) {
                    Err(io::Error::from_raw_os_error(libc::ECONNREFUSED))
                } else {
                    // SAFETY: the memory is a `Peer` that belongs to this operation (contract of `push`).
                    let peer = unsafe { Peer::read(address) };
                    peer.and_then(|peer| self.net.connect(socket, peer))
                }
            }
            Op::Accept { .. } => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
            Op::Cancel { .. } => return None,
        };
        match result {
            Ok(count) => Some(count as i32),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(-error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }

    /// What a finished operation reports: of a send without a copy, the memory stays lent for a while.
    fn completed(&mut self, pending: &Pending, result: i32) -> Completion {
        let stage = match pending.op {
            Op::SendZeroCopy { memory, .. } if result > 0 => {
                // SAFETY: as for the send itself; `result` is at most the memory's length.
                let sent = unsafe { std::slice::from_raw_parts(memory.pointer, result as usize) }.to_vec();
                self.lent.push(LentMemory { token: pending.token, memory, sent });
                Stage::Result
            }
            _ => Stage::Ended,
        };
        Completion { token: pending.token, result, stage }
    }

    /// The other side has acknowledged: lets go of lent memory, which nobody may have changed until now.
    fn release(&mut self, place: usize) {
        let lent = self.lent.swap_remove(place);
        // SAFETY: the operation keeps the memory until the completion that this makes (contract of `push`).
        let now = unsafe { std::slice::from_raw_parts(lent.memory.pointer, lent.sent.len()) };
        assert!(now == lent.sent, "memory was changed while it was being sent without a copy");
        let copied = per_mille(&mut self.random, 100);
        let stage = Stage::Released { copied };
        self.ready.push_back(Completion { token: lent.token, result: 0, stage });
    }

    fn cancel(&mut self, token: u64) {
        let Some(place) = self.pending.iter().position(|pending| pending.token == token) else { return };
        let mut pending = self.pending.swap_remove(place);
        // The operation may win the race.
        let raced = per_mille(&mut self.random, 300).then(|| self.attempt(&mut pending)).flatten();
        let cancelled = if pending.done > 0 { pending.done as i32 } else { -libc::ECANCELED };
        let completion = self.completed(&pending, raced.unwrap_or(cancelled));
        self.ready.push_back(completion);
    }

    /// Does some of what can be done. True when anything was.
    fn step(&mut self, all: bool) -> bool {
        let mut moved = false;
        for _ in 0..self.jobs.len() {
            let job = below(&mut self.random, self.jobs.len());
            if all || !per_mille(&mut self.random, self.faults.delay) {
                self.jobs.swap_remove(job)();
                moved = true;
            }
        }
        for _ in 0..self.lent.len() {
            let place = below(&mut self.random, self.lent.len());
            if all || !per_mille(&mut self.random, self.faults.delay) {
                self.release(place);
                moved = true;
            }
        }
        for _ in 0..self.pending.len() {
            let place = below(&mut self.random, self.pending.len());
            if !all && per_mille(&mut self.random, self.faults.delay) {
                continue;
            }
            let mut pending = self.pending.swap_remove(place);
            let before = pending.done;
            match self.attempt(&mut pending) {
                Some(result) => {
                    let completion = self.completed(&pending, result);
                    self.ready.push_back(completion);
                    moved = true;
                }
                None => {
                    moved |= pending.done > before;
                    self.pending.push(pending);
                }
            }
        }
        moved
    }
}

impl Ring for SimRing {
    unsafe fn push(&mut self, token: u64, op: Op) -> io::Result<()> {
        match op {
            Op::Cancel { token } => self.cancel(token),
            op => {
                debug_assert_ne!(token, CANCEL_TOKEN);
                self.pending.push(Pending { token, op, done: 0 });
            }
        }
        Ok(())
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.elapsed += Duration::from_micros(1 + below(&mut self.random, 50) as u64);
        if self.step(false) || !self.ready.is_empty() || timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        // Several tries: what is attempted is chosen at random.
        if (0..16).any(|_| self.step(true)) {
            self.elapsed += Duration::from_micros(below(&mut self.random, 2000) as u64);
            return Ok(());
        }
        match timeout {
            Some(timeout) => self.elapsed += timeout,
            // Nothing can ever happen again: whoever drives the simulation sees that its tasks have not ended.
            None => self.elapsed += Duration::from_secs(1),
        }
        Ok(())
    }

    fn next_completion(&mut self) -> Option<Completion> {
        self.ready.pop_front()
    }

    fn send_cached(&mut self, socket: i32, file: i32, offset: u64, length: u32) -> io::Result<u32> {
        if per_mille(&mut self.random, self.faults.reset) {
            self.net.reset(socket);
        }
        if per_mille(&mut self.random, self.faults.read_error) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut bytes = vec![0; 1 + below(&mut self.random, length as usize)];
        let count = self.disk.ring_read(file, &mut bytes, offset)?;
        if count == 0 {
            return Ok(0);
        }
        Ok(self.net.send(socket, &bytes[..count])? as u32)
    }

    fn open_socket(
        &mut self,
        peer: SocketAddr,
        _options: &ConnectOptions,
    ) -> io::Result<Rc<dyn SocketHandle>> {
        Ok(self.net.open_socket(peer))
    }

    fn offload(&mut self, job: Job) -> io::Result<()> {
        self.jobs.push(job);
        Ok(())
    }

    fn now(&self) -> Instant {
        self.start + self.elapsed
    }
}
