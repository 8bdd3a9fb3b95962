//! Brings the bytes: one stream for the whole file, or several for its pieces; each goes on where it broke.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::growth::Growth;
use super::landing::{Ground, Halt, Landing};
use super::pieces::Pieces;
use super::source::{Got, Offer, Part, Source, body_of};
use crate::checksum::{AlgorithmSet, Checksum};
use crate::remote::Reply;
use crate::transfer::port::Port;
use crate::transfer::put::digests::Digests;
use crate::transfer::strand::Strand;
use crate::transfer::third_party::{Far, Guard};
use crate::transfer::{Failure, FailureCode, Limit, Progress, Side, Transfer};

/// Before a broken stream goes on; twice as long each further time.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The bytes of one pull on their way.
pub(super) struct Streams<'a> {
    pub(super) source: &'a Source<'a>,
    pub(super) offer: &'a Offer,
    pub(super) ground: &'a Ground,
    pub(super) guard: &'a Guard<'a>,
    pub(super) transfer: &'a Arc<Transfer>,
    pub(super) port: &'a Port,
    pub(super) algorithms: AlgorithmSet,
    /// Of the whole transfer, so far.
    pub(super) retries: Cell<u32>,
}

/// What arrived.
pub(super) struct Arrived {
    pub(super) size: u64,
    pub(super) checksums: Vec<Checksum>,
    pub(super) blocks: Vec<u32>,
}

impl Streams<'_> {
    /// The whole file over one connection, whose answer is there already. `size`: as announced, if it was.
    pub(super) async fn one(
        &self,
        reply: Reply,
        size: Option<u64>,
        strand: &Strand,
    ) -> Result<Arrived, Failure> {
        let digests = Digests::new(self.algorithms, self.port.digests.as_ref());
        let mut landing = Landing::new(self.ground, digests, 0, size);
        self.fetch(&mut landing, Some(reply), strand).await?;
        strand.end_flow();
        let (size, checksums, blocks) = landing.close(strand).await?;
        Ok(Arrived { size, checksums, blocks })
    }

    /// The pieces of the file over one connection, which has the answer for the first piece, and over several as soon
    /// as they can bring more.
    pub(super) async fn several(
        &self,
        first: Reply,
        mut pieces: Pieces,
        first_piece: std::ops::Range<u64>,
        size: u64,
        strands: &[Strand],
    ) -> Result<Arrived, Failure> {
        let first_piece = self.landing(first_piece);
        pieces = {
            let hall =
                Hall { pieces: RefCell::new(pieces), returned: RefCell::default(), alive: Cell::new(1) };
            let (mut open, mut more) = (1, strands[1..].iter());
            let mut growth = Growth::new(&self.ground.core, self.transfer);
            let mut workers = FuturesUnordered::new();
            workers.push(self.work(&hall, Some((first_piece, Some(first))), &strands[0]));
            loop {
                let ended = {
                    let mut worthwhile = pin!(growth.worthwhile());
                    poll_fn(|context| {
                        if let Poll::Ready(ended) = workers.poll_next_unpin(context) {
                            return Poll::Ready(Some(ended));
                        }
                        match more.len() {
                            0 => Poll::Pending,
                            _ => worthwhile.as_mut().poll(context).map(|()| None),
                        }
                    })
                    .await
                };
                match ended {
                    // As many again, so that it does not take long until there are all.
                    None => {
                        for strand in more.by_ref().take(open) {
                            hall.alive.set(hall.alive.get() + 1);
                            workers.push(self.work(&hall, None, strand));
                        }
                        open = strands.len() - more.len();
                    }
                    Some(Some(ended)) => ended?,
                    Some(None) => break,
                }
                if hall.pieces.borrow().is_complete() {
                    break;
                }
            }
            drop(workers);
            hall.pieces.into_inner()
        };
        if !pieces.is_complete() {
            return Err(Failure::internal("the streams of the pull have ended before the file was complete"));
        }
        let (checksums, blocks) = pieces.put_together();
        Ok(Arrived { size, checksums, blocks })
    }

    fn landing(&self, piece: std::ops::Range<u64>) -> Landing<'_> {
        Landing::new(self.ground, Digests::new(self.algorithms.inline(), None), piece.start, Some(piece.end))
    }

    /// One stream: piece after piece.
    async fn work<'b>(
        &'b self,
        hall: &Hall<'b>,
        beginning: Option<(Landing<'b>, Option<Reply>)>,
        strand: &Strand,
    ) -> Result<(), Failure> {
        let mut next = beginning;
        loop {
            let (mut landing, reply) = match next.take() {
                Some(beginning) => beginning,
                None => match hall.hand_out(self) {
                    Some(landing) => (landing, None),
                    None => {
                        strand.end_flow();
                        hall.alive.set(hall.alive.get() - 1);
                        return Ok(());
                    }
                },
            };
            let began_at = landing.position();
            if let Err(failure) = self.fetch(&mut landing, reply, strand).await {
                // A source that does not want so many streams is left its others.
                let not_let_in = matches!(
                    failure.code,
                    FailureCode::RemoteRefused
                        | FailureCode::RemoteUnreachable
                        | FailureCode::ConnectionLost
                        | FailureCode::Stalled
                        | FailureCode::Tls
                );
                let unwanted = landing.position() == began_at && not_let_in && hall.alive.get() > 1;
                if !unwanted {
                    return Err(failure);
                }
                hall.alive.set(hall.alive.get() - 1);
                hall.returned.borrow_mut().push(landing);
                return Ok(());
            }
            let start = landing.start;
            let (length, checksums, blocks) = landing.close(strand).await?;
            hall.pieces.borrow_mut().done(start, length, checksums, blocks);
        }
    }

    /// Completes a piece, asking again where a connection broke.
    async fn fetch(
        &self,
        landing: &mut Landing<'_>,
        mut reply: Option<Reply>,
        strand: &Strand,
    ) -> Result<(), Failure> {
        loop {
            let mut current = match reply.take() {
                Some(reply) => reply,
                None => self.ask_for_rest(landing, strand).await?,
            };
            let mut body = body_of(&current);
            let before = landing.position();
            let received = landing.receive(&mut current.wire.input, &mut body, strand).await;
            strand.note_tcp(current.wire.input.connection());
            let connection = current.wire.input.connection().clone();
            let failure = match received {
                Err(Halt::Fatal(failure)) => return Err(failure),
                Ok(()) if landing.is_complete() || landing.end.is_none() => {
                    if current.head.keep_alive() {
                        self.source.client().park(current.wire);
                    }
                    return Ok(());
                }
                // A server may send less than was asked for, and is asked for the rest.
                Ok(()) if current.head.status() == 206 && landing.position() > before => {
                    if current.head.keep_alive() {
                        self.source.client().park(current.wire);
                    }
                    continue;
                }
                Ok(()) => {
                    let announced = landing.end.unwrap_or_default();
                    let text = format!(
                        "size mismatch on GET: the source's file ended after {} of {announced} bytes",
                        landing.position()
                    );
                    let failure = Failure::new(FailureCode::SizeMismatch, Side::Source, text);
                    // Nobody can tell a body that ends with its connection from a connection that broke.
                    match current.body {
                        crate::http1::AnswerBody::UntilClose => failure,
                        _ => return Err(failure),
                    }
                }
                Err(Halt::Lost(problem)) => {
                    Far::SOURCE.lost(self.progress(), &connection, self.guard.elapsed(), &problem)
                }
                Err(Halt::Stalled) => {
                    let idle = self.ground.idle_timeout;
                    Far::SOURCE.stalled(self.progress(), &connection, self.guard.elapsed(), idle)
                }
            };
            drop(current);
            strand.detach();
            reply = Some(self.go_on(landing, failure, strand).await?);
        }
    }

    /// Asks for what is missing of a piece.
    async fn ask_for_rest(&self, landing: &Landing<'_>, strand: &Strand) -> Result<Reply, Failure> {
        strand.enter(Limit::Source);
        match (landing.position(), landing.end) {
            (position, Some(end)) if position > 0 || self.offer.size.is_some_and(|size| size != end) => {
                let total = self.offer.size.unwrap_or(end);
                let part = Part { bytes: position..end, total };
                match self.source.part(&part, self.offer, strand).await? {
                    Got::Part(reply) => Ok(reply),
                    Got::Whole(_) => Err(Far::SOURCE.failure(
                        FailureCode::RemoteProtocol,
                        format!(
                            "failed GET: asked for bytes {position}-{}, the source answers with the whole file: it has \
                             changed, or serves no ranges",
                            end - 1
                        ),
                    )),
                }
            }
            (_, end) => {
                let (reply, offer) = self.source.whole(self.offer, strand).await?;
                let changed = offer.tag != self.offer.tag || (end.is_some() && offer.size != end);
                match changed {
                    false => Ok(reply),
                    true => Err(Far::SOURCE.failure(
                        FailureCode::RemoteProtocol,
                        "failed GET: the source's file has changed meanwhile",
                    )),
                }
            }
        }
    }

    /// A connection broke: asks for the rest over another one, if that can be done and was not tried too often.
    async fn go_on(&self, landing: &Landing<'_>, broken: Failure, strand: &Strand) -> Result<Reply, Failure> {
        let limit = self.source.client().settings().retries;
        // Bytes are only put behind others that are certainly of the same file: by its tag, or by a checksum of the
        // whole that is compared in the end.
        let certain = self.offer.tag.is_some() || !self.offer.checksums.is_empty();
        let can_go_on = landing.position() == 0 || (landing.end.is_some() && certain);
        let mut last: Option<Failure> = None;
        loop {
            let tried = self.retries.get();
            if !can_go_on || tried >= limit {
                return Err(given_up(&broken, can_go_on, tried, last.as_ref()));
            }
            self.retries.set(tried + 1);
            self.progress().retried();
            self.ground.core.sleep(RETRY_PAUSE * 2u32.pow(tried.min(6))).await;
            match self.ask_for_rest(landing, strand).await {
                Ok(reply) => return Ok(reply),
                // What the next attempt may do better.
                Err(next) if next.retryable && next.code != FailureCode::RemoteProtocol => last = Some(next),
                Err(fatal) => return Err(fatal),
            }
        }
    }

    fn progress(&self) -> &Progress {
        self.transfer.progress()
    }
}

/// How a connection broke, which says where and when, and why it did not go on behind that.
fn given_up(broken: &Failure, can_go_on: bool, tried: u32, last: Option<&Failure>) -> Failure {
    let why = match (can_go_on, tried, last) {
        (false, _, _) => {
            "; it cannot go on there: the source tells neither a strong ETag nor a checksum".to_owned()
        }
        (true, 0, _) => String::new(),
        (true, tried, None) => format!("; {tried} retries"),
        (true, tried, Some(last)) => format!("; {tried} retries, the last: {}", last.text()),
    };
    let text = format!("{}{why}", broken.text());
    Failure::new(broken.code, broken.side, text).with_retryable(broken.retryable)
}

/// What the streams share.
struct Hall<'a> {
    pieces: RefCell<Pieces>,
    /// Given back by streams that the source did not want.
    returned: RefCell<Vec<Landing<'a>>>,
    alive: Cell<usize>,
}

impl<'a> Hall<'a> {
    fn hand_out(&self, streams: &'a Streams<'_>) -> Option<Landing<'a>> {
        self.returned.borrow_mut().pop().or_else(|| {
            let piece = self.pieces.borrow_mut().hand_out()?;
            Some(streams.landing(piece))
        })
    }
}
