//! A client that uploads, downloads and deletes until the daemon dies under it, and writes down what it was told.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::http::{Answer, Door, Framing, Way};
use super::random::Random;
use super::record::{Slot, Source, State};
use crate::files;

/// What all clients of a cycle share.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Where they go.
    pub door: Door,
    /// What they upload.
    pub source: &'a Source,
    /// Set right before the daemon is killed: from here on no answer is no fault.
    pub killed: &'a AtomicBool,
}

/// What a client did, and what was wrong with the answers.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Uploads that were answered with 201 or 204.
    pub uploads: u64,
    /// Deletions that were answered with 204.
    pub deletions: u64,
    /// Downloads that came whole and right.
    pub downloads: u64,
    /// Uploads and deletions that the kill left without an answer.
    pub unanswered: u64,
    /// What must not be, one line each.
    pub findings: Vec<String>,
}

impl Tally {
    /// Adds another one's.
    pub fn add(&mut self, other: Tally) {
        self.uploads += other.uploads;
        self.deletions += other.deletions;
        self.downloads += other.downloads;
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

impl Client<'_> {
    /// Goes on until a request is not answered.
    #[must_use]
    pub fn work(mut self) -> Tally {
        let mut tally = Tally::default();
        let unanswered = loop {
            if let Err(unanswered) = self.step(&mut tally) {
                break unanswered;
            }
        };
        if !self.scene.killed.load(Ordering::SeqCst) {
            // Nobody caused it: a daemon that died by itself, or that broke a connection.
            tally.findings.push(format!("wrong: {unanswered}"));
        }
        tally
    }

    fn step(&mut self, tally: &mut Tally) -> Result<(), String> {
        let slot = usize::try_from(self.random.below(self.slots.len() as u64)).expect("slots are few");
        match self.random.below(10) {
            0..5 => self.upload(slot, tally),
            5..7 => self.delete(slot, tally),
            7..9 => self.download(slot, tally),
            _ => self.look_at_anothers(tally),
        }
    }

    fn upload(&mut self, slot: usize, tally: &mut Tally) -> Result<(), String> {
        let content = self.scene.source.cut(&mut self.random);
        let framing = if self.random.one_in(3) { Framing::Chunks } else { Framing::Length };
        let way = if self.random.one_in(8) { Way::Proxied } else { Way::Redirected };
        let slot = &mut self.slots[slot];
        slot.unanswered = Some(State::File(content.clone()));
        tally.unanswered += 1;
        let answer = self.scene.door.put(&slot.path, self.scene.source.bytes(&content), framing, way);
        let answer = answered("PUT", &slot.path, answer)?;
        tally.unanswered -= 1;
        match answer.status {
            201 | 204 => {
                slot.settle_as_changed();
                tally.uploads += 1;
            }
            _ => {
                // "Whole or nothing": a refused upload leaves no name and no file.
                slot.unanswered = None;
                tally.findings.push(refused("PUT", &slot.path, &answer));
            }
        }
        Ok(())
    }

    fn delete(&mut self, slot: usize, tally: &mut Tally) -> Result<(), String> {
        let slot = &mut self.slots[slot];
        slot.unanswered = Some(State::Absent);
        tally.unanswered += 1;
        let answer = answered("DELETE", &slot.path, self.scene.door.delete(&slot.path))?;
        tally.unanswered -= 1;
        match (answer.status, &slot.state) {
            (204, State::File(_)) => {
                slot.settle_as_changed();
                tally.deletions += 1;
            }
            (404, State::Absent) => slot.settle_as_changed(),
            _ => {
                slot.unanswered = None;
                tally.findings.push(refused("DELETE", &slot.path, &answer));
            }
        }
        Ok(())
    }

    fn download(&mut self, slot: usize, tally: &mut Tally) -> Result<(), String> {
        let slot = &self.slots[slot];
        let answer = answered("GET", &slot.path, self.scene.door.get(&slot.path))?;
        match check(&answer, &slot.state, self.scene.source) {
            Ok(()) => tally.downloads += 1,
            Err(what) => tally.findings.push(format!("{what}: {}", slot.path)),
        }
        Ok(())
    }

    /// Its client changes it meanwhile: there is no file, or one version of it, whole.
    fn look_at_anothers(&mut self, tally: &mut Tally) -> Result<(), String> {
        let path = &self.paths[usize::try_from(self.random.below(self.paths.len() as u64)).expect("few")];
        let answer = answered("GET", path, self.scene.door.get(path))?;
        match answer.status {
            200 if has_digest_of_its_body(&answer) => tally.downloads += 1,
            200 => tally.findings.push(format!("wrong: GET {path} came with a Digest of other bytes")),
            404 => {}
            _ => tally.findings.push(refused("GET", path, &answer)),
        }
        Ok(())
    }
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

fn has_digest_of_its_body(answer: &Answer) -> bool {
    answer.header("Digest") == Some(format!("adler32={}", files::adler32_hex(&answer.body)).as_str())
}

fn answered(method: &str, path: &str, answer: io::Result<Answer>) -> Result<Answer, String> {
    answer.map_err(|error| format!("no answer to {method} {path}: {error}"))
}

fn refused(method: &str, path: &str, answer: &Answer) -> String {
    format!("wrong: {method} {path} is answered with {}", answer.status)
}
