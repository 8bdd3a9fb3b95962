//! Processor time, user and system together: of this thread, of this process, of another one.

use std::io;
use std::time::Duration;

use rustix::thread::CpuSet;
use rustix::time::{ClockId, Timespec, clock_gettime};

fn duration(time: Timespec) -> Duration {
    // A clock of processor time is never negative, and its nanoseconds are below 10⁹.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What this process has used, the kernel's io_uring workers for it included.
pub fn process_cpu() -> Duration {
    duration(clock_gettime(ClockId::ProcessCPUTime))
}

/// The processor time of another process, from `/proc`, in steps of the kernel's clock tick (10 ms).
#[derive(Debug, Clone)]
pub struct CpuTime {
    pid: u32,
}

impl CpuTime {
    /// Of this process; an error when it cannot be seen.
    pub fn of(pid: u32) -> io::Result<Self> {
        let cpu = Self { pid };
        cpu.used().map(|_| cpu)
    }

    /// What all its threads have used up to now.
    pub fn used(&self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let ticks = ticks_of(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat is not as expected"))?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }
}

/// utime and stime: fields 14 and 15 of proc(5), behind the name in parentheses, which may hold anything.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    user.parse::<u64>().ok()?.checked_add(system.parse().ok()?)
}

/// The processors that this process may use.
pub fn processors() -> Vec<usize> {
    rustix::thread::sched_getaffinity(None)
        .map(|allowed| (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
        .unwrap_or_default()
}

/// Keeps the calling thread, and threads that it starts from now on, on the processor of this place in the list of
/// [`processors`] (counted round).
pub fn pin_to_processor(place: usize) -> io::Result<()> {
    let allowed = processors();
    let Some(processor) = allowed.get(place % allowed.len().max(1)) else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(*processor);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194304 100 0 0 0 31 11 0 0 20 0 3 0 100 0 0";
        assert_eq!(ticks_of(stat), Some(42));
        assert_eq!(ticks_of("7 (short) S 1 2"), None);
        assert_eq!(ticks_of(""), None);
    }

    #[test]
    fn work_shows_on_every_clock() {
        let process = process_cpu();
        let cpu = CpuTime::of(std::process::id()).unwrap();
        let before = cpu.used().unwrap();
        while process_cpu() - process < Duration::from_millis(50) {
            std::hint::black_box((0..10_000u64).sum::<u64>());
        }
        assert!(cpu.used().unwrap() > before);
    }

    #[test]
    fn a_process_that_is_not_there_has_no_time() {
        assert!(CpuTime::of(u32::MAX).is_err());
    }
}
