//! The body of a COPY's answer: markers while it runs, one more at its end, the last line, and digests as trailers.
//!
//! A marker is made when the connection can take it, never before: a client that reads slowly gets fewer of them, and
//! none waits in memory. When the body goes before its end, the client has gone, and the copy is cancelled.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::HeaderMap;
use hyper::body::Frame;
use jiff::Timestamp;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::super::answer::{Body, BodyError};
use super::super::digest;
use super::marker;
use crate::transfers::copy::{CopyStatus, RunningCopy};

/// What is told when the copy's task ends without a word.
const NO_RESULT: &str = "the door ended the copy without a result; its log says why";

/// The body for a copy. `trailers_for`: the request's headers, if digests are wanted as trailers.
pub fn body(copy: RunningCopy, period: Duration, trailers_for: Option<HeaderMap>) -> Body {
    let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let markers = Markers { copy, ticks, trailers_for, next: Next::First };
    let frames = futures_util::stream::unfold(markers, async |mut markers| {
        let frame = markers.frame().await?;
        Some((Ok::<_, BodyError>(frame), markers))
    });
    StreamBody::new(frames).boxed_unsync()
}

struct Markers {
    copy: RunningCopy,
    ticks: Interval,
    trailers_for: Option<HeaderMap>,
    next: Next,
}

/// What the connection gets next.
enum Next {
    First,
    Later,
    Trailers(HeaderMap),
    Nothing,
}

impl Markers {
    async fn frame(&mut self) -> Option<Frame<Bytes>> {
        match std::mem::replace(&mut self.next, Next::Later) {
            Next::First => {
                let text = marker::marker(&self.copy.status.borrow_and_update(), Timestamp::now());
                Some(data(text))
            }
            Next::Later => Some(self.later().await),
            Next::Trailers(trailers) => {
                self.next = Next::Nothing;
                Some(Frame::trailers(trailers))
            }
            Next::Nothing => {
                self.next = Next::Nothing;
                None
            }
        }
    }

    async fn later(&mut self) -> Frame<Bytes> {
        let ended = tokio::select! {
            biased;
            // The copy's task tells an end in every case, unless it panics or the whole process ends.
            ended = self.copy.status.wait_for(|status| status.end.is_some()) => Some(ended.is_ok()),
            _ = self.ticks.tick() => None,
        };
        let mut status = self.copy.status.borrow().clone();
        match ended {
            None => return data(marker::marker(&status, Timestamp::now())),
            Some(true) => {}
            Some(false) => status.end = Some(Err(NO_RESULT.to_owned())),
        }
        self.next = self.after(&status);
        let result = match &status.end {
            Some(Err(why)) => Err(why.clone()),
            Some(Ok(_)) | None => Ok(()),
        };
        data(marker::marker(&status, Timestamp::now()) + &marker::last_line(&result))
    }

    /// RFC 9112 §7.1.2: only what the client said that it takes, and the answer's head announced.
    fn after(&self, status: &CopyStatus) -> Next {
        let (Some(request), Some(Ok(checksums))) = (&self.trailers_for, &status.end) else {
            return Next::Nothing;
        };
        let mut trailers = HeaderMap::new();
        digest::answer(request, checksums, &mut trailers);
        if trailers.is_empty() { Next::Nothing } else { Next::Trailers(trailers) }
    }
}

fn data(text: String) -> Frame<Bytes> {
    Frame::data(Bytes::from(text))
}
