//! How many reads and writes of files a shard has at the disk at once; the others wait here, first come, first served.
//!
//! A disk that turns is fast with a few large operations in flight and slow with many, which make it seek; its queue is
//! no place to wait in line either, as what comes last there may be done first. So what is too much is held back before
//! it reaches the ring. Whoever asked for it notices nothing but the time: the operation is in flight for them, may be
//! cancelled, and owns its memory all the while. No task waits for a place with something in hand that others need to
//! go on, so that nothing can lock up.
//!
//! Without a limit nothing is counted.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::num::NonZeroUsize;

use super::ring::Op;

/// The operations of one shard on the disk.
#[derive(Debug, Default)]
pub(super) struct Depth {
    limit: Cell<Option<NonZeroUsize>>,
    /// Tokens of those that the ring has.
    in_flight: RefCell<HashSet<u64>>,
    /// Those that it does not have yet. Bounded as the shard's buffers are: each has one.
    held: RefCell<VecDeque<(u64, Op)>>,
}

impl Depth {
    /// From now on at most so many at once; `None`: as many as there are. Those in flight stay so.
    pub fn set_limit(&self, limit: Option<NonZeroUsize>) {
        self.limit.set(limit);
    }

    /// Gives an operation back that may go to the ring, or holds it until its turn comes.
    pub fn admit(&self, token: u64, op: Op) -> Option<Op> {
        let Some(limit) = self.limit.get() else { return Some(op) };
        match op {
            Op::Read { .. } | Op::Write { .. } => {}
            Op::Accept { .. }
            | Op::Connect { .. }
            | Op::Receive { .. }
            | Op::Send { .. }
            | Op::SendZeroCopy { .. }
            | Op::Poll { .. }
            | Op::Cancel { .. } => return Some(op),
        }
        let mut in_flight = self.in_flight.borrow_mut();
        if in_flight.len() < limit.get() {
            in_flight.insert(token);
            return Some(op);
        }
        self.held.borrow_mut().push_back((token, op));
        None
    }

    /// An operation has ended, or the ring has refused it. True when it was one of the disk, so that another may have its
    /// turn.
    pub fn ended(&self, token: u64) -> bool {
        // Looked at first: this is asked at the end of every operation.
        !self.in_flight.borrow().is_empty() && self.in_flight.borrow_mut().remove(&token)
    }

    /// The next whose turn it is, if there is one and a place is free.
    pub fn next(&self) -> Option<(u64, Op)> {
        let mut in_flight = self.in_flight.borrow_mut();
        if self.limit.get().is_some_and(|limit| in_flight.len() >= limit.get()) {
            return None;
        }
        let (token, op) = self.held.borrow_mut().pop_front()?;
        in_flight.insert(token);
        Some((token, op))
    }

    /// Takes an operation out of the line. False when it does not stand in it.
    pub fn withdraw(&self, token: u64) -> bool {
        let mut held = self.held.borrow_mut();
        match held.iter().position(|(waiting, _)| *waiting == token) {
            Some(place) => held.remove(place).is_some(),
            None => false,
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.held.borrow().len()
    }

    /// How many are at the disk; 0 without a limit, as nobody counts.
    pub fn in_flight(&self) -> usize {
        self.in_flight.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::rc::Rc;

    use super::*;
    use crate::engine::core::Core;
    use crate::engine::disk::{Disk, File};
    use crate::engine::file;
    use crate::engine::sim::disk::{SimDisk, SimDiskConfig};
    use crate::engine::sim::ring::RingFaults;
    use crate::engine::sim::world::World;

    const LIMIT: usize = 3;
    const PIECES: u64 = 40;
    const PIECE_BYTES: usize = 10_000;

    /// A world in which operations wait, come out of order, and are shortened; and a file with space.
    fn world(seed: u64, faults: RingFaults) -> (World, File) {
        let disk = SimDisk::new(SimDiskConfig { seed, ..SimDiskConfig::default() });
        let world = World::new(seed, faults, disk.clone(), 4).unwrap();
        world.core().limit_disk_depth(NonZeroUsize::new(LIMIT));
        let file = disk.create_unnamed(Path::new("/")).unwrap();
        disk.allocate(&file, 0, PIECES * PIECE_BYTES as u64).unwrap();
        (world, file)
    }

    fn piece(number: u64) -> Vec<u8> {
        vec![number as u8 + 1; PIECE_BYTES]
    }

    async fn write(core: Rc<Core>, file: File, number: u64, order: Rc<RefCell<Vec<u64>>>) {
        let offset = number * PIECE_BYTES as u64;
        file::write_all(&core, &file, piece(number), 0..PIECE_BYTES, offset, false).await.0.unwrap();
        order.borrow_mut().push(number);
    }

    /// Looks at every turn how many are at the disk, as long as there is something to do.
    async fn watch(core: Rc<Core>, most: Rc<Cell<usize>>, order: Rc<RefCell<Vec<u64>>>, until: usize) {
        while order.borrow().len() < until {
            most.set(most.get().max(core.disk_operations().0));
            core.sleep(std::time::Duration::from_micros(1)).await;
        }
    }

    #[test]
    fn no_more_are_at_the_disk_than_the_limit_and_all_come_to_their_end() {
        for seed in 0..50 {
            let faults = RingFaults { short: 200, delay: 500, ..RingFaults::default() };
            let (mut world, file) = world(seed, faults);
            let (order, most) = (Rc::new(RefCell::default()), Rc::new(Cell::new(0)));
            for number in 0..PIECES {
                world.spawn(write(Rc::clone(world.core()), File::clone(&file), number, Rc::clone(&order)));
            }
            world.spawn(watch(Rc::clone(world.core()), Rc::clone(&most), Rc::clone(&order), PIECES as usize));
            assert!(world.run(1_000_000), "seed {seed}");
            assert_eq!((world.panicked(), world.core().disk_operations()), (0, (0, 0)), "seed {seed}");
            assert_eq!(most.get(), LIMIT, "seed {seed}");

            let core = Rc::clone(world.core());
            world.spawn(async move {
                for number in 0..PIECES {
                    let offset = number * PIECE_BYTES as u64;
                    let mut filled = 0;
                    let mut buffer = vec![0; PIECE_BYTES];
                    while filled < PIECE_BYTES {
                        let at = offset + filled as u64;
                        let read = file::read(&core, &file, buffer, filled..PIECE_BYTES, at, false);
                        let (count, (back, _)) = read.await;
                        (buffer, filled) = (back, filled + count.unwrap() as usize);
                    }
                    assert_eq!(buffer, piece(number));
                }
            });
            assert!(world.run(1_000_000) && world.panicked() == 0, "seed {seed}");
        }
    }

    #[test]
    fn who_comes_first_has_the_first_turn() {
        let (mut world, file) = world(1, RingFaults::default());
        let order = Rc::new(RefCell::default());
        world.core().limit_disk_depth(NonZeroUsize::new(1));
        for number in 0..PIECES {
            world.spawn(write(Rc::clone(world.core()), File::clone(&file), number, Rc::clone(&order)));
        }
        assert!(world.run(100_000));
        assert_eq!(*order.borrow(), (0..PIECES).collect::<Vec<_>>());
    }

    #[test]
    fn what_waits_can_be_called_off_and_dropped_and_leaves_nothing() {
        for seed in 0..50 {
            let faults = RingFaults { delay: 900, ..RingFaults::default() };
            let (mut world, file) = world(seed, faults);
            let core = Rc::clone(world.core());
            let told = Rc::new(Cell::new(None));
            let result = Rc::clone(&told);
            world.spawn(async move {
                let read = || file::read(&core, &file, vec![0; PIECE_BYTES], 0..PIECE_BYTES, 0, false);
                let running: Vec<_> = (0..LIMIT).map(|_| read()).collect();
                let (called_off, dropped, last) = (read(), read(), read());
                assert_eq!(core.disk_operations(), (LIMIT, 3));
                drop(dropped);
                called_off.cancel();
                let (error, (buffer, _)) = called_off.await;
                result.set(Some((error.unwrap_err().raw_os_error(), buffer.len())));
                assert_eq!(core.disk_operations().1, 1, "the last one waits still");
                drop(running);
                let _ = last.await;
            });
            assert!(world.run(1_000_000), "seed {seed}");
            assert_eq!(world.panicked(), 0, "seed {seed}");
            assert_eq!(told.get(), Some((Some(libc::ECANCELED), PIECE_BYTES)), "seed {seed}");
            assert_eq!(world.core().disk_operations(), (0, 0), "seed {seed}");
        }
    }

    #[test]
    fn a_shard_that_stops_lets_go_of_what_waits() {
        let (mut world, file) = world(7, RingFaults { delay: 999, ..RingFaults::default() });
        let order = Rc::new(RefCell::default());
        for number in 0..PIECES {
            world.spawn(write(Rc::clone(world.core()), File::clone(&file), number, Rc::clone(&order)));
        }
        assert!(!world.run(3), "they are under way");
        assert!(world.core().disk_operations().1 > 0);
        assert!(world.stop(1_000_000));
        assert_eq!(world.core().disk_operations(), (0, 0));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let (mut world, file) = world(3, RingFaults::default());
        world.core().limit_disk_depth(None);
        let core = Rc::clone(world.core());
        world.spawn(async move {
            let reads: Vec<_> =
                (0..100).map(|_| file::read(&core, &file, vec![0; 8], 0..8, 0, false)).collect();
            assert_eq!(core.disk_operations(), (0, 0));
            for read in reads {
                read.await.0.unwrap();
            }
        });
        assert!(world.run(100_000) && world.panicked() == 0);
    }
}
