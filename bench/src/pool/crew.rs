//! Clients at work: each a thread with one connection, which does one request after the other until the time is up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::runtime::Handle;

use super::case::{Case, Kind};
use crate::http::{Client, HttpError, Location};
use crate::measure::Latencies;
use crate::orders::Door;
use crate::terminal::Interrupt;

/// How long a door's order may take to end after the client has its answer.
const END_LIMIT: Duration = Duration::from_secs(60);
/// Of so many mixed requests,
const MIXED: u64 = 10;
/// so many are downloads.
const MIXED_GETS: u64 = 7;
/// The stack of a client's thread.
const STACK_BYTES: usize = 256 << 10;

/// What the clients of a run share.
pub struct Crew<'a> {
    /// Who orders.
    pub door: &'a Door,
    /// The door's threads.
    pub runtime: &'a Handle,
    /// Ends it early.
    pub interrupt: &'a Interrupt,
    /// What is done.
    pub case: Case,
    /// The files that are read.
    pub files: &'a [String],
    /// What is written.
    pub payload: &'a [u8],
    /// All files together may take so many bytes.
    pub space_bytes: u64,
    /// Files that were begun to be read, where each is read once.
    pub taken: AtomicU64,
}

/// What clients did.
#[derive(Debug)]
pub struct Work {
    /// Bytes moved.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
    /// How long each took.
    pub latencies: Latencies,
    /// From the first request to the end of the last.
    pub elapsed: Duration,
}

impl Crew<'_> {
    /// So many clients for so long.
    pub fn work(&self, clients: u32, length: Duration) -> anyhow::Result<Work> {
        let began_at = Instant::now();
        let until = began_at + length;
        let mut whole = Work { bytes: 0, requests: 0, latencies: Latencies::new(), elapsed: Duration::ZERO };
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for number in 0..clients {
                let thread = std::thread::Builder::new().name("client".into()).stack_size(STACK_BYTES);
                let started = thread.spawn_scoped(scope, move || self.client(number, until));
                running.push(started.context("cannot start a client's thread")?);
            }
            let mut failed = None;
            for thread in running {
                match thread.join().map_err(|_| anyhow::anyhow!("a client's thread panicked")).flatten() {
                    Ok(work) => {
                        whole.bytes += work.bytes;
                        whole.requests += work.requests;
                        whole.latencies.add(&work.latencies);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)
        })?;
        whole.elapsed = began_at.elapsed();
        anyhow::ensure!(
            whole.requests > 0,
            "no request was done; there is no space for its files, or no time"
        );
        Ok(whole)
    }

    fn client(&self, number: u32, until: Instant) -> anyhow::Result<Work> {
        let mut client = Client::new(self.interrupt);
        let mut work = Work { bytes: 0, requests: 0, latencies: Latencies::new(), elapsed: Duration::ZERO };
        let mut own = Vec::new();
        let ranges = match self.case.kind {
            Kind::Ranges => Some(self.runtime.block_on(self.door.download(self.file(number.into())?))?),
            _ => None,
        };
        let mut random = 0x9e37_79b9_7f4a_7c15 ^ (u64::from(number) + 1).wrapping_mul(0xd1b5_4a32_d192_ed03);
        while Instant::now() < until {
            self.interrupt.check()?;
            let turn = work.requests;
            let began_at = Instant::now();
            let bytes = match (self.case.kind, &ranges) {
                (Kind::Ranges, Some(ready)) => self.range(&mut client, &ready.location, &mut random)?,
                (Kind::FirstGet, _) => {
                    let next = self.taken.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = self.files.get(next as usize) else { break };
                    self.get(&mut client, file)?
                }
                (Kind::Get | Kind::SmallGet, _) => {
                    self.get(&mut client, self.file(turn + u64::from(number))?)?
                }
                (Kind::Mixed, _) if (turn + u64::from(number)) * MIXED_GETS % MIXED < MIXED_GETS => {
                    self.get(&mut client, self.file(turn)?)?
                }
                (Kind::Put | Kind::SmallPut | Kind::Mixed | Kind::Ranges, _) => {
                    self.put(&mut client, &mut own)?;
                    self.case.file_bytes
                }
            };
            work.latencies.record(began_at.elapsed());
            work.bytes += bytes;
            work.requests += 1;
            self.make_room(&mut own)?;
        }
        Ok(work)
    }

    fn file(&self, number: u64) -> anyhow::Result<&str> {
        let place = number as usize % self.files.len().max(1);
        self.files.get(place).map(String::as_str).context("there is no file to read")
    }

    fn get(&self, client: &mut Client, file: &str) -> anyhow::Result<u64> {
        let ready = self.runtime.block_on(self.door.download(file))?;
        Ok(client.get(&ready.location, None)?)
    }

    /// One upload, up to the client's 201.
    pub fn put(&self, client: &mut Client, own: &mut Vec<String>) -> anyhow::Result<()> {
        let (replica, ready) = self.runtime.block_on(self.door.upload(self.case.file_bytes))?;
        let sent = client.put(&ready.location, self.case.file_bytes, self.payload);
        if let Err(HttpError::Interrupted) = sent {
            // The pool waits for the rest of the body; whoever cleans up calls the transfer off.
            return Err(HttpError::Interrupted.into());
        }
        // The pool's own words say more than the status it gave to the client.
        let ended = self.runtime.block_on(async { tokio::time::timeout(END_LIMIT, ready.end).await });
        match (sent, ended) {
            (Ok(()), Ok(Ok(Ok(())))) => {
                own.push(replica);
                Ok(())
            }
            (_, Ok(Ok(Err(reason)))) if !self.interrupt.came() => anyhow::bail!("an upload failed: {reason}"),
            (Err(error), _) => Err(error.into()),
            (Ok(()), _) => anyhow::bail!("the pool answered an upload, but did not tell its end to the door"),
        }
    }

    fn range(&self, client: &mut Client, location: &Location, random: &mut u64) -> anyhow::Result<u64> {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let places = self.case.file_bytes / self.case.request_bytes.max(1);
        let start = *random % places.max(1) * self.case.request_bytes;
        Ok(client.get(location, Some(start..start + self.case.request_bytes))?)
    }

    /// Removes uploads of this client when all together take too much.
    fn make_room(&self, own: &mut Vec<String>) -> anyhow::Result<()> {
        if !own.is_empty() && self.door.bytes() + self.case.file_bytes > self.space_bytes {
            for replica in own.drain(..) {
                self.runtime.block_on(self.door.remove(&replica))?;
            }
        }
        Ok(())
    }
}
