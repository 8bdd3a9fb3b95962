//! A transfer's events, as one door follows them.
//!
//! Events are not queued up: a follower remembers what it has told and derives what is missing from the transfer's
//! present state. So a slow door costs one small channel; it may miss Progress, never a change of state.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use penstock_door_proto::v1;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tonic::Status;
use v1::transfer_event::Event;

use crate::control::messages::wire;
use crate::control::registry::Registry;
use crate::control::registry::entry::Following;
use crate::transfer::{State, Transfer};

/// Shortest period of Progress events.
pub const SHORTEST_PERIOD: Duration = Duration::from_millis(100);
/// Events on their way to a door that reads slowly.
const EVENTS_UNDERWAY: usize = 8;
/// How often a waiting transfer's place in the queue is looked at.
const QUEUE_PERIOD: Duration = Duration::from_secs(1);

/// How a door wants to follow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// How often Progress is sent; `None`: never.
    pub progress_period: Option<Duration>,
    /// The transfer is cancelled when the door goes away before its end.
    pub cancel_on_disconnect: bool,
}

/// The stream of one follower's events.
#[derive(Debug)]
pub struct Events {
    // Boxed: a channel takes room for 32 of what it carries from the start, and followers are many.
    receiver: mpsc::Receiver<Box<v1::TransferEvent>>,
}

impl Stream for Events {
    type Item = Result<v1::TransferEvent, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(|event| event.map(|event| Ok(*event)))
    }
}

/// Follows a transfer from its present state to its end.
#[must_use]
pub fn follow(registry: Arc<Registry>, following: Following, wishes: Wishes) -> Events {
    let (sender, receiver) = mpsc::channel(EVENTS_UNDERWAY);
    let follower = Follower { registry, following, wishes, sender, told: Told::Nothing };
    tokio::spawn(follower.run());
    Events { receiver }
}

/// What the door knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Queued { ahead: usize },
    Ready,
    Started,
    Finishing,
    End,
}

struct Follower {
    registry: Arc<Registry>,
    following: Following,
    wishes: Wishes,
    sender: mpsc::Sender<Box<v1::TransferEvent>>,
    told: Told,
}

/// The door has gone.
struct Gone;

impl Follower {
    async fn run(mut self) {
        let period = self.wishes.progress_period.map(|period| period.max(SHORTEST_PERIOD));
        let mut progress =
            interval_at(Instant::now() + period.unwrap_or(QUEUE_PERIOD), period.unwrap_or(QUEUE_PERIOD));
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Marked as seen before looking, so that nothing that happens meanwhile is missed.
            self.following.changes.borrow_and_update();
            if self.catch_up().await.is_err() {
                return self.door_has_gone();
            }
            if self.told == Told::End {
                return;
            }
            tokio::select! {
                // In this order: a change of state goes before progress that it has overtaken.
                biased;
                changed = self.following.changes.changed() => {
                    if changed.is_err() {
                        return; // the transfer is gone with its registry
                    }
                }
                _ = progress.tick() => {
                    if period.is_some() && matches!(self.told, Told::Started | Told::Finishing | Told::Ready) {
                        self.tell_progress();
                    }
                }
                () = self.sender.closed() => return self.door_has_gone(),
            }
        }
    }

    fn door_has_gone(&self) {
        if self.wishes.cancel_on_disconnect {
            self.following.entry().cancel("the door that asked for it has gone");
        }
    }

    /// Tells what the door does not know yet.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        let Some(transfer) = self.following.entry().transfer().cloned() else {
            // It ended in an earlier life of the daemon.
            return self.tell_end().await;
        };
        let state = transfer.state();
        match &state {
            State::Queued => {
                // Out of the queue and not yet admitted: the next change tells.
                let Some(ahead) = self.registry.ahead(&transfer.request().id) else { return Ok(()) };
                if self.told != (Told::Queued { ahead }) {
                    let queue = transfer.request().queue.clone();
                    let ahead_now = u32::try_from(ahead).unwrap_or(u32::MAX);
                    self.tell(&transfer, Event::Queued(v1::Queued { queue, ahead: ahead_now })).await?;
                    self.told = Told::Queued { ahead };
                }
            }
            State::Ready { .. } => self.tell_ready(&transfer, &state).await?,
            State::Running { .. } => self.tell_started(&transfer, &state).await?,
            State::Finishing { .. } => {
                self.tell_started(&transfer, &state).await?;
                if self.told != Told::Finishing && self.wishes.progress_period.is_some() {
                    self.tell_progress();
                }
                self.told = Told::Finishing;
            }
            State::Done(_) | State::Failed(_) | State::Cancelled(_) => {
                // The door may have missed the start of a short transfer; its end says all.
                self.tell_end().await?;
            }
        }
        Ok(())
    }

    async fn tell_end(&mut self) -> Result<(), Gone> {
        self.told = Told::End;
        // Whoever ended it may not have come to that yet, and the door may go on at once: with another upload of the same
        // replica, say.
        self.registry.settle(self.following.entry().id());
        match self.following.entry().outcome() {
            Some(end) => self.sender.send(Box::new(end)).await.map_err(|_| Gone),
            None => Ok(()),
        }
    }

    async fn tell_ready(&mut self, transfer: &Transfer, state: &State) -> Result<(), Gone> {
        if matches!(self.told, Told::Ready | Told::Started | Told::Finishing) {
            return Ok(());
        }
        if transfer.request().kind.runs_by_itself() {
            // Nobody is to come.
            self.told = Told::Ready;
            return Ok(());
        }
        let expires_at = state.ready_at().map(|at| (at.wall() + self.registry.timeouts().client).into());
        let url = self.registry.redirect_url(transfer);
        self.tell(transfer, Event::Ready(v1::Ready { url, expires_at })).await?;
        self.told = Told::Ready;
        Ok(())
    }

    async fn tell_started(&mut self, transfer: &Transfer, state: &State) -> Result<(), Gone> {
        self.tell_ready(transfer, state).await?;
        if self.told == Told::Ready {
            let connections = wire::connections(&transfer.progress().connections());
            self.tell(transfer, Event::Started(v1::Started { connections })).await?;
            self.told = Told::Started;
        }
        Ok(())
    }

    async fn tell(&self, transfer: &Transfer, event: Event) -> Result<(), Gone> {
        let event = wire::event(transfer, self.registry.clock().now(), event);
        self.sender.send(Box::new(event)).await.map_err(|_| Gone)
    }

    /// Progress is of the moment: what does not fit is not sent later.
    fn tell_progress(&self) {
        let Some(transfer) = self.following.entry().transfer() else { return };
        let event =
            wire::event(transfer, self.registry.clock().now(), Event::Progress(wire::progress(transfer)));
        match self.sender.try_send(Box::new(event)) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures_util::StreamExt;

    use super::*;
    use crate::config::QueueLimits;
    use crate::control::metrics::Metrics;
    use crate::control::registry::RegistrySettings;
    use crate::transfer::{SystemClock, Timeouts};

    #[tokio::test]
    async fn a_door_that_does_not_read_misses_progress_but_no_change_of_state() {
        let hour = Duration::from_secs(3600);
        let settings = RegistrySettings {
            queues: vec![QueueLimits { name: "default".into(), max_running: 1, max_waiting: 1 }],
            max_transfers: 1,
            timeouts: Timeouts { client: hour, linger: hour, claim: hour },
            doors: HashMap::new(),
        };
        let registry = Registry::new(settings, Arc::new(SystemClock::new()), Arc::new(Metrics::new()));
        let request = v1::TransferRequest {
            transfer_id: "t1".into(),
            replica_id: "r1".into(),
            transfer_path: "/p".into(),
            kind: Some(v1::transfer_request::Kind::Put(v1::Put::default())),
            ..Default::default()
        };
        let entry = registry.start(request).unwrap();
        let wishes = Wishes { progress_period: Some(SHORTEST_PERIOD), ..Default::default() };
        let events = follow(Arc::clone(&registry), entry.follow().unwrap(), wishes);

        // More periods than events can be underway, with nobody reading.
        tokio::time::sleep(SHORTEST_PERIOD * (EVENTS_UNDERWAY as u32 + 4)).await;
        entry.cancel("enough");

        let events: Vec<Event> = events.map(|event| event.unwrap().event.unwrap()).collect().await;
        assert!(matches!(events.first(), Some(Event::Ready(_))), "{events:?}");
        assert!(matches!(events.last(), Some(Event::Cancelled(_))), "{events:?}");
        assert_eq!(events.len(), EVENTS_UNDERWAY + 1, "the progress that did not fit is not made up for");
    }
}
