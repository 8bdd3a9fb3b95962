//! One stream on a shard: sending and receiving as the pool does it.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use penstock_pool::engine::arena::SLOT_BYTES;
use penstock_pool::engine::core::Core;
use penstock_pool::engine::disk::File;
use penstock_pool::engine::net::socket::{KernelSocket, TcpFacts};
use penstock_pool::engine::net::{Connection, Received};

use super::case::Method;
use super::station::FILE_BYTES;
use crate::measure::payload;
use crate::terminal::Interrupt;

/// One send.
const PIECE_BYTES: usize = 512 << 10;
/// One call that hands cached pages over.
const CACHED_STEP_BYTES: u64 = 1 << 20;
/// After so many of them, other streams of the shard have their turn.
const STEPS_IN_A_ROW: u32 = 4;
/// How often it is looked whether it is time to end.
const PATIENCE: Duration = Duration::from_millis(100);
/// The other side may take so long to take or to send nothing.
const STALL_LIMIT: Duration = Duration::from_secs(20);
/// Bytes of the count that tells how much was received.
pub const COUNT_BYTES: usize = 8;

/// What a stream moved.
#[derive(Debug)]
pub struct Done {
    /// Bytes.
    pub bytes: u64,
    /// What the kernel knows of the path.
    pub tcp: Option<TcpFacts>,
}

/// A connected socket on its shard.
fn connection(core: &Rc<Core>, stream: TcpStream) -> io::Result<Connection> {
    stream.set_nonblocking(true)?;
    Ok(Connection::new(Rc::clone(core), Rc::new(KernelSocket::new(stream.into())?)))
}

/// Sends for a while, and asks the server how much has come.
pub async fn send_and_ask(
    core: &Rc<Core>,
    stream: TcpStream,
    file: &File,
    method: Method,
    length: Duration,
    interrupt: &Interrupt,
) -> io::Result<Done> {
    let connection = connection(core, stream)?;
    send(&connection, file, method, length, interrupt).await?;
    let tcp = connection.tcp_facts();
    connection.shutdown_send();
    let count = connection.receive_within(vec![0; COUNT_BYTES], 0..COUNT_BYTES, true, STALL_LIMIT).await;
    let bytes = match count {
        (Ok(Received::Bytes(COUNT_BYTES)), count) => {
            count.try_into().map(u64::from_le_bytes).map_err(|_| io::ErrorKind::InvalidData)?
        }
        (Ok(_), _) => return Err(io::Error::other("the server does not say what it has received")),
        (Err(error), _) => return Err(error),
    };
    Ok(Done { bytes, tcp })
}

/// Receives to the end.
pub async fn receive_all(core: &Rc<Core>, stream: TcpStream, interrupt: &Interrupt) -> io::Result<Done> {
    let connection = connection(core, stream)?;
    let bytes = receive(&connection, interrupt).await?;
    Ok(Done { bytes, tcp: None })
}

/// Receives to the end, into one slot over and over, as an upload fills its slots.
pub async fn receive(connection: &Connection, interrupt: &Interrupt) -> io::Result<u64> {
    let core = connection.core();
    let mut slot = core.arena().take().await;
    let mut bytes = 0;
    let mut moved_at = core.now();
    loop {
        let (received, back) = connection.receive_within(slot, 0..SLOT_BYTES, true, PATIENCE).await;
        slot = back;
        let count = match received? {
            Received::End => return Ok(bytes),
            Received::Bytes(count) | Received::Paused(count) => count,
        };
        if count > 0 {
            bytes += count as u64;
            moved_at = core.now();
        }
        check(interrupt, core.now(), moved_at)?;
    }
}

/// Sends for a while.
pub async fn send(
    connection: &Connection,
    file: &File,
    method: Method,
    length: Duration,
    interrupt: &Interrupt,
) -> io::Result<()> {
    let until = connection.core().now() + length;
    match method {
        Method::Copy => send_buffer(connection, false, until, interrupt).await,
        Method::ZeroCopy => send_buffer(connection, true, until, interrupt).await,
        Method::Sendfile => send_pages(connection, file, until, interrupt).await,
    }
}

/// Sends a buffer over and over; without a copy by the pool's own rules, which are for each connection.
async fn send_buffer(
    connection: &Connection,
    zero_copy: bool,
    until: Instant,
    interrupt: &Interrupt,
) -> io::Result<()> {
    let core = connection.core();
    let mut slot = core.arena().take().await;
    slot[..PIECE_BYTES].copy_from_slice(&payload(PIECE_BYTES));
    // It is never written again, so that it does not matter how long the kernel reads it.
    let mut slot = Rc::new(slot);
    let mut moved_at = core.now();
    while core.now() < until {
        let (sent, back) = match zero_copy {
            true => connection.send_slot_within(slot, 0..PIECE_BYTES, PATIENCE).await,
            false => connection.send_within(slot, 0..PIECE_BYTES, false, PATIENCE).await,
        };
        slot = back;
        if sent?.0 > 0 {
            moved_at = core.now();
        }
        check(interrupt, core.now(), moved_at)?;
    }
    Ok(())
}

async fn send_pages(
    connection: &Connection,
    file: &File,
    until: Instant,
    interrupt: &Interrupt,
) -> io::Result<()> {
    let core = connection.core();
    let (mut offset, mut steps, mut moved_at) = (0, 0, core.now());
    while core.now() < until {
        let length = (FILE_BYTES - offset).min(CACHED_STEP_BYTES);
        match connection.send_cached(file, offset, length as u32) {
            Ok(count) => {
                offset = (offset + u64::from(count)) % FILE_BYTES;
                moved_at = core.now();
                steps += 1;
                if steps % STEPS_IN_A_ROW == 0 {
                    yield_now().await;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Either there is room, or it is time to look around.
                if let Some(result) = core.within(PATIENCE, connection.writable()).await {
                    result?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        check(interrupt, core.now(), moved_at)?;
    }
    Ok(())
}

fn check(interrupt: &Interrupt, now: Instant, moved_at: Instant) -> io::Result<()> {
    if interrupt.came() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    if now.saturating_duration_since(moved_at) > STALL_LIMIT {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(())
}

/// Lets other streams of the shard go first.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
