//! Timers of a shard.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Set timers, earliest first.
#[derive(Clone, Default)]
pub struct Timers(Rc<RefCell<Set>>);

#[derive(Default)]
struct Set {
    /// Kept apart by a number, since two may be due at one instant.
    timers: BTreeMap<(Instant, u64), Waker>,
    next_number: u64,
}

impl Timers {
    /// Completes at an instant.
    pub fn at(&self, due_at: Instant) -> Sleep {
        Sleep { timers: self.clone(), due_at, number: None, done: false }
    }

    /// The earliest instant that somebody waits for.
    pub fn next_due(&self) -> Option<Instant> {
        self.0.borrow().timers.keys().next().map(|(due_at, _)| *due_at)
    }

    /// Wakes whoever waited for an instant up to now.
    pub fn fire(&self, now: Instant) {
        loop {
            let waker = {
                let set = &mut *self.0.borrow_mut();
                match set.timers.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            waker.wake();
        }
    }
}

/// Waiting for an instant.
pub struct Sleep {
    timers: Timers,
    due_at: Instant,
    number: Option<u64>,
    done: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        let timers = self.timers.clone();
        let set = &mut *timers.0.borrow_mut();
        match self.number {
            None => {
                set.next_number += 1;
                set.timers.insert((self.due_at, set.next_number), context.waker().clone());
                self.number = Some(set.next_number);
                Poll::Pending
            }
            Some(number) => match set.timers.get_mut(&(self.due_at, number)) {
                Some(waker) => {
                    waker.clone_from(context.waker());
                    Poll::Pending
                }
                // Taken out by `fire`.
                None => {
                    self.done = true;
                    Poll::Ready(())
                }
            },
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(number), false) = (self.number, self.done) {
            self.timers.0.borrow_mut().timers.remove(&(self.due_at, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;

    #[test]
    fn timers_fire_when_due_and_dropped_ones_never() {
        let timers = Timers::default();
        let start = Instant::now();
        let mut early = timers.at(start + Duration::from_millis(1));
        let mut late = timers.at(start + Duration::from_millis(5));
        let mut dropped = timers.at(start + Duration::from_millis(2));
        assert!((&mut early).now_or_never().is_none());
        assert!((&mut late).now_or_never().is_none());
        assert!((&mut dropped).now_or_never().is_none());
        drop(dropped);
        timers.fire(start + Duration::from_millis(3));
        assert!((&mut early).now_or_never().is_some());
        assert!((&mut late).now_or_never().is_none());
        assert_eq!(timers.next_due(), Some(start + Duration::from_millis(5)));
    }
}
