//! Whether a connection's slots go out without a copy: decided for each connection, by trying.
//!
//! A send without a copy saves a pass over memory where the network card reads the pages itself. Elsewhere (loopback,
//! veth, cards without scatter-gather) the kernel copies after all and says so at the end, and the bookkeeping was for
//! nothing. And a slot that is sent that way stays in use until the other side has acknowledged it, so a slow client
//! would hold memory that others need. Hence: one trial per connection, whose verdict is not waited for; off for good
//! when the kernel had copied or the client paused; and only while most of the shard's slots are free.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Sends below that are copied: pinning pages and telling of their end costs more (SEND_ZC's break-even is some 10 KiB).
const LEAST_BYTES: usize = 64 << 10;

/// Connections by what became of sending without a copy.
#[derive(Debug, Default)]
pub struct Tally {
    working: AtomicU64,
    copied: AtomicU64,
    slow: AtomicU64,
}

impl Tally {
    /// The verdicts, by name.
    pub fn read(&self) -> [(&'static str, u64); 3] {
        [("working", &self.working), ("copied", &self.copied), ("slow", &self.slow)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }
}

/// One connection's verdict so far.
#[derive(Debug)]
pub struct ZeroCopy {
    state: Cell<State>,
    /// What the kernel told of the sends so far.
    copied: Rc<Cell<Option<bool>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not tried.
    Untried,
    /// The trial's end is not known yet.
    Trying,
    /// No copy was made.
    Working,
    /// It is no use, or does harm.
    Off,
}

impl ZeroCopy {
    /// A connection of a ring that can, or cannot, send without a copy.
    pub fn new(possible: bool) -> ZeroCopy {
        let state = if possible { State::Untried } else { State::Off };
        ZeroCopy { state: Cell::new(state), copied: Rc::default() }
    }

    /// Whether the next send of `length` bytes goes without a copy; and where the kernel's word on it is to go.
    pub(super) fn choose(&self, length: usize, room: bool, tally: &Tally) -> Option<Rc<Cell<Option<bool>>>> {
        self.listen(tally);
        if length < LEAST_BYTES || !room {
            return None;
        }
        match self.state.get() {
            State::Untried => self.state.set(State::Trying),
            State::Working => {}
            State::Trying | State::Off => return None,
        }
        Some(Rc::clone(&self.copied))
    }

    /// The client paused in a send without a copy.
    pub(super) fn paused(&self, tally: &Tally) {
        self.end(&tally.slow);
    }

    /// Takes note of what the kernel has told meanwhile.
    fn listen(&self, tally: &Tally) {
        match (self.copied.take(), self.state.get()) {
            (Some(true), State::Trying | State::Working) => self.end(&tally.copied),
            (Some(false), State::Trying) => {
                self.state.set(State::Working);
                tally.working.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn end(&self, why: &AtomicU64) {
        if self.state.replace(State::Off) != State::Off {
            why.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: usize = 1 << 20;

    #[test]
    fn one_send_tries_and_the_next_do_not_wait_for_its_verdict() {
        let (zero_copy, tally) = (ZeroCopy::new(true), Tally::default());
        let told = zero_copy.choose(SLOT, true, &tally).expect("the first one tries");
        assert!(zero_copy.choose(SLOT, true, &tally).is_none(), "copied as long as nothing is known");

        told.set(Some(false));
        assert!(zero_copy.choose(SLOT, true, &tally).is_some(), "no copy was made: all go that way");
        assert_eq!(tally.read(), [("working", 1), ("copied", 0), ("slow", 0)]);
    }

    #[test]
    fn it_is_off_for_good_once_the_kernel_has_copied() {
        let (zero_copy, tally) = (ZeroCopy::new(true), Tally::default());
        let told = zero_copy.choose(SLOT, true, &tally).unwrap();
        told.set(Some(true));
        assert!(zero_copy.choose(SLOT, true, &tally).is_none());
        told.set(Some(false));
        assert!(zero_copy.choose(SLOT, true, &tally).is_none());
        assert_eq!(tally.read(), [("working", 0), ("copied", 1), ("slow", 0)]);
    }

    #[test]
    fn slow_clients_small_sends_and_scarce_buffers_are_copied() {
        let (zero_copy, tally) = (ZeroCopy::new(true), Tally::default());
        assert!(zero_copy.choose(LEAST_BYTES - 1, true, &tally).is_none());
        assert!(zero_copy.choose(SLOT, false, &tally).is_none());
        let told = zero_copy.choose(SLOT, true, &tally).expect("nothing was decided by those");
        told.set(Some(false));
        zero_copy.paused(&tally);
        zero_copy.paused(&tally);
        assert!(zero_copy.choose(SLOT, true, &tally).is_none());
        assert_eq!(tally.read(), [("working", 0), ("copied", 0), ("slow", 1)]);
    }

    #[test]
    fn a_ring_that_cannot_is_never_asked() {
        let (zero_copy, tally) = (ZeroCopy::new(false), Tally::default());
        assert!(zero_copy.choose(SLOT, true, &tally).is_none());
        assert_eq!(tally.read(), [("working", 0), ("copied", 0), ("slow", 0)]);
    }
}
