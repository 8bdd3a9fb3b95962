//! The door's part: orders transfers, follows them to their end, acknowledges; and removes all it has made.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _};
use penstock_door_proto::v1 as proto;
use penstock_pool::marking::Tag;
use proto::transfer_event::Event;
use proto::transfer_request::Kind;
use tokio::sync::oneshot;
use tonic::{Code, Status, Streaming};

use super::connect::Client;
use super::limits::Limits;
use super::route::own_address_towards;
use crate::http::Location;

/// What the ids of all that is made begin with.
pub const PREFIX: &str = "penstock-bench-";
/// The name under which the pool knows us.
const NAME: &str = "penstock-bench";
/// Calls at once when everything is removed.
const REMOVALS_AT_ONCE: usize = 32;
/// How long a pool may take for a call that moves nothing.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at what does not end at once.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a client's turn may take to come.
const TURN_LIMIT: Duration = Duration::from_secs(120);

/// A door with its transfers and replicas.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
    /// Whose the transfers are that are ordered through this handle.
    marking: Option<proto::Marking>,
}

struct Inner {
    client: Client,
    /// Of this run of the program.
    tag: String,
    /// Where our clients come from: decides which family of addresses the pool sends them to.
    client_address: String,
    /// Where the pool's data port answers. A port with a flow label is another one.
    data_urls: Vec<String>,
    next: AtomicU64,
    estate: Mutex<Estate>,
}

/// What is there because of us.
#[derive(Default)]
struct Estate {
    replicas: HashMap<String, u64>,
    transfers: HashSet<String>,
    /// What held ended transfers back.
    limits: Limits,
    /// Whether a transfer was sent to a port with a flow label.
    labelled: bool,
}

/// A transfer whose client may come.
pub struct Ready {
    /// Where to.
    pub location: Location,
    /// Its end: an error is the pool's reason.
    pub end: oneshot::Receiver<Result<(), String>>,
}

impl Door {
    /// Over a connection to a pool. Gives the pool's state, too.
    pub async fn meet(mut client: Client) -> anyhow::Result<(Self, proto::PoolStatus)> {
        let ask = async {
            let request = proto::WatchStatusRequest { door: Some(identity()), ..Default::default() };
            client.watch_status(request).await?.into_inner().message().await
        };
        let status = tokio::time::timeout(CALL_LIMIT, ask).await.context("the pool does not answer")?;
        let status = status.map_err(told)?.context("the pool tells nothing of itself")?;
        let nanoseconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let inner = Inner {
            client,
            tag: format!("{PREFIX}{:x}-{nanoseconds:x}", std::process::id()),
            client_address: client_address(&status.data_urls),
            data_urls: status.data_urls.clone(),
            next: AtomicU64::new(0),
            estate: Mutex::default(),
        };
        Ok((Self { inner: Arc::new(inner), marking: None }, status))
    }

    /// The same door, whose transfers from here on are marked.
    pub fn marked(&self, tag: Tag) -> Self {
        Self { inner: Arc::clone(&self.inner), marking: Some(proto::Marking { scitag: tag.number().into() }) }
    }

    fn estate(&self) -> MutexGuard<'_, Estate> {
        self.inner.estate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_id(&self) -> String {
        format!("{}-{}", self.inner.tag, self.inner.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Bytes of the replicas that are there.
    pub fn bytes(&self) -> u64 {
        self.estate().replicas.values().sum()
    }

    /// Whether a transfer was sent to a port of the pool's that has a flow label.
    pub fn is_labelled(&self) -> bool {
        self.estate().labelled
    }

    /// Orders an upload of so many bytes. Gives the new replica's id, too.
    pub async fn upload(&self, size_bytes: u64) -> anyhow::Result<(String, Ready)> {
        let replica = self.own(size_bytes);
        let put = proto::Put { size: Some(size_bytes), ..Default::default() };
        let ready = self.start(&replica, Kind::Put(put)).await?;
        Ok((replica, ready))
    }

    /// Orders a download.
    pub async fn download(&self, replica: &str) -> anyhow::Result<Ready> {
        self.start(replica, Kind::Get(proto::Get::default())).await
    }

    /// A call's own handle of the connection.
    pub(super) fn client(&self) -> Client {
        self.inner.client.clone()
    }

    /// A new replica's id, noted before it can be there, so that nothing can come between.
    pub(super) fn own(&self, size_bytes: u64) -> String {
        let replica = self.new_id();
        self.estate().replicas.insert(replica.clone(), size_bytes);
        replica
    }

    /// It is certain that there is no such replica.
    pub(super) fn disown(&self, replica: &str) {
        self.estate().replicas.remove(replica);
    }

    /// A new transfer of a replica: its id, and what the pool is asked for.
    pub(super) fn transfer(&self, replica: &str, kind: Kind) -> (String, proto::TransferRequest) {
        let id = self.new_id();
        self.estate().transfers.insert(id.clone());
        let transfer = proto::TransferRequest {
            transfer_id: id.clone(),
            replica_id: replica.to_owned(),
            transfer_path: format!("/{NAME}/{replica}"),
            client: Some(proto::Client {
                address: self.inner.client_address.clone(),
                user_agent: NAME.to_owned(),
                ..Default::default()
            }),
            door: Some(identity()),
            kind: Some(kind),
            marking: self.marking,
            ..Default::default()
        };
        (id, transfer)
    }

    async fn start(&self, replica: &str, kind: Kind) -> anyhow::Result<Ready> {
        let (id, transfer) = self.transfer(replica, kind);
        let request = proto::StartTransferRequest { transfer: Some(transfer), ..Default::default() };
        let ready = async {
            let mut events = self.client().start_transfer(request).await?.into_inner();
            loop {
                match next(&mut events).await? {
                    Event::Queued(_) | Event::Progress(_) | Event::Started(_) => {}
                    Event::Ready(ready) => return Ok((ready, events)),
                    Event::Failed(failed) => return Err(Status::aborted(failed.text)),
                    Event::Cancelled(cancelled) => return Err(Status::aborted(cancelled.reason)),
                    Event::Finished(_) => return Err(Status::aborted("it ended before it began")),
                }
            }
        };
        let ready = tokio::time::timeout(TURN_LIMIT, ready).await.context("no turn came for the transfer")?;
        let (ready, events) = ready.map_err(told).context("the pool refuses a transfer")?;
        let location = Location::parse(&ready.url).map_err(|reason| anyhow::anyhow!("{reason}"))?;
        if !self.inner.data_urls.iter().any(|url| ready.url.starts_with(&format!("{url}/"))) {
            self.estate().labelled = true;
        }
        let (say, end) = oneshot::channel();
        let door = self.clone();
        tokio::spawn(async move {
            let outcome = door.follow(&id, events).await;
            // A download's end is not always waited for.
            let _ = say.send(outcome);
        });
        Ok(Ready { location, end })
    }

    /// Waits for a transfer's end and settles it.
    async fn follow(&self, id: &str, mut events: Streaming<proto::TransferEvent>) -> Result<(), String> {
        let outcome = loop {
            match next(&mut events).await {
                Ok(Event::Finished(finished)) => {
                    if let Some(limits) = &finished.limits {
                        self.estate().limits.add(limits, finished.bytes_moved);
                    }
                    break Ok(());
                }
                Ok(Event::Failed(failed)) => break Err(failed.text),
                Ok(Event::Cancelled(cancelled)) => break Err(cancelled.reason),
                Ok(Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_)) => {}
                Err(status) => return Err(status.message().to_owned()),
            }
        };
        self.settle(id).await.map_err(|status| status.message().to_owned())?;
        outcome
    }

    /// Tells the pool that it may forget an ended transfer.
    pub(super) async fn settle(&self, id: &str) -> Result<(), Status> {
        let request = proto::AcknowledgeRequest { transfer_id: id.to_owned(), ..Default::default() };
        self.client().acknowledge(request).await?;
        self.estate().transfers.remove(id);
        Ok(())
    }

    /// What held transfers back since this was asked last: those that have ended, and those that the pool still has.
    pub async fn take_limits(&self) -> Limits {
        let mut limits = std::mem::take(&mut self.estate().limits);
        let request = proto::ListRequest { door_name: NAME.to_owned(), unacknowledged_only: false };
        let Ok(Ok(listed)) = tokio::time::timeout(CALL_LIMIT, self.client().list(request)).await else {
            return limits;
        };
        let mut listed = listed.into_inner();
        while let Ok(Some(info)) = listed.message().await {
            let ours = info.request.is_some_and(|request| request.transfer_id.starts_with(&self.inner.tag));
            if let (true, Some(progress)) = (ours, info.progress)
                && let Some(of_it) = &progress.limits
            {
                limits.add(of_it, progress.bytes_moved);
            }
        }
        limits
    }

    /// Calls off what still runs: downloads, which stay open for a while for further ranges.
    pub async fn end_transfers(&self) {
        let ids: Vec<String> = self.estate().transfers.iter().cloned().collect();
        stream::iter(ids).for_each_concurrent(REMOVALS_AT_ONCE, |id| self.end_transfer(id)).await;
        self.estate().limits = Limits::default();
    }

    async fn end_transfer(&self, id: String) {
        let reason = "the measurement is over".to_owned();
        let request = proto::CancelRequest { transfer_id: id.clone(), reason };
        // Whoever follows it settles it, too; both may.
        let ended = tokio::time::timeout(CALL_LIMIT, async {
            match self.client().cancel(request).await {
                Err(status) if status.code() != Code::NotFound => Err(status),
                _ => self.settle(&id).await,
            }
        });
        if matches!(ended.await, Ok(Ok(()))) {
            self.estate().transfers.remove(&id);
        }
    }

    /// Removes a replica.
    pub async fn remove(&self, replica: &str) -> anyhow::Result<()> {
        let request = proto::DeleteReplicaRequest { replica_id: replica.to_owned(), missing_ok: true };
        let mut client = self.client();
        let removed = tokio::time::timeout(CALL_LIMIT, client.delete_replica(request)).await;
        removed.context("the pool does not answer")?.map_err(told).context("cannot remove a replica")?;
        self.estate().replicas.remove(replica);
        Ok(())
    }

    /// Removes all replicas but these.
    pub async fn remove_all_but(&self, kept: &[String]) -> anyhow::Result<()> {
        let ids = self.estate().replicas.keys().filter(|id| !kept.contains(id)).cloned().collect::<Vec<_>>();
        let removals = stream::iter(ids).map(|id| async move { self.remove(&id).await });
        removals.buffer_unordered(REMOVALS_AT_ONCE).fold(Ok(()), async |so_far, one| so_far.and(one)).await
    }

    /// Whether nothing is there because of us.
    pub fn is_clean(&self) -> bool {
        let estate = self.estate();
        estate.replicas.is_empty() && estate.transfers.is_empty()
    }

    /// Calls off and removes all that there is because of us. Gives what could not be removed.
    pub async fn clean(&self) -> Result<(), String> {
        self.end_transfers().await;
        // Each is tried, whatever became of the others.
        let result = self.remove_all_but(&[]).await;
        let left = self.estate().replicas.len();
        match (left, result) {
            (0, _) => Ok(()),
            (left, result) => Err(format!(
                "{left} replicas could not be removed ({}); remove them with penstock-bench pool --remove-leftovers",
                result.err().map_or_else(|| "no reason was given".to_owned(), |error| format!("{error:#}"))
            )),
        }
    }

    /// Calls off what earlier runs have left running: it may still become a replica.
    async fn end_leftovers(&self) -> anyhow::Result<()> {
        loop {
            let request = proto::ListRequest { door_name: NAME.to_owned(), unacknowledged_only: false };
            let listed = self.client().list(request).await.map_err(told);
            let mut listed = listed.context("cannot list the pool's transfers")?.into_inner();
            let mut left = Vec::new();
            while let Some(info) =
                listed.message().await.map_err(told).context("cannot list the pool's transfers")?
            {
                left.extend(info.request.map(|request| request.transfer_id));
            }
            left.retain(|id| id.starts_with(PREFIX));
            if left.is_empty() {
                return Ok(());
            }
            for id in left {
                self.end_transfer(id).await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Removes replicas of earlier runs that were killed. Gives their number.
    pub async fn remove_leftovers(&self) -> anyhow::Result<usize> {
        let ended = tokio::time::timeout(CALL_LIMIT, self.end_leftovers()).await;
        ended.context("transfers of an earlier run do not end")??;
        let mut listed = self
            .client()
            .list_replicas(proto::ListReplicasRequest::default())
            .await
            .map_err(told)
            .context("cannot list the pool's replicas")?
            .into_inner();
        let mut found = Vec::new();
        while let Some(info) =
            listed.message().await.map_err(told).context("cannot list the pool's replicas")?
        {
            if info.replica_id.starts_with(PREFIX) {
                found.push(info.replica_id);
            }
        }
        for id in &found {
            self.remove(id).await?;
        }
        Ok(found.len())
    }
}

/// Where clients of the pool's data port on this host come from; empty if there is no way to it that is known.
fn client_address(data_urls: &[String]) -> String {
    // Those that are measured are plain ones.
    let data_port = data_urls.iter().find_map(|url| Location::parse(url).ok());
    let own = data_port.and_then(|data_port| own_address_towards(&data_port.authority).ok());
    own.map_or_else(String::new, |own| own.to_string())
}

fn identity() -> proto::DoorIdentity {
    // Nobody is sent back to a measurement (RFC 6761 §6.4: "invalid" never resolves).
    proto::DoorIdentity { name: NAME.to_owned(), url: format!("http://{NAME}.invalid") }
}

/// The next event of a transfer.
pub(super) async fn next(events: &mut Streaming<proto::TransferEvent>) -> Result<Event, Status> {
    loop {
        let event = events.message().await?.ok_or_else(|| Status::aborted("the pool ended the stream"))?;
        if let Some(event) = event.event {
            return Ok(event);
        }
    }
}

/// tonic's errors have many words around the pool's own.
fn told(status: Status) -> anyhow::Error {
    anyhow::anyhow!("{}", words(&status))
}

/// The pool's own words, if there are any.
pub(super) fn words(status: &Status) -> &str {
    if status.message().is_empty() { status.code().description() } else { status.message() }
}
