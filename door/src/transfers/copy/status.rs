//! How a copy stands: what its markers are made of. Only what the pool has told; nothing is guessed in between.

use jiff::Timestamp;
use penstock_door_proto::v1 as proto;
use proto::transfer_event::Event;

use super::super::request::from_proto_time;
use crate::checksum::Checksum;
use crate::metrics::Direction;

/// What a client is told before the pool has told anything.
const FIRST_PREPARATION: &str = "querying created file metadata";

/// How a copy stands.
#[derive(Debug, Clone)]
pub struct CopyStatus {
    /// Where the bytes go; `None`: nowhere, as both replicas are the same pool's.
    pub direction: Option<Direction>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What is done before bytes can move, in words.
    pub preparation: String,
    /// What is measured of it; `None` as long as no byte can have moved.
    pub figures: Option<Figures>,
    /// How it ended, with the file's checksums or why it failed; `None` while it goes on.
    pub end: Option<Result<Vec<Checksum>, String>>,
}

/// What is measured of a copy.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// When bytes could first move.
    pub started_at: Timestamp,
    /// The last time that a byte did.
    pub last_moved_at: Timestamp,
    /// Written, or acknowledged by the remote side.
    pub bytes_moved: u64,
    /// What the pool does now, in its own words; often empty.
    pub activity: String,
    /// Its TCP connections.
    pub connections: Vec<proto::Connection>,
    /// What held it back so far.
    pub limits: Option<proto::Limits>,
}

impl CopyStatus {
    /// A copy that was accepted now.
    pub fn new(direction: Option<Direction>, accepted_at: Timestamp) -> Self {
        let preparation = FIRST_PREPARATION.to_owned();
        Self { direction, accepted_at, preparation, figures: None, end: None }
    }

    /// It is at its beginning, again where another pool is tried.
    pub(super) fn prepares(&mut self, preparation: String) {
        self.preparation = preparation;
        self.figures = None;
    }

    /// Takes in what the pool tells.
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Queued(proto::Queued { ahead: 0, .. }) => {
                self.preparation = "waiting in the pool's queue".to_owned();
            }
            Event::Queued(queued) => {
                self.preparation = format!("waiting in the pool's queue, {} ahead", queued.ahead);
            }
            Event::Ready(_) => {}
            Event::Started(started) => self.moves(None).told_connections(&started.connections),
            Event::Progress(progress) => self.hear_progress(progress),
            Event::Finished(finished) => {
                let figures = self.moves(finished.started_at.as_ref());
                figures.told_moved(finished.bytes_moved, None);
                figures.told_connections(&finished.connections);
                figures.limits = finished.limits.or(figures.limits);
            }
            // What failed before it started has nothing to be told of.
            Event::Failed(failed) if failed.started_at.is_some() || self.figures.is_some() => {
                let figures = self.moves(failed.started_at.as_ref());
                figures.told_moved(failed.bytes_moved, None);
                figures.told_connections(&failed.connections);
                figures.limits = failed.limits.or(figures.limits);
            }
            Event::Cancelled(cancelled) if self.figures.is_some() => {
                self.moves(None).told_moved(cancelled.bytes_moved, None);
            }
            Event::Failed(_) | Event::Cancelled(_) => {}
        }
    }

    fn hear_progress(&mut self, progress: &proto::Progress) {
        if progress.started_at.is_none() && self.figures.is_none() {
            if !progress.description.is_empty() {
                self.preparation.clone_from(&progress.description);
            }
            return;
        }
        let figures = self.moves(progress.started_at.as_ref());
        figures.told_moved(progress.bytes_moved, progress.last_moved_at.as_ref());
        figures.told_connections(&progress.connections);
        figures.activity.clone_from(&progress.description);
        figures.limits = progress.limits.or(figures.limits);
    }

    /// Bytes can move, since the given time or since now.
    fn moves(&mut self, since: Option<&prost_types::Timestamp>) -> &mut Figures {
        let since = since.and_then(from_proto_time);
        let figures = self.figures.get_or_insert_with(|| Figures::from(since.unwrap_or_else(Timestamp::now)));
        figures.started_at = since.unwrap_or(figures.started_at);
        figures
    }
}

impl From<Timestamp> for Figures {
    fn from(started_at: Timestamp) -> Self {
        Self {
            started_at,
            last_moved_at: started_at,
            bytes_moved: 0,
            activity: String::new(),
            connections: Vec::new(),
            limits: None,
        }
    }
}

impl Figures {
    fn told_moved(&mut self, bytes: u64, at: Option<&prost_types::Timestamp>) {
        // A final event need not tell what an earlier one did.
        self.bytes_moved = self.bytes_moved.max(bytes);
        self.last_moved_at = at.and_then(from_proto_time).unwrap_or(self.last_moved_at).max(self.started_at);
    }

    fn told_connections(&mut self, connections: &[proto::Connection]) {
        // Connections that are closed by now were still those of this copy.
        if !connections.is_empty() {
            self.connections = connections.to_vec();
        }
    }
}
