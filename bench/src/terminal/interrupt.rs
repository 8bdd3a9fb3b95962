//! Ctrl-C and SIGTERM: the first ends the measurement in order, so that what it made is removed; a second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a shell gives a command that Ctrl-C ended.
pub const EXIT_CODE: u8 = 130;

/// Whether the user wants it to end.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

/// It was interrupted.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; what was made for the measurement has been removed")]
pub struct Interrupted;

impl Interrupt {
    /// Listens for signals from now on.
    pub fn listen() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot listen for signals")?;
        // Registered before anything is made, so that no signal finds something half made.
        let (mut interrupt, mut terminate) = {
            let _guard = runtime.enter();
            let listen = |kind| signal(kind).context("cannot listen for signals");
            (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?)
        };
        let flag = Self(Arc::default());
        let theirs = flag.clone();
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    next(&mut interrupt, &mut terminate).await;
                    theirs.set();
                    next(&mut interrupt, &mut terminate).await;
                    std::process::exit(EXIT_CODE.into());
                });
            })
            .context("cannot start a thread")?;
        Ok(flag)
    }

    /// One that no signal sets: for those who clean up when one has.
    pub fn never() -> Self {
        Self(Arc::default())
    }

    /// As if a signal had come.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a signal came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once a signal came.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.came() { Err(Interrupted) } else { Ok(()) }
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
