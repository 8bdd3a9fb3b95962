//! What the clients know: the state of each path, as they were told it, and what they were never told.

use super::http::Answer;
use super::random::Random;
use crate::files::{self, KIB, MIB};

/// Paths of each client. Few enough that uploads often replace a file.
const PATHS_PER_CLIENT: usize = 16;
/// Bytes that all uploads are cut from. More than the largest of them, so that there are many places to cut at.
const SOURCE_BYTES: u64 = 16 * MIB;

/// Where the bytes of all uploads come from.
#[derive(Debug)]
pub struct Source(Vec<u8>);

/// The bytes of one upload: a part of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    start: usize,
    length: usize,
}

/// What can be at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// A file.
    File(Content),
}

/// A path that only its client changes, one request after the other.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The path at the door.
    pub path: String,
    /// After the last change that was answered.
    pub state: State,
    /// After the last change, if it was not answered: then either of the two is right.
    pub unanswered: Option<State>,
}

impl Source {
    /// The same for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Source {
        Source(files::bytes(SOURCE_BYTES, seed))
    }

    /// The content's bytes.
    #[must_use]
    pub fn bytes(&self, content: &Content) -> &[u8] {
        &self.0[content.start..content.start + content.length]
    }

    /// Another content: from nothing over some bytes and half a block up to 3 MiB, and now and then 8 MiB.
    pub fn cut(&self, random: &mut Random) -> Content {
        let length = match random.below(32) {
            0 | 1 => 0,
            2..=13 => random.below(4 * KIB),
            14..=25 => random.below(256 * KIB),
            26..=30 => random.below(3 * MIB + 1),
            _ => 8 * MIB,
        };
        let start = random.below(SOURCE_BYTES - length + 1);
        let whole = |number: u64| usize::try_from(number).expect("the source fits in memory");
        Content { start: whole(start), length: whole(length) }
    }
}

impl Slot {
    /// The paths of a client, with nothing there yet.
    #[must_use]
    pub fn of_client(client: usize) -> Vec<Slot> {
        (0..PATHS_PER_CLIENT)
            .map(|number| Slot {
                path: format!("{}f{number:02}", directory(client)),
                state: State::Absent,
                unanswered: None,
            })
            .collect()
    }

    /// The last change turned out to have been made.
    pub fn settle_as_changed(&mut self) {
        if let Some(state) = self.unanswered.take() {
            self.state = state;
        }
    }

    /// The last change turned out not to have been made.
    pub fn settle_as_before(&mut self) {
        self.unanswered = None;
    }
}

/// The directory of a client's paths.
#[must_use]
pub fn directory(client: usize) -> String {
    format!("/client{client}/")
}

/// Whether a download's answer is that of this state; else what it is: "lost", "extra" or "wrong", and why.
pub fn check(answer: &Answer, state: &State, source: &Source) -> Result<(), String> {
    match (answer.status, state) {
        (404, State::Absent) => Ok(()),
        (404, State::File(_)) => Err("lost".to_owned()),
        (200, State::Absent) => Err("extra: a file where none should be".to_owned()),
        (200, State::File(content)) if answer.body != source.bytes(content) => {
            let (came, stored) = (answer.body.len(), source.bytes(content).len());
            Err(format!("wrong: {came} bytes came, which are not the {stored} that were stored"))
        }
        (200, State::File(_)) if !has_digest_of_its_body(answer) => {
            Err(format!("wrong: Digest is {:?}", answer.header("Digest")))
        }
        (200, State::File(_)) => Ok(()),
        (status, State::File(_)) => Err(format!("lost: GET is answered with {status}")),
        (status, State::Absent) => Err(format!("wrong: GET is answered with {status}")),
    }
}

/// Whether the adler32 that came with a body is the body's.
pub fn has_digest_of_its_body(answer: &Answer) -> bool {
    answer.header("Digest") == Some(format!("adler32={}", files::adler32_hex(&answer.body)).as_str())
}
