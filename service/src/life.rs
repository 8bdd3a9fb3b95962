//! The life of a daemon: start, service, reloads, drain, end; and what the service manager hears of it meanwhile.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::notify::{Notifier, Word};
use crate::signals::{Signals, Told};
use crate::watchdog::Watchdog;

/// How often the status line is brought up to date.
const STATUS_PERIOD: Duration = Duration::from_secs(5);
/// What the end needs after the drain: connections are closed, threads end, what doors have not heard is written down.
const END_TIME: Duration = Duration::from_secs(30);
/// How long a task may wait for a thread of the runtime before the runtime counts as stuck.
const RUNTIME_LIMIT: Duration = Duration::from_secs(5);

/// Something that serves until it is told to end.
pub trait Daemon {
    /// How it is, in one line: what runs, and what is not well. Must not block.
    fn status(&self) -> String;

    /// What has not moved for so long although it should have; `None` when all that must turn turns. Must not block.
    fn stuck(&self, limit: Duration) -> Option<String>;

    /// Reads configuration and certificates again. What is wrong with them is logged, in one line, and changes nothing.
    fn reload(&self) -> impl Future<Output = ()>;

    /// How long a drain may take.
    fn drain_time(&self) -> Duration;

    /// Takes nothing new and waits for what runs, at most so long. Gives how many transfers still run then. May be
    /// dropped.
    fn drain(&self, limit: Duration) -> impl Future<Output = usize>;

    /// Ends at once.
    fn stop(self) -> impl Future<Output = ()>;
}

/// Starts a daemon, says when it is ready, and lets it serve until it is told to end. A second such word ends it at
/// once.
pub async fn live<D: Daemon>(
    start: impl Future<Output = anyhow::Result<D>>,
    ready: impl FnOnce(&D),
) -> anyhow::Result<()> {
    // Before anything is bound, so that no signal finds the daemon half open.
    let mut signals = Signals::new()?;
    let notifier = Notifier::from_environment();
    notifier.tell(&[Word::Status("starting")]);
    let daemon = start.await?;
    ready(&daemon);
    notifier.tell(&[Word::Ready, Word::Status(&daemon.status())]);
    tokio::select! {
        never = tend(&daemon, &notifier, Watchdog::from_environment()) => match never {},
        () = serve(&daemon, &mut signals, &notifier) => {}
    }
    daemon.stop().await;
    notifier.tell(&[Word::Status("ended")]);
    Ok(())
}

/// From readiness to the end of the drain.
async fn serve<D: Daemon>(daemon: &D, signals: &mut Signals, notifier: &Notifier) {
    while signals.next().await == Told::Reload {
        notifier.tell(&[Word::Reloading, Word::Status("reading the configuration again")]);
        daemon.reload().await;
        notifier.tell(&[Word::Ready, Word::Status(&daemon.status())]);
    }
    let limit = daemon.drain_time();
    tracing::info!(deadline_seconds = limit.as_secs(), "draining; a second signal ends at once");
    // Whatever TimeoutStopSec= says: the configured time is the one that counts.
    notifier.tell(&[Word::Stopping, Word::NeedsTime(limit.saturating_add(END_TIME))]);
    tokio::select! {
        remaining = daemon.drain(limit) => {
            if remaining > 0 {
                tracing::warn!(remaining, "the drain deadline has passed; what still runs is ended");
            }
        }
        () = second_end(daemon, signals) => tracing::warn!("a second signal: what still runs is ended"),
    }
}

async fn second_end<D: Daemon>(daemon: &D, signals: &mut Signals) {
    while signals.next().await == Told::Reload {
        daemon.reload().await;
    }
}

/// Tells how the daemon is, for as long as it lives. A daemon that is stuck says nothing any more, and the service
/// manager starts another.
async fn tend<D: Daemon>(daemon: &D, notifier: &Notifier, watchdog: Option<Watchdog>) -> Infallible {
    let mut ticks = tokio::time::interval(watchdog.map_or(STATUS_PERIOD, Watchdog::pause).min(STATUS_PERIOD));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told, mut told_at) = (String::new(), Instant::now());
    let mut complained = false;
    loop {
        ticks.tick().await;
        if let Some(watchdog) = watchdog {
            match find_stuck(daemon, watchdog.stuck_after()).await {
                None => {
                    notifier.tell(&[Word::Alive]);
                    complained = false;
                }
                Some(what) if !complained => {
                    tracing::error!(what, "stuck: the service manager's watchdog will end this process");
                    notifier.tell(&[Word::Status(&format!("stuck: {what}"))]);
                    complained = true;
                }
                Some(_) => {}
            }
        }
        if !complained && told_at.elapsed() >= STATUS_PERIOD.mul_f32(0.9) {
            let status = daemon.status();
            if status != told {
                notifier.tell(&[Word::Status(&status)]);
                told = status;
            }
            told_at = Instant::now();
        }
    }
}

/// This task runs beside the runtime's threads; that they turn, too, is seen by what they do.
async fn find_stuck<D: Daemon>(daemon: &D, limit: Duration) -> Option<String> {
    let errand = tokio::spawn(async {});
    if tokio::time::timeout(RUNTIME_LIMIT.min(limit), errand).await.is_err() {
        return Some("the threads that answer doors and admins".to_owned());
    }
    daemon.stuck(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::os::unix::net::UnixDatagram;

    /// One that is stuck when it is told to be.
    #[derive(Default)]
    struct Toy {
        stuck: Cell<bool>,
        reloads: Cell<u32>,
    }

    impl Daemon for Toy {
        fn status(&self) -> String {
            "well".to_owned()
        }

        fn stuck(&self, _: Duration) -> Option<String> {
            self.stuck.get().then(|| "shard 1".to_owned())
        }

        async fn reload(&self) {
            self.reloads.set(self.reloads.get() + 1);
        }

        fn drain_time(&self) -> Duration {
            Duration::from_secs(7)
        }

        async fn drain(&self, _: Duration) -> usize {
            0
        }

        async fn stop(self) {}
    }

    struct Manager {
        socket: UnixDatagram,
        notifier: Notifier,
        _dir: tempfile::TempDir,
    }

    impl Manager {
        fn new() -> Manager {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("notify");
            let socket = UnixDatagram::bind(&path).unwrap();
            socket.set_nonblocking(true).unwrap();
            Manager { socket, notifier: Notifier::to(path.as_os_str()).unwrap(), _dir: dir }
        }

        /// All that was told since the last look.
        fn heard(&self) -> String {
            let (mut heard, mut buffer) = (String::new(), [0; 4096]);
            while let Ok(length) = self.socket.recv(&mut buffer) {
                heard.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
            heard
        }
    }

    #[tokio::test]
    async fn a_daemon_that_turns_is_reported_alive_and_one_that_is_stuck_is_not() {
        let manager = Manager::new();
        let toy = Toy::default();
        // Every 50 ms.
        let watchdog = Watchdog::for_tests(Duration::from_millis(200));
        let tend_for = async |time| {
            let tending = tend(&toy, &manager.notifier, Some(watchdog));
            assert!(tokio::time::timeout(time, tending).await.is_err());
        };

        tend_for(Duration::from_millis(500)).await;
        assert!(manager.heard().matches("WATCHDOG=1").count() >= 3);

        toy.stuck.set(true);
        tend_for(Duration::from_millis(500)).await;
        let heard = manager.heard();
        assert_eq!(heard, "STATUS=stuck: shard 1\n", "told once, and no word of life");
    }

    #[tokio::test]
    async fn the_service_manager_hears_of_reload_and_drain_and_of_the_time_that_they_need() {
        let manager = Manager::new();
        let toy = Toy::default();
        let mut signals = Signals::new().unwrap();
        let me = rustix::process::getpid();
        let life = serve(&toy, &mut signals, &manager.notifier);
        let story = async {
            rustix::process::kill_process(me, rustix::process::Signal::HUP).unwrap();
            while toy.reloads.get() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            rustix::process::kill_process(me, rustix::process::Signal::TERM).unwrap();
        };
        tokio::join!(life, story);

        let heard = manager.heard();
        let mut lines = heard.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"));
        assert!(lines.next().unwrap().starts_with("MONOTONIC_USEC="), "{heard}");
        let rest: Vec<_> = lines.collect();
        assert_eq!(
            rest,
            [
                "STATUS=reading the configuration again",
                "READY=1",
                "STATUS=well",
                "STOPPING=1",
                "EXTEND_TIMEOUT_USEC=37000000"
            ]
        );
    }
}
