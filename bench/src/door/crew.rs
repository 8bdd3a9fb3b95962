//! Clients at work: each a thread with a connection to the door and one to each pool, which does one file after the other
//! until the time is up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::case::Kind;
use super::site::Door;
use crate::http::{Client, HttpError, Location};
use crate::measure::{Failures, Latencies};
use crate::terminal::Interrupt;

/// The stack of a client's thread.
const STACK_BYTES: usize = 256 << 10;
/// Pools that a client keeps connections to.
const MOST_POOLS: usize = 64;
/// A client whose requests have failed so often in a row gives up: nothing is measured any more.
const MOST_FAILURES_IN_A_ROW: u32 = 20;

/// What the clients of a run share.
pub struct Crew<'a> {
    /// Who redirects.
    pub door: &'a Door,
    /// Ends it early.
    pub interrupt: &'a Interrupt,
    /// Size of each file.
    pub size_bytes: u64,
    /// What is written.
    pub payload: &'a [u8],
    /// Names that are read: so many, from 0 on.
    pub files: u64,
    /// The number of the next new file.
    pub next: &'a AtomicU64,
    /// No more files than that.
    pub most_files: u64,
}

/// What clients did.
#[derive(Debug)]
pub struct Work {
    /// Files that went all the way.
    pub done: u64,
    /// Those that did not.
    pub failures: Failures,
    /// How long each took in all,
    pub whole: Latencies,
    /// up to the redirect,
    pub redirect: Latencies,
    /// and from there on.
    pub data: Latencies,
    /// From the first request to the end of the last.
    pub elapsed: Duration,
}

impl Work {
    fn none() -> Self {
        Self {
            done: 0,
            failures: Failures::default(),
            whole: Latencies::new(),
            redirect: Latencies::new(),
            data: Latencies::new(),
            elapsed: Duration::ZERO,
        }
    }

    fn add(&mut self, other: Work) {
        self.done += other.done;
        self.failures.add_all(other.failures);
        self.whole.add(&other.whole);
        self.redirect.add(&other.redirect);
        self.data.add(&other.data);
    }
}

/// At whom a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// At the door.
    Redirect,
    /// At the pool.
    Data,
}

/// What a failure is counted as.
fn kind_of(step: Step, error: &HttpError) -> String {
    let who = match step {
        Step::Redirect => "door",
        Step::Data => "pool",
    };
    match error {
        HttpError::Refused { status, .. } => format!("{who} {status}"),
        HttpError::Connect { .. } => format!("{who} not reached"),
        HttpError::Connection { .. } => format!("{who} broke off"),
        HttpError::Nonsense { .. } | HttpError::Interrupted => format!("{who} not understood"),
    }
}

/// Why a file did not go all the way.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It may be otherwise the next time.
    #[error("{1}")]
    Failed(Step, HttpError),
    /// It will always be so.
    #[error("{0}")]
    Unsuited(String),
}

impl Crew<'_> {
    /// So many clients for so long.
    pub fn work(&self, kind: Kind, clients: u32, length: Duration) -> anyhow::Result<Work> {
        let began_at = Instant::now();
        let until = began_at + length;
        let mut whole = Work::none();
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for number in 0..clients {
                let thread = std::thread::Builder::new().name("client".into()).stack_size(STACK_BYTES);
                let started = thread.spawn_scoped(scope, move || self.client(kind, number.into(), until));
                running.push(started.context("cannot start a client's thread")?);
            }
            let mut failed = None;
            for thread in running {
                match thread.join().map_err(|_| anyhow::anyhow!("a client's thread panicked")).flatten() {
                    Ok(work) => whole.add(work),
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)
        })?;
        whole.elapsed = began_at.elapsed();
        anyhow::ensure!(
            whole.done > 0,
            "not one file went all the way{}",
            whole.failures.shown().map_or(
                "; the files may take no more (--space), or the time is too short (--seconds)".to_owned(),
                |failures| format!(": {failures}")
            )
        );
        Ok(whole)
    }

    fn client(&self, kind: Kind, number: u64, until: Instant) -> anyhow::Result<Work> {
        let mut hands = Hands::new(self.interrupt);
        let (mut work, mut turn, mut in_a_row) = (Work::none(), number, 0);
        while Instant::now() < until {
            self.interrupt.check()?;
            let name = match kind {
                Kind::Get => turn % self.files.max(1),
                Kind::Put => match self.new_name() {
                    Some(name) => name,
                    None => break,
                },
            };
            turn += 1;
            let began_at = Instant::now();
            match self.one(kind, &mut hands, &name.to_string()) {
                Ok((redirect, data)) => {
                    work.whole.record(began_at.elapsed());
                    work.redirect.record(redirect);
                    work.data.record(data);
                    work.done += 1;
                    in_a_row = 0;
                }
                Err(Trouble::Failed(step, error)) => {
                    self.interrupt.check()?;
                    work.failures.add(&kind_of(step, &error), &error.to_string());
                    in_a_row += 1;
                    anyhow::ensure!(in_a_row < MOST_FAILURES_IN_A_ROW, "nothing succeeds any more: {error}");
                }
                Err(trouble @ Trouble::Unsuited(_)) => return Err(trouble.into()),
            }
        }
        Ok(work)
    }

    /// A name that no file has had; `None` when there may be no more.
    pub fn new_name(&self) -> Option<u64> {
        let one_more = |next: u64| (next < self.most_files).then_some(next + 1);
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()
    }

    /// One file, there or back. Gives the times up to the redirect and behind it.
    pub fn one(&self, kind: Kind, hands: &mut Hands, name: &str) -> Result<(Duration, Duration), Trouble> {
        let began_at = Instant::now();
        let location = self.redirect(kind, hands, name)?;
        let redirected_at = Instant::now();
        let pool = hands.pool(&location.authority);
        let moved = match kind {
            Kind::Put => pool.put(&location, self.size_bytes, self.payload),
            Kind::Get => pool.get(&location, None).map(drop),
        };
        moved.map_err(|error| Trouble::Failed(Step::Data, error))?;
        Ok((redirected_at - began_at, redirected_at.elapsed()))
    }

    fn redirect(&self, kind: Kind, hands: &mut Hands, name: &str) -> Result<Location, Trouble> {
        let (method, fields) = match kind {
            Kind::Get => ("GET", self.door.fields("")),
            Kind::Put => {
                let announced = format!("Content-Length: {}\r\nExpect: 100-continue\r\n", self.size_bytes);
                ("PUT", self.door.fields(&announced))
            }
        };
        let asked = hands.door.ask(&self.door.file(name), method, &fields);
        let answer = asked.map_err(|error| Trouble::Failed(Step::Redirect, error))?;
        match (answer.status, &answer.location) {
            // RFC 9110 §15.4.8: method and body stay.
            (307 | 308, Some(location)) => Location::parse(location)
                .map_err(|problem| Trouble::Unsuited(format!("the door redirects, but {problem}"))),
            (100 | 200..300, _) => {
                let key = match kind {
                    Kind::Put => "redirect.write",
                    Kind::Get => "redirect.read",
                };
                Err(Trouble::Unsuited(format!(
                    "the door moves the bytes itself instead of redirecting to a pool ({key} = false); only redirected \
                     files are measured"
                )))
            }
            (status, _) => {
                let authority = self.door.authority().to_owned();
                Err(Trouble::Failed(
                    Step::Redirect,
                    HttpError::Refused { authority, status, text: answer.text },
                ))
            }
        }
    }
}

/// A client's connections.
pub struct Hands {
    interrupt: Interrupt,
    door: Client,
    pools: HashMap<String, Client>,
}

impl Hands {
    /// Connected to nobody yet.
    pub fn new(interrupt: &Interrupt) -> Self {
        Self { interrupt: interrupt.clone(), door: Client::small(interrupt), pools: HashMap::new() }
    }

    fn pool(&mut self, authority: &str) -> &mut Client {
        if self.pools.len() >= MOST_POOLS && !self.pools.contains_key(authority) {
            self.pools.clear();
        }
        let interrupt = &self.interrupt;
        self.pools.entry(authority.to_owned()).or_insert_with(|| Client::small(interrupt))
    }
}
