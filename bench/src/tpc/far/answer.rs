//! One connection of the server: requests, one after the other.

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering;

use penstock_pool::http1::digest_header;

use super::Shared;
use super::content::Hasher;
use super::request::{MOST_HEAD_BYTES, Method, Request};
use super::wire::Wire;

/// What is received at once.
const BUFFER_BYTES: usize = 1 << 20;

/// Answers until the other side closes, errs, or the server ends.
pub fn serve(mut wire: Wire, shared: &Shared) -> io::Result<()> {
    let (mut buffer, mut filled) = (vec![0; BUFFER_BYTES], 0);
    // Made when bytes are asked for.
    let mut scratch = Vec::new();
    loop {
        let request = match Request::parse(&buffer[..filled]) {
            Ok(Some(request)) => request,
            Ok(None) => match receive(&mut wire, &mut buffer[filled..MOST_HEAD_BYTES], shared)? {
                0 => return Ok(()),
                count => {
                    filled += count;
                    continue;
                }
            },
            // Perhaps TLS on the port without it; whoever it is, they do not belong here.
            Err(_) => return Ok(()),
        };
        buffer.copy_within(request.head_bytes..filled, 0);
        filled -= request.head_bytes;
        match (request.method, shared.size_of(&request.target)) {
            (Some(method @ (Method::Get | Method::Head)), Some(size)) => {
                let head_only = method == Method::Head;
                send_file(&mut wire, &request, size, head_only, &mut scratch, shared)?;
            }
            (Some(Method::Put), Some(size)) if request.length == Some(size) => {
                if request.expects && filled == 0 {
                    wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                    wire.flush()?;
                }
                take_file(&mut wire, &mut buffer, &mut filled, size, shared)?;
            }
            (Some(Method::Delete), Some(_)) => {
                wire.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
                wire.flush()?;
            }
            // Whatever body they may send is not read.
            _ => {
                wire.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
                return wire.flush();
            }
        }
    }
}

fn send_file(
    wire: &mut Wire,
    request: &Request,
    size: u64,
    head_only: bool,
    scratch: &mut Vec<u8>,
    shared: &Shared,
) -> io::Result<()> {
    let (tag, digest) = (format!("\"{size}\""), digest_of(size, shared));
    let part = if head_only { None } else { request.part(size, &tag) };
    let (status, range) = match part {
        Some(part) => {
            let range = format!("Content-Range: bytes {}-{}/{size}\r\n", part.start, part.end - 1);
            (format!("206 Partial Content\r\n{range}"), part)
        }
        None => ("200 OK\r\n".to_owned(), 0..size),
    };
    let length = range.end - range.start;
    let head = format!(
        "HTTP/1.1 {status}Content-Length: {length}\r\nETag: {tag}\r\nAccept-Ranges: bytes\r\n{digest}\r\n"
    );
    wire.write_all(head.as_bytes())?;
    if !head_only {
        if scratch.is_empty() {
            *scratch = shared.content.scratch();
        }
        shared.content.write(wire, scratch, range)?;
    }
    wire.flush()
}

/// Receives a file and says what it was: whether it is right is seen here, and by the pool.
fn take_file(
    wire: &mut Wire,
    buffer: &mut [u8],
    filled: &mut usize,
    size: u64,
    shared: &Shared,
) -> io::Result<()> {
    let mut hasher = Hasher::default();
    let first = (*filled).min(usize::try_from(size).unwrap_or(usize::MAX));
    hasher.update(&buffer[..first]);
    buffer.copy_within(first..*filled, 0);
    *filled -= first;
    let mut left = size - first as u64;
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match receive(wire, &mut buffer[..most], shared)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                hasher.update(&buffer[..count]);
                left -= count as u64;
            }
        }
    }
    let arrived = hasher.finish();
    let answer = if arrived.as_ref() == shared.content.checksum(size) {
        format!("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n{}\r\n", digest_of(size, shared))
    } else {
        "HTTP/1.1 400 What arrived are not the bytes that were made up\r\nContent-Length: 0\r\n\r\n"
            .to_owned()
    };
    wire.write_all(answer.as_bytes())?;
    wire.flush()
}

/// RFC 3230, as grids do it.
fn digest_of(size: u64, shared: &Shared) -> String {
    let checksum = shared.content.checksum(size);
    checksum.map_or(String::new(), |checksum| format!("Digest: {}\r\n", digest_header(&[*checksum])))
}

/// Some bytes; 0 at the end, be it that of the server.
fn receive(wire: &mut Wire, buffer: &mut [u8], shared: &Shared) -> io::Result<usize> {
    loop {
        match wire.read(buffer) {
            Err(error) => match error.kind() {
                _ if shared.ended.load(Ordering::Relaxed) => return Ok(0),
                // The time after which it is looked whether the server has ended.
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
            read => return read,
        }
    }
}
