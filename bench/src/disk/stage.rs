//! The shards and files that the cases of `penstock-bench disk` run on.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use penstock_pool::engine::arena::SLOT_BYTES;
use penstock_pool::engine::blocking::Blocking;
use penstock_pool::engine::disk::{Disk, File, KernelDisk, ReadMode};
use penstock_pool::engine::file;
use penstock_pool::engine::shard::Shard;

use super::case::{Case, Direction, Mode};
use super::job::{self, Done, Job};
use crate::measure::figures::{CPU, SYNC, THROUGHPUT};
use crate::measure::{Latencies, MIB, Sample, payload, process_cpu, processors};
use crate::target::Target;
use crate::terminal::{Interrupt, Interrupted};

/// Threads for the calls that block.
const BLOCKING_THREADS: usize = 8;
/// Buffers take at most this share of the memory.
const SHARE_OF_MEMORY: u64 = 2;
/// How often it is looked for an interrupt while shards work.
const LOOK: Duration = Duration::from_millis(100);
/// A page cache with more of a file than this share of it has not been emptied.
const EMPTY_SHARE: f64 = 0.01;

/// Shards, the files that are read, and what the file system can.
pub struct Stage<'a> {
    target: &'a Target,
    interrupt: &'a Interrupt,
    size_bytes: u64,
    longest: Duration,
    payload: Arc<Vec<u8>>,
    shards: Vec<Shard>,
    slots_per_shard: u32,
    /// Written once, read by all cases that read.
    files: Vec<File>,
    direct: bool,
    dontcache: bool,
}

impl<'a> Stage<'a> {
    /// Starts shards with buffers for the largest case, and finds out what the file system can.
    pub fn new(
        target: &'a Target,
        cases: &[&Case],
        size_bytes: u64,
        longest: Duration,
        interrupt: &'a Interrupt,
    ) -> anyhow::Result<Self> {
        let most_jobs = cases.iter().map(|case| case.jobs).max().unwrap_or(1) as usize;
        let count = most_jobs.min(processors().len().max(1));
        let slots = cases.iter().map(|case| case.depth as usize * (case.jobs as usize).div_ceil(count)).max();
        let slots = slots.unwrap_or(1);
        let memory_bytes = crate::measure::Machine::this().memory_bytes;
        anyhow::ensure!(
            (slots * count * SLOT_BYTES) as u64 <= memory_bytes / SHARE_OF_MEMORY,
            "{slots} buffers of 1 MiB on each of {count} shards are more than half of this machine's memory: lower \
             --depth or --jobs"
        );
        let blocking = Blocking::new(BLOCKING_THREADS);
        let shards = (0..count).map(|number| Shard::start(number, slots, Arc::clone(&blocking)));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let mut stage = Self {
            target,
            interrupt,
            size_bytes,
            longest,
            payload: Arc::new(payload(SLOT_BYTES)),
            shards,
            slots_per_shard: u32::try_from(slots).unwrap_or(u32::MAX),
            files: Vec::new(),
            direct: false,
            dontcache: false,
        };
        let probe = KernelDisk.create_unnamed(target.path()).context("cannot make a file")?;
        KernelDisk.allocate(&probe, 0, SLOT_BYTES as u64).context("cannot allocate space")?;
        stage.dontcache = stage.takes_dontcache(&probe)?;
        stage.direct = KernelDisk.set_direct(&probe, true).context("cannot ask for O_DIRECT")?;
        let readers = cases.iter().filter(|case| case.direction == Direction::Read);
        let files = readers.map(|case| case.jobs).max().unwrap_or(0);
        stage.write_files(files)?;
        Ok(stage)
    }

    /// What io_uring offers here.
    pub fn abilities(&self) -> String {
        self.shards.first().map_or_else(String::new, |shard| shard.facts().abilities.to_string())
    }

    /// What a reader of the results has to know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.direct {
            notes.push(format!(
                "{} is on a file system without O_DIRECT: a pool there goes through the page cache (io_mode = \
                 \"buffered\").",
                self.target.path().display()
            ));
        }
        if let Some(facts) = self.shards.first().map(Shard::facts) {
            if let Some(reason) = &facts.unregistered {
                notes.push(format!(
                    "The buffers are not registered with the ring ({reason}), which costs speed: raise the memlock \
                     limit (ulimit -l, LimitMEMLOCK=)."
                ));
            }
            if let Some(reason) = &facts.unpinned {
                notes.push(format!("The shards are not pinned to processors: {reason}."));
            }
        }
        notes
    }

    /// Why a case cannot be measured here.
    pub fn cannot(&self, case: &Case) -> Option<String> {
        match case.mode {
            Mode::Direct if !self.direct => Some("the file system has no O_DIRECT".to_owned()),
            Mode::Dontcache if !self.dontcache => Some(
                "the kernel or the file system has no RWF_DONTCACHE (Linux 6.14, ext4 and XFS)".to_owned(),
            ),
            Mode::Direct | Mode::Dontcache | Mode::Buffered | Mode::Cached => None,
        }
    }

    /// Whether reads and writes may ask to leave nothing in the page cache. `write_all` goes on without it where it is
    /// refused, so that only a read tells.
    fn takes_dontcache(&self, probe: &File) -> anyhow::Result<bool> {
        let (say, answer) = channel();
        let probe = File::clone(probe);
        let shard = self.shards.first().context("there is a shard")?;
        shard
            .submit(move |core: Rc<_>| async move {
                let slot = core.arena().take().await;
                let (result, _) = file::read(&core, &probe, slot, 0..SLOT_BYTES, 0, true).await;
                let _ = say.send(result);
            })
            .context("a shard takes no work")?;
        match self.wait(&answer)? {
            Err(error) if file::refuses_uncached(&error) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            other => Ok(other.map(|_| true).context("cannot read a file")?),
        }
    }

    /// One run of a case.
    pub fn measure(&self, case: &Case) -> anyhow::Result<Sample> {
        let mut remark = None;
        let files = match case.direction {
            Direction::Write => {
                (0..case.jobs).map(|_| self.file_to_write(case.mode)).collect::<io::Result<Vec<_>>>()
            }
            Direction::Read => {
                let own = &self.files[..case.jobs as usize];
                own.iter().map(|file| self.file_to_read(file, case.mode, &mut remark)).collect()
            }
        };
        let files =
            files.with_context(|| format!("cannot prepare files in {}", self.target.path().display()))?;
        let (done, began_at, cpu) = self.run(case, files)?;

        let bytes: u64 = done.iter().map(|done| done.bytes).sum();
        let ended_at = done.iter().map(|done| done.ended_at).max().unwrap_or(began_at);
        let elapsed = ended_at.saturating_duration_since(began_at).as_secs_f64();
        anyhow::ensure!(bytes > 0 && elapsed > 0.0, "no byte was moved within {:?}", self.longest);
        let mib = bytes as f64 / MIB;
        let mut figures = vec![(&THROUGHPUT, mib / elapsed), (&CPU, cpu.as_secs_f64() / (mib / 1024.0))];
        if case.direction == Direction::Write {
            let sync = done.iter().map(|done| done.sync).max().unwrap_or_default();
            figures.push((&SYNC, sync.as_secs_f64() * 1e3));
        }
        let mut latencies = Latencies::new();
        done.iter().for_each(|done| latencies.add(&done.latencies));
        Ok(Sample { figures, latencies: Some(latencies), remark })
    }

    /// Runs a job for each file, all at once. Gives what they did, when they began, and the processor time.
    fn run(&self, case: &Case, files: Vec<File>) -> anyhow::Result<(Vec<Done>, Instant, Duration)> {
        let count = files.len();
        let go = Arc::new(AtomicBool::new(false));
        let (say_ready, ready) = channel();
        let (say_done, done) = channel();
        for (number, file) in files.into_iter().enumerate() {
            let job = Job {
                direction: case.direction,
                file,
                size_bytes: self.size_bytes,
                block_bytes: case.block_bytes,
                depth: case.depth,
                uncached: case.mode == Mode::Dontcache,
                longest: self.longest,
                payload: Arc::clone(&self.payload),
                go: Arc::clone(&go),
                interrupt: self.interrupt.clone(),
            };
            let (say_ready, say_done) = (say_ready.clone(), say_done.clone());
            let shard = &self.shards[number % self.shards.len()];
            shard
                .submit(move |core: Rc<_>| async move {
                    // Nobody listens any more only after an error elsewhere, which is told then.
                    let result = job::run(core, job, || drop(say_ready.send(Ok(())))).await;
                    let _ = say_done.send(result);
                })
                .context("a shard takes no work")?;
        }
        drop((say_ready, say_done));
        for _ in 0..count {
            self.wait(&ready)?.context("a job did not start")?;
        }
        let (began_at, cpu_before) = (Instant::now(), process_cpu());
        go.store(true, Ordering::Release);
        let verb = match case.direction {
            Direction::Write => "writing to",
            Direction::Read => "reading from",
        };
        let mut results = Vec::new();
        for _ in 0..count {
            let result = self.wait(&done)?;
            results.push(result.with_context(|| format!("{verb} {} failed", self.target.path().display()))?);
        }
        Ok((results, began_at, process_cpu().saturating_sub(cpu_before)))
    }

    /// The next answer of a job. After an interrupt jobs end by themselves, so it is only waited for them.
    fn wait<T>(&self, answers: &Receiver<io::Result<T>>) -> anyhow::Result<io::Result<T>> {
        loop {
            match answers.recv_timeout(LOOK) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if self.interrupt.came() => {
                    return Err(Interrupted.into());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    anyhow::bail!("a shard ended; this is a defect, please report it")
                }
            }
        }
    }

    /// A new file with its space, as an upload begins.
    fn file_to_write(&self, mode: Mode) -> io::Result<File> {
        let file = KernelDisk.create_unnamed(self.target.path())?;
        KernelDisk.allocate(&file, 0, self.size_bytes)?;
        if mode == Mode::Direct && !KernelDisk.set_direct(&file, true)? {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the file system has no O_DIRECT"));
        }
        Ok(file)
    }

    /// A file opened for its mode, the page cache in the state that the mode needs.
    fn file_to_read(&self, file: &File, mode: Mode, remark: &mut Option<String>) -> io::Result<File> {
        match mode {
            Mode::Direct => KernelDisk.reopen(file, ReadMode::Direct),
            Mode::Dontcache | Mode::Buffered => {
                let reopened = KernelDisk.reopen(file, ReadMode::Buffered)?;
                forget(&reopened)?;
                if let Some(cached) = KernelDisk.cached(&reopened, 0, self.size_bytes)? {
                    let share = cached.cached as f64 / self.size_bytes as f64;
                    if share > EMPTY_SHARE {
                        *remark = Some(format!("{:.0} % was in the page cache", share * 100.0));
                    }
                }
                Ok(reopened)
            }
            Mode::Cached => {
                let reopened = KernelDisk.reopen(file, ReadMode::Buffered)?;
                let mut buffer = vec![0; SLOT_BYTES];
                for offset in (0..self.size_bytes).step_by(SLOT_BYTES) {
                    if self.interrupt.came() {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    KernelDisk.read_at(&reopened, &mut buffer, offset)?;
                }
                Ok(reopened)
            }
        }
    }

    /// Writes what is read later.
    fn write_files(&mut self, count: u32) -> anyhow::Result<()> {
        let mode = if self.direct { Mode::Direct } else { Mode::Buffered };
        for _ in 0..count {
            let case = Case { mode, ..Case::usual(Direction::Write) };
            let case = Case { depth: case.depth.min(self.slots_per_shard), ..case };
            let file = self.file_to_write(mode).context("cannot make a file to read")?;
            let longest = std::mem::replace(&mut self.longest, Duration::MAX / 4);
            let written = self.run(&case, vec![File::clone(&file)]);
            self.longest = longest;
            self.interrupt.check()?;
            written?;
            KernelDisk.set_direct(&file, false).context("cannot leave O_DIRECT")?;
            self.files.push(file);
        }
        Ok(())
    }
}

/// Drops what the page cache has of a file.
fn forget(file: &File) -> io::Result<()> {
    // The cache belongs to the file, not to the descriptor, so another one will do.
    let other = std::fs::File::open(format!("/proc/self/fd/{}", file.raw()))?;
    rustix::fs::fadvise(other.as_fd(), 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
