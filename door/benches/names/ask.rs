//! A client that asks for names over HTTP and takes little time for itself, so that servers can be compared on the machine
//! that it runs on: one thread, requests made beforehand, answers read no further than is needed to find their ends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Different requests that one connection makes.
const REQUESTS: u64 = 1000;
const BUFFER_BYTES: usize = 256 * 1024;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Of the server, on this machine
    port: u16,
    /// HEAD or PROPFIND
    #[arg(long)]
    method: String,
    /// The header of a PROPFIND
    #[arg(long)]
    depth: Option<u32>,
    /// Ask for directories, not for files
    #[arg(long)]
    directory: bool,
    /// Files in a directory
    #[arg(long, default_value = "1000")]
    files: u64,
    /// Directories
    #[arg(long, default_value = "10")]
    directories: u64,
    /// Connections, each with one request at a time
    #[arg(long, default_value = "16")]
    parallel: u64,
    /// Length of the run, in seconds
    #[arg(long, default_value = "3")]
    seconds: u64,
}

/// Prints how many requests were answered, and in how many seconds.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let heads = heads(options);
    let (port, is_head) = (options.port, options.method == "HEAD");
    let length = Duration::from_secs(options.seconds);
    let parallel = options.parallel;
    // All on one thread.
    let asking = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let began_at = Instant::now();
            let mut connections = JoinSet::new();
            for number in 0..parallel {
                let mut heads = heads.clone();
                let turn = usize::try_from(number * REQUESTS / parallel)?;
                heads.rotate_left(turn);
                connections.spawn(ask(port, heads, is_head, began_at + length));
            }
            let mut done = 0;
            while let Some(asked) = connections.join_next().await {
                done += asked??;
            }
            anyhow::Ok((done, began_at.elapsed()))
        })
    });
    let (done, took) = asking.await??;
    println!("{done} {:.6}", took.as_secs_f64());
    Ok(())
}

fn heads(options: &Options) -> Vec<String> {
    let fields =
        options.depth.map(|depth| format!("Depth: {depth}\r\nContent-Length: 0\r\n")).unwrap_or_default();
    let mut number = 1u64;
    let mut next = |below: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 33) % below
    };
    let requests = (0..REQUESTS).map(|_| {
        let (directory, file) = (next(options.directories), next(options.files));
        let name = if options.directory { String::new() } else { format!("file{file:03}") };
        format!("{} /000/{directory:02}/{name} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", options.method)
    });
    requests.collect()
}

/// One connection. Returns how many of its requests were answered.
async fn ask(port: u16, heads: Vec<String>, is_head: bool, until: Instant) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut done = 0;
    for head in heads.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        stream.write_all(head.as_bytes()).await?;
        receive(&mut stream, &mut buffer, is_head).await.with_context(|| head.clone())?;
        done += 1;
    }
    Ok(done)
}

/// Reads one answer to its end.
async fn receive(stream: &mut TcpStream, buffer: &mut [u8], is_head: bool) -> anyhow::Result<()> {
    let mut length = 0;
    let head_end = loop {
        ensure!(length < buffer.len(), "the answer has too long a head");
        let count = stream.read(&mut buffer[length..]).await?;
        ensure!(count > 0, "the connection ended");
        length += count;
        if let Some(at) = find(&buffer[..length], b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = &buffer[..head_end];
    let is_good = head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.1 207");
    ensure!(is_good, "answered {}", String::from_utf8_lossy(head));
    if is_head {
        return Ok(());
    }
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let told = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body_length = told.map(str::parse::<usize>).transpose()?;
    let mut received = length - head_end;
    // What is made as it goes has no length: its last chunk is empty (RFC 9112 §7.1).
    let mut tail = [0; 5];
    push(&mut tail, &buffer[head_end..length]);
    while body_length.map_or(tail != *b"0\r\n\r\n", |all| received < all) {
        let count = stream.read(buffer).await?;
        ensure!(count > 0, "the answer broke off");
        received += count;
        push(&mut tail, &buffer[..count]);
    }
    Ok(())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The last bytes that have come.
fn push(tail: &mut [u8; 5], bytes: &[u8]) {
    let new = &bytes[bytes.len().saturating_sub(tail.len())..];
    tail.rotate_left(new.len());
    let kept = tail.len() - new.len();
    tail[kept..].copy_from_slice(new);
}
