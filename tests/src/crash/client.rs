//! A client that does one thing after the other until the daemons die under it, and writes down what it was told.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::http::{Answer, Door};
use super::operation;
use super::random::Random;
use super::record::{Slot, Source, State};

/// What all clients of a cycle share.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Where they go.
    pub door: Door,
    /// What they upload.
    pub source: &'a Source,
    /// Set right before the daemons are killed: from here on no answer is no fault.
    pub killed: &'a AtomicBool,
}

/// What a client did, and what was wrong with the answers.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Operations that were answered as they should be, by name.
    pub answered: BTreeMap<&'static str, u64>,
    /// Changes that the kill left without an answer.
    pub unanswered: u64,
    /// What must not be, one line each.
    pub findings: Vec<String>,
}

impl Tally {
    /// Adds another one's.
    pub fn add(&mut self, other: Tally) {
        for (name, count) in other.answered {
            *self.answered.entry(name).or_default() += count;
        }
        self.unanswered += other.unanswered;
        self.findings.extend(other.findings);
    }
}

/// One client with the paths that are its own, and the paths of all, which it only reads.
#[derive(Debug)]
pub struct Client<'a> {
    /// The cycle's.
    pub scene: &'a Scene<'a>,
    /// Its own paths.
    pub slots: &'a mut [Slot],
    /// Everybody's.
    pub paths: &'a [String],
    /// Its own chance.
    pub random: Random,
}

/// How an operation ended.
#[derive(Debug)]
pub enum End {
    /// It was answered as it should be.
    Good,
    /// There was nothing to do (no file to read a range of, say).
    Idle,
    /// No answer, or one that is none once the daemons die.
    Unanswered(String),
    /// What must not be.
    Wrong(String),
}

impl Client<'_> {
    /// Goes on until the daemons are killed, or a request is not answered.
    #[must_use]
    pub fn work(mut self) -> Tally {
        let mut tally = Tally::default();
        while !self.is_killed() {
            let operation = operation::choose(&mut self.random);
            match (operation.run)(&mut self) {
                End::Good => *tally.answered.entry(operation.name).or_default() += 1,
                End::Idle => {}
                End::Wrong(what) => tally.findings.push(format!("{what} ({})", operation.name)),
                End::Unanswered(what) => {
                    if !self.is_killed() {
                        // Nobody caused it: a daemon that died by itself, or that broke a connection.
                        tally.findings.push(format!("wrong: {what} ({})", operation.name));
                    }
                    break;
                }
            }
        }
        tally.unanswered = self.slots.iter().filter(|slot| slot.unanswered.is_some()).count() as u64;
        tally
    }

    /// One of its own paths.
    pub fn any_slot(&mut self) -> usize {
        usize::try_from(self.random.below(self.slots.len() as u64)).expect("slots are few")
    }

    /// One of its own paths with a file of at least a byte, and the file's length.
    pub fn any_file(&mut self) -> Option<(usize, u64)> {
        let slot = self.any_slot();
        let State::File(content) = &self.slots[slot].state else { return None };
        let length = self.scene.source.bytes(content).len() as u64;
        (length > 0).then_some((slot, length))
    }

    /// The request that changes a path of its own into `state`. The answer is one of those that say that it is so
    /// (`done`), or the path is as before.
    pub fn change(&mut self, slot: usize, state: State, answer: io::Result<Answer>, done: &[u16]) -> End {
        let killed = self.is_killed();
        let slot = &mut self.slots[slot];
        match answer {
            Ok(answer) if done.contains(&answer.status) => {
                slot.state = state;
                slot.unanswered = None;
                End::Good
            }
            // Who lives on answers for who has died; what became of the change is not known then.
            Ok(answer) if killed => {
                slot.unanswered = Some(state);
                End::Unanswered(format!("{} is answered with {}", slot.path, answer.status))
            }
            Ok(answer) => {
                End::Wrong(format!("wrong: a change of {} is answered with {}", slot.path, answer.status))
            }
            Err(error) => {
                slot.unanswered = Some(state);
                End::Unanswered(format!("no answer about {}: {error}", slot.path))
            }
        }
    }

    /// Looks at the answer to a request that changes nothing.
    pub fn look(
        &self,
        path: &str,
        answer: io::Result<Answer>,
        check: impl FnOnce(&Answer) -> Result<(), String>,
    ) -> End {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return End::Unanswered(format!("no answer about {path}: {error}")),
        };
        // Bytes are right or wrong whoever dies; a refusal may have its reason in that.
        if self.is_killed() && answer.status >= 300 {
            return End::Unanswered(format!("{path} is answered with {}", answer.status));
        }
        match check(&answer) {
            Ok(()) => End::Good,
            Err(what) => End::Wrong(format!("{what}: {path}")),
        }
    }

    fn is_killed(&self) -> bool {
        self.scene.killed.load(Ordering::SeqCst)
    }
}
