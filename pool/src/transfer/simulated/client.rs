//! The simulated clients: as little HTTP as it takes to upload and to read, and all of what came is given back.

use std::io;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::TEN_MINUTES;
use super::site::{NAME, keys};
use crate::engine::net::{Connection, Received};
use crate::tls::Wire;

/// The client's end of a connection.
pub async fn open(connection: Connection, tls: bool) -> io::Result<Wire> {
    if !tls {
        return Ok(connection.into());
    }
    let name = ServerName::try_from(NAME).unwrap();
    let stream = keys().1.connect(connection, name, None, TEN_MINUTES).await;
    stream.map(Wire::from).map_err(io::Error::other)
}

/// Gives the final status, or `None` when the connection ended without one.
pub async fn upload_as_client(
    client: &Wire,
    head: Vec<u8>,
    body: Vec<u8>,
    expect: bool,
    vanish_after: Option<usize>,
) -> io::Result<Option<u16>> {
    client.send_all(head, false, TEN_MINUTES).await.0?;
    let mut answer = Vec::new();
    if expect {
        let status = read_head(client, &mut answer).await?.0;
        if status != 100 {
            return Ok(Some(status));
        }
        answer.clear();
    }
    let body = match vanish_after {
        Some(after) => body[..after.min(body.len())].to_vec(),
        None => body,
    };
    let sent = client.send_all(body, false, TEN_MINUTES).await.0;
    if vanish_after.is_some() {
        return Ok(None);
    }
    // A refusal may come while the body is still on its way.
    match (read_head(client, &mut answer).await, sent) {
        (Ok((status, _)), _) => {
            client.end(TEN_MINUTES).await;
            Ok(Some(status))
        }
        (Err(error), Ok(())) | (_, Err(error)) => Err(error),
    }
}

/// Gives the status, what came of the body, and how long it should have been.
pub async fn read_as_client(
    client: &Wire,
    head: Vec<u8>,
    thinking: bool,
) -> io::Result<(u16, Vec<u8>, usize)> {
    client.send_all(head, false, TEN_MINUTES).await.0?;
    let mut body = Vec::new();
    let (status, length) = read_head(client, &mut body).await?;
    let mut turn = 0;
    while body.len() < length {
        turn += 1;
        if thinking && turn % 3 == 0 {
            client.core().sleep(Duration::from_millis(60)).await;
        }
        match receive(client, 100_000).await {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => body.extend_from_slice(&bytes),
            Err(_) => break,
        }
    }
    Ok((status, body, length))
}

/// Reads up to the end of a head; what came behind it is left in `rest`. Gives status and Content-Length.
async fn read_head(client: &Wire, rest: &mut Vec<u8>) -> io::Result<(u16, usize)> {
    loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest.drain(..end + 4);
            let status = head[9..12].parse().map_err(io::Error::other)?;
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            return Ok((status, length));
        }
        let bytes = receive(client, 4096).await?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        rest.extend_from_slice(&bytes);
    }
}

async fn receive(client: &Wire, most: usize) -> io::Result<Vec<u8>> {
    let (received, mut buffer) = client.receive_within(vec![0; most], 0..most, false, TEN_MINUTES).await;
    let count = match received? {
        Received::Bytes(count) => count,
        Received::End => 0,
        Received::Paused(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    buffer.truncate(count);
    Ok(buffer)
}
