//! Asking the source: what it has (HEAD), and for bytes (GET, whole or from somewhere on).

use std::ops::Range;
use std::time::Duration;

use crate::checksum::{Algorithm, Checksum};
use crate::http1::{AnswerBody, AnswerHead, answered_checksums, want_digest_header, want_repr_digest_header};
use crate::remote::{Client, Question, RemoteError, Reply};
use crate::transfer::put::body::Body;
use crate::transfer::request::Pull;
use crate::transfer::strand::Strand;
use crate::transfer::third_party::Far;
use crate::transfer::{Failure, FailureCode};

/// While the source brings a file online it answers 202, and is asked again after so long.
const STAGING_PERIOD: Duration = Duration::from_secs(5);

/// What is asked for, best first: what is cheap to compute, and what grid sites keep, before what is not.
const WISHES: [Algorithm; 7] = [
    Algorithm::Adler32,
    Algorithm::Crc32c,
    Algorithm::Crc32,
    Algorithm::Md5,
    Algorithm::Sha256,
    Algorithm::Sha512,
    Algorithm::Sha1,
];

/// What the source says of its file.
#[derive(Debug, Clone, Default)]
pub(super) struct Offer {
    /// Its size.
    pub(super) size: Option<u64>,
    /// Its strong entity tag: bytes of the same tag are bytes of the same file.
    pub(super) tag: Option<String>,
    /// Its checksums, never ours.
    pub(super) checksums: Vec<Checksum>,
    /// It sends a page for people, perhaps an error page.
    pub(super) html: bool,
}

impl Offer {
    /// Of a HEAD, or of a GET of the whole.
    pub(super) fn of_whole(head: &AnswerHead) -> Offer {
        Offer {
            size: head.content_length().ok().flatten(),
            tag: strong_tag(head),
            checksums: answered_checksums(head, false),
            html: head.header("content-type").is_some_and(|kind| kind.starts_with("text/html")),
        }
    }

    /// What a later answer says, with what was known before if it can be of the same file.
    pub(super) fn renewed(&self, later: Offer) -> Offer {
        let same = |a: &Option<u64>, b: &Option<u64>| a.is_none() || b.is_none() || a == b;
        let same_tag = self.tag.is_none() || later.tag.is_none() || self.tag == later.tag;
        if !same_tag || !same(&self.size, &later.size) {
            return later;
        }
        let mut checksums = later.checksums;
        for known in &self.checksums {
            if !checksums.iter().any(|told| told.algorithm() == known.algorithm()) {
                checksums.push(*known);
            }
        }
        let (size, tag) = (later.size.or(self.size), later.tag.or_else(|| self.tag.clone()));
        Offer { size, tag, checksums, html: later.html }
    }
}

fn strong_tag(head: &AnswerHead) -> Option<String> {
    head.entity_tag().filter(|tag| !tag.weak).map(|tag| tag.tag)
}

/// A part of the file.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// From which byte to which.
    pub(super) bytes: Range<u64>,
    /// The whole file's size.
    pub(super) total: u64,
}

/// The source of one pull.
pub(super) struct Source<'a> {
    client: Client,
    pull: &'a Pull,
}

/// How a GET for a part was answered.
pub(super) enum Got {
    /// With the part, or its beginning.
    Part(Reply),
    /// With the whole file.
    Whole(Reply),
}

impl<'a> Source<'a> {
    pub(super) fn new(client: Client, pull: &'a Pull) -> Source<'a> {
        Source { client, pull }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks with HEAD. A source that does not take it is asked with GET all the same; but one that says that there is
    /// no such file is believed, as it may answer GET with less.
    pub(super) async fn head(&self, strand: &Strand) -> Result<Offer, Failure> {
        let question = Question { method: "HEAD", fields: self.fields() };
        match self.client.ask(&question, &|connection| strand.attach(connection)).await {
            Ok(reply) => {
                let (status, offer) = (reply.head.status(), Offer::of_whole(&reply.head));
                let rejected = Far::SOURCE.rejected(&reply.head);
                let coded = reply.head.foreign_coding().is_some();
                self.client.discard(reply).await;
                match status {
                    200 if !coded => Ok(offer),
                    404 | 410 => Err(rejected),
                    _ => Ok(Offer::default()),
                }
            }
            Err(RemoteError::Closed { .. } | RemoteError::Broken { .. } | RemoteError::Answer { .. }) => {
                Ok(Offer::default())
            }
            Err(error) => Err(Far::SOURCE.unanswered(&error)),
        }
    }

    /// Asks for the whole file.
    pub(super) async fn whole(&self, known: &Offer, strand: &Strand) -> Result<(Reply, Offer), Failure> {
        let reply = self.get(self.fields(), strand).await?;
        if reply.head.status() != 200 {
            return Err(Far::SOURCE.rejected(&reply.head));
        }
        let offer = known.renewed(Offer::of_whole(&reply.head));
        Ok((reply, offer))
    }

    /// Asks for a part.
    pub(super) async fn part(&self, part: &Part, offer: &Offer, strand: &Strand) -> Result<Got, Failure> {
        let mut fields = self.fields();
        fields.push(("Range", format!("bytes={}-{}", part.bytes.start, part.bytes.end - 1)));
        if let Some(tag) = &offer.tag {
            // RFC 9110 §13.1.5: of another version, the whole is sent.
            fields.push(("If-Range", tag.clone()));
        }
        let reply = self.get(fields, strand).await?;
        match reply.head.status() {
            200 => Ok(Got::Whole(reply)),
            206 => check_part(&reply, part, offer).map(|()| Got::Part(reply)),
            _ => Err(Far::SOURCE.rejected(&reply.head)),
        }
    }

    async fn get(&self, fields: Vec<(&'static str, String)>, strand: &Strand) -> Result<Reply, Failure> {
        let question = Question { method: "GET", fields };
        loop {
            let asked = self.client.ask(&question, &|connection| strand.attach(connection)).await;
            let reply = asked.map_err(|error| Far::SOURCE.unanswered(&error))?;
            if reply.head.status() == 202 {
                self.client.discard(reply).await;
                self.client.core().sleep(STAGING_PERIOD).await;
                continue;
            }
            if let Some(coding) =
                reply.head.foreign_coding().filter(|_| matches!(reply.head.status(), 200 | 206))
            {
                let coding: String = coding.chars().take(40).collect();
                let text = format!(
                    "failed GET: the source sends the file in the content coding '{coding}', unasked"
                );
                return Err(Far::SOURCE.failure(FailureCode::RemoteProtocol, text));
            }
            return Ok(reply);
        }
    }

    /// What every request asks for besides the bytes: checksums, those that the door expects first, and no coding.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let expected = self.pull.expected_checksums.iter().map(Checksum::algorithm);
        let mut wishes: Vec<Algorithm> = Vec::new();
        for algorithm in expected.chain(WISHES) {
            if !wishes.contains(&algorithm) {
                wishes.push(algorithm);
            }
        }
        vec![
            ("Accept-Encoding", "identity".to_owned()),
            ("Want-Digest", want_digest_header(&wishes)),
            ("Want-Repr-Digest", want_repr_digest_header(&wishes)),
        ]
    }
}

/// The body of an answer, as the landing takes it.
pub(super) fn body_of(reply: &Reply) -> Body {
    match reply.body {
        AnswerBody::Length(length) => Body::Length(length),
        AnswerBody::Chunked => Body::Chunked(crate::http1::ChunkedDecoder::new()),
        AnswerBody::UntilClose => Body::UntilClose { ended: false },
    }
}

/// RFC 9110 §15.3.7: that it is the part that was asked for, or its beginning, and of the same file.
fn check_part(reply: &Reply, part: &Part, offer: &Offer) -> Result<(), Failure> {
    let wrong = |problem: String| {
        let text = format!(
            "failed GET: the source's answer for bytes {}-{} {problem}",
            part.bytes.start,
            part.bytes.end - 1
        );
        Err(Far::SOURCE.failure(FailureCode::RemoteProtocol, text))
    };
    let Some(range) = reply.head.content_range() else {
        return wrong("has no usable Content-Range".into());
    };
    if range.first != part.bytes.start || range.end > part.bytes.end {
        return wrong(format!("holds bytes {}-{} (Content-Range)", range.first, range.end - 1));
    }
    if range.total.is_some_and(|total| total != part.total) {
        return wrong(format!(
            "is of a file of {} bytes, not {}: it has changed",
            range.total.unwrap_or(0),
            part.total
        ));
    }
    let tag = strong_tag(&reply.head);
    if tag.is_some() && offer.tag.is_some() && tag != offer.tag {
        return wrong("has another ETag than the file had before: it has changed".into());
    }
    match reply.body {
        AnswerBody::Length(length) if length != range.end - range.first => {
            wrong(format!("has {length} bytes (Content-Length), not {}", range.end - range.first))
        }
        AnswerBody::Length(_) | AnswerBody::Chunked | AnswerBody::UntilClose => Ok(()),
    }
}
