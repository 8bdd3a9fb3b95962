//! The server's process: one engine on one processor, answering until its parent ends.

mod blocking;
mod head;
mod hyper;
mod ring;
mod tokio_uring;

use std::io::{BufRead as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::options::Engine;
use crate::measure::{pin_to_processor, process_cpu};

/// What the parent tells the server.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which one.
    #[arg(long, value_enum)]
    engine: Engine,
    /// Where its files are.
    #[arg(long)]
    directory: PathBuf,
    /// The most clients at once.
    #[arg(long)]
    clients: u32,
}

/// Serves until the parent ends.
pub fn run(options: &Options) -> anyhow::Result<()> {
    // Before any thread is started, so that all of them stay there.
    pin_to_processor(0).context("cannot stay on one processor")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot bind a port on loopback")?;
    let address = listener.local_addr().context("the listener has no address")?;
    let directory: &'static Path = Box::leak(options.directory.clone().into_boxed_path());
    let clients = options.clients as usize;
    match options.engine {
        // It has threads of its own.
        Engine::Ring => {
            let shard = ring::start(listener, directory, clients)?;
            answer_questions(address)?;
            drop(shard);
            return Ok(());
        }
        Engine::Threads => spawn(move || blocking::serve(&listener, directory))?,
        Engine::Hyper => spawn(move || hyper::serve(listener, directory))?,
        Engine::TokioUring => spawn(move || tokio_uring::serve(listener, directory))?,
    }
    answer_questions(address)
}

fn spawn(serve: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> anyhow::Result<()> {
    let serving = move || {
        if let Err(error) = serve() {
            eprintln!("penstock-bench engine-server: {error:#}");
            // The parent sees the end of our output.
            std::process::exit(1);
        }
    };
    std::thread::Builder::new().name("server".into()).spawn(serving).context("cannot start a thread")?;
    Ok(())
}

/// Tells the address, then the processor time whenever asked, until stdin ends.
fn answer_questions(address: std::net::SocketAddr) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "listening on {address}").and_then(|()| out.flush()).context("nobody listens")?;
    for line in std::io::stdin().lock().lines() {
        if line.is_ok_and(|line| line == "cpu") {
            writeln!(out, "cpu {}", process_cpu().as_nanos())
                .and_then(|()| out.flush())
                .context("nobody listens")?;
        }
    }
    Ok(())
}
